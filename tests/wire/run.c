/*
 * Runs scripts that hold both ends of the program: wire_run COMMON SCRIPT…
 * With --faults first, each case is disturbed again and again: faults.h.
 *
 * Each case runs in a process of its own, three times: with the server's answers
 * whole, a byte at a time, and in random pieces. One line for each case; a failure
 * says where and shows a diff. The format is README.md's.
 *
 *	WIRE_SEED=n	another series of random pieces
 *	WIRE_LOG=1	the program's log on standard error
 *	WIRE_CASE=text	only cases with this text in their names
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/hub.h"
#include "api/json.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "mail/header.h"
#include "tests/wire/check.h"
#include "tests/wire/fault_memory.h"
#include "tests/wire/faults.h"
#include "tests/wire/run.h"

/* Where a case is; shared with the parent, which tells it if the case dies. */
struct progress {
	int line;
	enum world_split split;
};

static struct progress *progress;

static const char *const split_names[] = {
	[WORLD_WHOLE] = "answers whole", [WORLD_BYTES] = "a byte at a time", [WORLD_RANDOM] = "random pieces"};

/* ---- reading lines ---- */

/* "C2: rest": true when `text` is `word`, a number or none, and `mark`. */
static bool is_directive(const char **text, const char *word, const char *mark, size_t *number_out)
{
	const char *p = *text;
	size_t len = strlen(word);

	if (strncmp(p, word, len) != 0) {
		return false;
	}
	p += len;
	char *end;
	*number_out = *p >= '0' && *p <= '9' ? strtoul(p, &end, 10) : 1;
	while (*p >= '0' && *p <= '9') {
		p++;
	}
	if (strncmp(p, mark, strlen(mark)) != 0) {
		return false;
	}
	p += strlen(mark);
	if (*p != '\0' && *p != ' ') {
		return false;
	}
	*text = *p == ' ' ? p + 1 : p;
	return true;
}

/* The next line if it belongs to the directive above it, else NULL. */
static const struct script_line *next_detail(struct run *run)
{
	const struct script_line *line = &run->test->lines[run->at];

	if (run->at == run->test->n_lines || line->indent == 0) {
		return NULL;
	}
	progress->line = line->number;
	run->at++;
	return line;
}

/* "+61s" or "+500ms" */
static uint64_t read_duration(const char *text)
{
	char *end;
	uint64_t n = strtoull(text + (*text == '+'), &end, 10);

	return strcmp(end, "ms") == 0 ? n : n * 1000;
}

static uint64_t read_number(const char **text)
{
	struct span word = script_word(text);
	uint64_t n = 0;

	if (!span_to_u64(word, &n)) {
		script_die("line %d: '%.*s' is no number", progress->line, SPAN_ARGS(word));
	}
	return n;
}

/* ---- settings ---- */

static void set(struct world *world, const char *text)
{
	struct span key = script_word(&text);
	struct imap_pool_config *config = &world->config;

	if (world->is_open) {
		script_die("line %d: settings come first", progress->line);
	}
	if (span_equal_text(key, "security")) {
		enum imap_security security = strcmp(text, "tls") == 0        ? IMAP_SECURITY_TLS
					      : strcmp(text, "starttls") == 0 ? IMAP_SECURITY_STARTTLS
									      : IMAP_SECURITY_NONE;
		world->endpoint.security = security;
		world->endpoint.port = security == IMAP_SECURITY_TLS ? 993 : 143;
	} else if (span_equal_text(key, "sessions-per-account")) {
		config->max_sessions_per_account = read_number(&text);
	} else if (span_equal_text(key, "sessions")) {
		config->max_sessions = read_number(&text);
	} else if (span_equal_text(key, "connect-timeout")) {
		config->connect_timeout_ms = read_duration(text);
	} else if (span_equal_text(key, "idle-timeout")) {
		config->idle_timeout_ms = read_duration(text);
	} else if (span_equal_text(key, "silence-timeout")) {
		config->silence_timeout_ms = read_duration(text);
	} else if (span_equal_text(key, "request-timeout")) {
		world->request_timeout_ms = read_duration(text);
	} else if (span_equal_text(key, "mailbox-role")) {
		struct gp_error error;
		if (api_role_config_add(&world->roles, span_of(text), &error) != GP_OK) {
			script_die("line %d: %s", progress->line, error.text);
		}
	} else if (span_equal_text(key, "held")) {
		world->n_held = read_number(&text);
	} else if (span_equal_text(key, "work")) {
		world->work_ms = read_duration(text);
	} else {
		script_die("line %d: there is no setting '%.*s'", progress->line, SPAN_ARGS(key));
	}
}

