/*
 * From an endpoint to one connected socket: name resolution on libuv's workers, then
 * its addresses, raced in the simple form of RFC 8305. Used by imap/tcp.c alone, which
 * also keeps the deadline.
 *
 * A dial belongs to the loop: it is freed when the last thing of libuv's that points at
 * it has ended. That may be long after anyone waits, because a name that is being
 * resolved in a worker cannot be taken back; the dial is then alone with it and touches
 * nothing else.
 */
#ifndef GP_IMAP_DIAL_H
#define GP_IMAP_DIAL_H

#include <uv.h>

#include "base/timers.h"
#include "imap/endpoint.h"

struct imap_dial;

/* Once, from the loop; the dial is over then. Either `tcp`, which is the receiver's:
 * uv_close() it and free() it in the callback; or NULL and why: GP_RESOLVE, GP_REFUSED,
 * GP_CONNECT_TIMEOUT (the kernel's), GP_NO_MEMORY. */
typedef void (*imap_dial_done_fn)(void *ctx, uv_tcp_t *tcp, const struct gp_error *error);

/* `loop` and `timers` are borrowed and outlive it, `endpoint` until done or cancel.
 * NULL when memory ends. */
struct imap_dial *imap_dial_start(uv_loop_t *loop, struct gp_timers *timers, const struct imap_endpoint *endpoint,
				  imap_dial_done_fn done, void *ctx);
/* Done does not come any more. */
void imap_dial_cancel(struct imap_dial **dial);

bool imap_dial_is_resolving(const struct imap_dial *dial);

#endif
