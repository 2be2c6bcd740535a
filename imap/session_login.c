/*
 * From the greeting to READY:
 *
 *	greeting → [CAPABILITY → STARTTLS → TLS] → CAPABILITY → AUTHENTICATE or LOGIN
 *	         → CAPABILITY → ID → ready
 *
 * What the server has said unasked (capabilities in the greeting, in the login's OK)
 * is not asked again; what it said before TLS or before the login is forgotten.
 *
 * One refusal is not like another: only a server that says, or cannot be understood
 * otherwise than, that the password is wrong gives GP_AUTH. A pool that took a full
 * server for a wrong password would tell its user to type it again.
 */
#include <assert.h>

#include <openssl/crypto.h>

#include "base/limits.h"
#include "imap/session_internal.h"
#include "imap/utf7.h"

#define MAX_PLAIN_MESSAGE 2050 /* NUL, user name, NUL, password: 1024 bytes each */

static void authenticate(struct imap_session *session);

/* ---- what a refusal means ---- */

struct meaning {
	const char *text; /* borrow: a literal */
	enum gp_status status;
};

/* Response codes (RFC 5530, RFC 9051). */
static const struct meaning codes[] = {
	{"AUTHENTICATIONFAILED", GP_AUTH},
	{"AUTHORIZATIONFAILED", GP_AUTH},
	{"EXPIRED", GP_AUTH},
	{"NOPERM", GP_AUTH},
	{"PRIVACYREQUIRED", GP_TLS},
	{"LIMIT", GP_TOO_MANY},
	{"THROTTLED", GP_THROTTLED},
	{"UNAVAILABLE", GP_AUTH_UNAVAILABLE},
	{"SERVERBUG", GP_AUTH_UNAVAILABLE},
	{"CONTACTADMIN", GP_AUTH_UNAVAILABLE},
	{"CORRUPTION", GP_AUTH_UNAVAILABLE},
	{"INUSE", GP_AUTH_UNAVAILABLE},
};

/* Words in what is said to people, in this order: servers without codes. */
static const struct meaning throttle_texts[] = {
	{"throttl", GP_THROTTLED},         {"backoff time", GP_THROTTLED},   {"rate limit", GP_THROTTLED},
	{"too many failed", GP_THROTTLED}, {"too many login", GP_THROTTLED}, {"too many attempts", GP_THROTTLED},
	{"too many auth", GP_THROTTLED},
};

static const struct meaning connection_texts[] = {
	{"maximum number of connections", GP_TOO_MANY},
	{"connection limit", GP_TOO_MANY},
	{"too many connections", GP_TOO_MANY},
	{"simultaneous", GP_TOO_MANY},
	{"too many", GP_TOO_MANY}, /* the last: not looked for in a BAD ("Too many arguments") */
};

static const struct meaning unavailable_texts[] = {
	{"temporar", GP_AUTH_UNAVAILABLE}, {"not connected", GP_AUTH_UNAVAILABLE}, {"unavailable", GP_AUTH_UNAVAILABLE},
	{"internal", GP_AUTH_UNAVAILABLE}, {"try again", GP_AUTH_UNAVAILABLE},
};

/* "Invalid password, please try again" is about the password. */
static const struct meaning credential_texts[] = {
	{"invalid", GP_AUTH},
	{"incorrect", GP_AUTH},
	{"wrong", GP_AUTH},
	{"bad password", GP_AUTH},
};

#define LENGTH_OF(array) (sizeof(array) / sizeof *(array))

static bool find_text(struct span text, const struct meaning *table, size_t n, enum gp_status *status_out)
{
	for (size_t i = 0; i < n; i++) {
		if (span_find_nocase(text, span_of(table[i].text)) >= 0) {
			*status_out = table[i].status;
			return true;
		}
	}
	return false;
}

static bool find_code(struct span code, enum gp_status *status_out)
{
	for (size_t i = 0; i < LENGTH_OF(codes); i++) {
		if (span_equal_text_nocase(code, codes[i].text)) {
			*status_out = codes[i].status;
			return true;
		}
	}
	return false;
}

enum gp_status imap_refusal_status(const struct imap_response *response)
{
	bool is_bad = response->condition == IMAP_BAD;
	enum gp_status status;

	if (span_equal_text_nocase(response->code.name, "THROTTLED")) {
		return GP_THROTTLED;
	}
	/* Exchange uses BAD for both. */
	if (is_bad && find_text(response->text, throttle_texts, LENGTH_OF(throttle_texts), &status)) {
		return GP_THROTTLED;
	}
	if (is_bad && span_find_nocase(response->text, SPAN_LIT("not connected")) >= 0) {
		return GP_AUTH_UNAVAILABLE;
	}
	return is_bad ? GP_BAD : GP_NO;
}

