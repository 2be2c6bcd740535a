/* What every handler may use. One for the program; made by gateway/main.c. */
#ifndef GP_API_APP_H
#define GP_API_APP_H

#include "api/exchange.h"
#include "api/role.h"
#include "imap/pool.h"

struct api_hubs;

struct api_app {
	struct imap_pool *pool;   /* borrow */
	struct api_hubs *hubs;    /* borrow: api/hub.h */
	struct gp_timers *timers; /* borrow */
	uint64_t (*now_us)(void); /* monotonic microseconds; tests give a virtual one */
	uint64_t request_timeout_ms;
	const char *const *cors_origins; /* borrow: "https://app.example", or "*" */
	size_t n_cors_origins;
	const struct api_role_config *roles; /* borrow: those that were laid down; NULL: none */
	bool is_draining;                    /* new requests are 503, /readyz too; /healthz stays 200 */
	/* For GET /session and problems: the host of the upstream, for people. */
	const char *upstream_name; /* borrow */
};

#endif
