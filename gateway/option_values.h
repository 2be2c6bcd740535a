/* How the values of options are written. Pure functions; false on anything else. */
#ifndef GP_GATEWAY_OPTION_VALUES_H
#define GP_GATEWAY_OPTION_VALUES_H

#include "base/span.h"

/* "1000000", "50MiB", "50 MiB", "512k": binary for K, M, G and KiB, MiB, GiB, decimal
 * for KB, MB, GB; in any case. */
bool gateway_value_bytes(struct span text, uint64_t *value_out);
/* A web origin as a browser sends it: http or https, host and port in lower case, no
 * path; or "*". */
bool gateway_value_is_origin(struct span text);

#endif
