/* base64url without padding (RFC 4648 section 5): bytes inside opaque tokens. */
#ifndef GP_API_BASE64URL_H
#define GP_API_BASE64URL_H

#include "base/buffer.h"

enum gp_status api_base64url_write(struct span bytes, struct gp_buffer *out) GP_MUST_USE;
/* GP_INVALID for anything that api_base64url_write() would not have written; nothing is
 * promised about `out` then. */
enum gp_status api_base64url_read(struct span text, struct gp_buffer *out) GP_MUST_USE;

#endif
