/*
 * Commands: how they are made, queued, sent and ended.
 *
 * The list in_flight does not shrink while answers are handed to its members: a
 * command that is cancelled in flight only loses its callbacks, and only its tagged
 * answer (or the end of the session) takes it out.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "imap/session_internal.h"
#include "imap/utf7.h"

static const char *const condition_names[] = {"OK", "NO", "BAD", "PREAUTH", "BYE"};

/* ---- lists ---- */

static void append(struct imap_command_list *list, struct imap_command *command)
{
	command->prev = list->last;
	command->next = NULL;
	*(list->last ? &list->last->next : &list->first) = command;
	list->last = command;
	list->n++;
}

static void prepend(struct imap_command_list *list, struct imap_command *command)
{
	command->prev = NULL;
	command->next = list->first;
	*(list->first ? &list->first->prev : &list->last) = command;
	list->first = command;
	list->n++;
}

static void take_out(struct imap_command_list *list, struct imap_command *command)
{
	*(command->prev ? &command->prev->next : &list->first) = command->next;
	*(command->next ? &command->next->prev : &list->last) = command->prev;
	command->prev = NULL;
	command->next = NULL;
	list->n--;
}

static struct imap_command_list *list_of(struct imap_command *command)
{
	struct imap_session *session = command->session;

	switch (command->stage) {
	case IMAP_COMMAND_DRAFT:
		return &session->drafts;
	case IMAP_COMMAND_FAILED:
		return &session->failed;
	case IMAP_COMMAND_QUEUED:
		return &session->queue;
	case IMAP_COMMAND_IN_FLIGHT:
	case IMAP_COMMAND_ENDED: /* is in none, and is not asked for */
		break;
	}
	assert(command->stage == IMAP_COMMAND_IN_FLIGHT);
	return &session->in_flight;
}

/* ---- making ---- */

static void command_free(struct imap_command *command)
{
	imap_writer_deinit(&command->writer);
	imap_writer_deinit(&command->dialogue);
	free(command->mailbox);
	free(command->raw_mailbox);
	free(command);
}

static char *copy(struct span text)
{
	return span_dup(text);
}

/* The name in UTF-8 and as the server spells it in its answers. */
static bool copy_mailbox(struct imap_command *command, struct span mailbox)
{
	struct gp_buffer raw;

	if (span_is_nil(mailbox)) {
		return true;
	}
	gp_buffer_init(&raw, GP_MAX_IMAP_COMMAND);
	command->mailbox = copy(mailbox);
	if (imap_utf7_encode(mailbox, &raw) == GP_OK) {
		command->raw_mailbox = gp_buffer_take(&raw, NULL);
	} else {
		command->raw_mailbox = copy(mailbox);
	}
	gp_buffer_deinit(&raw);
	return command->mailbox && command->raw_mailbox;
}

static enum imap_literal_mode literal_mode(const struct imap_session *session)
{
	if (imap_session_can(session, IMAP_CAP_LITERAL_PLUS)) {
		return IMAP_LITERAL_PLUS;
	}
	return imap_session_can(session, IMAP_CAP_LITERAL_MINUS) ? IMAP_LITERAL_MINUS : IMAP_LITERAL_SYNC;
}

struct imap_command *imap_command_new(struct imap_session *session, const char *name,
				      const struct imap_command_spec *spec)
{
	struct imap_command *command = calloc(1, sizeof *command);

	if (!command) {
		return NULL;
	}
	command->session = session;
	command->spec = *spec;
	imap_writer_init(&command->writer, literal_mode(session), false);
	imap_writer_init(&command->dialogue, IMAP_LITERAL_SYNC, false);
	if (!copy_mailbox(command, spec->mailbox)) {
		command_free(command);
		return NULL;
	}
	command->spec.mailbox = SPAN_NIL;
	command->n_literal_left = spec->streamed;
	command->is_barrier = spec->kind == IMAP_COMMAND_SELECT || spec->kind == IMAP_COMMAND_IDLE;
	command->is_held = spec->kind == IMAP_COMMAND_IDLE;
	snprintf(command->tag, sizeof command->tag, "A%" PRIu64, ++session->n_tags);
	snprintf(command->name, sizeof command->name, "%s", name);
	imap_writer_command(&command->writer, command->tag, name);
	append(&session->drafts, command);
	return command;
}

