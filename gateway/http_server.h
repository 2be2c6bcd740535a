/*
 * The HTTP server: libmicrohttpd in external epoll mode inside the program's loop.
 * It owns the listening socket, the daemon, every connection and every exchange.
 *
 * The pump. libmicrohttpd does nothing by itself: its epoll descriptor (uv_poll), its
 * earliest timeout and every resume() say `need`, and the loop's turn then calls
 * MHD_run() once for all of them. MHD_run() is never called from one of its own
 * callbacks, and nothing else calls it.
 *
 * Ends. http_server_drain() stops accepting and waits for the exchanges under way;
 * http_server_free() gives up on those that are left. The daemon is stopped only when
 * no connection is suspended (it aborts the process otherwise).
 */
#ifndef GP_GATEWAY_HTTP_SERVER_H
#define GP_GATEWAY_HTTP_SERVER_H

#include "api/app.h"
#include "gateway/address.h"
#include "gateway/loop.h"

struct http_server;

struct http_server_config {
	struct gateway_loop *loop;             /* borrow */
	struct api_app *app;                   /* borrow */
	const struct gateway_address *address; /* borrow, for the call; port 0 is allowed */
	const char *tls_cert, *tls_key;        /* borrow, for the call: PEM text; NULL: plain HTTP */
	uint64_t max_body;                     /* bytes; more is refused and the connection closed */
	unsigned max_connections;
	/* 0 stands for the usual ones; tests shorten them */
	uint64_t header_deadline_ms; /* for a request's line and fields, from its first byte or the connection */
	uint64_t body_deadline_ms;
	unsigned idle_timeout_s; /* no byte moves on a connection */
};

/* Listens, and logs "listening on http://…". Takes loop->turn. */
enum gp_status http_server_new(const struct http_server_config *config, struct http_server **server_out,
			       struct gp_error *error) GP_MUST_USE;
/* Exchanges under way are told `gone`. The loop must be run on afterwards until its
 * handles are closed (gateway_loop_deinit()). Not from within an exchange's call. */
void http_server_free(struct http_server **server);
/* Stops accepting, marks the app as draining, and calls `done` from the loop when no
 * exchange is left, at the latest a little after `timeout_ms`, when those left are
 * told `gone`. A second call only shortens the time. */
void http_server_drain(struct http_server *server, uint64_t timeout_ms, void (*done)(void *ctx), void *ctx);
/* Where it listens, with the real port. */
const struct gateway_address *http_server_address(const struct http_server *server);

/* Of libmicrohttpd; static. */
const char *http_server_library_version(void);

struct http_server_stats {
	size_t n_connections, n_exchanges, n_suspended;
};

struct http_server_stats http_server_stats(const struct http_server *server);

#endif
