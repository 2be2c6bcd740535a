#include "tests/wire/mirror.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "tests/wire/script.h"

#define MAX_BYTES (64 * GP_MIB)

static void must(enum gp_status status)
{
	if (status != GP_OK) {
		script_die("the mirror: %s", gp_status_text(status));
	}
}

/* A copy that may hold NULs. */
static char *copy_of(struct span bytes)
{
	char *copy = script_grow(NULL, bytes.len, 1);

	memcpy(copy, bytes.ptr, bytes.len);
	copy[bytes.len] = '\0';
	return copy;
}

/* ---- both streams, in pieces ---- */

/* The number of a line that ends in "{12}" or "{12+}"; -1: it announces no literal. */
static int64_t literal_of(struct span line, bool *waits_out)
{
	size_t at = line.len;
	uint32_t n;

	if (at == 0 || line.ptr[at - 1] != '}') {
		return -1;
	}
	while (at > 0 && line.ptr[at - 1] != '{') {
		at--;
	}
	struct span number = span_slice(line, at, line.len - 1 - at);
	bool waits = number.len == 0 || number.ptr[number.len - 1] != '+';
	if (!span_to_u32(span_slice(number, 0, number.len - !waits), &n)) {
		return -1;
	}
	*waits_out = waits;
	return n;
}

/* The length of the command or response that `bytes` begins with, its last CRLF counted;
 * 0: it is not whole. `*n_waits_out`: literals that wait for a "+" and of which nothing is
 * there is their number so far, where the piece ends at one. */
static size_t piece_len(struct span bytes, size_t *n_waits_out)
{
	size_t at = 0, n_waits = 0;

	*n_waits_out = 0;
	for (;;) {
		ptrdiff_t end = span_find(span_from(bytes, at), SPAN_LIT("\r\n"));
		bool waits = false;
		if (end < 0) {
			return 0;
		}
		int64_t n = literal_of(span_slice(bytes, at, (size_t)end), &waits);
		at += (size_t)end + 2;
		if (n < 0) {
			return at;
		}
		n_waits += waits;
		if (waits && at == bytes.len) {
			*n_waits_out = n_waits;
		}
		at += (size_t)n;
		if (at > bytes.len) {
			return 0;
		}
	}
}

static struct span first_word(struct span text)
{
	ptrdiff_t space = span_find_char(text, ' ');

	return space < 0 ? text : span_slice(text, 0, (size_t)space);
}

/* ---- learning ---- */

static bool is_write(struct span command)
{
	static const char *const verbs[] = {"APPEND ",   "COPY ",     "MOVE ",     "STORE ",   "UID COPY ",
					    "UID MOVE ", "UID STORE", "EXPUNGE",   "CREATE ",  "UID EXPUN",
					    "DELETE ",   "RENAME ",   "SUBSCRIBE", "UNSUBSCR", "CLOSE"};

	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
		if (span_starts_with(command, verbs[i])) {
			return true;
		}
	}
	return false;
}

/* The answer with the tag replaced, also where ESEARCH repeats it. */
static void put_answer(struct gp_buffer *out, struct span answer, struct span from, struct span to)
{
	while (answer.len > 0) {
		ptrdiff_t at = span_find(answer, from);
		if (at < 0) {
			must(gp_buffer_append(out, answer));
			return;
		}
		bool is_tag = at == 0 || answer.ptr[at - 1] == '\n' || answer.ptr[at - 1] == '"' || from.len == 1;
		must(gp_buffer_append(out, span_slice(answer, 0, (size_t)at)));
		must(gp_buffer_append(out, is_tag ? to : from));
		answer = span_from(answer, (size_t)at + from.len);
	}
}

static void learn(struct mirror_memory *memory, const struct mirror_command *command, struct span answer)
{
	static const char mark[] = MIRROR_TAG;
	struct gp_buffer text;

	gp_buffer_init(&text, MAX_BYTES);
	put_answer(&text, answer, span_of(command->tag), span_make(mark, 1));
	memory->answers = script_grow(memory->answers, memory->n_answers, sizeof *memory->answers);
	struct mirror_answer *one = &memory->answers[memory->n_answers++];
	*one = (struct mirror_answer){.command = copy_of(span_make(command->text, command->text_len)),
				      .command_len = command->text_len};
	one->text = gp_buffer_take(&text, &one->text_len);
}