struct imap_writer *imap_command_writer(struct imap_command *command)
{
	return &command->writer;
}

/* ---- into the queue, and out of it ---- */

/* Of what is asked, without the tag: equal commands have equal answers. */
static void note_text(struct imap_command *command)
{
	struct span text = span_from(gp_buffer_span(&command->writer.bytes), strlen(command->tag));

	command->text_hash = gp_hash_span(GP_HASH_START, text);
}

/* Which messages it asks for, at the outside: the set itself is gone once it is cancelled. */
static void note_range(struct imap_command *command)
{
	const struct imap_uidset *uids = command->spec.uids;

	if (command->spec.is_by_position) {
		command->first_wanted = command->spec.first_position;
		command->last_wanted = command->spec.last_position;
	} else if (uids && uids->n_ranges > 0) {
		command->first_wanted = uids->ranges[0].first;
		command->last_wanted = uids->ranges[uids->n_ranges - 1].last;
	}
}

static void submit(struct imap_command *command, bool is_first)
{
	struct imap_session *session = command->session;
	enum gp_status status = imap_writer_finish(&command->writer);

	assert(command->stage == IMAP_COMMAND_DRAFT);
	if (command->spec.kind == IMAP_COMMAND_FETCH) {
		note_text(command);
		note_range(command);
	}
	take_out(&session->drafts, command);
	command->is_late = !imap_session_is_open(session);
	if (status == GP_OK && imap_session_n_commands(session) >= IMAP_SESSION_MAX_COMMANDS) {
		status = GP_LIMIT;
	}
	if (status != GP_OK) {
		command->failure = status;
		command->stage = IMAP_COMMAND_FAILED;
		append(&session->failed, command);
	} else {
		command->stage = IMAP_COMMAND_QUEUED;
		(is_first ? prepend : append)(&session->queue, command);
	}
	imap_session_start_turn(session);
}

void imap_command_submit(struct imap_command *command)
{
	submit(command, false);
}

void imap_command_submit_login(struct imap_command *command)
{
	command->is_login = true;
	command->is_barrier = true;
	submit(command, true);
}

void imap_command_cancel(struct imap_command **command)
{
	struct imap_command *self = *command;

	*command = NULL;
	if (!self || self->stage == IMAP_COMMAND_ENDED) {
		/* ENDED: from within its own done() */
		return;
	}
	struct imap_session *session = self->session;
	if (self->stage == IMAP_COMMAND_IN_FLIGHT) {
		if (self->n_literal_left > 0) {
			/* Announced, and not to come: no bytes of somebody else may stand in for it. */
			imap_session_fail(session, GP_LOST, "an upload was given up in the midst of a message");
		}
		self->spec.room = NULL;
		self->is_cancelled = true;
		self->spec.uids = NULL;
		self->spec.untagged = NULL;
		self->spec.done = NULL;
		imap_idle_release(session, self);
		return;
	}
	bool was_known = self->stage != IMAP_COMMAND_DRAFT;
	take_out(list_of(self), self);
	command_free(self);
	if (was_known) {
		session->is_idle_due = true;
		imap_session_start_turn(session);
	}
}

/* What the session asks for itself, behind its login and at its end, has it for `ctx`. */
static size_t count_listening(const struct imap_session *session, const struct imap_command_list *list)
{
	size_t n = 0;

	for (const struct imap_command *command = list->first; command; command = command->next) {
		n += !command->is_cancelled && command->spec.ctx != session;
	}
	return n;
}

size_t imap_session_n_listening(const struct imap_session *session)
{
	return count_listening(session, &session->drafts) + count_listening(session, &session->failed) +
	       count_listening(session, &session->queue) + count_listening(session, &session->in_flight);
}

/* ---- how they end ---- */

