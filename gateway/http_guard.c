#include "gateway/http_guard.h"

#include "base/limits.h"

/* What libmicrohttpd keeps of a field beside its text: a record, and the line's ": " and CR LF. */
#define FIELD_BYTES (64 + 4)

/* RFC 9110 section 5.6.2: tchar */
static bool is_token(struct span s)
{
	static const char marks[] = "!#$%&'*+-.^_`|~";

	if (s.len == 0) {
		return false;
	}
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		bool is_alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
		if (!is_alnum && !(c && strchr(marks, c))) {
			return false;
		}
	}
	return true;
}

/* RFC 9110 section 5.5: HTAB, SP, visible and obs-text */
static bool is_field_value(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		if ((c < 0x20 && c != '\t') || c == 0x7F) {
			return false;
		}
	}
	return true;
}

/* RFC 3986 section 3.2: what a host and a port are made of; no user info. */
static bool is_host(struct span s)
{
	static const char marks[] = "-._~!$&'()*+,;=:[]%";

	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		bool is_alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
		if (!is_alnum && !(c && strchr(marks, c))) {
			return false;
		}
	}
	return true;
}

struct http_guard_target http_guard_split(struct span target)
{
	static const char *const schemes[] = {"http://", "https://"};
	struct http_guard_target parts = {.authority = SPAN_NIL, .rest = target};

	for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
		if (span_starts_with_nocase(target, schemes[i])) {
			struct span rest = span_from(target, strlen(schemes[i]));
			size_t len = 0;
			while (len < rest.len && rest.ptr[len] != '/' && rest.ptr[len] != '?') {
				len++;
			}
			parts.authority = span_slice(rest, 0, len);
			parts.rest = span_from(rest, len);
		}
	}
	return parts;
}

static bool is_target(struct span target)
{
	struct http_guard_target parts = http_guard_split(target);
	bool is_absolute = !span_is_nil(parts.authority);

	if (is_absolute ? parts.authority.len == 0 || !is_host(parts.authority)
			: target.len == 0 || target.ptr[0] != '/') {
		return false;
	}
	for (size_t i = 0; i < target.len; i++) {
		unsigned char c = (unsigned char)target.ptr[i];
		if (c < 0x21 || c > 0x7E) {
			return false;
		}
	}
	return true;
}

static struct http_guard_verdict refuse(unsigned status, const char *detail)
{
	return (struct http_guard_verdict){.status = status, .detail = detail};
}

static struct http_guard_verdict check_request_line(const struct http_guard_request *request)
{
	if (request->target.len > GP_MAX_TARGET) {
		return refuse(414, "The target is longer than 8 KiB.");
	}
	if (!is_token(request->method) || request->method.len > HTTP_GUARD_MAX_METHOD) {
		return refuse(400, "The method is not a token.");
	}
	if (!is_target(request->target)) {
		return refuse(400,
			      "The target must begin with / or http://host and hold visible ASCII characters only.");
	}
	if (!span_equal_text(request->version, "HTTP/1.1") && !span_equal_text(request->version, "HTTP/1.0")) {
		return refuse(400, "The version must be HTTP/1.1 or HTTP/1.0.");
	}
	return (struct http_guard_verdict){.status = 0};
}

/* The fields of one value, of those that anybody here reads: sent twice, two programs may take one
 * each (where a request ends, whose it is, what it says it knows). Not X-Request-Id, to which every
 * proxy may add its own: the first counts. */
#define ONCE(X)                                                                                                        \
	X(CONTENT_LENGTH, "Content-Length")                                                                            \
	X(TRANSFER_ENCODING, "Transfer-Encoding")                                                                      \
	X(HOST, "Host")                                                                                                \
	X(AUTHORIZATION, "Authorization")                                                                              \
	X(CONTENT_TYPE, "Content-Type")                                                                                \
	X(CONTENT_RANGE, "Content-Range")                                                                              \
	X(RANGE, "Range")                                                                                              \
	X(IF_RANGE, "If-Range")                                                                                        \
	X(IDEMPOTENCY_KEY, "Idempotency-Key")                                                                          \
	X(LAST_EVENT_ID, "Last-Event-ID")                                                                              \
	X(ORIGIN, "Origin")                                                                                            \
	X(FETCH_SITE, "Sec-Fetch-Site")                                                                                \
	X(PREFLIGHT_METHOD, "Access-Control-Request-Method")