/* ---- the request ---- */

static void add_login(struct fake_exchange *exchange, const char *user)
{
	struct gp_buffer value;

	gp_buffer_init(&value, 4 * GP_KIB);
	if (gp_buffer_append(&value, SPAN_LIT("Basic ")) != GP_OK) {
		script_die("out of memory");
	}
	world_base64(&value, span_of(user), false);
	fake_exchange_add_header(exchange, "Authorization", value.data);
	gp_buffer_deinit(&value);
}

static void add_header(struct run *run, struct fake_exchange *exchange, const char *text)
{
	const char *colon = strchr(text, ':');

	if (!colon) {
		script_die("line %d: neither a header, nor 'as', nor a body", progress->line);
	}
	/* The exchange borrows the name: it is the script's, cut into the arena. */
	char *name = gp_arena_strdup(&exchange->exchange.arena, span_make(text, (size_t)(colon - text)));
	char *value = world_expand(&run->world, colon + 1 + strspn(colon + 1, " "), false);
	fake_exchange_add_header(exchange, name, value);
	free(value);
}

static void request(struct run *run, size_t number, const char *text)
{
	struct fake_exchange *exchange = calloc(1, sizeof *exchange);
	char *expanded = world_expand(&run->world, text, false);
	const char *rest = expanded, *user = "demo:demo";
	const char *body = "";
	const struct script_line *line;
	size_t len;

	if (!exchange) {
		script_die("out of memory");
	}
	struct span method = script_word(&rest);
	char *target = script_unescape(rest, &len);
	fake_exchange_init_bytes(exchange, method, span_make(target, len));
	while ((line = next_detail(run))) {
		if (span_starts_with(span_of(line->text), "as ")) {
			user = line->text + 3;
		} else if (span_starts_with(span_of(line->text), "from ")) {
			char *address = script_unescape(line->text + 5, &len);
			fake_exchange_set_client(exchange, span_make(address, len));
			free(address);
		} else if (line->text[0] == '=') {
			body = line->text + 1 + strspn(line->text + 1, " ");
			fake_exchange_set_body(exchange, span_of(line->text + 1 + strspn(line->text + 1, " ")));
		} else {
			add_header(run, exchange, line->text);
		}
	}
	if (strcmp(user, "nobody") != 0) {
		add_login(exchange, user);
	}
	free(target);
	free(expanded);
	if (api_takes_upload(&run->world.app, &exchange->exchange)) {
		bool is_chunked =
			!span_is_nil(exchange->exchange.ops->header(&exchange->exchange, "Transfer-Encoding"));
		char *bytes = script_unescape(body, &len);
		fake_exchange_set_body(exchange, span_make(bytes, len));
		fake_exchange_set_upload(exchange, is_chunked ? -1 : (int64_t)len);
		free(bytes);
	}
	world_request(&run->world, number, exchange);
}

/* ---- the reply ---- */

static void expect_header(struct run *run, const struct fake_exchange *exchange, const char *text)
{
	size_t len = strcspn(text, ":~ ");
	char *name = script_copy(span_make(text, len));
	bool is_part = strncmp(text + len, " ~ ", 3) == 0;
	char *expected = world_expand(&run->world, text + len + strspn(text + len, ":~ "), false);
	const char *actual = fake_exchange_reply_header(exchange, name);

	if (!actual) {
		check_fail(span_of(text), SPAN_NIL, "the reply has no header %s", name);
	}
	bool is_right = is_part ? strstr(actual, expected) != NULL
				: strcmp(expected, "*") == 0 || strcmp(actual, expected) == 0;
	if (!is_right) {
		check_fail(span_of(expected), span_of(actual), "header %s", name);
	}
	free(expected);
	free(name);
}