static void log_end(const struct imap_command *command, const struct imap_result *result)
{
	const struct imap_session *session = command->session;
	bool was_sent = command->sent_at_ms > 0;

	if (!gp_log_enabled(GP_LOG_DEBUG)) {
		return;
	}
	gp_log(GP_LOG_DEBUG, "imap", "conn=%" PRIu64 " tag=%s command=\"%s\" status=%s code=%s ms=%" PRIu64 "%s",
	       session->id, command->tag, command->name,
	       result->response ? condition_names[result->response->condition] : gp_status_name(result->error->status),
	       result->error && result->error->code[0] ? result->error->code : "-",
	       was_sent ? session->timers->now_ms - command->sent_at_ms : 0, command->is_cancelled ? " cancelled" : "");
}

/* The command is gone afterwards. */
static void end_command(struct imap_command *command, const struct imap_result *result)
{
	struct imap_session *session = command->session;

	take_out(list_of(command), command);
	if (session->awaiting == command) {
		session->awaiting = NULL;
	}
	if (session->in_flight.n == 0) {
		gp_timer_stop(&session->silence_timer);
	}
	session->is_idle_due = true;
	command->stage = IMAP_COMMAND_ENDED;
	log_end(command, result);
	if (command->spec.done) {
		command->spec.done(command->spec.ctx, result);
	}
	command_free(command);
}

static void end_with_error(struct imap_command *command, const struct gp_error *error)
{
	const struct imap_session *session = command->session;
	const struct imap_result result = {
		.error = error,
		.is_sent = command->is_sent && (imap_session_is_open(session) || session->n_unsent_at_end == 0),
	};

	end_command(command, &result);
}

/* Commands leave their list before they are freed, which the analyzer does not see. */
/* NOLINTBEGIN(clang-analyzer-unix.Malloc) */

void imap_session_end_failed(struct imap_session *session)
{
	for (size_t n = session->failed.n; n > 0 && session->failed.first; n--) {
		struct imap_command *command = session->failed.first;
		struct gp_error error;
		gp_error_clear(&error);
		gp_error_set(&error, command->failure, "the IMAP command could not be written: %s",
			     gp_status_text(command->failure));
		end_with_error(command, &error);
	}
}

static void end_first(struct imap_session *session, struct imap_command_list *list)
{
	struct imap_command *command = list->first;
	struct gp_error error = session->error;

	if (command->is_late) {
		gp_error_clear(&error);
		gp_error_set(&error, GP_LOST, "the connection to the IMAP server is closed");
	}
	end_with_error(command, &error);
}

void imap_session_end_all(struct imap_session *session)
{
	/* Bounded: a command that starts another when it ends, again and again, has a turn
	 * for each. */
	imap_session_end_failed(session);
	while (session->in_flight.first) {
		end_first(session, &session->in_flight);
	}
	for (size_t n = session->queue.n; n > 0 && session->queue.first; n--) {
		end_first(session, &session->queue);
	}
}

void imap_session_drop_all(struct imap_session *session)
{
	struct imap_command_list *lists[] = {&session->drafts, &session->failed, &session->queue, &session->in_flight};

	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
		while (lists[i]->first) {
			struct imap_command *command = lists[i]->first;
			take_out(lists[i], command);
			command_free(command);
		}
	}
}

/* NOLINTEND(clang-analyzer-unix.Malloc) */

/* ---- sending ---- */

static void write_out(struct imap_session *session)
{
	if (session->out.len > 0) {
		imap_transport_write(session->transport, gp_buffer_span(&session->out));
		gp_buffer_truncate(&session->out, 0);
	}
}

/* Secrets go straight to the transport: no copy of them stays in `out`. */
static void send_bytes(struct imap_session *session, struct span bytes, bool is_secret)
{
	if (is_secret || gp_buffer_append(&session->out, bytes) != GP_OK) {
		write_out(session);
		imap_transport_write(session->transport, bytes);
	}
}

static void send_dialogue(struct imap_session *session, struct imap_command *command)
{
	send_bytes(session, gp_buffer_span(&command->dialogue.bytes), true);
	imap_writer_deinit(&command->dialogue);
	imap_writer_init(&command->dialogue, IMAP_LITERAL_SYNC, false);
	command->has_dialogue = false;
	session->awaiting = NULL;
}

