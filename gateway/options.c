#include "gateway/options.h"

#include <errno.h>
#include <jansson.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "gateway/option_values.h"

#define MAX_CONFIG_FILE (1024 * GP_KIB)
#define MAX_VALUE 4096
#define MAX_VALUES 100
#define HELP_COLUMN 40

enum kind {
	KIND_LISTEN,
	KIND_URL,
	KIND_SECURITY,
	KIND_TEXT,
	KIND_FLAG,
	KIND_NUMBER,
	KIND_SECONDS, /* kept in milliseconds */
	KIND_BYTES,
	KIND_ORIGINS, /* a list */
	KIND_ROLES,   /* a list */
	KIND_LEVEL,
	KIND_FORMAT,
	KIND_SANDBOX,
	KIND_CONFIG,
	KIND_ACTION, /* on the command line only */
};

/* The order is that of --help. */
struct definition {
	const char *name;
	enum kind kind;
	size_t offset;     /* in struct gateway_options, by kind */
	uint64_t min, max; /* of numbers, in the unit of the option; of actions, `min` is the action */
	const char *value; /* the default, read like any other value; NULL: none */
	const char *argument, *help;
};

#define AT(member) offsetof(struct gateway_options, member)

static const struct definition definitions[] = {
	{"listen", KIND_LISTEN, AT(listen), 0, 0, "127.0.0.1:8080", "ADDRESS",
	 "host:port, [v6]:port or unix:/path; port 0: any free one"},
	{"imap-url", KIND_URL, 0, 0, 0, NULL, "URL",
	 "imaps://host[:port] (TLS) or imap://host[:port] (STARTTLS); needed"},
	{"imap-security", KIND_SECURITY, 0, 0, 0, NULL, "HOW", "tls, starttls or none; by the URL when not given"},
	{"imap-ca-file", KIND_TEXT, AT(imap_ca_file), 0, 0, NULL, "FILE", "trust the CAs in this PEM file too"},
	{"imap-sessions-per-account", KIND_NUMBER, AT(imap_sessions_per_account), 1, 100, "4", "N",
	 "IMAP sessions of one account at most"},
	{"imap-sessions", KIND_NUMBER, AT(imap_sessions), 1, 100000, "2000", "N", "IMAP sessions at most"},
	{"imap-idle-timeout", KIND_SECONDS, AT(imap_idle_timeout_ms), 1, 86400, "300", "SECONDS",
	 "log an unused IMAP session out after this time"},
	{"imap-connect-timeout", KIND_SECONDS, AT(imap_connect_timeout_ms), 1, 3600, "10", "SECONDS",
	 "for name, TCP, TLS and login together"},
	{"request-timeout", KIND_SECONDS, AT(request_timeout_ms), 1, 86400, "60", "SECONDS",
	 "504 when the IMAP server has not answered by then"},
	{"max-body", KIND_BYTES, AT(max_body), 1, (uint64_t)4 * 1024 * GP_MIB, "50MiB", "BYTES",
	 "of a request, at most: 50MiB, 512KiB, 1000000"},
	{"max-connections", KIND_NUMBER, AT(max_connections), 1, 1000000, "10000", "N", "HTTP connections at most"},
	{"cors-origin", KIND_ORIGINS, AT(cors_origins), 0, 0, NULL, "ORIGIN",
	 "a web origin that may call, as https://app.example; repeatable"},
	{"mailbox-role", KIND_ROLES, AT(mailbox_roles), 0, 0, NULL, "ROLE=NAME",
	 "the mailbox of a role, before what the server says: sent=Sent Items; repeatable"},
	{"tls-cert", KIND_TEXT, AT(tls_cert), 0, 0, NULL, "FILE", "serve HTTPS: certificate chain, PEM"},
	{"tls-key", KIND_TEXT, AT(tls_key), 0, 0, NULL, "FILE", "its private key, PEM, without a passphrase"},
	{"allow-plaintext", KIND_FLAG, AT(allow_plaintext), 0, 0, "false", NULL,
	 "let --imap-security none send passwords in clear to other hosts"},
	{"log-level", KIND_LEVEL, AT(log_level), 0, 0, "info", "LEVEL", "error, warn, info or debug"},
	{"log-format", KIND_FORMAT, AT(log_format), 0, 0, "text", "FORMAT", "text or json"},
	{"sandbox", KIND_SANDBOX, AT(sandbox), 0, 0, GATEPOST_SANDBOX_DEFAULT, "HOW",
	 "confine the program by Landlock and seccomp: auto (what the kernel has), required or off"},
	{"config", KIND_CONFIG, 0, 0, 0, NULL, "FILE", "read options from this JSON file: {\"imap-url\":\"…\"}"},
	{"check-config", KIND_ACTION, 0, GATEWAY_CHECK_CONFIG, 0, NULL, NULL, "only check the options, and exit"},
	{"healthcheck", KIND_ACTION, 0, GATEWAY_HEALTHCHECK, 0, NULL, NULL,
	 "ask the gateway that listens there whether it lives, and exit 0 or 1"},
	{"version", KIND_ACTION, 0, GATEWAY_VERSION, 0, NULL, NULL, "print the version, and exit"},
	{"help", KIND_ACTION, 0, GATEWAY_HELP, 0, NULL, NULL, "print this, and exit"},
};

