/* What reply.c needs of the JSON room's machinery; handlers use api/reply.h. */
#ifndef GP_API_JSON_H
#define GP_API_JSON_H

#include <jansson.h>

#include "base/buffer.h"
#include "base/span.h"

/* Once, before any value is made: Jansson's memory comes by way of here from then on. */
void api_json_init(void);
/* One JSON text; `flags` are Jansson's. GP_INVALID: where_out says why; GP_NO_MEMORY. On the
 * loop's thread only. */
enum gp_status api_json_read(struct span text, size_t flags, json_t **value_out, json_error_t *where_out) GP_MUST_USE;
/* How many values could not be made or set since the program began. */
uint64_t api_json_failures(void);
/* Appends the value and a newline. GP_NO_MEMORY; GP_LIMIT: the buffer's cap. */
enum gp_status api_json_write(const json_t *value, bool is_pretty, struct gp_buffer *out) GP_MUST_USE;

#endif
