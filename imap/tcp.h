/*
 * The real network: libuv TCP and name resolution, with TLS through imap/tls.h.
 * Addresses of a name are tried in turn, each within its share of the connect
 * timeout (RFC 8305 in its simplest form: both families interleaved, a new attempt
 * every 250 ms while earlier ones are pending).
 */
#ifndef GP_IMAP_TCP_H
#define GP_IMAP_TCP_H

#include <uv.h>

#include "base/timers.h"
#include "imap/transport.h"

struct imap_tls_context;

/* One TLS client configuration: TLS 1.2 at least, verification of chain and name
 * on, SNI always (not for addresses), the system's CAs and, if not NULL, `ca_file`.
 * NULL on failure, and `error` says why. */
struct imap_tls_context *imap_tls_context_new(const char *ca_file, struct gp_error *error);
void imap_tls_context_free(struct imap_tls_context **context);

/* `loop`, `timers` and `tls` are borrowed and outlive the network. `tls` may be NULL
 * when no endpoint uses TLS. */
struct imap_network *imap_tcp_network_new(uv_loop_t *loop, struct gp_timers *timers, struct imap_tls_context *tls);
/* All its transports must be closed; their handles finish in the loop first. */
void imap_tcp_network_free(struct imap_network **network);

#endif
