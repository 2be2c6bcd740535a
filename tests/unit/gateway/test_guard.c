#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>

#include "base/limits.h"
#include "gateway/http_guard.h"

#define MAX_FIELDS 6

struct item {
	const char *what;
	const char *method, *target, *version;
	const char *fields[MAX_FIELDS][2];
	unsigned status;
};

static const struct item items[] = {
	/* each refusal stands behind a benign twin */
	{"plain", "GET", "/", "HTTP/1.1", {{"Host", "a"}}, 0},
	{"old version", "GET", "/", "HTTP/1.0", {{NULL, NULL}}, 0},
	{"a method nobody knows", "PROPFIND", "/", "HTTP/1.1", {{"Host", "a"}}, 0},
	{"method with a space", "GE T", "/", "HTTP/1.1", {{"Host", "a"}}, 400},
	{"method with a colon", "GET:", "/", "HTTP/1.1", {{"Host", "a"}}, 400},
	{"empty method", "", "/", "HTTP/1.1", {{"Host", "a"}}, 400},
	{"method too long", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG", "/", "HTTP/1.1", {{"Host", "a"}}, 400},
	{"query and escapes", "GET", "/a%2Fb?c=%00&d=~!", "HTTP/1.1", {{"Host", "a"}}, 0},
	{"no slash", "GET", "a", "HTTP/1.1", {{"Host", "a"}}, 400},
	{"absolute form", "GET", "http://a/", "HTTP/1.1", {{"Host", "a"}}, 0},
	{"absolute form, of more", "GET", "HTTPS://[::1]:80/b?c=http://d", "HTTP/1.1", {{"Host", "a"}}, 0},
	{"absolute form without a path", "GET", "http://a", "HTTP/1.1", {{"Host", "a"}}, 0},
	{"absolute form of a query", "GET", "http://a?b", "HTTP/1.1", {{"Host", "a"}}, 0},
	{"absolute form without a Host", "GET", "http://a/", "HTTP/1.1", {{"Accept", "a"}}, 400},
	{"no host in it", "GET", "http:///a", "HTTP/1.1", {{"Host", "a"}}, 400},
	{"user in it", "GET", "http://a@b/", "HTTP/1.1", {{"Host", "a"}}, 400},
	{"space in it", "GET", "http://a/ b", "HTTP/1.1", {{"Host", "a"}}, 400},
	{"another scheme", "GET", "ftp://a/", "HTTP/1.1", {{"Host", "a"}}, 400},
	{"half a scheme", "GET", "http:/a", "HTTP/1.1", {{"Host", "a"}}, 400},
	{"authority form", "CONNECT", "a:80", "HTTP/1.1", {{"Host", "a"}}, 400},
	{"asterisk form", "OPTIONS", "*", "HTTP/1.1", {{"Host", "a"}}, 400},
	{"empty target", "GET", "", "HTTP/1.1", {{"Host", "a"}}, 400},
	{"space in the target", "GET", "/a b", "HTTP/1.1", {{"Host", "a"}}, 400},
	{"tab in the target", "GET", "/a\tb", "HTTP/1.1", {{"Host", "a"}}, 400},
	{"raw UTF-8 in the target", "GET", "/\xC3\xA9", "HTTP/1.1", {{"Host", "a"}}, 400},
	{"DEL in the target", "GET", "/\x7F", "HTTP/1.1", {{"Host", "a"}}, 400},
	{"HTTP/2", "GET", "/", "HTTP/2.0", {{"Host", "a"}}, 400},
	{"no version", "GET", "/", "", {{"Host", "a"}}, 400},
	{"lower case version", "GET", "/", "http/1.1", {{"Host", "a"}}, 400},

	{"Content-Length", "POST", "/", "HTTP/1.1", {{"Host", "a"}, {"Content-Length", "5"}}, 0},
	{"two Content-Lengths",
	 "POST",
	 "/",
	 "HTTP/1.1",
	 {{"Host", "a"}, {"Content-Length", "5"}, {"Content-Length", "6"}},
	 400},
	{"the same twice",
	 "POST",
	 "/",
	 "HTTP/1.1",
	 {{"Host", "a"}, {"Content-Length", "5"}, {"content-length", "5"}},
	 400},
	{"a list of lengths", "POST", "/", "HTTP/1.1", {{"Host", "a"}, {"Content-Length", "5, 5"}}, 400},
	{"a sign", "POST", "/", "HTTP/1.1", {{"Host", "a"}, {"Content-Length", "+5"}}, 400},
	{"negative", "POST", "/", "HTTP/1.1", {{"Host", "a"}, {"Content-Length", "-1"}}, 400},
	{"hexadecimal", "POST", "/", "HTTP/1.1", {{"Host", "a"}, {"Content-Length", "0x5"}}, 400},
	{"empty length", "POST", "/", "HTTP/1.1", {{"Host", "a"}, {"Content-Length", ""}}, 400},
	{"beyond 64 bits", "POST", "/", "HTTP/1.1", {{"Host", "a"}, {"Content-Length", "18446744073709551616"}}, 400},

	{"chunked", "POST", "/", "HTTP/1.1", {{"Host", "a"}, {"Transfer-Encoding", "chunked"}}, 0},
	{"Chunked", "POST", "/", "HTTP/1.1", {{"Host", "a"}, {"transfer-encoding", "Chunked"}}, 0},
	{"both",
	 "POST",
	 "/",
	 "HTTP/1.1",
	 {{"Host", "a"}, {"Content-Length", "5"}, {"Transfer-Encoding", "chunked"}},
	 400},
	{"both, the other way",
	 "POST",
	 "/",
	 "HTTP/1.1",
	 {{"Host", "a"}, {"Transfer-Encoding", "chunked"}, {"Content-Length", "5"}},
	 400},
	{"twice",
	 "POST",
	 "/",
	 "HTTP/1.1",
	 {{"Host", "a"}, {"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "chunked"}},
	 400},
	{"identity", "POST", "/", "HTTP/1.1", {{"Host", "a"}, {"Transfer-Encoding", "identity"}}, 400},
	{"xchunked", "POST", "/", "HTTP/1.1", {{"Host", "a"}, {"Transfer-Encoding", "xchunked"}}, 400},
	{"gzip, chunked", "POST", "/", "HTTP/1.1", {{"Host", "a"}, {"Transfer-Encoding", "gzip, chunked"}}, 400},
	{"chunked, identity",
	 "POST",
	 "/",
	 "HTTP/1.1",
	 {{"Host", "a"}, {"Transfer-Encoding", "chunked, identity"}},
	 400},
	{"vertical tab", "POST", "/", "HTTP/1.1", {{"Host", "a"}, {"Transfer-Encoding", "\vchunked"}}, 400},
	{"chunked in HTTP/1.0", "POST", "/", "HTTP/1.0", {{"Host", "a"}, {"Transfer-Encoding", "chunked"}}, 400},
	{"space before the colon", "POST", "/", "HTTP/1.1", {{"Host", "a"}, {"Content-Length ", "5"}}, 400},
	{"tab in a name", "POST", "/", "HTTP/1.1", {{"Host", "a"}, {"Transfer-Encoding\t", "chunked"}}, 400},
	{"a name from folding", "POST", "/", "HTTP/1.1", {{"Host", "a"}, {" X", "y"}}, 400},
	{"empty name", "GET", "/", "HTTP/1.1", {{"Host", "a"}, {"", "y"}}, 400},
	{"name in UTF-8", "GET", "/", "HTTP/1.1", {{"Host", "a"}, {"\xC3\xA9", "y"}}, 400},

	{"host and port", "GET", "/", "HTTP/1.1", {{"Host", "[::1]:8080"}}, 0},
	{"no host", "GET", "/", "HTTP/1.1", {{"Accept", "a"}}, 400},
	{"two hosts", "GET", "/", "HTTP/1.1", {{"Host", "a"}, {"Host", "b"}}, 400},
	{"a path in the host", "GET", "/", "HTTP/1.1", {{"Host", "a/b"}}, 400},
	{"user in the host", "GET", "/", "HTTP/1.1", {{"Host", "a@b"}}, 400},
	{"two in one host", "GET", "/", "HTTP/1.1", {{"Host", "a b"}}, 400},
	{"one Authorization", "GET", "/", "HTTP/1.1", {{"Host", "a"}, {"Authorization", "Basic YTpi"}}, 0},
	{"two Authorizations",
	 "GET",
	 "/",
	 "HTTP/1.1",
	 {{"Host", "a"}, {"Authorization", "Basic YTpi"}, {"Authorization", "Basic YTpj"}},
	 400},
	{"two Accepts", "GET", "/", "HTTP/1.1", {{"Host", "a"}, {"Accept", "b"}, {"Accept", "c"}}, 0},
	{"obs-text and a tab", "GET", "/", "HTTP/1.1", {{"Host", "a"}, {"X", "\xE9\tb"}}, 0},
	{"CR in a value", "GET", "/", "HTTP/1.1", {{"Host", "a"}, {"X", "b\rc"}}, 400},
	{"LF in a value", "GET", "/", "HTTP/1.1", {{"Host", "a"}, {"X", "b\nc"}}, 400},
	{"DEL in a value", "GET", "/", "HTTP/1.1", {{"Host", "a"}, {"X", "b\x7F"}}, 400},
};

static struct http_guard_verdict check(const struct item *item)
{
	struct http_guard_header headers[MAX_FIELDS];
	struct http_guard_request request = {
		.method = span_of(item->method),
		.target = span_of(item->target),
		.version = span_of(item->version),
		.headers = headers,
	};

	while (request.n_headers < MAX_FIELDS && item->fields[request.n_headers][0]) {
		headers[request.n_headers].name = span_of(item->fields[request.n_headers][0]);
		headers[request.n_headers].value = span_of(item->fields[request.n_headers][1]);
		request.n_headers++;
	}
	return http_guard_check(&request);
}

/* Two programs may take one each: whose request it is, and what it is about, would depend on it. */
static void test_fields_of_one_value(void **state)
{
	(void)state;
	static const char *const names[] = {
		"Content-Type",  "Content-Range", "Range",          "If-Range",
		"Last-Event-ID", "Origin",        "Sec-Fetch-Site", "Access-Control-Request-Method",
		"Authorization", "Host",          "Content-Length", "Idempotency-Key",
	};
	static const char *const lists[] = {"Accept", "If-Match", "If-None-Match", "Cache-Control", "Content-Encoding"};
	char detail[80];

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		const struct item item = {
			"twice", "GET", "/", "HTTP/1.0", {{names[i], "1"}, {"X", "1"}, {names[i], "1"}}, .status = 400};
		snprintf(detail, sizeof detail, "%s is given more than once.", names[i]);
		assert_int_equal(check(&item).status, 400);
		assert_string_equal(check(&item).detail, detail);
	}
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		const struct item item = {"twice", "GET", "/", "HTTP/1.0", {{lists[i], "1"}, {lists[i], "1"}}, 0};
		assert_int_equal(check(&item).status, 0);
	}
}

static void test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
		struct http_guard_verdict verdict = check(&items[i]);
		if (verdict.status != items[i].status) {
			print_error("%s: %u (%s)\n", items[i].what, verdict.status,
				    verdict.detail ? verdict.detail : "");
		}
		assert_int_equal(verdict.status, items[i].status);
		assert_true((verdict.status == 0) == (verdict.detail == NULL));
	}
}