enum once {
#define X(id, name) ONCE_##id,
	ONCE(X)
#undef X
		N_ONCE
};

struct singletons {
	const struct http_guard_header *of[N_ONCE]; /* borrow */
};

/* NULL, or what is wrong: the field is one of those, and was there before. */
static const char *note(const struct http_guard_header *header, struct singletons *seen)
{
	static const char *const names[] = {
#define X(id, name) name,
		ONCE(X)
#undef X
	};
	static const char *const repeated[] = {
#define X(id, name) name " is given more than once.",
		ONCE(X)
#undef X
	};

	for (size_t i = 0; i < N_ONCE; i++) {
		if (span_equal_text_nocase(header->name, names[i])) {
			if (seen->of[i]) {
				return repeated[i];
			}
			seen->of[i] = header;
		}
	}
	return NULL;
}

static struct http_guard_verdict check_framing(const struct singletons *seen, bool is_http_1_0)
{
	const struct http_guard_header *length = seen->of[ONCE_CONTENT_LENGTH];
	const struct http_guard_header *coding = seen->of[ONCE_TRANSFER_ENCODING];
	struct http_guard_verdict verdict = {.status = 0};

	if (coding) {
		if (length) {
			return refuse(400, "Content-Length and Transfer-Encoding exclude each other.");
		}
		if (is_http_1_0) {
			return refuse(400, "HTTP/1.0 has no Transfer-Encoding.");
		}
		if (!span_equal_text_nocase(coding->value, "chunked")) {
			return refuse(400, "The only Transfer-Encoding is chunked.");
		}
		verdict.has_body = true;
	}
	if (length) {
		if (!span_to_u64(length->value, &verdict.content_length)) {
			return refuse(400, "Content-Length is not a number.");
		}
		verdict.has_content_length = true;
		verdict.has_body = verdict.content_length > 0;
	}
	return verdict;
}

static size_t head_size(const struct http_guard_request *request)
{
	size_t n_bytes = request->method.len + request->target.len;

	for (size_t i = 0; i < request->n_headers; i++) {
		n_bytes += request->headers[i].name.len + request->headers[i].value.len + FIELD_BYTES;
	}
	return n_bytes;
}

static struct http_guard_verdict check(const struct http_guard_request *request, size_t n_bytes)
{
	struct singletons seen = {.of = {NULL}};
	bool is_http_1_0 = span_equal_text(request->version, "HTTP/1.0");
	struct http_guard_verdict verdict = check_request_line(request);

	if (verdict.status != 0) {
		return verdict;
	}
	if (request->n_headers > HTTP_GUARD_MAX_HEADERS) {
		return refuse(431, "There are more than 100 header fields.");
	}
	if (n_bytes > HTTP_GUARD_MAX_HEAD) {
		return refuse(431, "The request line and the header fields are too long.");
	}
	for (size_t i = 0; i < request->n_headers; i++) {
		const struct http_guard_header *header = &request->headers[i];
		if (!is_token(header->name)) {
			return refuse(400, "The name of a header field is not a token.");
		}
		if (!is_field_value(header->value)) {
			return refuse(400, "A header field holds control characters.");
		}
		const char *repeated = note(header, &seen);
		if (repeated) {
			return refuse(400, repeated);
		}
	}
	const struct http_guard_header *host = seen.of[ONCE_HOST];
	if (!host && !is_http_1_0) {
		return refuse(400, "Host is missing.");
	}
	if (host && !is_host(host->value)) {
		return refuse(400, "Host is not a host.");
	}
	return check_framing(&seen, is_http_1_0);
}

struct http_guard_verdict http_guard_check(const struct http_guard_request *request)
{
	size_t n_bytes = head_size(request);
	struct http_guard_verdict verdict = check(request, n_bytes);

	verdict.is_tight = n_bytes > HTTP_GUARD_TIGHT_HEAD;
	return verdict;
}
