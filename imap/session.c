#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/log.h"
#include "imap/session_internal.h"

#define OUT_KEEP (16 * GP_KIB)

static const char *const state_names[] = {
#define X(name) #name,
	IMAP_SESSION_STATE_MAP(X)
#undef X
};

static const char *const capability_names[] = {
#define X(name, wire) wire,
	IMAP_CAPABILITY_MAP(X)
#undef X
};

#define TO(name) (1u << IMAP_SESSION_##name)

/* From every state but CLOSED there is also the arrow to CLOSED. For an assert, which release builds leave out. */
__attribute__((unused)) static const unsigned arrows[] = {
	[IMAP_SESSION_NEW] = TO(CONNECTING),
	[IMAP_SESSION_CONNECTING] = TO(GREETING),
	[IMAP_SESSION_GREETING] = TO(STARTTLS) | TO(AUTHENTICATING),
	[IMAP_SESSION_STARTTLS] = TO(SECURING),
	[IMAP_SESSION_SECURING] = TO(AUTHENTICATING),
	[IMAP_SESSION_AUTHENTICATING] = TO(READY),
	[IMAP_SESSION_READY] = TO(LOGOUT),
	[IMAP_SESSION_LOGOUT] = 0,
	[IMAP_SESSION_CLOSED] = 0,
};

void imap_session_set_state(struct imap_session *session, enum imap_session_state state)
{
	assert(state == IMAP_SESSION_CLOSED ? session->state != IMAP_SESSION_CLOSED
					    : (arrows[session->state] & (1u << state)) != 0);
	gp_log(GP_LOG_DEBUG, "imap", "conn=%" PRIu64 " state %s -> %s", session->id, state_names[session->state],
	       state_names[state]);
	session->state = state;
}

bool imap_session_is_open(const struct imap_session *session)
{
	return session->state != IMAP_SESSION_CLOSED;
}

/* ---- errors ---- */

void imap_session_fail(struct imap_session *session, enum gp_status status, const char *text)
{
	struct gp_error error;

	gp_error_clear(&error);
	gp_error_set(&error, status, "%s", text);
	imap_session_close(session, &error);
}

void imap_session_error_from(struct gp_error *error, enum gp_status status, const struct imap_response *response)
{
	struct span code = response->code.name;
	struct span text = span_trim(response->text);

	gp_error_clear(error);
	if (text.len > 0) {
		gp_error_set(error, status, "%.*s", SPAN_ARGS(text));
	} else {
		gp_error_set(error, status, "%s", gp_status_text(status));
	}
	size_t len = 0;
	for (size_t i = 0; i < code.len && len + 1 < sizeof error->code; i++) {
		char c = code.ptr[i];
		if (c <= 0x20 || c >= 0x7F) {
			break;
		}
		error->code[len++] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
	}
	error->code[len] = '\0';
}

/* ---- capabilities ---- */

void imap_session_forget_capabilities(struct imap_session *session)
{
	memset(session->has_capability, 0, sizeof session->has_capability);
	session->append_limit = 0;
	session->knows_capabilities = false;
}

/* The words that carry a value after "=" and are meant without it too. */
static bool is_capability(struct span word, enum imap_capability capability)
{
	if (span_equal_text_nocase(word, capability_names[capability])) {
		return true;
	}
	return capability == IMAP_CAP_APPENDLIMIT && span_starts_with_nocase(word, "APPENDLIMIT=");
}

static void learn_word(struct imap_session *session, struct span word)
{
	if (span_starts_with_nocase(word, "APPENDLIMIT=")) {
		(void)span_to_u64(span_from(word, strlen("APPENDLIMIT=")), &session->append_limit);
	}
	for (int i = 0; i < IMAP_N_CAPABILITIES; i++) {
		if (is_capability(word, (enum imap_capability)i)) {
			session->has_capability[i] = true;
		}
	}
}

/* "LITERAL +", in two words, comes from more than one server. */
static void learn_next(struct imap_session *session, struct span previous, struct span word)
{
	learn_word(session, word);
	if (span_equal_text_nocase(previous, "LITERAL")) {
		session->has_capability[IMAP_CAP_LITERAL_PLUS] |= span_equal_text(word, "+");
		session->has_capability[IMAP_CAP_LITERAL_MINUS] |= span_equal_text(word, "-");
	}
}

static void begin_learning(struct imap_session *session)
{
	imap_session_forget_capabilities(session);
	session->knows_capabilities = true;
	session->n_capability_lists++;
}

static void end_learning(struct imap_session *session)
{
	/* RFC 7162 section 3.2.3: QRESYNC includes CONDSTORE */
	session->has_capability[IMAP_CAP_CONDSTORE] |= session->has_capability[IMAP_CAP_QRESYNC];
}