static void test_nul(void **state)
{
	(void)state;
	struct http_guard_header headers[] = {{SPAN_LIT("Host"), SPAN_LIT("a")}, {SPAN_LIT("X"), SPAN_LIT("b\0c")}};
	struct http_guard_request request = {SPAN_LIT("GET"), SPAN_LIT("/"), SPAN_LIT("HTTP/1.1"), headers, 1};

	assert_int_equal(http_guard_check(&request).status, 0);
	request.n_headers = 2;
	assert_int_equal(http_guard_check(&request).status, 400);
	headers[1] = (struct http_guard_header){SPAN_LIT("X\0"), SPAN_LIT("b")};
	assert_int_equal(http_guard_check(&request).status, 400);
	request.n_headers = 1;
	request.target = SPAN_LIT("/\0");
	assert_int_equal(http_guard_check(&request).status, 400);
	request.target = SPAN_LIT("/");
	request.method = SPAN_LIT("GET\0");
	assert_int_equal(http_guard_check(&request).status, 400);
}

static void test_sizes(void **state)
{
	(void)state;
	static char target[GP_MAX_TARGET + 1];
	static struct http_guard_header headers[HTTP_GUARD_MAX_HEADERS + 1];
	struct http_guard_request request = {SPAN_LIT("GET"), span_make(target, GP_MAX_TARGET), SPAN_LIT("HTTP/1.1"),
					     headers, HTTP_GUARD_MAX_HEADERS};

	memset(target, '/', sizeof target);
	for (size_t i = 0; i <= HTTP_GUARD_MAX_HEADERS; i++) {
		headers[i].name = i == 0 ? SPAN_LIT("Host") : SPAN_LIT("X");
		headers[i].value = SPAN_LIT("a");
	}
	request.target.len = GP_MAX_TARGET / 2;
	assert_int_equal(http_guard_check(&request).status, 0);
	request.n_headers++;
	assert_int_equal(http_guard_check(&request).status, 431);
	request.n_headers--;
	headers[1].value = span_make(target, GP_MAX_TARGET / 2); /* more than leaves room for a reply */
	assert_int_equal(http_guard_check(&request).status, 431);
	request.n_headers = 1;
	request.target.len = GP_MAX_TARGET;
	assert_int_equal(http_guard_check(&request).status, 0);
	request.target.len++;
	assert_int_equal(http_guard_check(&request).status, 414);
}

static void test_body(void **state)
{
	(void)state;
	static const struct item none = {"", "GET", "/", "HTTP/1.1", {{"Host", "a"}}, 0};
	static const struct item zero = {"", "POST", "/", "HTTP/1.1", {{"Host", "a"}, {"Content-Length", "0"}}, 0};
	static const struct item some = {"", "POST", "/", "HTTP/1.1", {{"Host", "a"}, {"Content-Length", "007"}}, 0};
	static const struct item chunked = {
		"", "POST", "/", "HTTP/1.1", {{"Host", "a"}, {"Transfer-Encoding", "chunked"}}, 0};

	assert_false(check(&none).has_body);
	assert_false(check(&zero).has_body);
	assert_true(check(&zero).has_content_length);
	assert_true(check(&some).has_body);
	assert_int_equal(check(&some).content_length, 7);
	assert_true(check(&chunked).has_body);
	assert_false(check(&chunked).has_content_length);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table), cmocka_unit_test(test_fields_of_one_value),
		cmocka_unit_test(test_nul),   cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_body),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