static struct mirror_answer *known(struct mirror *mirror, const struct mirror_command *command, size_t n_before)
{
	struct mirror_answer *found = NULL;

	for (size_t i = 0; i < mirror->memory->n_answers; i++) {
		struct mirror_answer *one = &mirror->memory->answers[i];
		if (span_equal(span_make(one->command, one->command_len),
			       span_make(command->text, command->text_len))) {
			found = one;
			if (n_before-- == 0) {
				break;
			}
		}
	}
	return found;
}

static size_t *uses(struct mirror *mirror, const struct mirror_command *command)
{
	const struct mirror_answer *first = known(mirror, command, 0);

	return first && mirror->n_used ? &mirror->n_used[first - mirror->memory->answers] : NULL;
}

/* ---- what both ends got ---- */

static void take_command(struct mirror *mirror, struct mirror_connection *connection, struct span bytes)
{
	struct span tag = first_word(span_slice(bytes, 0, bytes.len - 2));
	struct span text = span_slice(bytes, tag.len + 1, bytes.len - 2 - tag.len - 1);

	if (span_equal_text(tag, "DONE")) {
		for (size_t i = 0; i < connection->n_commands; i++) {
			connection->commands[i].is_idle = false;
		}
		return;
	}
	if (text.len == 0) {
		return; /* an answer to "+" */
	}
	connection->commands = script_grow(connection->commands, connection->n_commands, sizeof *connection->commands);
	connection->commands[connection->n_commands++] =
		(struct mirror_command){.tag = script_copy(tag),
					.text = copy_of(text),
					.text_len = text.len,
					.is_idle = span_equal_text(text, "IDLE")};
	if (span_starts_with(text, "EXAMINE ") || span_starts_with(text, "SELECT ")) {
		connection->is_fresh = span_find(text, SPAN_LIT(MIRROR_FRESH)) >= 0;
	}
	const struct mirror_command *command = &connection->commands[connection->n_commands - 1];
	/* What this play does not know is answered by NO. */
	if (is_write(text) && (mirror->is_learning || known(mirror, command, 0))) {
		mirror->writes = script_grow(mirror->writes, mirror->n_writes, sizeof *mirror->writes);
		mirror->writes[mirror->n_writes++] = copy_of(text);
	}
}

static void forget_command(struct mirror_connection *connection, size_t i)
{
	free(connection->commands[i].tag);
	free(connection->commands[i].text);
	connection->n_commands--;
	memmove(&connection->commands[i], &connection->commands[i + 1],
		(connection->n_commands - i) * sizeof *connection->commands);
}

static size_t n_fetches(const struct mirror_connection *connection)
{
	size_t n = 0;

	for (size_t i = 0; i < connection->n_commands; i++) {
		n += strstr(connection->commands[i].text, "FETCH ") != NULL;
	}
	return n;
}

static void take_response(struct mirror *mirror, struct mirror_connection *connection, struct span bytes)
{
	struct span tag = first_word(bytes);

	if (!connection->is_greeted) {
		connection->is_greeted = true;
		if (mirror->is_learning && !mirror->memory->greeting) {
			mirror->memory->greeting = copy_of(bytes);
			mirror->memory->greeting_len = bytes.len;
		}
		return;
	}
	if (span_equal_text(tag, "+")) {
		return;
	}
	must(gp_buffer_append(&connection->untagged, bytes));
	if (span_equal(first_word(gp_buffer_span(&connection->sent)), tag)) {
		gp_buffer_truncate(&connection->sent, 0); /* refused before its literal */
		gp_buffer_truncate(&connection->untagged, 0);
		return;
	}
	mirror->memory->is_mixed |= mirror->is_learning && n_fetches(connection) > 1;
	for (size_t i = 0; i < connection->n_commands; i++) {
		struct mirror_command *command = &connection->commands[i];
		if (!span_equal_text(tag, command->tag)) {
			continue;
		}
		size_t *n_used = uses(mirror, command);
		if (n_used) {
			(*n_used)++;
		}
		if (mirror->is_learning) {
			learn(mirror->memory, command, gp_buffer_span(&connection->untagged));
		}
		forget_command(connection, i);
		gp_buffer_truncate(&connection->untagged, 0);
		return;
	}
}