#define N_DEFINITIONS (sizeof definitions / sizeof definitions[0])

/* What was said, before it is understood: of each option the strongest source's. */
enum source { SOURCE_DEFAULT, SOURCE_FILE, SOURCE_ENVIRONMENT, SOURCE_COMMAND_LINE };

struct given {
	enum source source;
	char **values; /* own, each one too */
	size_t n_values;
};

struct reading {
	struct gateway_options *options; /* borrow */
	struct gp_error *error;          /* borrow */
	struct given given[N_DEFINITIONS];
	char *config_file; /* own */
};

static size_t find(struct span name)
{
	for (size_t i = 0; i < N_DEFINITIONS; i++) {
		if (span_equal_text(name, definitions[i].name)) {
			return i;
		}
	}
	return N_DEFINITIONS;
}

/* "--max-body", "GATEPOST_MAX_BODY" or "max-body in /etc/gatepost.json" */
static void describe(const struct reading *reading, size_t index, enum source source, char *out, size_t size)
{
	const char *name = definitions[index].name;

	switch (source) {
	case SOURCE_DEFAULT:
	case SOURCE_COMMAND_LINE:
		snprintf(out, size, "--%s", name);
		break;
	case SOURCE_ENVIRONMENT: {
		size_t at = (size_t)snprintf(out, size, "GATEPOST_");
		for (size_t i = 0; name[i] && at + 1 < size; i++) {
			char c = name[i];
			out[at++] = (char)(c == '-' ? '_' : c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
		}
		out[at] = '\0';
		break;
	}
	case SOURCE_FILE:
		snprintf(out, size, "%s in %.80s", name, reading->config_file);
		break;
	}
}

static bool is_list(enum kind kind)
{
	return kind == KIND_ORIGINS || kind == KIND_ROLES;
}

static enum gp_status fail(const struct reading *reading, size_t index, enum source source, const char *what)
{
	char where[160];

	describe(reading, index, source, where, sizeof where);
	return gp_error_set(reading->error, GP_INVALID, "%s: %s", where, what);
}

static enum gp_status no_memory(const struct reading *reading)
{
	return gp_error_set(reading->error, GP_NO_MEMORY, "out of memory");
}

/* ---- gathering: the strongest source first, so that a weaker one is passed over ---- */

static void forget(struct given *given)
{
	for (size_t i = 0; i < given->n_values; i++) {
		free(given->values[i]);
	}
	free(given->values);
	*given = (struct given){.source = SOURCE_DEFAULT};
}

static enum gp_status give(struct reading *reading, size_t index, enum source source, struct span value)
{
	struct given *given = &reading->given[index];

	if (given->n_values > 0 && given->source > source) {
		return GP_OK;
	}
	if (value.len > MAX_VALUE || memchr(value.ptr, '\0', value.len)) {
		return fail(reading, index, source, "the value is too long, or holds a NUL");
	}
	if (given->n_values >= MAX_VALUES) {
		return fail(reading, index, source, "given too often");
	}
	/* Of what is not a list the last one counts. */
	if (!is_list(definitions[index].kind)) {
		forget(given);
	}
	char **values = realloc(given->values, (given->n_values + 1) * sizeof *values);
	if (!values) {
		return no_memory(reading);
	}
	given->source = source;
	given->values = values;
	values[given->n_values] = span_dup(value);
	if (!values[given->n_values]) {
		return no_memory(reading);
	}
	given->n_values++;
	return GP_OK;
}

static enum gp_status read_argument(struct reading *reading, int argc, const char *const *argv, int *at)
{
	struct span argument = span_of(argv[*at]);

	if (!span_starts_with(argument, "--") || argument.len == 2) {
		return gp_error_set(reading->error, GP_INVALID, "%.100s: not an option (see --help)", argv[*at]);
	}
	ptrdiff_t equals = span_find_char(argument, '=');
	struct span name = span_slice(argument, 2, (equals >= 0 ? (size_t)equals : argument.len) - 2);
	size_t index = find(name);
	if (index == N_DEFINITIONS) {
		return gp_error_set(reading->error, GP_INVALID, "--%.*s: unknown option (see --help)",
				    SPAN_ARGS(span_slice(name, 0, 100)));
	}
	enum kind kind = definitions[index].kind;
	if (kind == KIND_ACTION) {
		if (equals >= 0) {
			return fail(reading, index, SOURCE_COMMAND_LINE, "takes no value");
		}
		reading->options->action = (enum gateway_action)definitions[index].min;
		return GP_OK;
	}
	if (equals >= 0) {
		return give(reading, index, SOURCE_COMMAND_LINE, span_from(argument, (size_t)equals + 1));
	}
	if (kind == KIND_FLAG) {
		return give(reading, index, SOURCE_COMMAND_LINE, SPAN_LIT("true"));
	}
	if (*at + 1 >= argc) {
		return fail(reading, index, SOURCE_COMMAND_LINE, "a value is missing");
	}
	*at += 1;
	return give(reading, index, SOURCE_COMMAND_LINE, span_of(argv[*at]));
}

static enum gp_status read_arguments(struct reading *reading, int argc, const char *const *argv)
{
	for (int at = 1; at < argc; at++) {
		enum gp_status status = read_argument(reading, argc, argv, &at);
		if (status != GP_OK) {
			return status;
		}
	}
	return GP_OK;
}

/* Several values in one variable: separated by commas, and origins by spaces too. */
static enum gp_status give_words(struct reading *reading, size_t index, enum source source, struct span text)
{
	enum gp_status status = GP_OK;
	size_t start = 0;

	for (size_t i = 0; i <= text.len && status == GP_OK; i++) {
		bool is_end = i == text.len || text.ptr[i] == ',' ||
			      (text.ptr[i] == ' ' && definitions[index].kind == KIND_ORIGINS);
		if (is_end) {
			struct span word = span_trim(span_slice(text, start, i - start));
			if (word.len > 0) {
				status = give(reading, index, source, word);
			}
			start = i + 1;
		}
	}
	return status;
}

/* Variables of other names are somebody else's (Kubernetes sets GATEPOST_PORT and the
 * like for a service of that name); an empty one counts as not set. */
static enum gp_status read_environment(struct reading *reading, const char *const *environment)
{
	for (size_t i = 0; i < N_DEFINITIONS; i++) {
		char name[80];
		if (definitions[i].kind == KIND_ACTION) {
			continue;
		}
		describe(reading, i, SOURCE_ENVIRONMENT, name, sizeof name);
		size_t len = strlen(name);
		for (const char *const *variable = environment; variable && *variable; variable++) {
			struct span text = span_of(*variable);
			if (!span_starts_with(text, name) || text.len <= len + 1 || text.ptr[len] != '=') {
				continue;
			}
			struct span value = span_from(text, len + 1);
			enum gp_status status = is_list(definitions[i].kind)
							? give_words(reading, i, SOURCE_ENVIRONMENT, value)
							: give(reading, i, SOURCE_ENVIRONMENT, value);
			if (status != GP_OK) {
				return status;
			}
			break;
		}
	}
	return GP_OK;
}

static enum gp_status give_json(struct reading *reading, size_t index, const json_t *value)
{
	char number[32];

	if (json_is_string(value)) {
		return give(reading, index, SOURCE_FILE,
			    span_make(json_string_value(value), json_string_length(value)));
	}
	if (json_is_integer(value)) {
		snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
		return give(reading, index, SOURCE_FILE, span_of(number));
	}
	if (json_is_boolean(value)) {
		return give(reading, index, SOURCE_FILE, span_of(json_is_true(value) ? "true" : "false"));
	}
	return fail(reading, index, SOURCE_FILE, "the value must be a string, a whole number, true or false");
}

static enum gp_status give_member(struct reading *reading, const char *name, json_t *value)
{
	size_t index = find(span_of(name));

	if (index == N_DEFINITIONS || definitions[index].kind == KIND_ACTION ||
	    definitions[index].kind == KIND_CONFIG) {
		return gp_error_set(reading->error, GP_INVALID, "%.80s in %.100s: there is no such option", name,
				    reading->config_file);
	}
	if (!json_is_array(value) || !is_list(definitions[index].kind)) {
		return give_json(reading, index, value);
	}
	for (size_t i = 0; i < json_array_size(value); i++) {
		enum gp_status status = give_json(reading, index, json_array_get(value, i));
		if (status != GP_OK) {
			return status;
		}
	}
	return GP_OK;
}

static enum gp_status read_file(struct reading *reading)
{
	struct stat st;
	json_error_t why;
	const char *name;
	json_t *value;

	if (stat(reading->config_file, &st) != 0) {
		return gp_error_set(reading->error, GP_INVALID, "--config %.100s: %s", reading->config_file,
				    strerror(errno));
	}
	if (!S_ISREG(st.st_mode) || st.st_size > (off_t)MAX_CONFIG_FILE) {
		return gp_error_set(reading->error, GP_INVALID, "--config %.100s: not a file, or over 1 MiB",
				    reading->config_file);
	}
	json_t *root = json_load_file(reading->config_file, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object(root)) {
		gp_error_set(reading->error, GP_INVALID, "--config %.100s: line %d: %.80s", reading->config_file,
			     root ? 1 : why.line, root ? "it must be one JSON object" : why.text);
		json_decref(root);
		return GP_INVALID;
	}
	enum gp_status status = GP_OK;
	json_object_foreach(root, name, value)
	{
		status = give_member(reading, name, value);
		if (status != GP_OK) {
			break;
		}
	}
	json_decref(root);
	return status;
}

/* ---- understanding ---- */

static enum gp_status set_number(const struct reading *reading, size_t index, struct span text, void *at)
{
	const struct definition *definition = &definitions[index];
	enum source source = reading->given[index].source;
	char what[128];
	uint64_t value;

	bool is_number = definition->kind == KIND_BYTES ? gateway_value_bytes(text, &value) : span_to_u64(text, &value);
	if (!is_number) {
		return fail(reading, index, source,
			    definition->kind == KIND_BYTES     ? "not a size (write 50MiB, 512KiB or 1000000)"
			    : definition->kind == KIND_SECONDS ? "not a whole number of seconds"
							       : "not a whole number");
	}
	if (value < definition->min || value > definition->max) {
		snprintf(what, sizeof what, "must be from %llu to %llu", (unsigned long long)definition->min,
			 (unsigned long long)definition->max);
		return fail(reading, index, source, what);
	}
	*(uint64_t *)at = definition->kind == KIND_SECONDS ? value * 1000 : value;
	return GP_OK;
}

static enum gp_status set_choice(const struct reading *reading, size_t index, struct span text,
				 const char *const *names, const char *what, uint64_t *value_out)
{
	for (uint64_t i = 0; names[i]; i++) {
		if (span_equal_text(text, names[i])) {
			*value_out = i;
			return GP_OK;
		}
	}
	return fail(reading, index, reading->given[index].source, what);
}

static enum gp_status set_flag(const struct reading *reading, size_t index, struct span text, bool *value_out)
{
	static const char *const names[] = {"false", "true", "0", "1", "no", "yes", "off", "on", NULL};
	uint64_t value = 0;
	enum gp_status status = set_choice(reading, index, text, names, "must be true or false", &value);

	if (status == GP_OK) {
		*value_out = value % 2 == 1;
	}
	return status;
}

static enum gp_status set_origins(struct reading *reading, size_t index)
{
	struct given *given = &reading->given[index];

	for (size_t i = 0; i < given->n_values; i++) {
		if (!gateway_value_is_origin(span_of(given->values[i]))) {
			return fail(reading, index, given->source,
				    "not an origin (write https://app.example, in lower case, without a path)");
		}
	}
	reading->options->cors_origins = given->values;
	reading->options->n_cors_origins = given->n_values;
	*given = (struct given){.source = SOURCE_DEFAULT};
	return GP_OK;
}

static enum gp_status set_roles(struct reading *reading, size_t index)
{
	struct given *given = &reading->given[index];

	for (size_t i = 0; i < given->n_values; i++) {
		struct gp_error why = {.status = GP_OK};
		if (api_role_config_add(&reading->options->roles, span_of(given->values[i]), &why) != GP_OK) {
			return fail(reading, index, given->source, why.text);
		}
	}
	reading->options->mailbox_roles = given->values;
	reading->options->n_mailbox_roles = given->n_values;
	*given = (struct given){.source = SOURCE_DEFAULT};
	return GP_OK;
}

static enum gp_status set_text(const struct reading *reading, size_t index, struct span text, char **at)
{
	if (text.len == 0) {
		return fail(reading, index, reading->given[index].source, "the value is empty");
	}
	*at = strdup(text.ptr);
	return *at ? GP_OK : no_memory(reading);
}

static enum gp_status set_listen(const struct reading *reading, size_t index, struct span text)
{
	struct gp_error why = {.status = GP_OK};

	if (gateway_address_parse(text, &reading->options->listen, &why) != GP_OK) {
		return fail(reading, index, reading->given[index].source, why.text);
	}
	return GP_OK;
}

static enum gp_status set(struct reading *reading, size_t index)
{
	static const char *const levels[] = {"error", "warn", "info", "debug", NULL};
	static const char *const formats[] = {"text", "json", NULL};
	static const char *const sandboxes[] = {"auto", "required", "off", NULL};
	const struct definition *definition = &definitions[index];
	const struct given *given = &reading->given[index];
	void *at = (char *)reading->options + definition->offset;

	if (given->n_values == 0 && !definition->value) {
		return GP_OK;
	}
	struct span text = span_of(given->n_values > 0 ? given->values[0] : definition->value);
	switch (definition->kind) {
	case KIND_LISTEN:
		return set_listen(reading, index, text);
	case KIND_TEXT:
		return set_text(reading, index, text, at);
	case KIND_FLAG:
		return set_flag(reading, index, text, at);
	case KIND_NUMBER:
	case KIND_SECONDS:
	case KIND_BYTES:
		return set_number(reading, index, text, at);
	case KIND_ORIGINS:
		return set_origins(reading, index);
	case KIND_ROLES:
		return set_roles(reading, index);
	case KIND_LEVEL:
		return set_choice(reading, index, text, levels, "must be error, warn, info or debug", at);
	case KIND_FORMAT:
		return set_choice(reading, index, text, formats, "must be text or json", at);
	case KIND_SANDBOX:
		return set_choice(reading, index, text, sandboxes, "must be auto, required or off", at);
	case KIND_URL:
	case KIND_SECURITY: /* together: set_endpoint() */
	case KIND_CONFIG:
	case KIND_ACTION:
		break;
	}
	return GP_OK;
}

static enum gp_status set_endpoint(const struct reading *reading)
{
	static const char *const names[] = {"tls", "starttls", "none", NULL};
	static const enum imap_security securities[] = {IMAP_SECURITY_TLS, IMAP_SECURITY_STARTTLS, IMAP_SECURITY_NONE};
	struct imap_endpoint *endpoint = &reading->options->endpoint;
	size_t url_index = find(SPAN_LIT("imap-url"));
	size_t security_index = find(SPAN_LIT("imap-security"));
	const struct given *url = &reading->given[url_index];
	const struct given *security = &reading->given[security_index];
	struct gp_error why = {.status = GP_OK};
	uint64_t choice = 0;

	if (url->n_values == 0) {
		return reading->options->action == GATEWAY_HEALTHCHECK
			       ? GP_OK
			       : fail(reading, url_index, SOURCE_COMMAND_LINE,
				      "the IMAP server must be given, as imaps://imap.example.com");
	}
	if (imap_endpoint_parse(span_of(url->values[0]), endpoint, &why) != GP_OK) {
		return fail(reading, url_index, url->source, why.text);
	}
	if (security->n_values > 0) {
		enum gp_status status = set_choice(reading, security_index, span_of(security->values[0]), names,
						   "must be tls, starttls or none", &choice);
		if (status != GP_OK) {
			return status;
		}
		endpoint->security = securities[choice];
	}
	if (endpoint->security == IMAP_SECURITY_NONE && !imap_endpoint_is_loopback(endpoint) &&
	    !reading->options->allow_plaintext) {
		return fail(reading, security_index, security->source,
			    "none would send passwords in clear to another host; --allow-plaintext if that is meant");
	}
	return GP_OK;
}

static enum gp_status understand(struct reading *reading)
{
	for (size_t i = 0; i < N_DEFINITIONS; i++) {
		enum gp_status status = set(reading, i);
		if (status != GP_OK) {
			return status;
		}
	}
	if (!reading->options->tls_cert != !reading->options->tls_key) {
		return gp_error_set(reading->error, GP_INVALID,
				    "--tls-cert and --tls-key belong together: --%s is missing",
				    reading->options->tls_cert ? "tls-key" : "tls-cert");
	}
	return set_endpoint(reading);
}

static enum gp_status gather(struct reading *reading, int argc, const char *const *argv, const char *const *environment)
{
	size_t config = find(SPAN_LIT("config"));
	enum gp_status status = read_arguments(reading, argc, argv);

	if (status != GP_OK || reading->options->action == GATEWAY_HELP ||
	    reading->options->action == GATEWAY_VERSION) {
		return status;
	}
	status = read_environment(reading, environment);
	if (status != GP_OK || reading->given[config].n_values == 0) {
		return status;
	}
	reading->config_file = strdup(reading->given[config].values[0]);
	return reading->config_file ? read_file(reading) : no_memory(reading);
}

enum gp_status gateway_options_read(struct gateway_options *options, int argc, const char *const *argv,
				    const char *const *environment, struct gp_error *error)
{
	struct reading reading = {.options = options, .error = error};

	*options = (struct gateway_options){.action = GATEWAY_RUN};
	enum gp_status status = gather(&reading, argc, argv, environment);
	if (status == GP_OK && options->action != GATEWAY_HELP && options->action != GATEWAY_VERSION) {
		status = understand(&reading);
	}
	for (size_t i = 0; i < N_DEFINITIONS; i++) {
		forget(&reading.given[i]);
	}
	free(reading.config_file);
	return status;
}

void gateway_options_deinit(struct gateway_options *options)
{
	for (size_t i = 0; i < options->n_cors_origins; i++) {
		free(options->cors_origins[i]);
	}
	free(options->cors_origins);
	for (size_t i = 0; i < options->n_mailbox_roles; i++) {
		free(options->mailbox_roles[i]);
	}
	free(options->mailbox_roles);
	free(options->imap_ca_file);
	free(options->tls_cert);
	free(options->tls_key);
	*options = (struct gateway_options){.action = GATEWAY_RUN};
}

void gateway_options_print_help(FILE *out)
{
	fputs("Usage: gatepost --imap-url imaps://imap.example.com [OPTION...]\n\n"
	      "An IMAP-to-HTTP/JSON gateway. Every option has the same name on the command line\n"
	      "(--imap-url), in the environment (GATEPOST_IMAP_URL) and in the file named by\n"
	      "--config (\"imap-url\"); the first of these that gives it counts.\n\n",
	      out);
	for (size_t i = 0; i < N_DEFINITIONS; i++) {
		const struct definition *definition = &definitions[i];
		int n = fprintf(out, "  --%s%s%s", definition->name, definition->argument ? " " : "",
				definition->argument ? definition->argument : "");
		fprintf(out, "%*s%s", n < HELP_COLUMN ? HELP_COLUMN - n : 1, "", definition->help);
		if (definition->value && definition->kind != KIND_FLAG) {
			fprintf(out, " [%s]", definition->value);
		}
		fputc('\n', out);
	}
}