void imap_session_learn_capabilities(struct imap_session *session, const struct span *words, size_t n_words)
{
	begin_learning(session);
	for (size_t i = 0; i < n_words; i++) {
		learn_next(session, i > 0 ? words[i - 1] : SPAN_NIL, words[i]);
	}
	end_learning(session);
}

void imap_session_learn_capability_text(struct imap_session *session, struct span text)
{
	struct span previous = SPAN_NIL;

	begin_learning(session);
	for (text = span_trim(text); text.len > 0; text = span_trim(text)) {
		ptrdiff_t end = span_find_char(text, ' ');
		struct span word = end < 0 ? text : span_slice(text, 0, (size_t)end);
		learn_next(session, previous, word);
		previous = word;
		text = span_from(text, word.len);
	}
	end_learning(session);
}

bool imap_session_can(const struct imap_session *session, enum imap_capability capability)
{
	return session->has_capability[capability] && !session->is_disabled[capability];
}

uint64_t imap_session_append_limit(const struct imap_session *session)
{
	return session->append_limit;
}

const char *imap_session_personal_prefix(const struct imap_session *session)
{
	return session->personal_prefix;
}

bool imap_session_has_qresync(const struct imap_session *session)
{
	return session->has_qresync;
}

void imap_session_disable(struct imap_session *session, enum imap_capability capability)
{
	session->is_disabled[capability] = true;
}

/* ---- what the transport says ---- */

static void on_connected(void *ctx)
{
	struct imap_session *session = ctx;

	if (session->state == IMAP_SESSION_CONNECTING) {
		imap_session_set_state(session, IMAP_SESSION_GREETING);
	}
}

static void on_secured(void *ctx)
{
	struct imap_session *session = ctx;

	if (session->state == IMAP_SESSION_SECURING) {
		imap_login_on_secured(session);
	}
}

static void handle(struct imap_session *session, const struct imap_response *response)
{
	if (session->state == IMAP_SESSION_GREETING) {
		imap_login_on_greeting(session, response);
	} else if (response->type == IMAP_RESPONSE_TAGGED) {
		imap_session_on_tagged(session, response);
	} else if (response->type == IMAP_RESPONSE_CONTINUATION) {
		imap_session_on_continuation(session);
	} else {
		imap_session_on_untagged(session, response);
	}
}

/* Begins TLS if nothing follows: a byte in clear behind STARTTLS's OK was put there by
 * someone in the middle, or will be taken for one that TLS protects (CVE-2011-0411). */
static void secure(struct imap_session *session, struct span rest)
{
	if (rest.len == 0 && imap_parser_is_at_boundary(session->parser)) {
		imap_transport_start_tls(session->transport);
	} else {
		imap_session_fail(session, GP_TLS, "the server sent data in clear behind its answer to STARTTLS");
	}
}

/* A session that is only watched may have nothing to say for hours. */
static void trim_if_waiting(struct imap_session *session)
{
	bool is_idling = session->awaiting && session->awaiting->is_held;

	if (session->state == IMAP_SESSION_READY && (is_idling || imap_session_n_commands(session) == 0)) {
		imap_parser_release(session->parser);
		gp_buffer_reset(&session->out, 0);
	}
}

static void on_received(void *ctx, struct span bytes)
{
	struct imap_session *session = ctx;
	const struct imap_response *response;
	struct gp_error error;

	if (session->state == IMAP_SESSION_SECURING) {
		imap_session_fail(session, GP_TLS, "the server sent data in clear where TLS must begin");
		return;
	}
	session->last_received_ms = session->timers->now_ms;
	session->silent_since_ms = session->timers->now_ms;
	gp_error_clear(&error);
	while (imap_session_is_open(session)) {
		enum imap_parser_result result = imap_parser_next(session->parser, &bytes, &response, &error);
		if (result == IMAP_PARSER_NEED_MORE) {
			trim_if_waiting(session);
			return;
		}
		if (result == IMAP_PARSER_ERROR) {
			/* A cap that the server passed is its fault, not ours. */
			imap_session_fail(session, error.status == GP_NO_MEMORY ? GP_NO_MEMORY : GP_PROTOCOL,
					  error.text);
			return;
		}
		handle(session, response);
		if (session->state == IMAP_SESSION_SECURING) {
			secure(session, bytes);
			return;
		}
	}
}

static void on_drained(void *ctx)
{
	imap_session_on_drained(ctx);
}

