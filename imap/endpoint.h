/* Where an IMAP server is and how it is spoken to. One for each configured upstream;
 * made at start-up, outlives every pool and session. */
#ifndef GP_IMAP_ENDPOINT_H
#define GP_IMAP_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

enum imap_security {
	IMAP_SECURITY_TLS,      /* from the first byte (RFC 8314) */
	IMAP_SECURITY_STARTTLS, /* required before anything else */
	IMAP_SECURITY_NONE,     /* plain text: loopback, or explicitly allowed */
};

struct imap_endpoint {
	char host[256]; /* a name or an address, without brackets */
	uint16_t port;
	enum imap_security security;
};

/* Reads "imaps://host[:port]" or "imap://host[:port]" ("[v6]" too; defaults 993 and
 * 143; imap:// means STARTTLS). User info, a path other than "/", a query or a bad
 * port is GP_INVALID, and `error` says which. */
enum gp_status imap_endpoint_parse(struct span url, struct imap_endpoint *endpoint_out,
				   struct gp_error *error) GP_MUST_USE;
/* localhost, 127.0.0.0/8 or ::1 */
bool imap_endpoint_is_loopback(const struct imap_endpoint *endpoint);

#endif
