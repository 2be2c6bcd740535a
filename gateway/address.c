#include "gateway/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 1024

static enum gp_status parse_unix(struct span path, struct gateway_address *address, struct gp_error *error)
{
	if (path.len == 0 || memchr(path.ptr, '\0', path.len)) {
		return gp_error_set(error, GP_INVALID, "a path must follow unix:");
	}
	if (path.len >= sizeof address->path) {
		return gp_error_set(error, GP_INVALID, "the path of a Unix socket is at most %zu bytes",
				    sizeof address->path - 1);
	}
	address->is_unix = true;
	memcpy(address->path, path.ptr, path.len);
	return GP_OK;
}

enum gp_status gateway_address_parse(struct span text, struct gateway_address *address_out, struct gp_error *error)
{
	struct gateway_address address = {.is_unix = false};
	struct span host = text;
	size_t colon = text.len;

	if (span_starts_with(text, "unix:")) {
		enum gp_status status = parse_unix(span_from(text, 5), &address, error);
		if (status == GP_OK) {
			*address_out = address;
		}
		return status;
	}
	while (colon > 0 && text.ptr[colon - 1] != ':') {
		colon--;
	}
	if (colon == 0) {
		return gp_error_set(error, GP_INVALID, "it must be host:port, [v6]:port or unix:/path");
	}
	struct span port = span_from(text, colon);
	host.len = colon - 1;
	if (host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']') {
		host = span_slice(host, 1, host.len - 2);
	} else if (span_find_char(host, ':') >= 0) {
		return gp_error_set(error, GP_INVALID, "an IPv6 address stands in brackets: [::1]:8080");
	}
	uint32_t number;
	if (!span_to_u32(port, &number) || number > UINT16_MAX) {
		return gp_error_set(error, GP_INVALID, "the port must be a number from 0 to 65535");
	}
	if (host.len == 0 || host.len >= sizeof address.host || memchr(host.ptr, '\0', host.len)) {
		return gp_error_set(error, GP_INVALID, "the host is missing or too long (0.0.0.0 means all addresses)");
	}
	memcpy(address.host, host.ptr, host.len);
	address.port = (uint16_t)number;
	*address_out = address;
	return GP_OK;
}

bool gateway_address_is_loopback(const struct gateway_address *address)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (address->is_unix || strcmp(address->host, "localhost") == 0) {
		return true;
	}
	if (inet_pton(AF_INET, address->host, &v4) == 1) {
		return ntohl(v4.s_addr) >> 24 == 127;
	}
	return inet_pton(AF_INET6, address->host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

void gateway_address_print(const struct gateway_address *address, bool is_tls, char *out, size_t size)
{
	const char *scheme = is_tls ? "https" : "http";

	if (address->is_unix) {
		snprintf(out, size, "unix:%s", address->path);
	} else if (strchr(address->host, ':')) {
		snprintf(out, size, "%s://[%s]:%u", scheme, address->host, (unsigned)address->port);
	} else {
		snprintf(out, size, "%s://%s:%u", scheme, address->host, (unsigned)address->port);
	}
}

static enum gp_status resolve(const struct gateway_address *address, bool is_passive, struct addrinfo **found_out,
			      struct gp_error *error)
{
	char port[8];
	struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | (is_passive ? AI_PASSIVE : 0),
	};

	snprintf(port, sizeof port, "%u", (unsigned)address->port);
	int rc = getaddrinfo(address->host, port, &hints, found_out);
	if (rc != 0) {
		return gp_error_set(error, GP_INVALID, "the address %s cannot be found: %s", address->host,
				    gai_strerror(rc));
	}
	return GP_OK;
}

static struct sockaddr_un unix_address(const struct gateway_address *address)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};

	memcpy(name.sun_path, address->path, sizeof name.sun_path);
	return name;
}

/* A socket file outlives a program that was killed. It is removed only when it is a
 * socket and nobody answers behind it. */
static void remove_stale(const struct gateway_address *address)
{
	struct sockaddr_un name = unix_address(address);
	struct stat st;

	if (lstat(address->path, &st) != 0 || !S_ISSOCK(st.st_mode)) {
		return;
	}
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		return;
	}
	if (connect(fd, (struct sockaddr *)&name, sizeof name) != 0 && errno == ECONNREFUSED) {
		unlink(address->path);
	}
	close(fd);
}

