/* What the process asks of the system before it serves anybody. */
#ifndef GP_GATEWAY_PROCESS_H
#define GP_GATEWAY_PROCESS_H

#include <stdint.h>

/* No core files (mail and passwords are in memory), no new privileges, no SIGPIPE, large
 * memory given back when it is freed, and as many descriptors as are allowed. Returns how
 * many that are. */
uint64_t gateway_process_harden(void);

#endif
