#include "tests/wire/world.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/hub.h"
#include "api/idempotency.h"
#include "api/throttle.h"
#include "base/limits.h"
#include "tests/support/fault.h"
#include "tests/wire/check.h"
#include "tests/wire/script.h"

#define MAX_BYTES (64 * GP_MIB)
/* Longer than the idle timeout, the keep-alive and the silence of a dead server together. */
#define AFTERWARDS_MS ((uint64_t)30 * 60 * 1000)
#define ID_LINE "ID (\"name\" \"gatepost\" \"version\" \"" GATEPOST_VERSION "\")"

static bool no_random(void *to, size_t len)
{
	memset(to, 0x61, len);
	return true;
}

/* Who is cut off comes back after any time up to a second: here, always after the same. */
int RAND_bytes(unsigned char *to, int len);

int RAND_bytes(unsigned char *to, int len)
{
	memset(to, 0x61, (size_t)len);
	return 1;
}

static const struct world *clock_of; /* app->now_us has no context */

static uint64_t now_us(void)
{
	return fake_now_ms(clock_of->network) * 1000;
}

static void must(enum gp_status status)
{
	if (status != GP_OK) {
		script_die("the runner: %s", gp_status_text(status));
	}
}

/* ---- life ---- */

void world_init(struct world *world, enum world_split split, uint64_t seed)
{
	*world = (struct world){
		.endpoint = {.host = "imap.test", .port = 993, .security = IMAP_SECURITY_TLS},
		.config = {.max_sessions_per_account = 4,
			   .max_sessions = 2000,
			   .connect_timeout_ms = 10000,
			   .idle_timeout_ms = 300000,
			   .silence_timeout_ms = 60000},
		.request_timeout_ms = 60000,
		.split = split,
		.random = seed | 1,
	};
	for (size_t i = 0; i < WORLD_MAX_CONNECTIONS; i++) {
		gp_buffer_init(&world->connections[i].unread, MAX_BYTES);
		gp_buffer_init(&world->connections[i].pending, MAX_BYTES);
	}
}

void world_open(struct world *world)
{
	if (world->is_open) {
		return;
	}
	world->is_open = true;
	world->network = fake_network_new();
	world->config.network = fake_as_network(world->network);
	world->config.timers = fake_timers(world->network);
	world->config.endpoint = &world->endpoint;
	world->pool = imap_pool_new(&world->config);
	clock_of = world;
	world->app = (struct api_app){.pool = world->pool,
				      .timers = fake_timers(world->network),
				      .now_us = now_us,
				      .request_timeout_ms = world->request_timeout_ms,
				      .roles = &world->roles,
				      .max_body = GP_MIB,
				      .n_held = world->n_held,
				      .random = no_random,
				      .work = fake_work,
				      .work_ctx = &world->work_ms,
				      .idempotency = api_idempotency_new(fake_timers(world->network)),
				      .throttle = api_throttle_new(fake_timers(world->network), no_random),
				      .upstream_name = "imap.test"};
	world->hubs = api_hubs_new(&world->app);
	world->app.hubs = world->hubs;
	world->app.written = api_hubs_written;
}

void world_advance(struct world *world, uint64_t ms)
{
	world_flush(world);
	fake_turn(world->network, ms);
}

static void check_pool(struct world *world, bool is_final)
{
	struct imap_pool_stats stats;

	imap_pool_stats(world->pool, &stats);
	if (stats.n_leases > 0 || stats.n_waiting > 0 || (is_final && (stats.n_sessions > 0 || stats.n_accounts > 0))) {
		check_fail(SPAN_NIL, SPAN_NIL, "%s: %zu leases, %zu waiting, %zu sessions, %zu accounts are left",
			   is_final ? "half an hour after the end" : "at the end", stats.n_leases, stats.n_waiting,
			   stats.n_sessions, stats.n_accounts);
	}
	if (world->app.n_held != world->n_held) {
		check_fail(SPAN_NIL, SPAN_NIL, "at the end: %zu bytes of bodies are held",
			   world->app.n_held - world->n_held);
	}
}

void world_close(struct world *world)
{
	world_flush(world);
	for (size_t i = 0; i < WORLD_MAX_REQUESTS; i++) {
		struct world_request *request = &world->requests[i];
		if (request->exchange && !request->is_settled) {
			check_fail(SPAN_NIL, gp_buffer_span(&request->exchange->body),
				   "at the end: request %zu %s, and the script does not say so", i,
				   request->exchange->is_replied ? "was answered" : "has no answer");
		}
		world_request_free(request);
	}
	for (size_t i = 1; i <= fake_n_opened(world->network); i++) {
		world_expect_nothing(world, i);
	}
	world_end(world);
}

