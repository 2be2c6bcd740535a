#include "api/problem.h"

#include <stdarg.h>
#include <stdio.h>

#include "api/auth.h"
#include "api/json.h"
#include "api/query.h"
#include "api/reply.h"
#include "base/limits.h"

#define MAX_DETAIL 512
#define MAX_INSTANCE ((size_t)1024)

static const struct {
	unsigned status;
	const char *slug, *title;
	bool is_retryable;
} problems[] = {
#define X(name, slug, status, retryable, title) {status, slug, title, retryable},
	API_PROBLEM_MAP(X)
#undef X
};

unsigned api_problem_status(enum api_problem problem)
{
	return problems[problem].status;
}

const char *api_problem_slug(enum api_problem problem)
{
	return problems[problem].slug;
}

const char *api_problem_title(enum api_problem problem)
{
	return problems[problem].title;
}

/* RFC 5530 and later; what is not here is a refusal like one without a code. */
static const struct {
	const char *code;
	enum api_problem problem;
} codes[] = {
	{"AUTHENTICATIONFAILED", API_PROBLEM_UNAUTHORIZED},
	{"EXPIRED", API_PROBLEM_UNAUTHORIZED},
	{"NOPERM", API_PROBLEM_FORBIDDEN},
	{"AUTHORIZATIONFAILED", API_PROBLEM_FORBIDDEN},
	{"CONTACTADMIN", API_PROBLEM_FORBIDDEN},
	{"READ-ONLY", API_PROBLEM_FORBIDDEN},
	{"NONEXISTENT", API_PROBLEM_NOT_FOUND},
	{"TRYCREATE", API_PROBLEM_NOT_FOUND},
	/* the message went away while it was asked for */
	{"EXPUNGEISSUED", API_PROBLEM_NOT_FOUND},
	{"ALREADYEXISTS", API_PROBLEM_CONFLICT},
	{"INUSE", API_PROBLEM_CONFLICT},
	{"HASCHILDREN", API_PROBLEM_CONFLICT},
	{"MODIFIED", API_PROBLEM_PRECONDITION_FAILED},
	{"TOOBIG", API_PROBLEM_TOO_LARGE},
	{"BADCHARSET", API_PROBLEM_UNPROCESSABLE},
	{"CANNOT", API_PROBLEM_UNPROCESSABLE},
	{"LIMIT", API_PROBLEM_TOO_MANY_REQUESTS},
	{"THROTTLED", API_PROBLEM_TOO_MANY_REQUESTS},
	{"CLIENTBUG", API_PROBLEM_INTERNAL},
	{"SERVERBUG", API_PROBLEM_UPSTREAM_FAILED},
	{"CORRUPTION", API_PROBLEM_UPSTREAM_FAILED},
	{"PRIVACYREQUIRED", API_PROBLEM_UPSTREAM_FAILED},
	{"UNAVAILABLE", API_PROBLEM_UNAVAILABLE},
	{"OVERQUOTA", API_PROBLEM_OVER_QUOTA},
};

static enum api_problem problem_of_code(const char *code, enum api_problem fallback)
{
	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
		if (span_equal_text_nocase(span_of(code), codes[i].code)) {
			return codes[i].problem;
		}
	}
	return fallback;
}

/* Cyrus says it without a code to who announces a message that is too large. */
static enum api_problem problem_of_refusal(const struct gp_error *error)
{
	if (error->code[0] == '\0' && span_equal_text_nocase(span_of(error->text), "Over quota")) {
		return API_PROBLEM_OVER_QUOTA;
	}
	/* Without a code it is a refusal of a command that was understood, for a reason that
	 * only the text tells. Asking again will not help, and nothing is broken: 422 rather
	 * than a 5xx, which would be retried and would wake somebody up. */
	return problem_of_code(error->code, API_PROBLEM_UNPROCESSABLE);
}

/* A login that was refused is 401, unless the server says that it knows who it is and
 * does not let him in, or that it is the server that is not able to. */
static enum api_problem problem_of_login(const char *code)
{
	enum api_problem problem = problem_of_code(code, API_PROBLEM_UNAUTHORIZED);

