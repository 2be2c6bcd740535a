/* What reply.c needs of the JSON room's machinery; handlers use api/reply.h. */
#ifndef GP_API_JSON_H
#define GP_API_JSON_H

#include <jansson.h>

#include "base/buffer.h"

/* How many values could not be made or set since the program began. */
uint64_t api_json_failures(void);
/* Appends the value and a newline. GP_NO_MEMORY; GP_LIMIT: the buffer's cap. */
enum gp_status api_json_write(const json_t *value, bool is_pretty, struct gp_buffer *out) GP_MUST_USE;

#endif