enum gp_status imap_login_classify(const struct imap_response *response, enum gp_status fallback)
{
	struct span text = response->text;
	size_t n_connection_texts = LENGTH_OF(connection_texts) - (response->condition == IMAP_BAD);
	enum gp_status status = fallback;

	if (find_code(response->code.name, &status) ||
	    find_text(text, throttle_texts, LENGTH_OF(throttle_texts), &status) ||
	    find_text(text, connection_texts, n_connection_texts, &status)) {
		return status;
	}
	/* A goodbye that says "unavailable" speaks of the server, not of its accounts. */
	if (response->condition == IMAP_BYE ||
	    find_text(text, credential_texts, LENGTH_OF(credential_texts), &status)) {
		return fallback;
	}
	(void)find_text(text, unavailable_texts, LENGTH_OF(unavailable_texts), &status);
	return status;
}

/* RFC 4616: no authorization identity, user name, password. */
static size_t plain_message(const struct imap_credential *credential, char out[MAX_PLAIN_MESSAGE])
{
	struct span username = imap_credential_username(credential);
	struct span password = imap_credential_password(credential);
	size_t len = 0;

	assert(username.len + password.len + 2 <= MAX_PLAIN_MESSAGE);
	out[len++] = '\0';
	memcpy(out + len, username.ptr, username.len);
	len += username.len;
	out[len++] = '\0';
	memcpy(out + len, password.ptr, password.len);
	return len + password.len;
}

/* Whether the server sends back what it was sent, in one of the ways in which that was
 * written: some repeat the line that they did not understand. */
static bool repeats_secret(const struct imap_session *session, struct span text)
{
	struct span password = imap_credential_password(session->credential);
	char message[MAX_PLAIN_MESSAGE];
	struct imap_writer written;
	bool is_found = password.len > 0 && span_find(text, password) >= 0;

	imap_writer_init(&written, IMAP_LITERAL_SYNC, false);
	imap_writer_astring(&written, password);
	is_found |= written.bytes.len > 0 && span_find(text, gp_buffer_span(&written.bytes)) >= 0;
	imap_writer_deinit(&written);
	imap_writer_base64(&written, span_make(message, plain_message(session->credential, message)));
	is_found |= written.bytes.len > 0 && span_find(text, gp_buffer_span(&written.bytes)) >= 0;
	imap_writer_deinit(&written);
	OPENSSL_cleanse(message, sizeof message);
	return is_found;
}

/*
 * The server's words go into replies and logs. In clear, where TLS is to come, they are
 * anybody's; and before a password was sent, nobody can have refused it.
 */
static void error_from(const struct imap_session *session, struct gp_error *error, enum gp_status status,
		       const struct imap_response *response)
{
	struct imap_response told = *response;
	bool is_before_login = session->state < IMAP_SESSION_AUTHENTICATING;

	if (is_before_login && session->endpoint->security == IMAP_SECURITY_STARTTLS) {
		told.text = told.code.name = SPAN_NIL;
	} else if (repeats_secret(session, told.text)) {
		told.text = SPAN_NIL;
	}
	imap_session_error_from(error, status == GP_AUTH && is_before_login ? GP_GREETING : status, &told);
}

static void fail_from(struct imap_session *session, enum gp_status status, const struct imap_response *response)
{
	struct gp_error error;

	error_from(session, &error, status, response);
	imap_session_close(session, &error);
}

void imap_login_on_bye(struct imap_session *session, const struct imap_response *response)
{
	if (session->bye.status == GP_OK) {
		error_from(session, &session->bye, imap_login_classify(response, GP_LOST), response);
		gp_timer_start(&session->end_timer, IMAP_SESSION_BYE_GRACE_MS);
	}
}

/* ---- steps ---- */

/* NULL: the session has failed. */
static struct imap_command *make_of(struct imap_session *session, const char *name,
				    const struct imap_command_spec *spec)
{
	struct imap_command *command = imap_command_new(session, name, spec);

	if (!command) {
		imap_session_fail(session, GP_NO_MEMORY, gp_status_text(GP_NO_MEMORY));
	}
	return command;
}

static struct imap_command *make(struct imap_session *session, const char *name,
				 void (*done)(void *ctx, const struct imap_result *result))
{
	const struct imap_command_spec spec = {.kind = IMAP_COMMAND_PLAIN, .done = done, .ctx = session};

	return make_of(session, name, &spec);
}

