/*
 * Where the parts of a request lie in the connection's memory, for libmicrohttpd before
 * 0.9.77 (Debian 12). That version ends names and values at a NUL, takes a bare LF for the
 * end of a line, and joins what a folded line holds to the *name* of the field before it:
 * "Content-Length:\r\n 40" is then a field "Content-Length40" without a value. A proxy in
 * front may read all three in another way, and the two would not agree where the request
 * ends.
 *
 * None of it shows in the strings. But they are not copied: each stands where it arrived,
 * and what separates it from the next is known. So what lies elsewhere was written in
 * another way. Later versions refuse all three themselves.
 */
#include "gateway/http_internal.h"

#if MHD_VERSION < 0x00097701

static const char *end_of(struct span text)
{
	return text.ptr + text.len;
}

bool http_layout_is_plain(const struct http_connection *connection, const char *method, const char *version,
			  const struct http_guard_header *headers, size_t n_headers)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
	const char *target = connection->target_in_place;

	if (!info || !target || target != method + strlen(method) + 1 ||
	    version != target + connection->target_len + 1) {
		return false;
	}
	const char *at = version + strlen(version) + 2; /* CR LF */
	for (size_t i = 0; i < n_headers; i++) {
		if (headers[i].name.ptr != at) {
			return false;
		}
		at = end_of(headers[i].value) + 2;
	}
	return at + 2 == method + info->header_size;
}

#else

bool http_layout_is_plain(const struct http_connection *connection, const char *method, const char *version,
			  const struct http_guard_header *headers, size_t n_headers)
{
	(void)connection;
	(void)method;
	(void)version;
	(void)headers;
	(void)n_headers;
	return true;
}

#endif