/* "is text…", "has text…", "lacks text…", "pattern OFFSET LEN", "length N", "empty" */
static void expect_body(const struct fake_exchange *exchange, const char *text)
{
	struct span body = gp_buffer_span(&exchange->body);
	struct span kind = script_word(&text);
	struct gp_buffer expected;
	size_t len;

	if (span_equal_text(kind, "empty")) {
		check_bytes("body", SPAN_LIT(""), body);
	} else if (span_equal_text(kind, "length")) {
		size_t wanted = read_number(&text);
		if (body.len != wanted) {
			check_fail(SPAN_NIL, SPAN_NIL, "the body has %zu bytes, not %zu", body.len, wanted);
		}
	} else if (span_equal_text(kind, "pattern")) {
		size_t offset = read_number(&text);
		gp_buffer_init(&expected, 64 * GP_MIB);
		world_pattern(&expected, offset, read_number(&text));
		check_bytes("body", gp_buffer_span(&expected), body);
		gp_buffer_deinit(&expected);
	} else {
		char *bytes = script_unescape(text, &len);
		bool is_whole = span_equal_text(kind, "is"), is_absent = span_equal_text(kind, "lacks");
		if (!is_whole && !is_absent && !span_equal_text(kind, "has")) {
			script_die("line %d: body %.*s is unknown", progress->line, SPAN_ARGS(kind));
		}
		bool is_found = is_whole ? span_equal(body, span_make(bytes, len))
					 : span_find(body, span_make(bytes, len)) >= 0;
		if (is_found == is_absent) {
			check_fail(span_make(bytes, len), body, "body");
		}
		free(bytes);
	}
}

/* A value may go on over lines that are indented more. */
static void expect_json(struct run *run, const struct fake_exchange *exchange, const struct script_line *line)
{
	char *assertion = world_expand(&run->world, line->text + 5, false);

	while (!check_json_is_whole(assertion) && run->at < run->test->n_lines &&
	       run->test->lines[run->at].indent > line->indent) {
		const char *more = run->test->lines[run->at++].text;
		assertion = script_grow(assertion, strlen(assertion) + strlen(more) + 1, 1);
		memcpy(assertion + strlen(assertion), more, strlen(more) + 1);
	}
	check_json(gp_buffer_span(&exchange->body), assertion);
	free(assertion);
}

/* "let NAME = .path", or "let NAME = header Name" */
static void let(struct run *run, const struct fake_exchange *exchange, const char *text)
{
	struct span name = script_word(&text);

	script_word(&text);
	if (span_starts_with(span_of(text), "header ")) {
		const char *value = fake_exchange_reply_header(exchange, text + 7);
		world_set_variable(&run->world, name, span_of(value ? value : ""));
	} else {
		char *value = check_json_text(gp_buffer_span(&exchange->body), text);
		world_set_variable(&run->world, name, span_of(value));
		free(value);
	}
}

static void expect_details(struct run *run, struct fake_exchange *exchange)
{
	const struct script_line *line;

	while ((line = next_detail(run))) {
		struct span text = span_of(line->text);
		if (span_starts_with(text, "json ")) {
			expect_json(run, exchange, line);
		} else if (span_starts_with(text, "body ")) {
			expect_body(exchange, line->text + 5);
		} else if (span_starts_with(text, "let ")) {
			let(run, exchange, line->text + 4);
		} else if (line->text[0] != '!') {
			expect_header(run, exchange, line->text);
		} else if (fake_exchange_reply_header(exchange, line->text + 1)) {
			check_fail(SPAN_NIL, span_of(fake_exchange_reply_header(exchange, line->text + 1)),
				   "the reply has a header %s", line->text + 1);
		}
	}
}

static void expect_status(const struct fake_exchange *exchange, unsigned status)
{
	if (!exchange->is_replied && !exchange->is_stream) {
		check_fail(SPAN_NIL, SPAN_NIL, "there is no reply yet");
	}
	if (exchange->status != status) {
		check_fail(SPAN_NIL, gp_buffer_span(&exchange->body), "status %u, not %u", exchange->status, status);
	}
}