/* Sends up to the next point at which the server's "+" is needed. */
static void send_piece(struct imap_session *session, struct imap_command *command)
{
	struct imap_writer *writer = &command->writer;
	struct span bytes = gp_buffer_span(&writer->bytes);
	bool is_last = command->n_synced == writer->n_sync_points;
	size_t end = is_last ? bytes.len : writer->sync_points[command->n_synced];

	command->is_continued = false;
	if (command->n_sent == bytes.len) {
		send_dialogue(session, command);
		return;
	}
	if (is_last && command->n_literal_left > 0) {
		imap_session_begin_literal(session, command);
		return;
	}
	send_bytes(session, span_slice(bytes, command->n_sent, end - command->n_sent), writer->has_secret);
	command->n_sent = end;
	if (!is_last) {
		command->n_synced++;
	}
	session->awaiting = is_last && !command->has_dialogue ? NULL : command;
	if (!session->awaiting) {
		command->is_sent = true;
		imap_writer_deinit(writer);
		imap_writer_init(writer, IMAP_LITERAL_SYNC, false);
	}
}

void imap_session_send_rest(struct imap_session *session, struct imap_command *command)
{
	send_piece(session, command);
	write_out(session);
	imap_session_start_turn(session);
}

static void start(struct imap_session *session, struct imap_command *command)
{
	if (session->in_flight.n == 0) {
		session->silent_since_ms = session->timers->now_ms;
		if (session->state == IMAP_SESSION_READY) {
			gp_timer_start(&session->silence_timer, session->silence_timeout_ms);
		}
	}
	take_out(&session->queue, command);
	command->stage = IMAP_COMMAND_IN_FLIGHT;
	command->sent_at_ms = session->timers->now_ms;
	append(&session->in_flight, command);
	if (command->spec.kind == IMAP_COMMAND_SELECT) {
		imap_session_select_sent(session, command);
	}
	send_piece(session, command);
}

/*
 * Whether a row that one of two FETCH commands asked for could be taken for the other's:
 * a row that holds less than was asked looks like an answer. Which of them it answers
 * the server does not say, nor is it the first in flight: Dovecot sends the rows of
 * several commands, and then their tagged answers.
 */
static bool is_mixed_up(const struct imap_command *a, const struct imap_command *b)
{
	bool is_apart = a->spec.is_by_position == b->spec.is_by_position &&
			(a->last_wanted < b->first_wanted || b->last_wanted < a->first_wanted);

	return (a->spec.row_items & b->spec.row_items) != 0 && !is_apart && !(a->spec.is_window && b->spec.is_window) &&
	       a->text_hash != b->text_hash;
}

/* Whether two of this kind in flight could not tell their answers apart. A server may
 * work on several commands at once (RFC 3501 section 5.5). */
static bool is_ambiguous(const struct imap_session *session, const struct imap_command *command)
{
	switch (command->spec.kind) {
	case IMAP_COMMAND_SEARCH:
		return command->spec.is_bare || !imap_session_can(session, IMAP_CAP_ESEARCH);
	case IMAP_COMMAND_MYRIGHTS:
		return !command->raw_mailbox;
	case IMAP_COMMAND_SORT:
	case IMAP_COMMAND_LIST:
	case IMAP_COMMAND_LSUB:
	case IMAP_COMMAND_NAMESPACE:
	case IMAP_COMMAND_COPY:
		return true;
	case IMAP_COMMAND_PLAIN:
	case IMAP_COMMAND_FETCH:
	case IMAP_COMMAND_STATUS:
	case IMAP_COMMAND_APPEND:
	case IMAP_COMMAND_ENABLE:
	case IMAP_COMMAND_SELECT:
	case IMAP_COMMAND_IDLE:
		break;
	}
	return false;
}

