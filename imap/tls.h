/*
 * TLS for one connection, without a socket: bytes from the wire are fed in, bytes
 * for the wire are appended to a buffer of the caller's, plain text is read and
 * written. Used by imap/tcp.c alone; imap/tls.c is the only file that knows OpenSSL's
 * SSL. The context (imap/tcp.h) also keeps the sessions that servers issue, so that
 * the next connection to the same host and port resumes; it outlives its connections.
 *
 * Nothing here calls back. A failure sets `error` (GP_TLS, GP_LOST for an orderly
 * end, GP_LIMIT and GP_NO_MEMORY for `out`); after one only imap_tls_free() is of use.
 * What a failure leaves in `out` (an alert) is worth sending.
 */
#ifndef GP_IMAP_TLS_H
#define GP_IMAP_TLS_H

#include "base/buffer.h"
#include "imap/endpoint.h"

struct imap_tls;
struct imap_tls_context;

/* The most that imap_tls_read() gives at once: one TLS record. */
#define IMAP_TLS_MAX_PLAIN 16384

/* A client connection that will accept only a certificate for endpoint->host. `out` is
 * borrowed for the connection's life, `endpoint` too. NULL on failure: an empty host
 * is GP_TLS. */
struct imap_tls *imap_tls_new(struct imap_tls_context *context, const struct imap_endpoint *endpoint,
			      struct gp_buffer *out, struct gp_error *error);
void imap_tls_free(struct imap_tls **tls);

/* Bytes from the wire, borrowed until imap_tls_keep(); what was fed before must have
 * been kept or read to the end. */
void imap_tls_feed(struct imap_tls *tls, struct span bytes);
/* Copies what was fed and not used, before the bytes go away. */
enum gp_status imap_tls_keep(struct imap_tls *tls) GP_MUST_USE;
/* Nothing will be fed any more: a stream that ends without close_notify is an error. */
void imap_tls_end(struct imap_tls *tls);

/* Goes as far as the bytes reach; first call: sends the hello. */
enum gp_status imap_tls_handshake(struct imap_tls *tls, bool *is_done_out, struct gp_error *error) GP_MUST_USE;
/* At most one record into `room`; 0 bytes: feed more. GP_LOST after close_notify. */
enum gp_status imap_tls_read(struct imap_tls *tls, char *room, size_t size, size_t *len_out,
			     struct gp_error *error) GP_MUST_USE;
enum gp_status imap_tls_write(struct imap_tls *tls, struct span bytes, struct gp_error *error) GP_MUST_USE;
/* Appends close_notify, if it can. */
void imap_tls_shutdown(struct imap_tls *tls);

/* For the log: "TLSv1.3", and whether an earlier session was resumed. */
const char *imap_tls_version(const struct imap_tls *tls);
bool imap_tls_is_resumed(const struct imap_tls *tls);

#endif
