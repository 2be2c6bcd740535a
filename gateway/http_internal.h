/*
 * What the files of the HTTP server share: the server, a connection, an exchange.
 * Only gateway/http_*.c include this, and only they include microhttpd.
 *
 * Ownership. The server links its exchanges. A connection is made when libmicrohttpd
 * accepts and freed on its closed notification, before the descriptor is closed. An
 * exchange is made in libmicrohttpd's first call for a request and freed in its
 * completed notification, nowhere else.
 */
#ifndef GP_GATEWAY_HTTP_INTERNAL_H
#define GP_GATEWAY_HTTP_INTERNAL_H

#include <microhttpd.h>
#include <uv.h>

#include "api/app.h"
#include "gateway/http_guard.h"
#include "gateway/http_ring.h"
#include "gateway/http_server.h"

#define HTTP_BODY_DEADLINE_MS 60000
#define HTTP_UPLOAD_LEAST_RATE 1024 /* bytes a second, beyond the first HTTP_BODY_DEADLINE_MS */
#define HTTP_IDLE_TIMEOUT_S 75      /* longer than the usual proxy's, which then closes first */

struct http_server {
	struct gateway_loop *loop;          /* borrow */
	struct api_app *app;                /* borrow */
	struct MHD_Daemon *daemon;          /* own */
	struct MHD_Response *out_of_memory; /* own: a 503 that needs no memory */
	char *tls_cert, *tls_key;           /* own: libmicrohttpd borrows them */
	struct http_epoll *epoll;           /* own until closed; it frees itself */
	struct http_exchange *exchanges;    /* link: all of them */
	struct http_exchange *rooms;        /* link: those whose client has taken some */
	struct gateway_address address;
	struct gp_timer wake; /* libmicrohttpd's earliest timeout */
	struct gp_timer drain_deadline;
	void (*drained)(void *ctx); /* not NULL while draining and not yet called */
	void *drained_ctx;
	uint64_t max_body, header_deadline_ms, body_deadline_ms, idle_timeout_ms;
	size_t n_connections, n_exchanges, n_suspended;
	bool is_needed; /* MHD_run() has something to do */
	bool is_listening;
	bool is_draining;
	bool is_giving_up; /* no exchange may wait any more */
	unsigned char random[256];
	size_t n_random; /* bytes of it not yet used */
};

/* ---- http_connection.c ---- */

struct http_connection {
	struct http_server *server;     /* borrow */
	struct MHD_Connection *mhd;     /* borrow */
	struct http_watch *watch;       /* own until closed; it frees itself */
	struct http_exchange *exchange; /* link: the request under way */
	char *target;                   /* own: of the request whose fields are being read; NULL: none or no memory */
	const char *target_in_place;    /* borrow: where libmicrohttpd has it */
	size_t target_len;
	struct gp_timer deadline;
	int fd;
	bool is_peer_gone; /* it closed, or closed its sending side: nobody reads the answer for sure */
};

/* libmicrohttpd's callbacks; cls is the server. */
void http_connection_notify(void *cls, struct MHD_Connection *mhd, void **socket_context,
			    enum MHD_ConnectionNotificationCode code);
void *http_connection_target_seen(void *cls, const char *target, struct MHD_Connection *mhd);
/* NULL when memory ended while it was accepted. */
struct http_connection *http_connection_of(struct MHD_Connection *mhd);
/* Tells http_exchange_peer_left() when the peer goes while its exchange is suspended. */
void http_connection_watch(struct http_connection *connection);

/* ---- http_upload.c ---- */

/* Where the body of an upload is. */
enum http_upload_stage {
	HTTP_UPLOAD_NONE,    /* not an upload */
	HTTP_UPLOAD_HELD,    /* not asked for: nothing is read */
	HTTP_UPLOAD_WANTED,  /* it goes to `upload_events` */
	HTTP_UPLOAD_DROPPED, /* answered before its end: what is left is taken off the wire */
	HTTP_UPLOAD_DONE,
};

struct http_upload {
	enum http_upload_stage stage;
	const struct api_upload_events *events; /* borrow */
	void *ctx;                              /* borrow */
	size_t credit;                          /* bytes that may be delivered */
	bool expects_continue;                  /* the client waits for 100 Continue */
	bool is_open;                           /* libmicrohttpd reads the body (and has sent 100 Continue) */
	bool is_waiting;                        /* for bytes of the client, since waiting_since_ms */
	uint64_t waiting_since_ms, waited_ms;
};

/* ---- http_exchange.c ---- */

enum http_exchange_state {
	HTTP_READING,  /* the body is coming */
	HTTP_HANDLING, /* api_handle() runs */
	HTTP_WAITING,  /* it returned without a reply: suspended */
	HTTP_READY,    /* `response` is there */
	HTTP_SENDING,  /* libmicrohttpd has it */
};