void world_end(struct world *world)
{
	for (size_t i = 0; i < WORLD_MAX_REQUESTS; i++) {
		world_request_free(&world->requests[i]);
	}
	check_pool(world, false);
	world_advance(world, AFTERWARDS_MS);
	check_pool(world, true);
	api_hubs_free(&world->hubs);
	imap_pool_free(&world->pool);
	api_idempotency_free(&world->app.idempotency);
	api_throttle_free(&world->app.throttle);
	fake_network_free(&world->network);
	for (size_t i = 0; i < WORLD_MAX_CONNECTIONS; i++) {
		gp_buffer_deinit(&world->connections[i].unread);
		gp_buffer_deinit(&world->connections[i].pending);
	}
	for (size_t i = 0; i < world->n_variables; i++) {
		free(world->variables[i].name);
		free(world->variables[i].value);
	}
}

/* ---- variables ---- */

const char *world_variable(const struct world *world, struct span name)
{
	for (size_t i = 0; i < world->n_variables; i++) {
		if (span_equal_text(name, world->variables[i].name)) {
			return world->variables[i].value;
		}
	}
	return NULL;
}

void world_set_variable(struct world *world, struct span name, struct span value)
{
	for (size_t i = 0; i < world->n_variables; i++) {
		if (span_equal_text(name, world->variables[i].name)) {
			free(world->variables[i].value);
			world->variables[i].value = script_copy(value);
			return;
		}
	}
	if (world->n_variables == WORLD_MAX_VARIABLES) {
		script_die("more than %d variables", WORLD_MAX_VARIABLES);
	}
	world->variables[world->n_variables++] =
		(struct world_variable){.name = script_copy(name), .value = script_copy(value)};
}

static bool is_word_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* The name of the variable at `text`, its length with the marks in `len_out`. */
static struct span variable_at(const char *text, bool is_tag, size_t *len_out)
{
	const char *end = text + 1;

	if (!is_tag && text[0] == '$' && text[1] == '{' && (end = strchr(text, '}'))) {
		*len_out = (size_t)(end - text) + 1;
		return span_make(text + 2, *len_out - 3);
	}
	if (!is_tag || text[0] != '$') {
		return SPAN_NIL;
	}
	while (is_word_char(*end)) {
		end++;
	}
	*len_out = (size_t)(end - text);
	return *len_out > 1 ? span_make(text + 1, *len_out - 1) : SPAN_NIL;
}

char *world_expand(const struct world *world, const char *text, bool is_tag)
{
	char *out = NULL;
	size_t out_len = 0, len = 0;
	FILE *stream = open_memstream(&out, &out_len);

	if (!stream) {
		script_die("out of memory");
	}
	while (*text) {
		struct span name = variable_at(text, is_tag, &len);
		const char *value = span_is_nil(name) ? NULL : world_variable(world, name);
		if (value) {
			fputs(value, stream);
			text += len;
		} else {
			fputc(*text++, stream);
		}
	}
	fclose(stream);
	return out;
}

/* ---- the server's side ---- */

struct world_connection *world_connection(struct world *world, size_t number)
{
	if (number == 0 || number > fake_n_opened(world->network) || number >= WORLD_MAX_CONNECTIONS) {
		check_fail(SPAN_NIL, SPAN_NIL, "there is no connection %zu, only %zu were opened", number,
			   fake_n_opened(world->network));
	}
	struct world_connection *connection = &world->connections[number - 1];
	connection->transport = fake_transport(world->network, number - 1);
	const char *written = fake_take(connection->transport);
	if (written) {
		must(gp_buffer_append(&connection->unread, span_of(written)));
	}
	return connection;
}

/* xorshift64: the same pieces in every run of one seed. */
static size_t random_below(struct world *world, size_t n)
{
	world->random ^= world->random << 13;
	world->random ^= world->random >> 7;
	world->random ^= world->random << 17;
	return (size_t)(world->random % n);
}

static size_t piece_len(struct world *world, size_t left)
{
	size_t len = left;

	if (world->split == WORLD_BYTES) {
		len = 1;
	} else if (world->split == WORLD_RANDOM) {
		/* mostly short, now and then much at once */
		len = 1 + random_below(world, random_below(world, 4) == 0 ? 4000 : 30);
	}
	return len < left ? len : left;
}

static void feed(struct world *world, size_t number)
{
	struct world_connection *connection = &world->connections[number - 1];
	size_t len;

	if (connection->pending.len == 0) {
		return;
	}
	world_expect_nothing(world, number); /* every line is expected before it is answered */
	char *bytes = gp_buffer_take(&connection->pending, &len);
	for (size_t at = 0, n; at < len; at += n) {
		n = piece_len(world, len - at);
		fake_feed_bytes(connection->transport, span_make(bytes + at, n));
	}
	free(bytes);
}