/* "200", "200 begins", "ends", "breaks off", "nothing" */
static void reply(struct run *run, size_t number, const char *text)
{
	world_flush(&run->world);
	struct world_request *request = world_requested(&run->world, number);
	struct fake_exchange *exchange = request->exchange;

	if (strcmp(text, "nothing") == 0) {
		if (exchange->is_replied || exchange->is_stream) {
			check_fail(SPAN_NIL, gp_buffer_span(&exchange->body), "there is a reply: status %u",
				   exchange->status);
		}
		return;
	}
	bool breaks_off = strcmp(text, "breaks off") == 0;
	bool is_end = breaks_off || strcmp(text, "ends") == 0;
	bool is_begin = strstr(text, " begins") != NULL;
	if (!is_end) {
		expect_status(exchange, (unsigned)strtoul(text, NULL, 10));
	}
	if (is_begin != !exchange->is_replied) {
		check_fail(SPAN_NIL, SPAN_NIL, "the body %s", exchange->is_replied ? "has ended" : "has not ended");
	}
	if (!is_begin && exchange->is_complete == breaks_off) {
		check_fail(SPAN_NIL, SPAN_NIL, "the body %s", breaks_off ? "is complete" : "breaks off");
	}
	request->is_settled = exchange->is_replied;
	expect_details(run, exchange);
}

/* ---- the server ---- */

static void send_line(struct world *world, size_t number, const char *text, const char *end)
{
	size_t len;
	char *bytes = script_unescape(text, &len);
	char *expanded = world_expand(world, bytes, true);

	/* bytes that were escaped may hold a NUL, and then no tag */
	world_send(world, number, strlen(bytes) == len ? span_of(expanded) : span_make(bytes, len));
	world_send(world, number, span_of(end));
	free(expanded);
	free(bytes);
}

/* "S-pattern: OFFSET LEN" */
static void send_pattern(struct world *world, size_t number, const char *text)
{
	struct gp_buffer bytes;
	size_t offset = read_number(&text);

	gp_buffer_init(&bytes, 64 * GP_MIB);
	world_pattern(&bytes, offset, read_number(&text));
	world_send(world, number, gp_buffer_span(&bytes));
	gp_buffer_deinit(&bytes);
}

/* "S-base64: TOTAL OFFSET LEN": a piece of TOTAL bytes of the pattern, encoded. */
static void send_base64(struct world *world, size_t number, const char *text)
{
	struct gp_buffer bytes, encoded;

	gp_buffer_init(&bytes, 64 * GP_MIB);
	gp_buffer_init(&encoded, 64 * GP_MIB);
	world_pattern(&bytes, 0, read_number(&text));
	world_base64(&encoded, gp_buffer_span(&bytes), true);
	size_t offset = read_number(&text);
	world_send(world, number, span_slice(gp_buffer_span(&encoded), offset, read_number(&text)));
	gp_buffer_deinit(&bytes);
	gp_buffer_deinit(&encoded);
}

/* "S-repeat: N TEXT": N times, at once however answers are split, or it would take minutes. */
static void send_repeated(struct world *world, size_t number, const char *text)
{
	struct gp_buffer bytes;
	size_t n = read_number(&text), len;
	char *piece = script_unescape(text, &len);

	gp_buffer_init(&bytes, 64 * GP_MIB);
	for (size_t i = 0; i < n; i++) {
		if (gp_buffer_append(&bytes, span_make(piece, len)) != GP_OK) {
			script_die("line %d: too much", progress->line);
		}
	}
	world_flush(world);
	fake_feed_bytes(world_connection(world, number)->transport, gp_buffer_span(&bytes));
	gp_buffer_deinit(&bytes);
	free(piece);
}

static enum gp_status status_named(const char *name)
{
	for (int status = 0; status <= GP_UIDVALIDITY; status++) {
		if (strcmp(gp_status_name((enum gp_status)status), name) == 0) {
			return (enum gp_status)status;
		}
	}
	script_die("line %d: there is no status %s", progress->line, name);
}