/* A field that says something else than one line of the request: one that came in several lines is
 * one list (RFC 9110 section 5.3), and Host is the target's where that names one. */
struct http_field {
	struct span name, value; /* borrow: the connection's or the exchange's; or in its arena */
	struct http_field *next; /* in the arena */
};

struct http_exchange {
	struct api_exchange api; /* first: the ops get it back */
	enum http_exchange_state state;
	struct http_server *server;                   /* borrow */
	struct http_connection *connection;           /* link */
	struct http_exchange *next, **link;           /* link: server->exchanges */
	struct http_exchange *room_next, **room_link; /* link: server->rooms; room_link NULL: not in it */
	char *target;                                 /* own */
	char *method;                                 /* own */
	struct http_field *fields;                    /* in the arena */
	struct gp_buffer body;
	size_t n_held;                 /* of them in `body`, among those of app->n_held */
	uint64_t n_body;               /* bytes received */
	struct MHD_Response *response; /* own, until it is queued */
	unsigned status;
	uint64_t n_sent; /* bytes of body handed to libmicrohttpd */
	bool is_http_1_0;
	bool is_suspended;
	bool is_body_dropped; /* there was no room for it: 503 */
	bool is_api_done;     /* replied, ended or told gone: neither side touches the other */
	struct http_upload upload;
	/* a streamed body */
	bool is_stream, is_stream_ended, is_stream_complete, is_stream_broken;
	int64_t content_length;                 /* -1: not known */
	const struct api_stream_events *events; /* borrow */
	void *events_ctx;
	struct http_ring ring;
};

enum MHD_Result http_exchange_handle(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
				     const char *version, const char *upload, size_t *upload_len,
				     void **request_context);
void http_exchange_completed(void *cls, struct MHD_Connection *mhd, void **request_context,
			     enum MHD_RequestTerminationCode code);
/* The client is gone, or the program gives up: `gone` once, and the connection ends. */
void http_exchange_abandon(struct http_exchange *exchange);
/* Calls the room events that are due. Outside of MHD_run(). */
void http_exchange_tell_rooms(struct http_server *server);
/* For http_upload.c: suspended connections go on, those of which nothing is wanted wait,
 * and what was answered is handed over. */
void http_exchange_resume(struct http_exchange *exchange);
void http_exchange_suspend(struct http_exchange *exchange);
enum MHD_Result http_exchange_queue(struct http_exchange *exchange);

/* ---- http_upload.c ---- */

/* In the first call of the request: asks for what api_handle() makes of it. */
enum MHD_Result http_upload_begin(struct http_exchange *exchange);
/* Every later call. */
enum MHD_Result http_upload_handle(struct http_exchange *exchange, const char *upload, size_t *upload_len);
/* The client has not sent all of it. */
bool http_upload_is_coming(const struct http_exchange *exchange);
void http_upload_op_begin(struct api_exchange *api, const struct api_upload_events *events, void *ctx);
void http_upload_op_want(struct api_exchange *api, size_t n);

/* ---- http_fields.c ---- */

struct http_header_list {
	struct http_guard_header items[HTTP_GUARD_ALL_HEADERS]; /* borrow: the connection's */
	size_t n;
};

/* The lines of the request's fields, in their order. */
void http_fields_collect(const struct http_exchange *exchange, struct http_header_list *list);
/* Gathers the fields that came in several lines. Those of one value are not among them: the
 * guard refused them. False when memory ends. */
bool http_fields_gather(struct http_exchange *exchange, const struct http_header_list *headers) GP_MUST_USE;
/* Leaves of a target in absolute-form what one in origin-form would be. False when memory ends. */
bool http_fields_take_authority(struct http_exchange *exchange) GP_MUST_USE;
/* NIL: there is none. */
struct span http_fields_value(const struct http_exchange *exchange, const char *name);

/* ---- http_layout.c ---- */

/* Whether the line and the fields of a request are written as RFC 9112 has it: each ends in
 * CR LF, none is folded, none holds a NUL. `headers` are all of them, in order. */
bool http_layout_is_plain(const struct http_connection *connection, const char *method, const char *version,
			  const struct http_guard_header *headers, size_t n_headers);

/* ---- http_reply.c ---- */

/* Fills exchange->response; never fails (memory: a ready-made 503). `body` is taken,
 * NULL is empty. */
void http_reply_buffer(struct http_exchange *exchange, unsigned status, struct gp_buffer *body);
/* False when memory ended; the response is the ready-made 503 then. */
bool http_reply_stream(struct http_exchange *exchange, unsigned status, MHD_ContentReaderCallback reader);
/* An RFC 9457 problem of the server itself: what the guard found. */
void http_reply_refusal(struct http_exchange *exchange, const struct http_guard_verdict *verdict);
/* NULL when memory ends. */
struct MHD_Response *http_reply_out_of_memory(void);

#endif