/* A step without arguments. */
static void send_step(struct imap_session *session, const char *name,
		      void (*done)(void *ctx, const struct imap_result *result))
{
	struct imap_command *command = make(session, name, done);

	if (command) {
		imap_command_submit_login(command);
	}
}

/* False when there is nothing more to do: the session has ended, the server has said
 * goodbye, or the command could not even be written. */
static bool may_go_on(struct imap_session *session, const struct imap_result *result)
{
	if (!imap_session_is_open(session)) {
		return false;
	}
	if (!result->response) {
		imap_session_close(session, result->error);
		return false;
	}
	return result->response->condition != IMAP_OK || session->bye.status == GP_OK;
}

static void learn_from_tagged(struct imap_session *session, const struct imap_response *response)
{
	if (span_equal_text_nocase(response->code.name, "CAPABILITY")) {
		imap_session_learn_capability_text(session, response->code.value);
	}
}

/* ---- after the login ---- */

/* A prefix that is no modified UTF-7 is none. */
static enum gp_status keep_prefix(struct imap_session *session, struct span raw)
{
	struct gp_buffer prefix;

	gp_buffer_init(&prefix, 4 * GP_KIB);
	enum gp_status status = imap_utf7_decode(raw, &prefix);
	if (status == GP_OK) {
		session->personal_prefix = gp_buffer_take(&prefix, NULL);
		status = session->personal_prefix ? GP_OK : GP_NO_MEMORY;
	}
	gp_buffer_deinit(&prefix);
	return status;
}

static void on_namespace(void *ctx, const struct imap_response *response)
{
	struct imap_session *session = ctx;
	enum gp_status status = GP_OK;

	for (size_t i = 0; i < response->n_namespaces && !session->personal_prefix && status != GP_NO_MEMORY; i++) {
		if (response->namespaces[i].kind == IMAP_NS_PERSONAL) {
			status = keep_prefix(session, response->namespaces[i].prefix);
		}
	}
	if (status == GP_NO_MEMORY) {
		imap_session_fail(session, GP_NO_MEMORY, gp_status_text(GP_NO_MEMORY));
	}
}

static void on_settled(void *ctx, const struct imap_result *result)
{
	struct imap_session *session = ctx;

	/* An account works without either; but what it is must not depend on whether there was memory to ask. */
	if (result->error && result->error->status == GP_NO_MEMORY && imap_session_is_open(session)) {
		imap_session_fail(session, GP_NO_MEMORY, gp_status_text(GP_NO_MEMORY));
	}
}

/* Only what the server says it has enabled is. */
static void on_enabled(void *ctx, const struct imap_response *response)
{
	struct imap_session *session = ctx;

	for (size_t i = 0; i < response->n_words; i++) {
		session->has_qresync |= span_equal_text_nocase(response->words[i], "QRESYNC");
	}
}

/*
 * What every session asks first, ahead of its users' commands and in the same write:
 * mod-sequences for all mailboxes, and UIDs of what is expunged (RFC 7162), and where
 * the account's own mailboxes are. Nothing is enabled that is not on this list, whatever
 * is offered. False: there is no memory to ask, and the session has failed: without these
 * it would be another kind of session for as long as it lives.
 */
static bool settle(struct imap_session *session)
{
	struct imap_command_spec spec = {.kind = IMAP_COMMAND_ENABLE, .done = on_settled, .ctx = session};

	if (imap_session_can(session, IMAP_CAP_ENABLE) && imap_session_can(session, IMAP_CAP_CONDSTORE)) {
		bool has_qresync = imap_session_can(session, IMAP_CAP_QRESYNC);
		spec.untagged = on_enabled;
		struct imap_command *command = make_of(session, "ENABLE", &spec);
		if (!command) {
			return false;
		}
		imap_writer_word(imap_command_writer(command), has_qresync ? "QRESYNC" : "CONDSTORE");
		imap_command_submit(command);
	}
	if (imap_session_can(session, IMAP_CAP_NAMESPACE)) {
		spec.kind = IMAP_COMMAND_NAMESPACE;
		spec.untagged = on_namespace;
		struct imap_command *command = make_of(session, "NAMESPACE", &spec);
		if (!command) {
			return false;
		}
		imap_command_submit(command);
	}
	return true;
}

static void become_ready(struct imap_session *session)
{
	gp_timer_stop(&session->connect_timer);
	imap_session_set_state(session, IMAP_SESSION_READY);
	session->ready_at_ms = session->timers->now_ms;
	session->is_idle_due = false;
	imap_session_start_turn(session);
	if (settle(session) && session->events->ready) {
		session->events->ready(session->ctx);
	}
}

