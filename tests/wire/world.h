/*
 * What a case runs in: the whole program but for its sockets and its HTTP library,
 * with a test at both ends, on a virtual clock.
 *
 *	HTTP client (fake_exchange) → api_handle → pool → session → parser ← IMAP server (fake_network)
 *
 * One world for each run of a case. Failures end the process (check.h).
 */
#ifndef GP_TESTS_WIRE_WORLD_H
#define GP_TESTS_WIRE_WORLD_H

#include "base/buffer.h"
#include "tests/support/fake_exchange.h"
#include "tests/support/fake_network.h"
#include "tests/support/fake_work.h"

#define WORLD_MAX_CONNECTIONS 32
#define WORLD_MAX_REQUESTS 32
#define WORLD_MAX_VARIABLES 64

/* How the server's bytes arrive. */
enum world_split { WORLD_WHOLE, WORLD_BYTES, WORLD_RANDOM };

struct world_variable {
	char *name, *value; /* own */
};

struct world_connection {
	struct fake_transport *transport; /* borrow: the network's; NULL: not looked at yet */
	struct gp_buffer unread;          /* what the gateway sent and the script has not expected yet */
	struct gp_buffer pending;         /* what the script sends and was not fed yet */
	bool is_connected;
};

struct world_request {
	struct fake_exchange *exchange; /* own; NULL: none, or it was left */
	size_t n_sent;                  /* bytes of an upload */
	size_t ordinal;                 /* 0 for the first of the case */
	bool is_settled;                /* its end was expected and came */
};

struct world {
	/* settings: before world_open() */
	struct imap_endpoint endpoint;
	struct imap_pool_config config;
	uint64_t request_timeout_ms;
	uint64_t work_ms; /* how long a worker takes */
	size_t n_held;    /* by requests of others: of app.n_held */
	enum world_split split;
	uint64_t random; /* the state of the random splits */

	/* the program */
	bool is_open, is_drained;
	struct fake_network *network; /* own */
	struct imap_pool *pool;       /* own */
	struct api_hubs *hubs;        /* own */
	struct api_app app;
	struct api_role_config roles; /* borrows from the script */

	struct world_connection connections[WORLD_MAX_CONNECTIONS];
	struct world_request requests[WORLD_MAX_REQUESTS];
	size_t n_requests;                                    /* that there were */
	struct world_variable variables[WORLD_MAX_VARIABLES]; /* of the IMAP tags ("$1") and of replies ("${next}") */
	size_t n_variables;
};

void world_init(struct world *world, enum world_split split, uint64_t seed);
void world_open(struct world *world);
/* All is settled and read, nothing is leased; then the clock runs until every session
 * has gone for want of use. */
void world_close(struct world *world);
/* Nothing is leased and no body held; then as in world_close(). What was exchanged is not
 * looked at. */
void world_end(struct world *world);
void world_advance(struct world *world, uint64_t ms);

/* NULL when there is none. */
const char *world_variable(const struct world *world, struct span name);
void world_set_variable(struct world *world, struct span name, struct span value);
/* With "$1" (is_tag) or "${next}" replaced; new memory. */
char *world_expand(const struct world *world, const char *text, bool is_tag);

/* ---- the IMAP side: connections are counted from 1, in the order they were opened ---- */

struct world_connection *world_connection(struct world *world, size_t number);
/* Feeds what is pending, on every connection. */
void world_flush(struct world *world);
void world_send(struct world *world, size_t number, struct span bytes);
/* The gateway's next line; "$1 NOOP" captures the tag. */
void world_expect_line(struct world *world, size_t number, const char *line);
void world_expect_nothing(struct world *world, size_t number);
/* Time passes, and meanwhile the server answers NOOP, IDLE and DONE on this connection, and
 * nothing else comes there. "$i" is IDLE's tag. */
void world_pass_quietly(struct world *world, size_t number, uint64_t ms);
/* Connection, greeting, login, ID: what every other case begins with. */
void world_log_in(struct world *world, size_t number, const char *text);

/* ---- the HTTP side ---- */

/* Takes the exchange, whose request is complete. */
void world_request(struct world *world, size_t number, struct fake_exchange *exchange);
struct world_request *world_requested(struct world *world, size_t number);
void world_request_free(struct world_request *request);

/* A text that says its own place: "00000000\n00000009\n…"; `offset` and `len` in it. */
void world_pattern(struct gp_buffer *out, size_t offset, size_t len);
/* Base64 in lines of 76, as mail has it. */
void world_base64(struct gp_buffer *out, struct span bytes, bool is_in_lines);

#endif