static bool may_start(const struct imap_session *session, const struct imap_command *command)
{
	const struct imap_command *other = session->in_flight.first;

	if (session->bye.status != GP_OK || session->state == IMAP_SESSION_SECURING) {
		return false;
	}
	if (!command->is_login && session->state < IMAP_SESSION_READY) {
		return false;
	}
	if (!other) {
		return true;
	}
	if (command->is_barrier || other->is_barrier || session->in_flight.n >= IMAP_SESSION_MAX_IN_FLIGHT) {
		return false;
	}
	bool is_alone = is_ambiguous(session, command);
	for (; other; other = other->next) {
		if (other->spec.kind != command->spec.kind) {
			continue;
		}
		if (is_alone || (command->spec.kind == IMAP_COMMAND_FETCH && is_mixed_up(command, other))) {
			return false;
		}
	}
	return true;
}

void imap_session_flush(struct imap_session *session)
{
	if (!imap_session_is_open(session)) {
		return;
	}
	if (session->awaiting && session->queue.first) {
		imap_idle_release(session, session->awaiting);
	}
	if (session->awaiting && session->awaiting->is_continued && !session->awaiting->is_held) {
		send_piece(session, session->awaiting);
	}
	if (!imap_session_is_open(session)) {
		return; /* a literal was given up as soon as it could begin */
	}
	while (!session->awaiting && session->queue.first && may_start(session, session->queue.first)) {
		start(session, session->queue.first);
	}
	write_out(session);
}

/* ---- answers ---- */

static struct imap_command *find_in_flight(const struct imap_session *session, struct span tag)
{
	for (struct imap_command *command = session->in_flight.first; command; command = command->next) {
		if (span_equal_text(tag, command->tag)) {
			return command;
		}
	}
	return NULL;
}

/* A literal that was announced and not sent is dropped only when the server refused
 * it before its "+"; anything else leaves the two sides out of step. An IDLE may be
 * ended by the server. */
static bool is_in_step(const struct imap_session *session, const struct imap_command *command,
		       enum imap_condition condition)
{
	assert(condition == IMAP_OK || condition == IMAP_NO || condition == IMAP_BAD); /* what has a tag */
	return session->awaiting != command || (!command->is_continued && condition != IMAP_OK) ||
	       (command->spec.kind == IMAP_COMMAND_IDLE && command->is_continued);
}

void imap_session_on_tagged(struct imap_session *session, const struct imap_response *response)
{
	struct imap_command *command = find_in_flight(session, response->tag);
	bool is_ok = response->condition == IMAP_OK;
	struct gp_error error;

	if (!command) {
		imap_session_fail(session, GP_PROTOCOL, "the IMAP server answered a command that was not sent");
		return;
	}
	if (!is_in_step(session, command, response->condition)) {
		imap_session_fail(session, GP_PROTOCOL, "the IMAP server answered a command before it was sent whole");
		return;
	}
	if (command->spec.kind == IMAP_COMMAND_SELECT) {
		imap_session_apply_code(session, &response->code);
		imap_session_select_ended(session, command, is_ok);
	} else if (is_ok) {
		imap_session_apply_code(session, &response->code);
	}
	if (!is_ok) {
		imap_session_error_from(&error, imap_refusal_status(response), response);
	}
	const struct imap_result result = {.response = response, .error = is_ok ? NULL : &error, .is_sent = true};
	bool is_out_of_step = command->is_streaming;
	end_command(command, &result);
	if (is_out_of_step) {
		/* It said why, but who knows how many octets it still waits for. */
		imap_session_fail(session, GP_LOST, "the IMAP server refused a message in the midst of it");
	}
	if (imap_session_is_open(session)) {
		imap_session_start_turn(session);
	}
}

void imap_session_on_continuation(struct imap_session *session)
{
	struct imap_command *command = session->awaiting;

	if (command && !command->is_continued && !command->is_streaming) {
		command->is_continued = true;
		imap_idle_began(session, command);
		imap_session_start_turn(session);
		return;
	}
	session->n_stray_continuations++;
	if (session->state < IMAP_SESSION_READY) {
		/* It waits for something that will not come: better told now than by a timeout. */
		imap_session_fail(session, GP_PROTOCOL, "the IMAP server asked for more than the login has to say");
	}
}
