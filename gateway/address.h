/*
 * Where the program listens: "host:port", "[v6]:port" or "unix:/path". Reading the
 * text, making the listening socket, and connecting to one's own (the health check).
 * Names are resolved at start-up, blocking; nothing here runs inside the loop.
 */
#ifndef GP_GATEWAY_ADDRESS_H
#define GP_GATEWAY_ADDRESS_H

#include <stdint.h>

#include "base/status.h"

struct gateway_address {
	bool is_unix;
	char host[256]; /* a name or an address, without brackets; "" for a Unix socket */
	uint16_t port;  /* 0: any free one */
	char path[108]; /* of a Unix socket, else "" */
};

/* GP_INVALID, and `error` says why. */
enum gp_status gateway_address_parse(struct span text, struct gateway_address *address_out,
				     struct gp_error *error) GP_MUST_USE;
/* localhost, 127.0.0.0/8, ::1 or a Unix socket */
bool gateway_address_is_loopback(const struct gateway_address *address);
/* "http://127.0.0.1:8080", "http://[::1]:8080", "unix:/path"; cut to `size`. */
void gateway_address_print(const struct gateway_address *address, bool is_tls, char *out, size_t size);

/* A bound, listening, non-blocking socket. Where the port of `address` is 0, it is set to the
 * one that was found. A Unix socket that nobody listens on any more is replaced. */
enum gp_status gateway_address_listen(struct gateway_address *address, int *fd_out, struct gp_error *error) GP_MUST_USE;
/* Removes the file of a Unix socket; else nothing. */
void gateway_address_unlink(const struct gateway_address *address);
/* A connected, blocking socket with `timeout_ms` on reads and writes. An address that
 * means "all" is reached over loopback. */
enum gp_status gateway_address_connect(const struct gateway_address *address, unsigned timeout_ms, int *fd_out,
				       struct gp_error *error) GP_MUST_USE;

#endif