void world_flush(struct world *world)
{
	for (size_t i = 1; world->is_open && i <= fake_n_opened(world->network) && i < WORLD_MAX_CONNECTIONS; i++) {
		feed(world, i);
	}
}

void world_send(struct world *world, size_t number, struct span bytes)
{
	struct world_connection *connection = world_connection(world, number);

	if (connection->pending.len == 0) {
		world_flush(world); /* what others were sent comes first */
	}
	must(gp_buffer_append(&connection->pending, bytes));
}

static struct span take_line(struct world_connection *connection, const char *expected, char **copy_out)
{
	struct span unread = gp_buffer_span(&connection->unread);
	ptrdiff_t end = span_find(unread, SPAN_LIT("\r\n"));

	if (end < 0) {
		check_fail(span_of(expected), unread, "the gateway has not sent this line");
	}
	*copy_out = script_copy(span_slice(unread, 0, (size_t)end));
	gp_buffer_consume(&connection->unread, (size_t)end + 2);
	return span_of(*copy_out);
}

void world_expect_line(struct world *world, size_t number, const char *text)
{
	size_t len, mark_len = 0;
	char *actual, *bytes = script_unescape(text, &len);

	world_flush(world);
	struct world_connection *connection = world_connection(world, number);
	struct span line = take_line(connection, text, &actual);
	struct span expected = span_make(bytes, len), rest = line;
	struct span name = variable_at(bytes, true, &mark_len);
	if (!span_is_nil(name)) {
		ptrdiff_t space = span_find_char(line, ' ');
		struct span tag = span_slice(line, 0, space < 0 ? line.len : (size_t)space);
		world_set_variable(world, name, tag);
		expected = span_from(expected, mark_len);
		rest = span_from(line, tag.len);
	}
	if (!span_equal(expected, rest)) {
		check_fail(span_make(bytes, len), line, "the gateway has sent another line");
	}
	free(actual);
	free(bytes);
}

/* One line that a quiet watch sends; false: there is none. */
static bool answer_watch(struct world *world, size_t number)
{
	struct world_connection *connection = world_connection(world, number);
	struct gp_buffer answer;
	char *copy;

	if (connection->unread.len == 0) {
		return false;
	}
	struct span line = take_line(connection, "", &copy);
	ptrdiff_t space = span_find_char(line, ' ');
	struct span tag = span_slice(line, 0, space < 0 ? 0 : (size_t)space);
	struct span command = span_from(line, space < 0 ? 0 : (size_t)space + 1);
	gp_buffer_init(&answer, MAX_BYTES);
	if (span_equal_text(command, "IDLE")) {
		world_set_variable(world, SPAN_LIT("i"), tag);
		must(gp_buffer_append(&answer, SPAN_LIT("+ idling\r\n")));
	} else if (span_equal_text(command, "NOOP")) {
		must(gp_buffer_printf(&answer, "%.*s OK\r\n", SPAN_ARGS(tag)));
	} else if (span_equal_text(line, "DONE")) {
		must(gp_buffer_printf(&answer, "%s OK\r\n", world_variable(world, SPAN_LIT("i"))));
	} else {
		check_fail(SPAN_NIL, line, "this is not what a quiet watch sends");
	}
	world_send(world, number, gp_buffer_span(&answer));
	world_flush(world);
	gp_buffer_deinit(&answer);
	free(copy);
	return true;
}

void world_pass_quietly(struct world *world, size_t number, uint64_t ms)
{
	world_flush(world);
	for (uint64_t passed_ms = 0; passed_ms < ms; passed_ms++) {
		world_advance(world, 1);
		while (answer_watch(world, number)) {
		}
	}
}

void world_expect_nothing(struct world *world, size_t number)
{
	struct world_connection *connection = world_connection(world, number);

	if (connection->unread.len > 0) {
		check_fail(SPAN_NIL, gp_buffer_span(&connection->unread),
			   "connection %zu: the gateway has sent what the script does not expect here", number);
	}
}

static void log_in_as(struct world *world, size_t number, const char *user, const char *capabilities)
{
	struct gp_buffer line;

	gp_buffer_init(&line, MAX_BYTES);
	must(gp_buffer_append_char(&line, '\0'));
	for (const char *c = user; *c; c++) {
		must(gp_buffer_append_char(&line, *c == ':' ? '\0' : *c));
	}
	struct gp_buffer expected;
	gp_buffer_init(&expected, MAX_BYTES);
	must(gp_buffer_append(&expected, SPAN_LIT("$login AUTHENTICATE PLAIN ")));
	world_base64(&expected, gp_buffer_span(&line), false);
	world_expect_line(world, number, expected.data);

	gp_buffer_truncate(&line, 0);
	must(gp_buffer_printf(&line, "%s OK [CAPABILITY %s] in\r\n", world_variable(world, SPAN_LIT("login")),
			      capabilities));
	world_send(world, number, gp_buffer_span(&line));
	gp_buffer_deinit(&line);
	gp_buffer_deinit(&expected);
}