static void on_id(void *ctx, const struct imap_result *result)
{
	/* A server that does not like to be introduced is no worse for it. */
	if (may_go_on(ctx, result)) {
		become_ready(ctx);
	}
}

static void introduce(struct imap_session *session)
{
	if (!imap_session_can(session, IMAP_CAP_ID)) {
		become_ready(session);
		return;
	}
	struct imap_command *command = make(session, "ID", on_id);
	if (!command) {
		return;
	}
	struct imap_writer *writer = imap_command_writer(command);
	imap_writer_open(writer);
	imap_writer_string(writer, SPAN_LIT("name"));
	imap_writer_string(writer, SPAN_LIT("gatepost"));
	imap_writer_string(writer, SPAN_LIT("version"));
	imap_writer_string(writer, SPAN_LIT(GATEPOST_VERSION));
	imap_writer_close(writer);
	imap_command_submit_login(command);
}

static void on_capability_after(void *ctx, const struct imap_result *result)
{
	struct imap_session *session = ctx;

	if (may_go_on(session, result)) {
		learn_from_tagged(session, result->response);
		introduce(session);
	}
}

static void on_logged_in(struct imap_session *session, const struct imap_response *response)
{
	learn_from_tagged(session, response);
	if (session->n_capability_lists > session->n_lists_before) {
		introduce(session);
		return;
	}
	imap_session_forget_capabilities(session);
	send_step(session, "CAPABILITY", on_capability_after);
}

/* ---- the login ---- */

static bool choose_attempt(const struct imap_session *session, enum imap_login_attempt *attempt_out)
{
	if (imap_session_can(session, IMAP_CAP_AUTH_PLAIN)) {
		*attempt_out = imap_session_can(session, IMAP_CAP_SASL_IR) ? IMAP_LOGIN_SASL_IR : IMAP_LOGIN_SASL;
		return true;
	}
	*attempt_out = IMAP_LOGIN_PLAIN;
	return !imap_session_can(session, IMAP_CAP_LOGINDISABLED);
}

/* What to try after `response`, which refused the way that was tried and not the
 * password; false when that is all. */
static bool choose_next(struct imap_session *session, const struct imap_response *response)
{
	bool is_mechanism = response->condition == IMAP_NO &&
			    span_find_nocase(response->text, SPAN_LIT("mechanism")) >= 0 &&
			    (span_is_nil(response->code.name) || span_equal_text_nocase(response->code.name, "CANNOT"));

	if (session->bye.status != GP_OK || session->attempt == IMAP_LOGIN_PLAIN ||
	    (response->condition != IMAP_BAD && !is_mechanism)) {
		return false;
	}
	if (session->attempt == IMAP_LOGIN_SASL_IR && !is_mechanism) {
		/* Mailutils: the initial response is BAD */
		imap_session_disable(session, IMAP_CAP_SASL_IR);
		return true;
	}
	imap_session_disable(session, IMAP_CAP_AUTH_PLAIN);
	return !imap_session_can(session, IMAP_CAP_LOGINDISABLED);
}

static void on_login(void *ctx, const struct imap_result *result)
{
	struct imap_session *session = ctx;
	const struct imap_response *response = result->response;

	if (!may_go_on(session, result)) {
		return;
	}
	if (response->condition == IMAP_OK) {
		on_logged_in(session, response);
		return;
	}
	enum gp_status unsaid = response->condition == IMAP_NO ? GP_AUTH : GP_PROTOCOL;
	enum gp_status status = imap_login_classify(response, unsaid);
	if (status == unsaid && choose_next(session, response)) {
		authenticate(session);
	} else if (status == unsaid && session->bye.status != GP_OK && session->bye.status != GP_LOST) {
		/* The goodbye before it said more: "Too many connections". */
		imap_session_close(session, &session->bye);
	} else {
		fail_from(session, status, response);
	}
}

static void write_sasl(struct imap_session *session, struct imap_command *command)
{
	char message[MAX_PLAIN_MESSAGE];
	size_t len = plain_message(session->credential, message);
	bool is_initial = session->attempt == IMAP_LOGIN_SASL_IR;
	struct imap_writer *writer = is_initial ? &command->writer : &command->dialogue;

	imap_writer_word(&command->writer, "PLAIN");
	imap_writer_base64(writer, span_make(message, len));
	imap_writer_secret(writer);
	OPENSSL_cleanse(message, sizeof message);
	if (!is_initial) {
		enum gp_status status = imap_writer_finish(writer);
		command->has_dialogue = status == GP_OK;
		if (status != GP_OK) {
			imap_session_fail(session, status, gp_status_text(status));
		}
	}
}

