/* Modified UTF-7 for mailbox names (RFC 3501 section 5.1.3). */
#ifndef GP_IMAP_UTF7_H
#define GP_IMAP_UTF7_H

#include "base/buffer.h"

/* Appends the modified UTF-7 of valid UTF-8; GP_INVALID when it is not valid UTF-8, or has a NUL. */
enum gp_status imap_utf7_encode(struct span utf8, struct gp_buffer *out) GP_MUST_USE;
/* Appends UTF-8; GP_INVALID (nothing appended) when `raw` is not what
 * imap_utf7_encode() would write for the result: such a name is shown as it is. */
enum gp_status imap_utf7_decode(struct span raw, struct gp_buffer *out) GP_MUST_USE;

#endif
