#include "gateway/healthcheck.h"

#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#define TIMEOUT_MS 5000

static const char question[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/* The status line is all that matters. */
static enum gp_status judge(struct span answer, struct gp_error *error)
{
	if (span_starts_with(answer, "HTTP/1.1 200 ")) {
		return GP_OK;
	}
	if (answer.len == 0) {
		return gp_error_set(error, GP_LOST, "no answer");
	}
	ptrdiff_t end = span_find_char(answer, '\r');
	return gp_error_set(error, GP_NO, "%.*s",
			    SPAN_ARGS(span_slice(answer, 0, end >= 0 && end < 80 ? (size_t)end : 80)));
}

static enum gp_status ask_plain(int fd, struct gp_error *error)
{
	char answer[512];
	size_t len = 0;

	if (send(fd, question, sizeof question - 1, MSG_NOSIGNAL) != (ssize_t)sizeof question - 1) {
		return gp_error_set(error, GP_LOST, "the question could not be sent");
	}
	while (len < sizeof answer) {
		ssize_t n = recv(fd, answer + len, sizeof answer - len, 0);
		if (n <= 0) {
			break;
		}
		len += (size_t)n;
	}
	return judge(span_make(answer, len), error);
}

static enum gp_status ask_tls(int fd, struct gp_error *error)
{
	char answer[512];
	size_t len = 0;
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL *ssl = context ? SSL_new(context) : NULL;

	if (!ssl || SSL_set_fd(ssl, fd) != 1) {
		SSL_free(ssl);
		SSL_CTX_free(context);
		return gp_error_set(error, GP_NO_MEMORY, "out of memory");
	}
	if (SSL_connect(ssl) == 1 && SSL_write(ssl, question, (int)sizeof question - 1) == (int)sizeof question - 1) {
		while (len < sizeof answer) {
			int n = SSL_read(ssl, answer + len, (int)(sizeof answer - len));
			if (n <= 0) {
				break;
			}
			len += (size_t)n;
		}
	}
	SSL_free(ssl);
	SSL_CTX_free(context);
	return judge(span_make(answer, len), error);
}

enum gp_status gateway_healthcheck(const struct gateway_address *address, bool is_tls, struct gp_error *error)
{
	int fd;
	enum gp_status status = gateway_address_connect(address, TIMEOUT_MS, &fd, error);

	if (status != GP_OK) {
		return status;
	}
	status = is_tls ? ask_tls(fd, error) : ask_plain(fd, error);
	close(fd);
	return status;
}