	switch ((int)problem) {
	case API_PROBLEM_FORBIDDEN:
	case API_PROBLEM_TOO_MANY_REQUESTS:
	case API_PROBLEM_UPSTREAM_FAILED:
	case API_PROBLEM_UNAVAILABLE:
		return problem;
	default:
		return API_PROBLEM_UNAUTHORIZED;
	}
}

enum api_problem api_problem_of(const struct gp_error *error)
{
	switch (error->status) {
	case GP_INVALID:
		return API_PROBLEM_BAD_REQUEST;
	case GP_AUTH:
		return problem_of_login(error->code);
	case GP_NOT_FOUND:
		return API_PROBLEM_NOT_FOUND;
	case GP_UIDVALIDITY:
		return API_PROBLEM_GONE;
	case GP_NO:
		return problem_of_refusal(error);
	case GP_LIMIT:
	case GP_UNSUPPORTED:
		return API_PROBLEM_UNPROCESSABLE;
	case GP_QUEUE_FULL:
	case GP_THROTTLED:
		return API_PROBLEM_TOO_MANY_REQUESTS;
	case GP_TLS:
	case GP_GREETING:
	case GP_PROTOCOL:
	case GP_LOST:
		return API_PROBLEM_UPSTREAM_FAILED;
	case GP_RESOLVE:
	case GP_REFUSED:
	case GP_TOO_MANY:
	case GP_POOL_FULL:
	case GP_AUTH_UNAVAILABLE:
	case GP_DRAINING:
	case GP_NO_MEMORY:
	case GP_CANCELLED:
	case GP_STALE: /* the mailbox changed under a listing again and again */
		return API_PROBLEM_UNAVAILABLE;
	case GP_DEADLINE:
	case GP_CONNECT_TIMEOUT:
		return API_PROBLEM_UPSTREAM_TIMEOUT;
	case GP_OK:
	case GP_IO:
	case GP_BAD:
		return API_PROBLEM_INTERNAL;
	}
	return API_PROBLEM_INTERNAL;
}

/* What the server said, where it did: a code comes from nowhere else. */
static json_t *imap_member(const struct gp_error *error)
{
	bool is_said =
		error->status == GP_NO || error->status == GP_BAD || error->status == GP_AUTH || error->code[0] != '\0';

	if (!is_said) {
		return NULL;
	}
	json_t *imap = json_object();
	api_json_set(imap, "status", json_string(error->status == GP_BAD ? "BAD" : "NO"));
	api_json_set(imap, "code", error->code[0] ? api_json_text(span_of(error->code)) : json_null());
	/* Why a login was refused is for the account's owner, not for who guesses at it:
	 * an unknown user and a wrong password read alike. */
	bool is_quiet = error->status == GP_AUTH || error->text[0] == '\0';
	api_json_set(imap, "text", is_quiet ? json_null() : api_json_text(span_of(error->text)));
	return imap;
}

static void write_detail(char detail[MAX_DETAIL], const struct gp_error *error)
{
	const char *text = gp_status_text(error->status);

	if (error->text[0] == '\0' || error->status == GP_AUTH || strcmp(error->text, text) == 0) {
		snprintf(detail, MAX_DETAIL, "%s", text);
	} else if (error->status == GP_INVALID || error->status == GP_NOT_FOUND) {
		snprintf(detail, MAX_DETAIL, "%s", error->text);
	} else {
		snprintf(detail, MAX_DETAIL, "%s: %s", text, error->text);
	}
}

json_t *api_problem_json(enum api_problem problem, const struct gp_error *error, const char *detail)
{
	char made[MAX_DETAIL];
	char type[64];
	json_t *object = json_object();

	if (!detail && error) {
		write_detail(made, error);
		detail = made;
	}
	snprintf(type, sizeof type, "/problems/%s", problems[problem].slug);
	api_json_set(object, "type", json_string(type));
	api_json_set(object, "title", json_string(problems[problem].title));
	api_json_set(object, "status", json_integer(problems[problem].status));
	if (detail) {
		api_json_set(object, "detail", api_json_text(span_of(detail)));
	}
	api_json_set(object, "retryable", json_boolean(problems[problem].is_retryable));
	json_t *imap = error ? imap_member(error) : NULL;
	if (imap) {
		api_json_set(object, "imap", imap);
	}
	return object;
}

