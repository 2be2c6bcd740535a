/* `fields=uid,subject`: which members of an object the caller wants, as a mask. */
#ifndef GP_API_FIELDS_H
#define GP_API_FIELDS_H

#include "api/query.h"

#define API_MAX_FIELDS 64

/* Reads the parameter `fields`. Bit i of the mask stands for names[i] (n_names <= 64).
 * `fallback` when it is absent. An unknown or empty name marks the query as
 * bad, naming it, and gives `fallback`. */
uint64_t api_fields_read(struct api_query *query, const char *const *names, size_t n_names, uint64_t fallback);

static inline bool api_fields_has(uint64_t mask, unsigned field)
{
	return (mask >> field & 1) != 0;
}

#endif
