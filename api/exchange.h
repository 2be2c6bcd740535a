/*
 * One HTTP exchange, as this room sees it: a request that has been read, and a reply
 * to give. gateway/ makes exchanges from libmicrohttpd, the tests make them from
 * scripts; handlers know neither.
 *
 * Life. The gateway fills the request part and calls api_handle() once, when the
 * whole (bounded) request body is there. Exactly one reply is given, now or later
 * from the loop: reply(), or stream_begin() … stream_end(). After reply() or
 * stream_end() this room does not touch the exchange any more. If the client leaves
 * or the program gives up on it first, the gateway calls `gone` (when set), after
 * which the exchange must not be touched either.
 *
 * Uploads. Where api_takes_upload() says so, api_handle() is called before the body,
 * which comes in pieces when it is asked for. A reply before its end is allowed: a
 * client with "Expect: 100-continue" that was not told to go on has it at once (and
 * its connection ends); from others the rest of the body is taken and dropped first, so
 * that they can read the reply.
 *
 * Everything of one exchange that this room allocates lives in `arena` and dies with
 * it, after reply()/stream_end()/gone, when libmicrohttpd has completed the request.
 */
#ifndef GP_API_EXCHANGE_H
#define GP_API_EXCHANGE_H

#include "base/arena.h"
#include "base/buffer.h"

enum api_method { API_GET, API_HEAD, API_POST, API_PUT, API_PATCH, API_DELETE, API_OPTIONS, API_OTHER };

#define API_MAX_REPLY_HEADERS 24
/* For the values of header fields when memory has ended: none of them is left out of a reply. */
#define API_SPARE_HEADER_BYTES 2048

struct api_header {
	const char *name;  /* static */
	const char *value; /* static or in the exchange's arena; no CR or LF: checked where it is added */
};

struct api_app;
struct api_idempotent;
struct api_throttle_ticket;
struct api_exchange;

struct api_stream_events {
	/* The client has taken some: stream_room() is larger than it was. From the loop,
	 * never from within stream_write(). */
	void (*room)(void *ctx);
};

struct api_upload_events {
	/* Some of the body, in order, at most what was wanted; borrowed. From the loop. */
	void (*data)(void *ctx, struct span bytes);
	/* The body is complete. */
	void (*end)(void *ctx);
};

struct api_exchange_ops {
	/* The value of a request header (name in any case), NIL when absent. Lives as long
	 * as the exchange. Of a field in several lines: one list, with ", " between; those that have
	 * one value were refused. */
	struct span (*header)(struct api_exchange *exchange, const char *name);
	/* Sends status, the headers gathered in exchange->headers, and the body, whose
	 * memory is taken (the buffer is empty afterwards). For HEAD the body is not sent
	 * but its length is. May be called from within api_handle(). */
	void (*reply)(struct api_exchange *exchange, unsigned status, struct gp_buffer *body);
	/* A body that comes in pieces. content_length -1: not known (chunked). For HEAD the
	 * handler begins and ends the stream without writing. */
	void (*stream_begin)(struct api_exchange *exchange, unsigned status, int64_t content_length,
			     const struct api_stream_events *events, void *ctx);
	/* How many bytes stream_write() takes now (512 KiB when empty). */
	size_t (*stream_room)(struct api_exchange *exchange);
	/* Copies; more than stream_room() is a bug and ends the body with an error. */
	void (*stream_write)(struct api_exchange *exchange, struct span bytes);
	/* is_complete false: the body breaks off visibly (no last chunk, a short body). */
	void (*stream_end)(struct api_exchange *exchange, bool is_complete);
	/* Only on an exchange with is_upload. Before this call not a byte of the body is read,
	 * and a client with "Expect: 100-continue" is told to go on only now. */
	void (*upload_begin)(struct api_exchange *exchange, const struct api_upload_events *events, void *ctx);
	/* `n` more bytes may be delivered from now on: it replaces the earlier number. */
	void (*upload_want)(struct api_exchange *exchange, size_t n);
};

struct api_exchange {
	const struct api_exchange_ops *ops; /* borrow */

	/* the request: filled by the gateway, borrowed by everybody else */
	enum api_method method;
	struct span method_name;
	struct span target;     /* raw, as on the request line: "/messages/7?mailbox=A%2FB" */
	struct span body;       /* whole; NIL when there was none */
	bool is_body_too_large; /* it was over GP_MAX_JSON_BODY and was not kept: 413 where a body is read */
	bool is_upload;         /* the body comes in pieces, not in `body`: upload_begin() */
	int64_t upload_length;  /* of an upload: its Content-Length; -1: chunked, not known */
	struct span client;     /* its address: 4 or 16 bytes; NIL: not known (a Unix socket) */
	bool is_tls;
	char account[9];       /* of who asks, in entity tags (api_etag_account()); "": nobody yet */
	char request_id[65];   /* the caller's when it is a sane token, else made */
	uint64_t started_us;   /* monotonic */
	struct gp_arena arena; /* initialised by the gateway, freed by it */

	/* the reply: filled by this room */
	struct api_header headers[API_MAX_REPLY_HEADERS];
	size_t n_headers;
	char spare[API_SPARE_HEADER_BYTES];
	size_t n_spare;             /* bytes of it that are used */
	uint64_t queue_us, imap_us; /* for Server-Timing */
	struct api_app *app;        /* borrow: set by api_handle(); whoever replies without it sets it */
	bool is_pretty;             /* ?pretty=1 */
	bool is_streaming;          /* stream_begin() was called: a failure can only break it off */
	bool has_changed;           /* a write was made: that there is no memory to tell of it does not undo it */
	bool is_outcome_unknown;    /* a write was sent and its answer lost: the problem says so */
	/* For the problem of a precondition that failed: what there is now, as JSON, and its
	 * tag. In the arena; NIL and NULL: not known. */
	struct span current;
	const char *current_etag;
	uint64_t n_json_failures;           /* see api_json_set() */
	struct api_idempotent *idempotent;  /* link: the Idempotency-Key that it holds; see api/idempotency.h */
	struct api_throttle_ticket *ticket; /* own, in the arena: until it is known who asks; see api/throttle.h */

	/* set by a handler that replies later; called at most once */
	void (*gone)(void *ctx);
	void *gone_ctx;
};

/* Asked when line and fields are there, and nothing of the body: is it to be streamed? */
bool api_takes_upload(struct api_app *app, struct api_exchange *exchange);
/* Entry of the room: guards, routes, authenticates, handles. */
void api_handle(struct api_app *app, struct api_exchange *exchange);

#endif
