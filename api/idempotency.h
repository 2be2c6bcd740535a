/*
 * Idempotency-Key: what came of the requests that write, so that one that is sent again
 * is not done again. In this process for now; a shared store takes the same calls.
 *
 * A key is the account's that sent it (its credential), and stands for one request:
 * method, target, type and length, and the SHA-256 of the body.
 *
 *	FIRST   it was not seen: do it
 *	DONE    it was done: the same reply again, with Idempotent-Replayed
 *	LOST    it was sent, and whether it was done is not known: find out, do not repeat
 *
 * and what is answered here: another request under the key 422, one that is still under
 * way 409. Replies of 2xx are kept for a day, within caps; failures are not: nothing was
 * done, and the next attempt is one more. A request holds its key until it is replied to,
 * or leaves.
 *
 * Use: api_idempotency_enter() when all is validated; for a streamed body then _pass()
 * each piece and ask _is_same() before the last of it is used. _note() keeps what a later
 * request needs to find out. The reply settles it (api/reply.c), so does the job's end.
 */
#ifndef GP_API_IDEMPOTENCY_H
#define GP_API_IDEMPOTENCY_H

#include "api/router.h"

struct api_idempotency;

/* NULL when memory ends. `timers` is borrowed, for the clock. */
struct api_idempotency *api_idempotency_new(struct gp_timers *timers);
void api_idempotency_free(struct api_idempotency **memory);

enum api_idempotency_state {
	API_IDEMPOTENCY_NONE, /* no key */
	API_IDEMPOTENCY_FIRST,
	API_IDEMPOTENCY_DONE, /* streamed bodies only: compare, then api_idempotency_replay() */
	API_IDEMPOTENCY_LOST, /* likewise, and after a note */
};

/* False: replied. A request with a whole body has been compared, and replayed if it was
 * done. */
bool api_idempotency_enter(struct api_request *request);
enum api_idempotency_state api_idempotency_state(const struct api_exchange *exchange);
/* The next octets of a streamed body. */
void api_idempotency_pass(struct api_exchange *exchange, struct span octets);
/* All have passed: false when the key stands for another body. Once. */
bool api_idempotency_is_same(struct api_exchange *exchange);
/* 422: the key stands for another request. */
void api_idempotency_refuse(struct api_exchange *exchange);
/* The reply that was given the first time. */
void api_idempotency_replay(struct api_exchange *exchange);
/* What is to be known of this request if nothing is heard of it; NIL: it was not done. */
void api_idempotency_note(struct api_exchange *exchange, struct span note);
/* LOST: what was noted. */
struct span api_idempotency_noted(const struct api_exchange *exchange);

/* For api/reply.c: this is the reply. Nothing without a key. */
void api_idempotency_settle(struct api_exchange *exchange, unsigned status, struct span body);
/* For whoever has to do with `gone`: there will be no reply. */
void api_idempotency_leave(struct api_exchange *exchange, bool is_unknown);

#endif