static void on_bytes(void *ctx, size_t index, bool is_to_server, struct span bytes)
{
	struct mirror *mirror = ctx;
	struct mirror_connection *connection = &mirror->connections[index];
	struct gp_buffer *stream = is_to_server ? &connection->sent : &connection->answered;
	size_t len, n_waits;

	must(gp_buffer_append(stream, bytes));
	while ((len = piece_len(gp_buffer_span(stream), &n_waits)) > 0) {
		struct span piece = span_slice(gp_buffer_span(stream), 0, len);
		if (is_to_server) {
			connection->n_asked = 0;
			take_command(mirror, connection, piece);
		} else {
			take_response(mirror, connection, piece);
		}
		gp_buffer_consume(stream, len);
	}
}

/* ---- serving ---- */

static void feed(struct mirror *mirror, size_t index, struct span bytes)
{
	fake_feed_bytes(fake_transport(mirror->world->network, index), bytes);
}

static void feed_text(struct mirror *mirror, size_t index, const char *text)
{
	feed(mirror, index, span_of(text));
}

static const char not_in_this_play[] = MIRROR_TAG " NO [UNAVAILABLE] not in this play\r\n";

static const char *own_answer(struct mirror *mirror, const struct mirror_connection *connection,
			      const struct mirror_command *command)
{
	static const char *const agreed[] = {"NOOP", "UNSELECT", "CLOSE", "ENABLE ", "ID ", "CHECK", "NOTIFY NONE"};
	struct span text = span_make(command->text, command->text_len);

	if (connection->is_fresh && (span_starts_with(text, "EXAMINE ") || span_starts_with(text, "SELECT "))) {
		return "* 1 EXISTS\r\n* OK [UIDVALIDITY 7] valid\r\n* OK [UIDNEXT 8] next\r\n" MIRROR_TAG
		       " OK done\r\n";
	}
	if (connection->is_fresh && span_equal_text(text, "UID FETCH 7 (UID FLAGS)")) {
		return "* 1 FETCH (UID 7 FLAGS (\\Seen))\r\n" MIRROR_TAG " OK done\r\n";
	}
	if (mirror->is_kind && span_equal_text(text, "STARTTLS")) {
		return MIRROR_TAG " OK begin\r\n";
	}
	if (known(mirror, command, 0) && !mirror->is_kind) {
		return NULL;
	}
	if (span_starts_with(text, "AUTHENTICATE PLAIN ") || span_starts_with(text, "LOGIN ")) {
		return MIRROR_TAG " OK in\r\n";
	}
	if (span_equal_text(text, "CAPABILITY")) {
		return "* CAPABILITY IMAP4rev1 LITERAL+ AUTH=PLAIN SASL-IR\r\n" MIRROR_TAG " OK done\r\n";
	}
	if (span_equal_text(text, "LOGOUT")) {
		return "* BYE\r\n" MIRROR_TAG " OK done\r\n";
	}
	for (size_t i = 0; i < sizeof agreed / sizeof agreed[0]; i++) {
		if (span_starts_with(text, agreed[i])) {
			return MIRROR_TAG " OK done\r\n";
		}
	}
	return not_in_this_play;
}

/* What a message looked like before the last change is not what became of it. */
static bool is_outdated(struct mirror *mirror, const struct mirror_command *command,
			const struct mirror_answer *learned)
{
	if (mirror->n_writes == 0 || !strstr(command->text, "FETCH ")) {
		return false;
	}
	const char *last = mirror->writes[mirror->n_writes - 1];
	const struct mirror_command write = {.text = (char *)(uintptr_t)last, .text_len = strlen(last)};
	const struct mirror_answer *written = known(mirror, &write, 0);
	return written && learned < written;
}

static void answer(struct mirror *mirror, size_t index, const struct mirror_command *command)
{
	static const char mark[] = MIRROR_TAG;
	const char *own = own_answer(mirror, &mirror->connections[index], command);
	const size_t *n_used = uses(mirror, command);
	const struct mirror_answer *learned = own ? NULL : known(mirror, command, n_used ? *n_used : 0);
	if (learned && is_outdated(mirror, command, learned)) {
		own = not_in_this_play;
	}
	struct span text = own ? span_of(own) : span_make(learned->text, learned->text_len);
	struct gp_buffer bytes;

	gp_buffer_init(&bytes, MAX_BYTES);
	put_answer(&bytes, text, span_make(mark, 1), span_of(command->tag));
	feed(mirror, index, gp_buffer_span(&bytes));
	gp_buffer_deinit(&bytes);
}

