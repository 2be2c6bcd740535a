/* HTML character references; of no use outside this room. */
#ifndef GP_MAIL_ENTITIES_H
#define GP_MAIL_ENTITIES_H

#include "base/span.h"

/* The reference at the start of `s`, where "&" is: how many bytes it takes, 0 if it
 * is none. Numbers that are no characters give U+FFFD. */
size_t mail_entity_decode(struct span s, uint32_t *code_point_out);

#endif