static void on_closed(void *ctx, const struct gp_error *error)
{
	struct imap_session *session = ctx;

	if (session->bye.status != GP_OK) {
		imap_session_close(session, &session->bye);
	} else if (session->state == IMAP_SESSION_LOGOUT) {
		imap_session_fail(session, GP_LOST, "logged out");
	} else if (session->state == IMAP_SESSION_READY && error->status == GP_TLS) {
		/* A server that dies or gives up does not say goodbye in TLS: it is lost like any other. */
		imap_session_fail(session, GP_LOST, error->text);
	} else {
		imap_session_close(session, error);
	}
}

static const struct imap_transport_events transport_events = {
	.connected = on_connected,
	.secured = on_secured,
	.received = on_received,
	.drained = on_drained,
	.closed = on_closed,
};

/* ---- timers ---- */

void imap_session_start_turn(struct imap_session *session)
{
	if (!gp_timer_is_running(&session->turn)) {
		gp_timer_start(&session->turn, 0);
	}
}

static void end(struct imap_session *session)
{
	imap_session_end_all(session);
	if (imap_session_n_commands(session) > 0) {
		/* started by those that just ended */
		imap_session_start_turn(session);
		return;
	}
	if (!session->is_closed_told) {
		session->is_closed_told = true;
		if (session->events->closed) {
			session->events->closed(session->ctx, &session->error);
		}
	}
}

static void on_turn(struct gp_timer *timer)
{
	struct imap_session *session = timer->ctx;

	if (!imap_session_is_open(session)) {
		end(session);
		return;
	}
	imap_session_end_failed(session);
	imap_session_flush(session);
	if (!imap_session_is_open(session) || imap_session_n_commands(session) > 0 || !session->is_idle_due) {
		return;
	}
	session->is_idle_due = false;
	imap_parser_trim(session->parser);
	gp_buffer_reset(&session->out, OUT_KEEP);
	if (session->state == IMAP_SESSION_READY && session->events->idle) {
		session->events->idle(session->ctx);
	}
}

static void on_connect_timeout(struct gp_timer *timer)
{
	struct imap_session *session = timer->ctx;
	const char *text = "the IMAP server did not answer the login in time";

	if (session->state == IMAP_SESSION_CONNECTING) {
		text = "no connection to the IMAP server in time";
	} else if (session->state == IMAP_SESSION_GREETING) {
		text = "the IMAP server sent no greeting in time";
	} else if (session->state == IMAP_SESSION_STARTTLS || session->state == IMAP_SESSION_SECURING) {
		text = "TLS with the IMAP server was not up in time";
	}
	imap_session_fail(session, GP_CONNECT_TIMEOUT, text);
}

/* It is not restarted for each piece that arrives; it looks at when the last one came. */
static void on_silence(struct gp_timer *timer)
{
	struct imap_session *session = timer->ctx;
	uint64_t due_ms = session->silent_since_ms + session->silence_timeout_ms;

	if (session->in_flight.n == 0) {
		return;
	}
	if (imap_session_is_fed(session)) {
		gp_timer_start(timer, session->silence_timeout_ms);
		return;
	}
	if (session->timers->now_ms < due_ms) {
		gp_timer_start_at(timer, due_ms);
		return;
	}
	struct gp_error error;
	gp_error_clear(&error);
	gp_error_set(&error, GP_DEADLINE, "the IMAP server was silent for %" PRIu64 " ms", session->silence_timeout_ms);
	imap_session_close(session, &error);
}

static void on_end_timer(struct gp_timer *timer)
{
	struct imap_session *session = timer->ctx;

	if (session->bye.status != GP_OK) {
		imap_session_close(session, &session->bye);
	} else {
		imap_session_fail(session, GP_LOST, "the IMAP server did not answer LOGOUT in time");
	}
}

/* ---- the object ---- */

static void stop_timers(struct imap_session *session)
{
	gp_timer_stop(&session->turn);
	gp_timer_stop(&session->connect_timer);
	gp_timer_stop(&session->silence_timer);
	gp_timer_stop(&session->end_timer);
}

static void init(struct imap_session *session, const struct imap_session_config *config)
{
	static uint64_t last_id;

	session->id = ++last_id;
	session->timers = config->timers;
	session->endpoint = config->endpoint;
	session->credential = imap_credential_ref(config->credential);
	session->silence_timeout_ms = config->silence_timeout_ms;
	gp_buffer_init(&session->out, GP_MAX_IMAP_COMMAND);
	gp_timer_init(&session->turn, config->timers, on_turn, session);
	gp_timer_init(&session->connect_timer, config->timers, on_connect_timeout, session);
	gp_timer_init(&session->silence_timer, config->timers, on_silence, session);
	gp_timer_init(&session->end_timer, config->timers, on_end_timer, session);
}