/* The oldest that can be answered; IDLE is after its DONE. */
static bool answer_one(struct mirror *mirror, size_t index)
{
	struct mirror_connection *connection = &mirror->connections[index];
	size_t n_waits;

	for (size_t i = 0; i < connection->n_commands; i++) {
		if (!connection->commands[i].is_idle) {
			answer(mirror, index, &connection->commands[i]);
			return true;
		}
	}
	if (connection->n_commands > 0 && connection->n_asked == 0) {
		connection->n_asked = 1;
		feed_text(mirror, index, "+ idling\r\n");
		return true;
	}
	if (piece_len(gp_buffer_span(&connection->sent), &n_waits) == 0 && n_waits > connection->n_asked) {
		connection->n_asked = n_waits;
		feed_text(mirror, index, "+ go on\r\n");
		return true;
	}
	return false;
}

static struct span greeting(const struct mirror *mirror)
{
	const struct mirror_memory *memory = mirror->memory;

	if (memory->greeting && !mirror->is_kind) {
		return span_make(memory->greeting, memory->greeting_len);
	}
	if (mirror->world->endpoint.security == IMAP_SECURITY_STARTTLS) {
		return SPAN_LIT("* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] hello\r\n");
	}
	return SPAN_LIT("* OK [CAPABILITY IMAP4rev1 LITERAL+ AUTH=PLAIN SASL-IR] hello\r\n");
}

static bool serve_one(struct mirror *mirror, size_t index)
{
	struct fake_transport *transport = fake_transport(mirror->world->network, index);

	if (!fake_is_live(transport)) {
		return false;
	}
	if (!fake_is_connected(transport)) {
		mirror->world->connections[index].is_connected = true;
		fake_connect(transport);
		return true;
	}
	if (fake_wants_tls(transport)) {
		fake_secure(transport);
		return true;
	}
	if (!mirror->connections[index].is_greeted) {
		feed(mirror, index, greeting(mirror));
		return true;
	}
	return answer_one(mirror, index);
}

bool mirror_serve(struct mirror *mirror)
{
	bool has_served = false;

	for (size_t i = 0; i < fake_n_opened(mirror->world->network) && i < WORLD_MAX_CONNECTIONS; i++) {
		has_served |= serve_one(mirror, i);
	}
	return has_served;
}

/* ---- life ---- */

void mirror_init(struct mirror *mirror, struct world *world, struct mirror_memory *memory, bool is_learning)
{
	*mirror = (struct mirror){.world = world, .memory = memory, .is_learning = is_learning};
	for (size_t i = 0; i < WORLD_MAX_CONNECTIONS; i++) {
		gp_buffer_init(&mirror->connections[i].sent, MAX_BYTES);
		gp_buffer_init(&mirror->connections[i].answered, MAX_BYTES);
		gp_buffer_init(&mirror->connections[i].untagged, MAX_BYTES);
	}
	if (!is_learning) {
		mirror->n_used = calloc(memory->n_answers + 1, sizeof *mirror->n_used);
	}
	fake_set_tap(world->network, on_bytes, mirror);
}

void mirror_deinit(struct mirror *mirror)
{
	for (size_t i = 0; i < WORLD_MAX_CONNECTIONS; i++) {
		struct mirror_connection *connection = &mirror->connections[i];
		while (connection->n_commands > 0) {
			forget_command(connection, connection->n_commands - 1);
		}
		free(connection->commands);
		gp_buffer_deinit(&connection->sent);
		gp_buffer_deinit(&connection->answered);
		gp_buffer_deinit(&connection->untagged);
	}
	for (size_t i = 0; i < mirror->n_writes; i++) {
		free(mirror->writes[i]);
	}
	free(mirror->writes);
	free(mirror->n_used);
}

void mirror_memory_free(struct mirror_memory *memory)
{
	for (size_t i = 0; i < memory->n_answers; i++) {
		free(memory->answers[i].command);
		free(memory->answers[i].text);
	}
	free(memory->answers);
	free(memory->greeting);
	*memory = (struct mirror_memory){.n_answers = 0};
}
