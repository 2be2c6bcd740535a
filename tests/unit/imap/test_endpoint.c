#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "imap/endpoint.h"

#define HOST_63 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz0123456789a"
#define HOST_255 HOST_63 "." HOST_63 "." HOST_63 "." HOST_63

static void test_urls(void **state)
{
	(void)state;
	static const struct {
		const char *url, *host;
		uint16_t port;
		enum imap_security security;
	} cases[] = {
		{"imaps://imap.example.com", "imap.example.com", 993, IMAP_SECURITY_TLS},
		{"imap://imap.example.com", "imap.example.com", 143, IMAP_SECURITY_STARTTLS},
		{"IMAPS://Imap.Example.COM/", "Imap.Example.COM", 993, IMAP_SECURITY_TLS},
		{"imap://mail_1.example:1143/", "mail_1.example", 1143, IMAP_SECURITY_STARTTLS},
		{"imaps://127.0.0.1:1", "127.0.0.1", 1, IMAP_SECURITY_TLS},
		{"imaps://h:65535", "h", 65535, IMAP_SECURITY_TLS},
		{"imaps://[::1]", "::1", 993, IMAP_SECURITY_TLS},
		{"imap://[2001:db8::25]:993", "2001:db8::25", 993, IMAP_SECURITY_STARTTLS},
		{"imap://" HOST_255, HOST_255, 143, IMAP_SECURITY_STARTTLS},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct imap_endpoint endpoint;
		struct gp_error error = {.status = GP_OK};
		if (imap_endpoint_parse(span_of(cases[i].url), &endpoint, &error) != GP_OK) {
			fail_msg("%s: %s", cases[i].url, error.text);
		}
		assert_string_equal(endpoint.host, cases[i].host);
		assert_int_equal(endpoint.port, cases[i].port);
		assert_int_equal(endpoint.security, cases[i].security);
	}
}

static void test_bad_urls(void **state)
{
	(void)state;
	static const struct {
		const char *url, *reason; /* part of the text */
	} cases[] = {
		{"", "begin with"},
		{"imap.example.com", "begin with"},
		{"http://imap.example.com", "begin with"},
		{"imaps:imap.example.com", "begin with"},
		{"imaps://", "host is missing"},
		{"imaps:///", "host is missing"},
		{"imaps://:993", "host is missing"},
		{"imaps://bob@h", "user name or password"},
		{"imaps://bob:hunter2@h:993", "user name or password"},
		{"imaps://h/INBOX", "path"},
		{"imaps://h//", "path"},
		{"imaps://h?x=1", "query"},
		{"imaps://h/#top", "query"},
		{"imaps://h:", "port"},
		{"imaps://h:0", "port"},
		{"imaps://h:65536", "port"},
		{"imaps://h:000000993", "port"},
		{"imaps://h:-1", "port"},
		{"imaps://h:99x", "port"},
		{"imaps://h:9:9", "port"},
		{"imaps://::1", "host is missing"},
		{"imaps://[::1", "without"},
		{"imaps://[::1]993", "port may follow"},
		{"imaps://[imap.example.com]", "IPv6"},
		{"imaps://[]", "host is missing"},
		{"imaps://a b", "character"},
		{"imaps://a%2eb", "character"},
		{"imaps://a\r\nb", "character"},
		{"imaps://" HOST_255 "x", "too long"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct imap_endpoint endpoint = {.port = 7};
		struct gp_error error = {.status = GP_OK};
		if (imap_endpoint_parse(span_of(cases[i].url), &endpoint, &error) != GP_INVALID) {
			fail_msg("%s was accepted", cases[i].url);
		}
		if (!strstr(error.text, cases[i].reason)) {
			fail_msg("%s: %s", cases[i].url, error.text);
		}
		assert_null(strstr(error.text, "hunter2"));
		assert_int_equal(endpoint.port, 7);
	}
	struct imap_endpoint endpoint;
	assert_int_equal(imap_endpoint_parse(span_make("imaps://[::1\0]", 14), &endpoint, NULL), GP_INVALID);
	assert_int_equal(imap_endpoint_parse(span_make("imaps://a\0b", 11), &endpoint, NULL), GP_INVALID);
}

static void test_loopback(void **state)
{
	(void)state;
	static const struct {
		const char *host;
		bool is_loopback;
	} cases[] = {
		{"localhost", true},
		{"LocalHost", true},
		{"127.0.0.1", true},
		{"127.255.3.4", true},
		{"::1", true},
		{"0:0:0:0:0:0:0:1", true},
		{"imap.example.com", false},
		{"128.0.0.1", false},
		{"127.0.0.1.example", false},
		{"localhost.example", false},
		{"::2", false},
		{"0.0.0.0", false},
		{"127.1", false},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct imap_endpoint endpoint = {.port = 143};
		memcpy(endpoint.host, cases[i].host, strlen(cases[i].host) + 1);
		if (imap_endpoint_is_loopback(&endpoint) != cases[i].is_loopback) {
			fail_msg("%s", cases[i].host);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_urls),
		cmocka_unit_test(test_bad_urls),
		cmocka_unit_test(test_loopback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
