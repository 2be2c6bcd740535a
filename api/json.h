/* What reply.c needs of the JSON room's machinery; handlers use api/reply.h. */
#ifndef GP_API_JSON_H
#define GP_API_JSON_H

#include <jansson.h>

#include "base/buffer.h"

/* Once, before any value is made: Jansson's memory comes by way of here from then on. */
void api_json_init(void);
/* Whether Jansson was refused memory since the last time that it was asked, in this
 * thread: its parser tells of that as of bad JSON, or not at all. */
bool api_json_take_shortage(void);
/* How many values could not be made or set since the program began. */
uint64_t api_json_failures(void);
/* Appends the value and a newline. GP_NO_MEMORY; GP_LIMIT: the buffer's cap. */
enum gp_status api_json_write(const json_t *value, bool is_pretty, struct gp_buffer *out) GP_MUST_USE;

#endif
