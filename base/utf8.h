/* UTF-8 (RFC 3629): no surrogates, no overlong forms, nothing above U+10FFFF. */
#ifndef GP_BASE_UTF8_H
#define GP_BASE_UTF8_H

#include "base/buffer.h"
#include "base/span.h"

bool utf8_is_valid(struct span s);
/* How many leading bytes are whole, valid characters. */
size_t utf8_valid_prefix(struct span s);
/* The length of the bad run that `s`, not empty, begins with: a lead byte and those of
 * its continuation bytes that could still have followed (Unicode 3.9, "maximal
 * subpart"), so that one broken character gives one U+FFFD. */
size_t utf8_bad_run(struct span s);
/* The character at the start of `s` and its length in bytes; 0 when there is no
 * valid one. */
size_t utf8_decode(struct span s, uint32_t *code_point_out);
/* Writes 1 to 4 bytes and returns how many; U+FFFD for what is not a scalar value. */
size_t utf8_encode(uint32_t code_point, char out[4]);
/* Appends `s` with each bad byte sequence (maximal subpart) as U+FFFD. `*repaired`
 * is set to true when there was one, else left as it is; NULL is allowed. */
enum gp_status utf8_append_repaired(struct gp_buffer *out, struct span s, bool *repaired) GP_MUST_USE;

#endif