static enum gp_status listen_on(const struct sockaddr *name, socklen_t len, int family, const char *shown, int *fd_out,
				struct gp_error *error)
{
	int one = 1;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		return gp_error_set(error, GP_IO, "no socket for %s: %s", shown, strerror(errno));
	}
	if (family != AF_UNIX) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	}
	if (bind(fd, name, len) != 0 || listen(fd, BACKLOG) != 0) {
		gp_error_set(error, GP_IO, "cannot listen on %s: %s", shown, strerror(errno));
		close(fd);
		return GP_IO;
	}
	*fd_out = fd;
	return GP_OK;
}

static void learn_port(int fd, struct gateway_address *address)
{
	struct sockaddr_storage name = {.ss_family = AF_UNSPEC};
	socklen_t len = sizeof name;

	if (getsockname(fd, (struct sockaddr *)&name, &len) != 0) {
		return;
	}
	if (name.ss_family == AF_INET) {
		struct sockaddr_in v4;
		memcpy(&v4, &name, sizeof v4);
		address->port = ntohs(v4.sin_port);
	} else if (name.ss_family == AF_INET6) {
		struct sockaddr_in6 v6;
		memcpy(&v6, &name, sizeof v6);
		address->port = ntohs(v6.sin6_port);
	}
}

enum gp_status gateway_address_listen(struct gateway_address *address, int *fd_out, struct gp_error *error)
{
	struct addrinfo *found = NULL;
	char shown[300];

	gateway_address_print(address, false, shown, sizeof shown);
	if (address->is_unix) {
		struct sockaddr_un name = unix_address(address);
		remove_stale(address);
		return listen_on((struct sockaddr *)&name, sizeof name, AF_UNIX, shown, fd_out, error);
	}
	enum gp_status status = resolve(address, true, &found, error);
	if (status != GP_OK) {
		return status;
	}
	status = GP_IO;
	for (struct addrinfo *ai = found; ai && status != GP_OK; ai = ai->ai_next) {
		struct gp_error first = {.status = GP_OK};
		status = listen_on(ai->ai_addr, ai->ai_addrlen, ai->ai_family, shown, fd_out, &first);
		if (status != GP_OK) {
			gp_error_set(error, status, "%s", first.text);
		}
	}
	freeaddrinfo(found);
	if (status == GP_OK) {
		gp_error_clear(error);
		learn_port(*fd_out, address);
	}
	return status;
}

void gateway_address_unlink(const struct gateway_address *address)
{
	if (address->is_unix) {
		unlink(address->path);
	}
}

static enum gp_status connect_to(const struct sockaddr *name, socklen_t len, int family, unsigned timeout_ms,
				 int *fd_out, struct gp_error *error)
{
	struct timeval timeout = {.tv_sec = (time_t)(timeout_ms / 1000),
				  .tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000};
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		return gp_error_set(error, GP_IO, "no socket: %s", strerror(errno));
	}
	/* SO_SNDTIMEO bounds connect() as well. */
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
	if (connect(fd, name, len) != 0) {
		gp_error_set(error, GP_REFUSED, "cannot connect: %s", strerror(errno));
		close(fd);
		return GP_REFUSED;
	}
	*fd_out = fd;
	return GP_OK;
}

enum gp_status gateway_address_connect(const struct gateway_address *address, unsigned timeout_ms, int *fd_out,
				       struct gp_error *error)
{
	struct gateway_address to = *address;
	struct addrinfo *found = NULL;

	if (address->is_unix) {
		struct sockaddr_un name = unix_address(address);
		return connect_to((struct sockaddr *)&name, sizeof name, AF_UNIX, timeout_ms, fd_out, error);
	}
	if (address->port == 0) {
		return gp_error_set(error, GP_INVALID, "port 0 cannot be reached: give --listen the real port");
	}
	if (strcmp(to.host, "0.0.0.0") == 0) {
		snprintf(to.host, sizeof to.host, "127.0.0.1");
	} else if (strcmp(to.host, "::") == 0) {
		snprintf(to.host, sizeof to.host, "::1");
	}
	enum gp_status status = resolve(&to, false, &found, error);
	if (status != GP_OK) {
		return status;
	}
	status = GP_REFUSED;
	for (struct addrinfo *ai = found; ai && status != GP_OK; ai = ai->ai_next) {
		status = connect_to(ai->ai_addr, ai->ai_addrlen, ai->ai_family, timeout_ms, fd_out, error);
	}
	freeaddrinfo(found);
	if (status == GP_OK) {
		gp_error_clear(error);
	}
	return status;
}
