/* Base64 in JSON, strictly (RFC 4648 section 4): no line breaks, padded, no stray bits. */
#ifndef GP_API_BASE64_H
#define GP_API_BASE64_H

#include "base/buffer.h"

/* `out` is initialised, with exactly the memory it needs. GP_INVALID: `error` says what is
 * wrong and where, and `out` is not touched; GP_NO_MEMORY. */
enum gp_status api_base64_decode(struct span text, struct gp_buffer *out, struct gp_error *error) GP_MUST_USE;

#endif
