/*
 * Failed logins are slowed down: of one account, and from one address.
 *
 * Every request that may log in takes a *ticket* before anything is sent, and pays for the
 * attempt in advance: many guesses at once are as dear as one after the other. Requests
 * with the same credential, from the same address, that wait at the same time share one
 * attempt, as the pool tries it once for all of them. What becomes of it:
 *
 *   proved    the IMAP server let it in: it is paid back, and this credential from this
 *             address is known as good for a day
 *   refused   401: it stays paid
 *   neither   400, 502, 504, …: it is paid back
 *   left      the client did not wait: it stays paid, unless others do
 *
 * What is known as good is let in although the account is throttled, so that nobody is
 * locked out by a stranger; but only while not too many others are refused from the same
 * address, else a right guess could be told from a wrong one.
 *
 * A user name that nobody has is throttled like any other. Names and secrets are not kept,
 * only keyed digests of them. One thread; memory is bounded by GP_MAX_THROTTLED.
 */
#ifndef GP_API_THROTTLE_H
#define GP_API_THROTTLE_H

#include "api/app.h"

/* So many failures at once, and then one in each interval. */
#define API_THROTTLE_ACCOUNT_BURST 20
#define API_THROTTLE_ACCOUNT_MS 60000
#define API_THROTTLE_ADDRESS_BURST 100
#define API_THROTTLE_ADDRESS_MS 3000
/* Refused ones of one account from one address, before what is known as good is refused too. */
#define API_THROTTLE_REFUSED_BURST 100
#define API_THROTTLE_REFUSED_MS 30000
#define API_THROTTLE_KNOWN_MS ((uint64_t)24 * 60 * 60 * 1000)

struct api_throttle;

/* NULL when memory or randomness ends. `timers` is borrowed, for the clock. */
struct api_throttle *api_throttle_new(struct gp_timers *timers, bool (*random)(void *to, size_t len));
void api_throttle_free(struct api_throttle **throttle);

/* True: go on; the exchange has a ticket. False: replied, 429 or 503. Without a throttle
 * in the app, nothing is slowed. */
bool api_throttle_enter(struct api_exchange *exchange, const struct imap_credential *credential);
/* What became of it; each is a no-op when the exchange has no ticket (any more). */
void api_throttle_prove(struct api_exchange *exchange);
void api_throttle_settle(struct api_exchange *exchange, unsigned status);
void api_throttle_leave(struct api_exchange *exchange);

#endif