struct imap_session *imap_session_new(const struct imap_session_config *config,
				      const struct imap_session_events *events, void *ctx)
{
	struct imap_session *session = calloc(1, sizeof *session);

	if (!session) {
		return NULL;
	}
	init(session, config);
	session->events = events;
	session->ctx = ctx;
	session->parser = imap_parser_new();
	if (session->parser) {
		session->transport = config->network->open(config->network, config->endpoint,
							   config->connect_timeout_ms, &transport_events, session);
	}
	if (!session->transport) {
		imap_session_free(&session);
		return NULL;
	}
	imap_session_set_state(session, IMAP_SESSION_CONNECTING);
	gp_timer_start(&session->connect_timer, config->connect_timeout_ms);
	return session;
}

void imap_session_free(struct imap_session **session)
{
	struct imap_session *self = *session;

	if (!self) {
		return;
	}
	*session = NULL;
	stop_timers(self);
	imap_transport_close(&self->transport);
	imap_session_drop_all(self);
	imap_session_deselect(self);
	imap_parser_free(&self->parser);
	free(self->personal_prefix);
	gp_buffer_deinit(&self->out);
	imap_credential_unref(&self->credential);
	free(self);
}

void imap_session_close(struct imap_session *session, const struct gp_error *error)
{
	if (!imap_session_is_open(session)) {
		return;
	}
	struct gp_error why = *error;
	if (why.status == GP_OK) {
		gp_error_set(&why, GP_LOST, "%s", "the connection was closed");
	}
	session->error = why;
	imap_session_set_state(session, IMAP_SESSION_CLOSED);
	gp_log(GP_LOG_DEBUG, "imap",
	       "conn=%" PRIu64 " closed status=%s code=%s rows_dropped=%" PRIu64 " stray_continuations=%" PRIu64,
	       session->id, gp_status_name(why.status), why.code[0] ? why.code : "-", session->n_rows_dropped,
	       session->n_stray_continuations);
	stop_timers(session);
	session->awaiting = NULL;
	imap_session_deselect(session);
	imap_uidset_deinit(&session->selecting.vanished);
	session->n_unsent_at_end = session->transport ? imap_transport_unsent(session->transport) : 0;
	imap_transport_close(&session->transport);
	imap_session_start_turn(session);
}

static void on_logged_out(void *ctx, const struct imap_result *result)
{
	struct imap_session *session = ctx;

	/* NULL: the session is ending for another reason. */
	if (result->response) {
		imap_session_fail(session, GP_LOST, "logged out");
	}
}

void imap_session_logout(struct imap_session *session)
{
	const struct imap_command_spec spec = {.kind = IMAP_COMMAND_PLAIN, .done = on_logged_out, .ctx = session};

	if (session->state == IMAP_SESSION_LOGOUT || !imap_session_is_open(session)) {
		return;
	}
	if (session->state != IMAP_SESSION_READY) {
		imap_session_fail(session, GP_CANCELLED, "closed before the login was done");
		return;
	}
	struct imap_command *command = imap_command_new(session, "LOGOUT", &spec);
	if (!command) {
		imap_session_fail(session, GP_NO_MEMORY, gp_status_text(GP_NO_MEMORY));
		return;
	}
	command->is_barrier = true;
	imap_command_submit(command);
	imap_session_set_state(session, IMAP_SESSION_LOGOUT);
	gp_timer_start(&session->end_timer, IMAP_SESSION_LOGOUT_MS);
}

/* ---- what is asked ---- */

enum imap_session_state imap_session_state(const struct imap_session *session)
{
	return session->state;
}

const struct imap_credential *imap_session_credential(const struct imap_session *session)
{
	return session->credential;
}

struct gp_timers *imap_session_timers(const struct imap_session *session)
{
	return session->timers;
}

size_t imap_session_n_commands(const struct imap_session *session)
{
	return session->failed.n + session->queue.n + session->in_flight.n;
}

bool imap_session_is_in_step(const struct imap_session *session)
{
	/* An announced literal that nobody will send closes the session as it is given up. */
	bool is_left_halfway = session->awaiting && session->awaiting->is_cancelled && session->awaiting->is_streaming;

	return session->state == IMAP_SESSION_READY && session->bye.status == GP_OK && !is_left_halfway;
}

const struct imap_endpoint *imap_session_endpoint(const struct imap_session *session)
{
	return session->endpoint;
}

uint64_t imap_session_ready_at_ms(const struct imap_session *session)
{
	return session->ready_at_ms;
}

uint64_t imap_session_last_received_ms(const struct imap_session *session)
{
	return session->last_received_ms;
}

const struct imap_selected *imap_session_selected(const struct imap_session *session)
{
	return &session->selected;
}
