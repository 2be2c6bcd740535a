/* What the process asks of the system before it serves anybody. */
#ifndef GP_GATEWAY_PROCESS_H
#define GP_GATEWAY_PROCESS_H

#include <stdint.h>

#include "base/status.h"

/* No core files (mail and passwords are in memory), no new privileges, no SIGPIPE,
 * and as many descriptors as are allowed. Returns how many that are. */
uint64_t gateway_process_harden(void);

/* A PEM certificate chain and its private key, read and checked against each other.
 * Both are NUL-terminated and own; free() them (gp_buffer_wipe() is not needed: the
 * server keeps the key anyway). */
enum gp_status gateway_tls_files_read(const char *cert_file, const char *key_file, char **cert_out, char **key_out,
				      struct gp_error *error) GP_MUST_USE;

#endif
