/*
 * Which of several representations a client wants: Accept (RFC 9110 section 12.5.1).
 */
#ifndef GP_API_ACCEPT_H
#define GP_API_ACCEPT_H

#include "base/span.h"

/* The index of the type that the field likes best, the first of equals; -1 when it wants
 * none of them. `types` are lower case, without parameters; those of the field other than
 * `q` do not count. An absent field, or one without anything readable, wants the first. */
ptrdiff_t api_accept_choose(struct span accept, const char *const *types, size_t n_types);

#endif
