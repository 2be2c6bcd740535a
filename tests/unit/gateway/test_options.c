#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/limits.h"
#include "gateway/options.h"

#define MAX_WORDS 8
#define URL "--imap-url", "imaps://mail.example"

static char file_name[] = "/tmp/gatepost-test-XXXXXX";

static void write_file(const char *text)
{
	FILE *file = fopen(file_name, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static enum gp_status read_options(struct gateway_options *options, const char *const *words,
				   const char *const *environment, struct gp_error *error)
{
	const char *argv[MAX_WORDS + 2] = {"gatepost"};
	int argc = 1;

	while (words && words[argc - 1]) {
		argv[argc] = words[argc - 1];
		argc++;
	}
	*error = (struct gp_error){.status = GP_OK};
	return gateway_options_read(options, argc, argv, environment, error);
}

static void test_defaults(void **state)
{
	(void)state;
	static const char *const words[] = {URL, NULL};
	struct gateway_options options;
	struct gp_error error;

	assert_int_equal(read_options(&options, words, NULL, &error), GP_OK);
	assert_int_equal(options.action, GATEWAY_RUN);
	assert_string_equal(options.listen.host, "127.0.0.1");
	assert_int_equal(options.listen.port, 8080);
	assert_string_equal(options.endpoint.host, "mail.example");
	assert_int_equal(options.endpoint.port, 993);
	assert_int_equal(options.endpoint.security, IMAP_SECURITY_TLS);
	assert_int_equal(options.imap_sessions_per_account, 4);
	assert_int_equal(options.imap_sessions, 2000);
	assert_int_equal(options.imap_idle_timeout_ms, 300000);
	assert_int_equal(options.imap_connect_timeout_ms, 10000);
	assert_int_equal(options.request_timeout_ms, 60000);
	assert_int_equal(options.max_body, 50 * GP_MIB);
	assert_int_equal(options.max_connections, 10000);
	assert_int_equal(options.n_cors_origins, 0);
	assert_int_equal(options.n_mailbox_roles, 0);
	assert_true(span_is_nil(options.roles.mailboxes[1]));
	assert_int_equal(options.log_level, GP_LOG_INFO);
	assert_int_equal(options.log_format, GP_LOG_TEXT);
	assert_null(options.tls_cert);
	assert_null(options.imap_ca_file);
	gateway_options_deinit(&options);
}

static void test_strength(void **state)
{
	(void)state;
	static const char *const words[] = {"--request-timeout=1", "--config", file_name,
					    "--request-timeout",   "2",        NULL};
	static const char *const environment[] = {"GATEPOST_REQUEST_TIMEOUT=3",
						  "GATEPOST_MAX_BODY=7KB",
						  "GATEPOST_PORT=tcp",
						  "GATEPOST_LOG_LEVEL=",
						  "GATEPOST_CORS_ORIGIN=https://a.example, http://b.example:81",
						  NULL};
	struct gateway_options options;
	struct gp_error error;

	write_file("{\"imap-url\": \"imap://[::1]:1143\", \"request-timeout\": 4, \"max-body\": 5,"
		   " \"imap-connect-timeout\": 6, \"log-level\": \"debug\", \"imap-security\": \"none\","
		   " \"allow-plaintext\": true, \"cors-origin\": [\"*\"]}");
	assert_int_equal(read_options(&options, words, environment, &error), GP_OK);
	assert_int_equal(options.request_timeout_ms, 2000);
	assert_int_equal(options.max_body, 7000);
	assert_int_equal(options.imap_connect_timeout_ms, 6000);
	assert_int_equal(options.log_level, GP_LOG_DEBUG);
	assert_int_equal(options.endpoint.security, IMAP_SECURITY_NONE);
	assert_int_equal(options.endpoint.port, 1143);
	assert_true(options.allow_plaintext);
	assert_int_equal(options.n_cors_origins, 2);
	assert_string_equal(options.cors_origins[0], "https://a.example");
	assert_string_equal(options.cors_origins[1], "http://b.example:81");
	gateway_options_deinit(&options);
}

static struct span configured(const struct gateway_options *options, const char *role)
{
	for (size_t i = 0; i < options->n_mailbox_roles; i++) {
		struct span text = span_of(options->mailbox_roles[i]);
		if (span_starts_with(text, role) && text.ptr[strlen(role)] == '=') {
			return span_from(text, strlen(role) + 1);
		}
	}
	return SPAN_NIL;
}

static void test_roles(void **state)
{
	(void)state;
	static const char *const words[] = {URL, "--mailbox-role", "sent=Sent, all of it", "--mailbox-role=junk=a=b",
					    NULL};
	static const char *const in_file[] = {URL, "--config", file_name, NULL};
	static const char *const environment[] = {"GATEPOST_MAILBOX_ROLE=sent=Sent Items, trash=Bin/2024 ,", NULL};
	struct gateway_options options;
	struct gp_error error;

	assert_int_equal(read_options(&options, words, environment, &error), GP_OK);
	assert_int_equal(options.n_mailbox_roles, 2);
	assert_true(span_equal_text(configured(&options, "sent"), "Sent, all of it"));
	assert_true(span_equal_text(configured(&options, "junk"), "a=b"));
	gateway_options_deinit(&options);

	write_file("{\"mailbox-role\": [\"drafts=Entw\u00fcrfe, alt\", \"all=Everything\"]}");
	assert_int_equal(read_options(&options, in_file, environment, &error), GP_OK);
	assert_int_equal(options.n_mailbox_roles, 2);
	assert_true(span_equal_text(configured(&options, "sent"), "Sent Items"));
	assert_true(span_equal_text(configured(&options, "trash"), "Bin/2024"));
	gateway_options_deinit(&options);

	assert_int_equal(read_options(&options, in_file, NULL, &error), GP_OK);
	assert_int_equal(options.n_mailbox_roles, 2);
	assert_true(span_equal_text(configured(&options, "drafts"), "Entw\xC3\xBC"
								    "rfe, alt"));
	assert_true(span_equal_text(configured(&options, "all"), "Everything"));
	gateway_options_deinit(&options);

	write_file("{\"mailbox-role\": \"trash=Bin\"}");
	assert_int_equal(read_options(&options, in_file, NULL, &error), GP_OK);
	assert_int_equal(options.n_mailbox_roles, 1);
	gateway_options_deinit(&options);
}

static void test_good(void **state)
{
	(void)state;
	static const struct {
		const char *words[MAX_WORDS];
		enum gateway_action action;
	} items[] = {
		{{"--help"}, GATEWAY_HELP},
		{{"--version", "--request-timeout=no"}, GATEWAY_VERSION},
		{{"--healthcheck"}, GATEWAY_HEALTHCHECK},
		{{"--check-config", URL}, GATEWAY_CHECK_CONFIG},
		{{URL, "--listen", "[::]:0"}, GATEWAY_RUN},
		{{URL, "--listen=unix:/run/gatepost.sock"}, GATEWAY_RUN},
		{{URL, "--max-body", "50 MiB"}, GATEWAY_RUN},
		{{URL, "--max-body=1G"}, GATEWAY_RUN},
		{{URL, "--cors-origin", "*", "--cors-origin", "http://localhost:3000"}, GATEWAY_RUN},
		{{URL, "--tls-cert=a", "--tls-key=b"}, GATEWAY_RUN},
		{{"--imap-url=imap://localhost", "--imap-security=none"}, GATEWAY_RUN},
		{{"--imap-url=imap://far.example", "--imap-security=none", "--allow-plaintext"}, GATEWAY_RUN},
		{{URL, "--allow-plaintext=off", "--log-format=json"}, GATEWAY_RUN},
	};

	for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
		struct gateway_options options;
		struct gp_error error;
		if (read_options(&options, items[i].words, NULL, &error) != GP_OK) {
			print_error("%zu: %s\n", i, error.text);
			fail();
		}
		assert_int_equal(options.action, items[i].action);
		gateway_options_deinit(&options);
	}
}

/* The one line must name the option, as it was written. */
static void test_bad(void **state)
{
	(void)state;
	static const struct {
		const char *words[MAX_WORDS];
		const char *variable, *file;
		const char *says;
	} items[] = {
		{{NULL}, NULL, NULL, "--imap-url: "},
		{{URL, "--nope"}, NULL, NULL, "--nope: unknown"},
		{{URL, "--nope=1"}, NULL, NULL, "--nope: unknown"},
		{{URL, "nope"}, NULL, NULL, "nope: not an option"},
		{{URL, "-h"}, NULL, NULL, "-h: not an option"},
		{{URL, "--"}, NULL, NULL, "--: not an option"},
		{{URL, "--max-body"}, NULL, NULL, "--max-body: a value is missing"},
		{{URL, "--max-body", "0"}, NULL, NULL, "--max-body: must be from 1"},
		{{URL, "--max-body", "-1"}, NULL, NULL, "--max-body: not a size"},
		{{URL, "--max-body", "1TiB"}, NULL, NULL, "--max-body: not a size"},
		{{URL, "--max-body", "99999999999999999999"}, NULL, NULL, "--max-body: not a size"},
		{{URL, "--max-body", "18446744073709551615K"}, NULL, NULL, "--max-body: not a size"},
		{{URL, "--request-timeout", "1.5"}, NULL, NULL, "--request-timeout: not a whole number of seconds"},
		{{URL, "--request-timeout="}, NULL, NULL, "--request-timeout: not a whole"},
		{{URL, "--imap-sessions", "0"}, NULL, NULL, "--imap-sessions: must be from 1"},
		{{URL, "--listen", "8080"}, NULL, NULL, "--listen: "},
		{{URL, "--listen", ":8080"}, NULL, NULL, "--listen: the host is missing"},
		{{URL, "--listen", "::1:8080"}, NULL, NULL, "--listen: an IPv6 address stands in brackets"},
		{{URL, "--listen", "a:65536"}, NULL, NULL, "--listen: the port"},
		{{URL, "--listen", "unix:"}, NULL, NULL, "--listen: a path"},
		{{"--imap-url", "http://a"}, NULL, NULL, "--imap-url: "},
		{{URL, "--imap-security", "ssl"}, NULL, NULL, "--imap-security: must be tls"},
		{{URL, "--imap-security", "none"}, NULL, NULL, "--imap-security: none would send"},
		{{URL, "--cors-origin", "app.example"}, NULL, NULL, "--cors-origin: not an origin"},
		{{URL, "--cors-origin", "https://app.example/"}, NULL, NULL, "--cors-origin: not an origin"},
		{{URL, "--cors-origin", "null"}, NULL, NULL, "--cors-origin: not an origin"},
		{{URL, "--mailbox-role", "Sent"}, NULL, NULL, "--mailbox-role: write a role and"},
		{{URL, "--mailbox-role", "spam=Junk"}, NULL, NULL, "--mailbox-role: write a role and"},
		{{URL, "--mailbox-role", "inbox=Mail"}, NULL, NULL, "--mailbox-role: write a role and"},
		{{URL, "--mailbox-role", "sent="}, NULL, NULL, "--mailbox-role: the mailbox of 'sent' must"},
		{{URL, "--mailbox-role", "sent=a\nb"}, NULL, NULL, "--mailbox-role: the mailbox of 'sent' must"},
		{{URL, "--mailbox-role", "sent=\xFF"}, NULL, NULL, "--mailbox-role: the mailbox of 'sent' must"},
		{{URL, "--mailbox-role", "sent=inbox"}, NULL, NULL, "--mailbox-role: INBOX has the role"},
		{{URL, "--mailbox-role=all=a", "--mailbox-role=all=b"},
		 NULL,
		 NULL,
		 "--mailbox-role: the role 'all' is given"},
		{{URL, "--mailbox-role=all=a", "--mailbox-role=sent=a"},
		 NULL,
		 NULL,
		 "--mailbox-role: 'a' is given two"},
		{{URL}, "GATEPOST_MAILBOX_ROLE=sent=a,trash", NULL, "GATEPOST_MAILBOX_ROLE: write a role and"},
		{{URL}, NULL, "{\"mailbox-role\":[\"sent=a\",\"x\"]}", "mailbox-role in /tmp/"},
		{{URL}, NULL, "{\"mailbox-role\":{\"sent\":\"a\"}}", "mailbox-role in /tmp/"},
		{{URL, "--tls-cert", "a"}, NULL, NULL, "--tls-key is missing"},
		{{URL, "--tls-key", "a"}, NULL, NULL, "--tls-cert is missing"},
		{{URL, "--tls-key", ""}, NULL, NULL, "--tls-key: the value is empty"},
		{{URL, "--allow-plaintext=maybe"}, NULL, NULL, "--allow-plaintext: must be true"},
		{{URL, "--log-level", "all"}, NULL, NULL, "--log-level: must be error"},
		{{URL, "--log-format", "xml"}, NULL, NULL, "--log-format: must be text"},
		{{URL, "--sandbox", "on"}, NULL, NULL, "--sandbox: must be auto, required or off"},
		{{URL, "--help=1"}, NULL, NULL, "--help: takes no value"},
		{{URL, "--config", "/nonexistent/x"}, NULL, NULL, "--config /nonexistent/x: "},
		{{URL, "--config", "/tmp"}, NULL, NULL, "--config /tmp: not a file"},
		{{URL}, "GATEPOST_MAX_BODY=x", NULL, "GATEPOST_MAX_BODY: not a size"},
		{{URL}, "GATEPOST_LISTEN=x", NULL, "GATEPOST_LISTEN: "},
		{{URL}, NULL, "{", "line 1: "},
		{{URL}, NULL, "[]", "it must be one JSON object"},
		{{URL}, NULL, "{\"max-body\":1,\"max-body\":2}", "line 1: "},
		{{URL}, NULL, "{\"max_body\":1}", "max_body in /tmp/"},
		{{URL}, NULL, "{\"help\":true}", "help in /tmp/"},
		{{URL}, NULL, "{\"config\":\"x\"}", "config in /tmp/"},
		{{URL}, NULL, "{\"max-body\":null}", "max-body in /tmp/"},
		{{URL}, NULL, "{\"max-body\":1.5}", "max-body in /tmp/"},
		{{URL}, NULL, "{\"max-body\":[1]}", "max-body in /tmp/"},
		{{URL}, NULL, "{\"imap-ca-file\":\"a\\u0000b\"}", "line 1: "},
		{{URL}, NULL, "{\"cors-origin\":[\"*\",1]}", "cors-origin in /tmp/"},
	};

	for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
		struct gateway_options options;
		struct gp_error error;
		const char *words[MAX_WORDS + 1] = {NULL};
		const char *environment[] = {items[i].variable, NULL};
		size_t n = 0;
		for (; n < MAX_WORDS - 2 && items[i].words[n]; n++) {
			words[n] = items[i].words[n];
		}
		if (items[i].file) {
			write_file(items[i].file);
			words[n++] = "--config";
			words[n] = file_name;
		}
		enum gp_status status = read_options(&options, words, environment, &error);
		if (status == GP_OK || !strstr(error.text, items[i].says) || strchr(error.text, '\n')) {
			print_error("%zu: wanted '%s', got '%s'\n", i, items[i].says, error.text);
			fail();
		}
		gateway_options_deinit(&options);
	}
}

static void test_help_names_every_option(void **state)
{
	(void)state;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	gateway_options_print_help(out);
	assert_int_equal(fclose(out), 0);
	static const char *const names[] = {"listen",
					    "imap-url",
					    "imap-security",
					    "imap-ca-file",
					    "imap-sessions-per-account",
					    "imap-sessions",
					    "imap-idle-timeout",
					    "imap-connect-timeout",
					    "request-timeout",
					    "max-body",
					    "max-connections",
					    "cors-origin",
					    "mailbox-role",
					    "tls-cert",
					    "tls-key",
					    "log-level",
					    "log-format",
					    "sandbox",
					    "version",
					    "help",
					    "check-config",
					    "healthcheck",
					    "allow-plaintext",
					    "config"};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		char wanted[64];
		snprintf(wanted, sizeof wanted, "  --%s ", names[i]);
		assert_non_null(strstr(text, wanted));
	}
	free(text);
}

static int make_file(void **state)
{
	(void)state;
	int fd = mkstemp(file_name);
	return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(file_name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults), cmocka_unit_test(test_strength),
		cmocka_unit_test(test_roles),    cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),      cmocka_unit_test(test_help_names_every_option),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
