/*
 * An HTTP exchange under a test's control: the test writes the request, this room
 * answers, and what it answered is kept here. The clock is virtual.
 *
 * Request bytes live in blocks of exactly their size, so that a sanitizer sees a read
 * past their end. What breaks the contract of api/exchange.h (two replies, a write past
 * the room, a header with a line break) aborts.
 */
#ifndef TEST_FAKE_EXCHANGE_H
#define TEST_FAKE_EXCHANGE_H

#include <jansson.h>

#include "api/app.h"

#define FAKE_MAX_HEADERS 32
#define FAKE_STREAM_ROOM (512 * GP_KIB)

struct fake_header {
	const char *name;  /* borrow */
	struct span value; /* own: freed by fake_exchange_deinit() */
};

struct fake_exchange {
	struct api_exchange exchange; /* first: the ops cast back */

	struct fake_header headers[FAKE_MAX_HEADERS];
	size_t n_headers;
	struct span blocks[4]; /* own: method, target, body, client */

	/* what was answered */
	bool is_replied;  /* reply() or stream_end() came */
	bool is_stream;   /* stream_begin() came */
	bool is_complete; /* as stream_end() said; true for a reply() */
	bool is_gone;     /* the client left */
	unsigned status;
	int64_t content_length;                 /* as announced */
	struct gp_buffer body;                  /* own: of the reply or the stream; what HEAD would not send too */
	size_t n_taken;                         /* bytes of the stream that the client has read */
	const struct api_stream_events *events; /* borrow */
	void *events_ctx;                       /* borrow */

	/* an upload */
	bool is_upload_begun, is_upload_ended;
	const struct api_upload_events *upload_events; /* borrow */
	void *upload_ctx;                              /* borrow */
	size_t upload_credit;                          /* what may be delivered */
};

/* `method` and `target` are copied. */
void fake_exchange_init(struct fake_exchange *fake, const char *method, const char *target);
void fake_exchange_init_bytes(struct fake_exchange *fake, struct span method, struct span target);
void fake_exchange_deinit(struct fake_exchange *fake);
/* `name` is borrowed, `value` copied. */
void fake_exchange_add_header(struct fake_exchange *fake, const char *name, const char *value);
void fake_exchange_set_body(struct fake_exchange *fake, struct span body);
/* The address of the client: "\xC0\0\2\1" and the like. */
void fake_exchange_set_client(struct fake_exchange *fake, struct span address);
/* Authorization: Basic for demo:demo. */
void fake_exchange_login(struct fake_exchange *fake);

/* The value of a reply's header, NULL when there is none; aborts when it is repeated. */
const char *fake_exchange_reply_header(const struct fake_exchange *fake, const char *name);
/* The body as JSON (new reference); NULL when it is none. */
json_t *fake_exchange_json(const struct fake_exchange *fake);
/* The text of a member of the reply's object, "" when there is none; valid until the
 * next call. */
const char *fake_exchange_member(const struct fake_exchange *fake, const char *name);

/* The request is an upload of `len` bytes, -1: chunked. */
void fake_exchange_set_upload(struct fake_exchange *fake, int64_t len);
/* The client sends: as much as is wanted is delivered, a byte to spare is a defect of
 * sanitizers' kind. How many were taken. Answered, all are: they are dropped. */
size_t fake_exchange_send(struct fake_exchange *fake, struct span bytes);
/* The client has sent all of it. */
void fake_exchange_end_upload(struct fake_exchange *fake);
/* The client reads `len` more bytes of the stream: room() is called. */
void fake_exchange_take(struct fake_exchange *fake, size_t len);
/* The client leaves: gone() is called if it is set and nothing was replied. */
void fake_exchange_leave(struct fake_exchange *fake);

/* A virtual clock for struct api_app. */
uint64_t fake_now_us(void);
void fake_set_now_us(uint64_t now_us);

#endif