static void end_connection(struct world *world, size_t number, const char *name)
{
	world_flush(world);
	enum gp_status status = status_named(name);
	fake_end(world_connection(world, number)->transport, status, gp_status_text(status));
}

static bool serve(struct run *run, const char *text)
{
	struct world *world = &run->world;
	size_t n;

	if (is_directive(&text, "S", ":", &n)) {
		send_line(world, n, text, "\r\n");
	} else if (is_directive(&text, "S", "-raw:", &n)) {
		send_line(world, n, text, "");
	} else if (is_directive(&text, "S", "-pattern:", &n)) {
		send_pattern(world, n, text);
	} else if (is_directive(&text, "S", "-repeat:", &n)) {
		send_repeated(world, n, text);
	} else if (is_directive(&text, "S", "-base64:", &n)) {
		send_base64(world, n, text);
	} else if (is_directive(&text, "S", "-connect", &n)) {
		struct world_connection *connection = world_connection(world, n);
		connection->is_connected = true;
		fake_connect(connection->transport);
	} else if (is_directive(&text, "S", "-tls", &n)) {
		world_flush(world);
		fake_secure(world_connection(world, n)->transport);
	} else if (is_directive(&text, "S", "-close", &n)) {
		end_connection(world, n, "LOST");
	} else if (is_directive(&text, "S", "-fail", &n)) {
		end_connection(world, n, text);
	} else if (is_directive(&text, "login", ":", &n)) {
		world_flush(world);
		world_log_in(world, n, text);
	} else {
		return false;
	}
	return true;
}

/* ---- what the gateway did on the wire ---- */

static void expect_state(struct run *run, size_t number, bool is_right, const char *what)
{
	(void)run;
	if (!is_right) {
		check_fail(SPAN_NIL, SPAN_NIL, "connection %zu is not %s", number, what);
	}
}

static bool expect_imap(struct run *run, const char *text)
{
	struct world *world = &run->world;
	size_t n;

	if (is_directive(&text, "C", ":", &n)) {
		world_expect_line(world, n, text);
	} else if (is_directive(&text, "C", "-nothing", &n)) {
		world_flush(world);
		world_expect_nothing(world, n);
	} else if (is_directive(&text, "C", "-closed", &n)) {
		world_flush(world);
		expect_state(run, n, fake_is_closed(world_connection(world, n)->transport), "closed");
	} else if (is_directive(&text, "C", "-open", &n)) {
		world_flush(world);
		expect_state(run, n, !fake_is_closed(world_connection(world, n)->transport), "open");
	} else if (is_directive(&text, "C", "-tls", &n)) {
		world_flush(world);
		expect_state(run, n, fake_wants_tls(world_connection(world, n)->transport), "asking for TLS");
	} else {
		return false;
	}
	return true;
}

/* ---- the rest of the world ---- */

static void expect_pool(struct world *world, const char *text)
{
	struct imap_pool_stats stats;

	world_flush(world);
	imap_pool_stats(world->pool, &stats);
	const struct {
		const char *name;
		uint64_t value;
	} values[] = {{"accounts", stats.n_accounts}, {"sessions", stats.n_sessions},
		      {"leases", stats.n_leases},     {"waiting", stats.n_waiting},
		      {"logins", stats.n_logins},     {"failures", stats.n_login_failures}};
	while (*text) {
		struct span name = script_word(&text);
		uint64_t expected = read_number(&text);
		for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
			if (span_equal_text(name, values[i].name) && values[i].value != expected) {
				check_fail(SPAN_NIL, SPAN_NIL, "the pool has %llu %s, not %llu",
					   (unsigned long long)values[i].value, values[i].name,
					   (unsigned long long)expected);
			}
		}
	}
}

static void on_drained(void *ctx)
{
	((struct world *)ctx)->is_drained = true;
}

static void client_leaves(struct run *run, size_t number)
{
	world_flush(&run->world);
	struct world_request *request = world_requested(&run->world, number);
	fake_exchange_leave(request->exchange);
	request->is_settled = true;
	world_advance(&run->world, 0);
}