/* A word of the list: "UIDPLUS" is no "ID". */
static bool offers(const char *capabilities, struct span word)
{
	struct span rest = span_of(capabilities);

	while (rest.len > 0) {
		ptrdiff_t space = span_find_char(rest, ' ');
		size_t len = space < 0 ? rest.len : (size_t)space;
		if (span_equal(span_slice(rest, 0, len), word)) {
			return true;
		}
		rest = span_from(rest, space < 0 ? len : len + 1);
	}
	return false;
}

void world_log_in(struct world *world, size_t number, const char *text)
{
	const char *rest = text;
	struct span first = script_word(&rest);
	bool has_user = span_find_char(first, ':') >= 0;
	const char *capabilities = has_user ? rest : text;
	char *user = has_user ? script_copy(first) : script_copy(SPAN_LIT("demo:demo"));
	struct world_connection *connection = world_connection(world, number);
	struct gp_buffer greeting;

	if (!connection->is_connected) {
		connection->is_connected = true;
		fake_connect(connection->transport);
	}
	gp_buffer_init(&greeting, MAX_BYTES);
	must(gp_buffer_printf(&greeting, "* OK [CAPABILITY %s AUTH=PLAIN SASL-IR] ready\r\n", capabilities));
	world_send(world, number, gp_buffer_span(&greeting));
	log_in_as(world, number, user, capabilities);
	world_flush(world);
	if (offers(capabilities, SPAN_LIT("ID"))) {
		world_expect_line(world, number, "$login " ID_LINE);
		gp_buffer_truncate(&greeting, 0);
		must(gp_buffer_printf(&greeting, "* ID NIL\r\n%s OK\r\n", world_variable(world, SPAN_LIT("login"))));
		world_send(world, number, gp_buffer_span(&greeting));
		world_flush(world);
	}
	gp_buffer_deinit(&greeting);
	free(user);
}

/* ---- the client's side ---- */

struct world_request *world_requested(struct world *world, size_t number)
{
	if (number >= WORLD_MAX_REQUESTS || !world->requests[number].exchange) {
		script_die("there is no request %zu", number);
	}
	return &world->requests[number];
}

void world_request_free(struct world_request *request)
{
	if (request->exchange) {
		fake_exchange_deinit(request->exchange);
		free(request->exchange);
	}
	*request = (struct world_request){.exchange = NULL};
}

void world_request(struct world *world, size_t number, struct fake_exchange *exchange)
{
	if (number >= WORLD_MAX_REQUESTS) {
		script_die("requests are numbered up to %d", WORLD_MAX_REQUESTS - 1);
	}
	struct world_request *request = &world->requests[number];
	if (request->exchange && !request->is_settled) {
		script_die("request %zu is still open", number);
	}
	world_request_free(request);
	request->exchange = exchange;
	request->ordinal = world->n_requests++;
	exchange->exchange.started_us = now_us();
	fault_enter();
	api_handle(&world->app, &exchange->exchange);
	fault_leave();
	world_advance(world, 0);
}

/* ---- bytes ---- */

void world_pattern(struct gp_buffer *out, size_t offset, size_t len)
{
	char line[16];

	while (len > 0) {
		size_t in_line = offset % 9, n = 9 - in_line < len ? 9 - in_line : len;
		snprintf(line, sizeof line, "%08zu\n", (offset - in_line) % 100000000);
		must(gp_buffer_append(out, span_make(line + in_line, n)));
		offset += n;
		len -= n;
	}
}

void world_base64(struct gp_buffer *out, struct span bytes, bool is_in_lines)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0, column = 0; i < bytes.len; i += 3) {
		size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
		unsigned bits = 0;
		for (size_t k = 0; k < 3; k++) {
			bits = bits << 8 | (k < n ? (unsigned char)bytes.ptr[i + k] : 0u);
		}
		for (size_t k = 0; k < 4; k++) {
			must(gp_buffer_append_char(out, k <= n ? digits[bits >> (18 - 6 * k) & 63] : '='));
		}
		column += 4;
		if (is_in_lines && (column == 76 || i + 3 >= bytes.len)) {
			must(gp_buffer_append(out, SPAN_LIT("\r\n")));
			column = 0;
		}
	}
}
