#include "imap/endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define PORT_IMAPS 993
#define PORT_IMAP 143

static enum gp_status fail(struct gp_error *error, const char *why)
{
	/* The URL itself is not quoted: someone may have put a password into it. */
	return gp_error_set(error, GP_INVALID, "IMAP URL: %s", why);
}

static bool is_host_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
	       c == '_';
}

/* Splits "host", "host:port" or "[v6]:port"; the port is NIL when there is no colon. */
static const char *split_authority(struct span authority, struct span *host_out, struct span *port_out)
{
	struct span host, rest;

	if (span_starts_with(authority, "[")) {
		ptrdiff_t end = span_find_char(authority, ']');
		if (end < 0) {
			return "\"[\" without \"]\"";
		}
		host = span_slice(authority, 1, (size_t)end - 1);
		rest = span_from(authority, (size_t)end + 1);
	} else {
		ptrdiff_t colon = span_find_char(authority, ':');
		host = colon < 0 ? authority : span_slice(authority, 0, (size_t)colon);
		rest = span_from(authority, host.len);
	}
	if (rest.len > 0 && rest.ptr[0] != ':') {
		return "only a port may follow \"]\"";
	}
	*port_out = rest.len > 0 ? span_from(rest, 1) : SPAN_NIL;
	*host_out = host;
	return NULL;
}

static const char *check_host(struct span host, bool is_v6, struct imap_endpoint *endpoint)
{
	struct in6_addr address;

	if (host.len == 0) {
		return "the host is missing";
	}
	if (host.len >= sizeof endpoint->host) {
		return "the host's name is too long";
	}
	for (size_t i = 0; !is_v6 && i < host.len; i++) {
		if (!is_host_char(host.ptr[i])) {
			return "the host holds a character that no name or address has";
		}
	}
	memcpy(endpoint->host, host.ptr, host.len);
	endpoint->host[host.len] = '\0';
	if (is_v6 && (span_find_char(host, '\0') >= 0 || inet_pton(AF_INET6, endpoint->host, &address) != 1)) {
		return "there is no IPv6 address in the brackets";
	}
	return NULL;
}

enum gp_status imap_endpoint_parse(struct span url, struct imap_endpoint *endpoint_out, struct gp_error *error)
{
	struct imap_endpoint endpoint = {.security = IMAP_SECURITY_TLS, .port = PORT_IMAPS};
	struct span rest, host, port;

	if (span_starts_with_nocase(url, "imaps://")) {
		rest = span_from(url, strlen("imaps://"));
	} else if (span_starts_with_nocase(url, "imap://")) {
		rest = span_from(url, strlen("imap://"));
		endpoint.security = IMAP_SECURITY_STARTTLS;
		endpoint.port = PORT_IMAP;
	} else {
		return fail(error, "it must begin with imaps:// or imap://");
	}
	if (span_find_char(rest, '?') >= 0 || span_find_char(rest, '#') >= 0) {
		return fail(error, "a query or fragment is not allowed");
	}
	if (span_find_char(rest, '@') >= 0) {
		return fail(error, "a user name or password is not allowed");
	}
	ptrdiff_t slash = span_find_char(rest, '/');
	if (slash >= 0 && (size_t)slash + 1 != rest.len) {
		return fail(error, "a path is not allowed");
	}
	struct span authority = slash < 0 ? rest : span_slice(rest, 0, (size_t)slash);
	const char *why = split_authority(authority, &host, &port);
	if (!why) {
		why = check_host(host, span_starts_with(authority, "["), &endpoint);
	}
	if (why) {
		return fail(error, why);
	}
	if (!span_is_nil(port)) {
		uint32_t number;
		if (port.len > 5 || !span_to_u32(port, &number) || number == 0 || number > UINT16_MAX) {
			return fail(error, "the port must be a number from 1 to 65535");
		}
		endpoint.port = (uint16_t)number;
	}
	*endpoint_out = endpoint;
	return GP_OK;
}

bool imap_endpoint_is_loopback(const struct imap_endpoint *endpoint)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (span_equal_text_nocase(span_of(endpoint->host), "localhost")) {
		return true;
	}
	if (inet_pton(AF_INET, endpoint->host, &v4) == 1) {
		return ntohl(v4.s_addr) >> 24 == 127;
	}
	return inet_pton(AF_INET6, endpoint->host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}
