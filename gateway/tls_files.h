/* The certificate and key of --tls-cert and --tls-key. */
#ifndef GP_GATEWAY_TLS_FILES_H
#define GP_GATEWAY_TLS_FILES_H

#include "base/status.h"

/* A PEM certificate chain and its private key, read and checked against each other.
 * Both are NUL-terminated; the caller frees them. Blocking: for start-up. */
enum gp_status gateway_tls_files_read(const char *cert_file, const char *key_file, char **cert_out, char **key_out,
				      struct gp_error *error) GP_MUST_USE;

#endif