static void add_problem_headers(struct api_exchange *exchange, enum api_problem problem)
{
	/* what a handler said about the representation that it did not come to send */
	static const char *const dropped[] = {
		"ETag",         "Cache-Control", "Content-Type", "Content-Disposition", "Content-Security-Policy",
		"Accept-Ranges"};

	for (size_t i = 0; i < sizeof dropped / sizeof dropped[0]; i++) {
		api_header_remove(exchange, dropped[i]);
	}
	api_header_add(exchange, "Cache-Control", "no-store");
	unsigned status = problems[problem].status;
	if (status == 401 && !api_header_is_set(exchange, "WWW-Authenticate")) {
		api_header_add(exchange, "WWW-Authenticate", API_CHALLENGE);
	}
	if ((status == 429 || status == 503) && !api_header_is_set(exchange, "Retry-After")) {
		api_header_add(exchange, "Retry-After", status == 429 ? "10" : "5");
	}
}

static void add_current(struct api_exchange *exchange, json_t *object)
{
	json_t *current = NULL;

	/* It is an extra: without it the problem is still one. */
	if (api_json_read(exchange->current, 0, &current, NULL) == GP_OK) {
		api_json_set(object, "current", current);
	}
}

/* What a problem must have, where memory was too short for all that it could say, such as
 * what was done before. If there is none even for this, the status line says the most of it. */
static void write_least(const struct api_exchange *exchange, enum api_problem problem, struct gp_buffer *body)
{
	enum gp_status written = gp_buffer_printf(
		body,
		"{\"type\":\"/problems/%s\",\"title\":\"%s\",\"status\":%u,\"retryable\":%s,\"requestId\":\"%s\"%s}\n",
		problems[problem].slug, problems[problem].title, problems[problem].status,
		problems[problem].is_retryable ? "true" : "false", exchange->request_id,
		exchange->is_outcome_unknown || exchange->has_changed ? ",\"outcome\":\"unknown\"" : "");

	if (written != GP_OK) {
		gp_buffer_deinit(body);
	}
}

void api_reply_problem(struct api_exchange *exchange, enum api_problem problem, const struct gp_error *error,
		       const char *detail, ...)
{
	char text[MAX_DETAIL];
	struct gp_buffer body;

	if (detail) {
		va_list args;
		va_start(args, detail);
		vsnprintf(text, sizeof text, detail, args);
		va_end(args);
	}
	bool is_caller_blamed = problems[problem].status < 500 && !exchange->has_changed;
	if (is_caller_blamed && exchange->arena.is_short) {
		/* Who knows what would have been found otherwise. */
		problem = API_PROBLEM_UNAVAILABLE;
		error = NULL;
		snprintf(text, sizeof text, "out of memory");
		detail = text;
	}
	uint64_t n_failures = api_json_failures();
	json_t *object = api_problem_json(problem, error, detail ? text : NULL);
	api_json_set(object, "instance", api_json_text(span_slice(exchange->target, 0, MAX_INSTANCE)));
	api_json_set(object, "requestId", api_json_text(span_of(exchange->request_id)));
	if (exchange->is_outcome_unknown) {
		api_json_set(object, "outcome", json_string("unknown"));
	}
	add_problem_headers(exchange, problem);
	if (problem == API_PROBLEM_PRECONDITION_FAILED) {
		api_header_add(exchange, "ETag", exchange->current_etag);
		if (!span_is_nil(exchange->current)) {
			add_current(exchange, object);
		}
	}

	gp_buffer_init(&body, GP_MAX_JSON_BODY);
	bool has_hole = api_json_failures() != n_failures;
	if (has_hole || api_json_write(object, exchange->is_pretty, &body) != GP_OK) {
		gp_buffer_deinit(&body);
		write_least(exchange, problem, &body);
	}
	json_decref(object);
	api_reply_buffer(exchange, problems[problem].status, "application/problem+json", &body);
}

void api_reply_error(struct api_exchange *exchange, const struct gp_error *error)
{
	api_reply_problem(exchange, api_problem_of(error), error, NULL);
}