/* "send", "send N": the rest of an upload, or its next N bytes; all are wanted. */
static void client_sends(struct run *run, size_t number, const char *text)
{
	world_flush(&run->world);
	struct world_request *request = world_requested(&run->world, number);
	struct fake_exchange *exchange = request->exchange;
	struct span rest = span_from(exchange->blocks[2], request->n_sent);
	size_t len = *text ? (size_t)read_number(&text) : rest.len;
	size_t n_taken = fake_exchange_send(exchange, span_slice(rest, 0, len));

	if (n_taken != len) {
		check_fail(SPAN_NIL, SPAN_NIL, "of %zu bytes %zu were wanted", len, n_taken);
	}
	if (!exchange->is_upload_begun && !exchange->is_replied) {
		check_fail(SPAN_NIL, SPAN_NIL, "the body is not wanted yet");
	}
	request->n_sent += n_taken;
	if (request->n_sent == exchange->blocks[2].len) {
		fake_exchange_end_upload(exchange);
	}
	world_advance(&run->world, 0);
}

/* "wants N": how many bytes of the body may come now. */
static void expect_credit(struct run *run, size_t number, const char *text)
{
	world_flush(&run->world);
	size_t credit = world_requested(&run->world, number)->exchange->upload_credit;

	if (credit != read_number(&text)) {
		check_fail(SPAN_NIL, SPAN_NIL, "%zu bytes of the body are wanted", credit);
	}
}

bool run_send_wanted(struct run *run, struct world_request *request)
{
	struct fake_exchange *exchange = request->exchange;
	struct span rest = span_from(exchange->blocks[2], request->n_sent);

	if (!exchange->exchange.is_upload || exchange->is_upload_ended || exchange->is_replied ||
	    !exchange->is_upload_begun) {
		return false;
	}
	size_t n = exchange->upload_credit < rest.len ? exchange->upload_credit : rest.len;
	if (n == 0 && rest.len > 0) {
		return false;
	}
	request->n_sent += fake_exchange_send(exchange, span_slice(rest, 0, n));
	if (request->n_sent == exchange->blocks[2].len) {
		fake_exchange_end_upload(exchange);
	}
	world_advance(&run->world, 0);
	return true;
}

static void client_takes(struct run *run, size_t number, const char *text)
{
	world_flush(&run->world);
	fake_exchange_take(world_requested(&run->world, number)->exchange, read_number(&text));
	world_advance(&run->world, 0);
}

static bool change(struct run *run, const char *text)
{
	struct world *world = &run->world;
	size_t n;

	if (is_directive(&text, "time", "", &n)) {
		world_advance(world, read_duration(text));
	} else if (is_directive(&text, "quiet", "", &n)) {
		world_pass_quietly(world, n, read_duration(text));
	} else if (is_directive(&text, "leave", "", &n)) {
		client_leaves(run, n);
	} else if (is_directive(&text, "send", "", &n)) {
		client_sends(run, n, text);
	} else if (is_directive(&text, "wants", "", &n)) {
		expect_credit(run, n, text);
	} else if (is_directive(&text, "take", "", &n)) {
		client_takes(run, n, text);
	} else if (is_directive(&text, "pool", "", &n)) {
		expect_pool(world, text);
	} else if (is_directive(&text, "connections", "", &n)) {
		world_flush(world);
		if (fake_n_opened(world->network) != read_number(&text)) {
			check_fail(SPAN_NIL, SPAN_NIL, "%zu connections were opened", fake_n_opened(world->network));
		}
	} else if (is_directive(&text, "drain", "", &n)) {
		world_flush(world);
		world->app.is_draining = true;
		api_hubs_drain(world->hubs);
		imap_pool_drain(world->pool, on_drained, world);
		world_advance(world, 0);
	} else if (is_directive(&text, "drained", "", &n)) {
		world_flush(world);
		if (world->is_drained != (strcmp(text, "yes") == 0)) {
			check_fail(SPAN_NIL, SPAN_NIL, "drained: not %s", text);
		}
	} else {
		return false;
	}
	return true;
}

