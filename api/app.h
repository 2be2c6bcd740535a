/* What every handler may use. One for the program; made by gateway/main.c. */
#ifndef GP_API_APP_H
#define GP_API_APP_H

#include "api/exchange.h"
#include "api/role.h"
#include "imap/pool.h"

struct api_hubs;
struct api_idempotency;
struct api_throttle;

struct api_app {
	struct imap_pool *pool; /* borrow */
	struct api_hubs *hubs;  /* borrow: api/hub.h */
	/* Tells the account's subscribers that this program wrote to a mailbox (UTF-8), so that
	 * they look at once, however long the server takes to say so; NIL: to the list of
	 * mailboxes. api_hubs_written(); NULL: nobody is told. */
	void (*written)(struct api_hubs *hubs, const struct imap_credential *credential, struct span mailbox);
	struct gp_timers *timers; /* borrow */
	uint64_t (*now_us)(void); /* monotonic microseconds; tests give a virtual one */
	uint64_t request_timeout_ms;
	size_t max_body; /* bytes of a request's body, and of a message that is composed */
	size_t n_held;   /* bytes of bodies and messages that requests hold: GP_MAX_HELD */
	/* Bytes that nobody can guess; tests give ones of their choice. False: none now. */
	bool (*random)(void *to, size_t len);
	/* Runs run(ctx) on a worker thread, then done(ctx) from the loop, never before this
	 * returns. run() shares nothing with the loop. The client that leaves meanwhile stops
	 * neither: `ctx` lives until done(). At the end of the program done() may come when
	 * the pool is gone. False: no memory, and neither is called. */
	bool (*work)(struct api_app *app, void (*run)(void *ctx), void (*done)(void *ctx), void *ctx);
	void *work_ctx;                      /* borrow: for `work` */
	struct api_idempotency *idempotency; /* borrow; NULL: keys are not heeded */
	struct api_throttle *throttle;       /* borrow; NULL: failed logins are not slowed */
	const char *const *cors_origins;     /* borrow: "https://app.example", or "*" */
	size_t n_cors_origins;
	const struct api_role_config *roles; /* borrow: those that were laid down; NULL: none */
	bool is_draining;                    /* new requests are 503, /readyz too; /healthz stays 200 */
	/* For GET /session and problems: the host of the upstream, for people. */
	const char *upstream_name; /* borrow */
};

/* Counts what one request holds in memory, `n_bytes` in all, in *n_held and among what all
 * hold. False: that would be more than GP_MAX_HELD, and nothing was counted. */
bool api_hold(struct api_app *app, size_t *n_held, size_t n_bytes) GP_MUST_USE;
void api_hold_end(struct api_app *app, size_t *n_held);

#endif