static void write_login(struct imap_session *session, struct imap_command *command)
{
	imap_writer_secret(&command->writer);
	imap_writer_astring(&command->writer, imap_credential_username(session->credential));
	imap_writer_astring(&command->writer, imap_credential_password(session->credential));
}

static void authenticate(struct imap_session *session)
{
	if (!choose_attempt(session, &session->attempt)) {
		bool is_clear = session->endpoint->security == IMAP_SECURITY_NONE;
		imap_session_fail(session, is_clear ? GP_TLS : GP_AUTH_UNAVAILABLE,
				  is_clear ? "the IMAP server permits no login without TLS"
					   : "the IMAP server offers neither AUTH=PLAIN nor LOGIN");
		return;
	}
	/* AUTHENTICATING is reached over TLS or where plain text was allowed, never else. */
	assert(session->state == IMAP_SESSION_AUTHENTICATING);
	bool is_sasl = session->attempt != IMAP_LOGIN_PLAIN;
	struct imap_command *command = make(session, is_sasl ? "AUTHENTICATE" : "LOGIN", on_login);
	if (!command) {
		return;
	}
	session->n_lists_before = session->n_capability_lists;
	(is_sasl ? write_sasl : write_login)(session, command);
	if (imap_session_is_open(session)) {
		imap_command_submit_login(command);
	} else {
		imap_command_cancel(&command);
	}
}

static void on_capability_before(void *ctx, const struct imap_result *result)
{
	struct imap_session *session = ctx;

	if (may_go_on(session, result)) {
		learn_from_tagged(session, result->response);
		authenticate(session);
	}
}

static void begin_login(struct imap_session *session)
{
	imap_session_set_state(session, IMAP_SESSION_AUTHENTICATING);
	if (session->knows_capabilities) {
		authenticate(session);
	} else {
		send_step(session, "CAPABILITY", on_capability_before);
	}
}

/* ---- STARTTLS ---- */

static void on_starttls(void *ctx, const struct imap_result *result)
{
	struct imap_session *session = ctx;

	if (!may_go_on(session, result)) {
		return;
	}
	if (result->response->condition != IMAP_OK) {
		imap_session_fail(session, GP_TLS, "the IMAP server refuses STARTTLS");
		return;
	}
	/* on_received() in session.c starts TLS when no byte follows. */
	imap_session_set_state(session, IMAP_SESSION_SECURING);
}

static void start_tls(struct imap_session *session)
{
	if (imap_session_can(session, IMAP_CAP_STARTTLS)) {
		send_step(session, "STARTTLS", on_starttls);
	} else {
		imap_session_fail(session, GP_TLS, "the IMAP server offers no STARTTLS");
	}
}

static void on_capability_in_clear(void *ctx, const struct imap_result *result)
{
	struct imap_session *session = ctx;

	if (may_go_on(session, result)) {
		learn_from_tagged(session, result->response);
		start_tls(session);
	}
}

void imap_login_on_secured(struct imap_session *session)
{
	imap_session_forget_capabilities(session);
	begin_login(session);
}

/* ---- the greeting ---- */

static void on_ok_greeting(struct imap_session *session, const struct imap_response *response)
{
	learn_from_tagged(session, response);
	if (session->endpoint->security != IMAP_SECURITY_STARTTLS) {
		begin_login(session);
		return;
	}
	imap_session_set_state(session, IMAP_SESSION_STARTTLS);
	if (session->knows_capabilities) {
		start_tls(session);
	} else {
		send_step(session, "CAPABILITY", on_capability_in_clear);
	}
}

void imap_login_on_greeting(struct imap_session *session, const struct imap_response *response)
{
	if (response->type == IMAP_RESPONSE_TAGGED) {
		imap_session_fail(session, GP_PROTOCOL, "the IMAP server answered a command that was not sent");
		return;
	}
	if (response->type != IMAP_RESPONSE_CONDITION) {
		imap_session_fail(session, GP_GREETING, "the server's first line is no IMAP greeting");
		return;
	}
	switch (response->condition) {
	case IMAP_OK:
		on_ok_greeting(session, response);
		break;
	case IMAP_PREAUTH:
		imap_session_fail(session, GP_GREETING,
				  "the connection was authenticated by the server (PREAUTH), as "
				  "whom is unknown");
		break;
	case IMAP_NO:
	case IMAP_BAD:
	case IMAP_BYE:
		fail_from(session, imap_login_classify(response, GP_GREETING), response);
		break;
	}
}
