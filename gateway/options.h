/*
 * What the program was told: command line, GATEPOST_* environment and the JSON file
 * named by --config, in this order of strength, one table for all three (options.c).
 * Read once at start-up; everything afterwards only reads the struct.
 */
#ifndef GP_GATEWAY_OPTIONS_H
#define GP_GATEWAY_OPTIONS_H

#include <stdio.h>

#include "api/role.h"
#include "base/log.h"
#include "gateway/address.h"
#include "imap/endpoint.h"

enum gateway_action {
	GATEWAY_RUN,
	GATEWAY_VERSION,
	GATEWAY_HELP,
	GATEWAY_CHECK_CONFIG,
	GATEWAY_HEALTHCHECK,
};

struct gateway_options {
	enum gateway_action action;
	struct gateway_address listen;
	struct imap_endpoint endpoint;
	char *imap_ca_file; /* own; NULL: the system's CAs only */
	uint64_t imap_sessions_per_account, imap_sessions;
	uint64_t imap_idle_timeout_ms, imap_connect_timeout_ms, request_timeout_ms;
	uint64_t max_body, max_connections;
	char **cors_origins; /* own, each one too */
	size_t n_cors_origins;
	char **mailbox_roles; /* own, each one too: "sent=Sent Items" */
	size_t n_mailbox_roles;
	struct api_role_config roles; /* the same, understood; borrows from them */
	char *tls_cert, *tls_key;     /* own: file names; both or none */
	bool allow_plaintext;
	uint64_t log_level;  /* enum gp_log_level */
	uint64_t log_format; /* enum gp_log_format */
	uint64_t sandbox;    /* enum gateway_sandbox_mode */
};

/* GP_OK, or `error->text` is one line that names the option and where it stood; the
 * struct is to be deinitialised either way. For --help and --version nothing else is
 * looked at; for --healthcheck the upstream need not be given. `environment` is NULL-
 * terminated and may be NULL. */
enum gp_status gateway_options_read(struct gateway_options *options, int argc, const char *const *argv,
				    const char *const *environment, struct gp_error *error) GP_MUST_USE;
void gateway_options_deinit(struct gateway_options *options);
void gateway_options_print_help(FILE *out);

#endif