static void run_line(struct run *run, const struct script_line *line)
{
	const char *text = line->text;
	size_t n;

	progress->line = line->number;
	if (is_directive(&text, "set", "", &n)) {
		set(&run->world, text);
		return;
	}
	world_open(&run->world);
	if (is_directive(&text, ">", "", &n)) {
		world_flush(&run->world);
		request(run, n, text);
	} else if (is_directive(&text, "<", "", &n)) {
		reply(run, n, text);
	} else if (line->indent > 0 || (!serve(run, text) && !expect_imap(run, text) && !change(run, text))) {
		script_die("line %d: '%s' is unknown", line->number, line->text);
	}
}

void run_begin(struct run *run, const struct script_case *test, enum world_split split, uint64_t seed)
{
	*run = (struct run){.test = test};
	progress->split = split;
	world_init(&run->world, split, seed);
}

bool run_next(struct run *run)
{
	if (run->at == run->test->n_lines) {
		return false;
	}
	run->at++;
	run_line(run, &run->test->lines[run->at - 1]);
	return true;
}

static void run_case(const struct script_case *test, enum world_split split, uint64_t seed)
{
	struct run run;

	run_begin(&run, test, split, seed);
	while (run_next(&run)) {
	}
	world_open(&run.world);
	world_close(&run.world);
}

/* ---- cases as processes ---- */

static uint64_t seed_of(const char *name)
{
	const char *given = getenv("WIRE_SEED");

	return gp_hash_span(given ? strtoull(given, NULL, 10) : 1, span_of(name));
}

/* In the child. Ends with the leak checker's verdict. */
static void run_three_ways(struct script *script, const struct script_case *test)
{
	for (int split = WORLD_WHOLE; split <= WORLD_RANDOM; split++) {
		run_case(test, (enum world_split)split, seed_of(test->name));
	}
	script_free(script);
	exit(0);
}

static bool test_case(struct script *script, const struct script_case *test, const char *path)
{
	int status = 0;

	*progress = (struct progress){.line = test->number};
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		run_three_ways(script, test);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		script_die("no process for a case");
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		printf("ok   %s\n", test->name);
		return true;
	}
	printf("FAIL %s (%s:%d, %s)\n", test->name, path, progress->line, split_names[progress->split]);
	return false;
}

/* Is it to be run? */
static bool is_chosen(const struct script_case *test, bool with_faults)
{
	static size_t n_seen;
	const char *only = getenv("WIRE_CASE");
	const char *stride = with_faults ? getenv("FAULTS_STRIDE") : NULL;

	if (stride && n_seen++ % strtoul(stride, NULL, 10) != 0) {
		return false;
	}
	return (!only || strstr(test->name, only)) && (!with_faults || faults_has_place(test));
}

static int run_script(const char *common, const char *path, bool with_faults)
{
	struct script script;
	int n_failed = 0;

	script_read(&script, common, path);
	for (size_t i = 0; i < script.n_cases; i++) {
		if (!is_chosen(&script.cases[i], with_faults)) {
			continue;
		}
		n_failed += with_faults ? !faults_test_case(&script.cases[i], path)
					: !test_case(&script, &script.cases[i], path);
	}
	script_free(&script);
	return n_failed;
}

int main(int argc, char **argv)
{
	int n_failed = 0, first = argc > 1 && strcmp(argv[1], "--faults") == 0 ? 2 : 1;

	if (argc < first + 2) {
		script_die("usage: wire_run [--faults] COMMON SCRIPT…");
	}
	fault_memory_init();
	progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (progress == MAP_FAILED) {
		script_die("no memory that is shared");
	}
	gp_log_setup(getenv("WIRE_LOG") ? GP_LOG_DEBUG : GP_LOG_ERROR, GP_LOG_TEXT);
	mail_init();
	api_json_init();
	for (int i = first + 1; i < argc; i++) {
		n_failed += run_script(argv[first], argv[i], first > 1);
	}
	munmap(progress, sizeof *progress);
	return n_failed > 0;
}
