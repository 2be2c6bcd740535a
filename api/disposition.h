/* Content-Disposition and Content-Type for bytes that a stranger wrote (RFC 6266). */
#ifndef GP_API_DISPOSITION_H
#define GP_API_DISPOSITION_H

#include "base/arena.h"

/* `attachment; filename="r_sum_.pdf"; filename*=UTF-8''r%C3%A9sum%C3%A9.pdf`: one clean
 * header whatever the name holds: control characters, quotes, path separators and
 * marks that turn the text round are replaced, and it is cut to 200 bytes. `name` NULL:
 * no file name. In the arena; NULL when memory ends. */
char *api_disposition(struct gp_arena *arena, bool is_attachment, const char *name);
/* Whether a browser may show content of this type in place: images, sound, film and
 * plain text; never what can hold a script. */
bool api_disposition_is_inline_safe(const char *type);
/* "text/plain; charset=koi8-r", or application/octet-stream for what is no media type;
 * a charset that is no token is left out. In the arena; NULL when memory ends. */
char *api_content_type(struct gp_arena *arena, const char *type, const char *charset);

#endif
