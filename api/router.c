#include "api/router.h"

#include "api/auth.h"
#include "api/cors.h"
#include "api/json.h"
#include "api/role.h"
#include "api/throttle.h"
#include "imap/uidset.h"

#define MAX_METHODS 4
#define MAX_PART_ID ((size_t)512)
#define ALLOW_SIZE 64

/* ---- the table ---- */

struct route_method {
	enum api_method method; /* API_GET serves HEAD too */
	api_handler_fn handler;
};

struct route {
	const char *pattern; /* segments; "{x}" takes any one */
	bool is_open;        /* needs no credential, and answers while the program drains */
	struct route_method methods[MAX_METHODS];
};

static const struct route routes[] = {
	{"", true, {{API_GET, api_root_get}}},
	{"openapi.yaml", true, {{API_GET, api_openapi_get}}},
	{"healthz", true, {{API_GET, api_healthz_get}}},
	{"readyz", true, {{API_GET, api_readyz_get}}},
	{"mailboxes", false, {{API_GET, api_mailboxes_get}, {API_POST, api_mailbox_post}}},
	{"mailboxes/{mailbox}",
	 false,
	 {{API_GET, api_mailbox_get}, {API_PATCH, api_mailbox_patch}, {API_DELETE, api_mailbox_delete}}},
	{"mailboxes/{mailbox}/changes", false, {{API_GET, api_changes_get}}},
	{"events", false, {{API_GET, api_events_get}}},
};

/* Under /mailboxes/{mailbox}/messages and under /messages. */
static const struct route message_routes[] = {
	{"",
	 false,
	 {{API_GET, api_messages_get},
	  {API_POST, api_message_post},
	  {API_PATCH, api_messages_patch},
	  {API_DELETE, api_messages_delete}}},
	{"{uid}",
	 false,
	 {{API_GET, api_message_get},
	  {API_PUT, api_message_put},
	  {API_PATCH, api_message_patch},
	  {API_DELETE, api_message_delete}}},
	{"{uid}/copy", false, {{API_POST, api_message_copy}}},
	{"{uid}/raw", false, {{API_GET, api_message_raw_get}}},
	{"{uid}/attachments.zip", false, {{API_GET, api_message_attachments_get}}},
	{"{uid}/headers", false, {{API_GET, api_message_headers_get}}},
	{"{uid}/text", false, {{API_GET, api_message_text_get}}},
	{"{uid}/html", false, {{API_GET, api_message_html_get}}},
	{"{uid}/parts/{partId}", false, {{API_GET, api_message_part_get}}},
	{"{uid}/keywords/{keyword}",
	 false,
	 {{API_PUT, api_message_keyword_put}, {API_DELETE, api_message_keyword_delete}}},
};

/* ---- matching ---- */

struct match {
	const struct route *route;
	bool is_message, is_mailbox_in_path;
	const struct api_segment *segments; /* borrow: those that the pattern speaks of */
};

static bool is_pattern(const char *pattern, const struct api_segment *segments, size_t n_segments)
{
	struct span rest = span_of(pattern);
	size_t i = 0;

	while (rest.len > 0) {
		ptrdiff_t slash = span_find_char(rest, '/');
		struct span wanted = slash < 0 ? rest : span_slice(rest, 0, (size_t)slash);
		rest = slash < 0 ? SPAN_NIL : span_from(rest, (size_t)slash + 1);
		if (i == n_segments || (wanted.ptr[0] != '{' && !span_equal(wanted, segments[i].text))) {
			return false;
		}
		i++;
	}
	return i == n_segments;
}

static const struct route *find_route(const struct route *table, size_t n_routes, const struct api_segment *segments,
				      size_t n_segments)
{
	for (size_t i = 0; i < n_routes; i++) {
		if (is_pattern(table[i].pattern, segments, n_segments)) {
			return &table[i];
		}
	}
	return NULL;
}

static bool is_segment(const struct api_target *target, size_t i, const char *text)
{
	return target->n_segments > i && span_equal_text(target->segments[i].text, text);
}

static bool find_match(const struct api_target *target, struct match *match)
{
	size_t n_before = 0;

	if (target->has_trailing_slash) {
		return false;
	}
	if (is_segment(target, 0, "messages")) {
		n_before = 1;
	} else if (is_segment(target, 0, "mailboxes") && is_segment(target, 2, "messages")) {
		n_before = 3;
	}
	match->is_message = n_before > 0;
	match->is_mailbox_in_path =
		n_before == 3 || (n_before == 0 && is_segment(target, 0, "mailboxes") && target->n_segments > 1);
	match->segments = target->segments + n_before;
	size_t n_segments = target->n_segments - n_before;
	match->route = match->is_message
			       ? find_route(message_routes, sizeof message_routes / sizeof message_routes[0],
					    match->segments, n_segments)
			       : find_route(routes, sizeof routes / sizeof routes[0], match->segments, n_segments);
	return match->route != NULL;
}

static api_handler_fn find_handler(const struct route *route, enum api_method method)
{
	for (size_t i = 0; i < MAX_METHODS && route->methods[i].handler; i++) {
		enum api_method served = route->methods[i].method;
		if (served == method || (served == API_GET && method == API_HEAD)) {
			return route->methods[i].handler;
		}
	}
	return NULL;
}

static void write_allow(const struct route *route, char allow[ALLOW_SIZE])
{
	static const char *const names[] = {
		[API_GET] = "GET, HEAD, ", [API_HEAD] = "",           [API_POST] = "POST, ", [API_PUT] = "PUT, ",
		[API_PATCH] = "PATCH, ",   [API_DELETE] = "DELETE, ", [API_OPTIONS] = "",    [API_OTHER] = "",
	};
	struct gp_buffer text;

	allow[0] = '\0';
	gp_buffer_init(&text, ALLOW_SIZE - 1);
	enum gp_status status = GP_OK;
	for (size_t i = 0; i < MAX_METHODS && route->methods[i].handler && status == GP_OK; i++) {
		status = gp_buffer_append(&text, span_of(names[route->methods[i].method]));
	}
	if (status == GP_OK && gp_buffer_append(&text, SPAN_LIT("OPTIONS")) == GP_OK) {
		memcpy(allow, text.data, text.len + 1);
	}
	gp_buffer_deinit(&text);
}

/* ---- what the path and the query name ---- */

/* False: a problem has been replied. */
static bool read_mailbox(struct api_request *request, struct span raw, struct span name)
{
	if (raw.len > 0 && raw.ptr[0] == '@') {
		request->mailbox.role = api_role_find(span_from(name, 1));
		if (!request->mailbox.role) {
			api_reply_problem(
				request->exchange, API_PROBLEM_NOT_FOUND, NULL,
				"'%s' is no role: there are %s (a name that begins with '@' is written '%%40…')",
				api_excerpt(name).text, api_role_list());
		}
		return request->mailbox.role != NULL;
	}
	if (name.len == 0 || name.len > API_MAX_MAILBOX_NAME) {
		api_reply_problem(request->exchange, API_PROBLEM_BAD_REQUEST, NULL,
				  "the mailbox name '%s' must have 1 to %zu bytes", api_excerpt(name).text,
				  API_MAX_MAILBOX_NAME);
		return false;
	}
	for (size_t i = 0; i < name.len; i++) {
		unsigned char c = (unsigned char)name.ptr[i];
		if (c < 0x20 || c == 0x7F) {
			api_reply_problem(request->exchange, API_PROBLEM_BAD_REQUEST, NULL,
					  "the mailbox name '%s' holds the control character 0x%02X",
					  api_excerpt(name).text, (unsigned)c);
			return false;
		}
	}
	request->mailbox.name = name;
	return true;
}

static bool read_uid(struct api_request *request, struct span text)
{
	uint32_t uid;

	if (!span_to_u32(text, &uid) || text.ptr[0] == '0') {
		api_reply_problem(request->exchange, API_PROBLEM_BAD_REQUEST, NULL,
				  "'%s' is not a UID: that is a whole number from 1 to 4294967294",
				  api_excerpt(text).text);
		return false;
	}
	if (uid == IMAP_UID_STAR) {
		/* No server can give it (UIDNEXT would not fit), and in a set it would mean "*". */
		api_reply_problem(request->exchange, API_PROBLEM_NOT_FOUND, NULL, "no message has the UID %s",
				  api_excerpt(text).text);
		return false;
	}
	request->uid = uid;
	return true;
}

/* Numbers without leading zeros, with dots between. */
static bool is_part_id(struct span text)
{
	bool is_at_start = true;

	if (text.len == 0 || text.len > MAX_PART_ID) {
		return false;
	}
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (c == '.' ? is_at_start : c < (is_at_start ? '1' : '0') || c > '9') {
			return false;
		}
		is_at_start = c == '.';
	}
	return !is_at_start;
}

static bool read_message_path(struct api_request *request, const struct match *match)
{
	const char *pattern = match->route->pattern;

	if (pattern[0] == '\0') {
		return true;
	}
	if (!read_uid(request, match->segments[0].text)) {
		return false;
	}
	if (strcmp(pattern, "{uid}/parts/{partId}") == 0) {
		request->part_id = match->segments[2].text;
		if (!is_part_id(request->part_id)) {
			api_reply_problem(request->exchange, API_PROBLEM_BAD_REQUEST, NULL,
					  "'%s' is not a part id: that is numbers with dots between, as '1.2'",
					  api_excerpt(request->part_id).text);
			return false;
		}
	} else if (strcmp(pattern, "{uid}/keywords/{keyword}") == 0) {
		request->keyword = match->segments[2].text;
	}
	return true;
}

bool api_request_mailboxes(struct api_request *request, struct api_mailbox_ref *mailboxes, size_t most, size_t *n_out)
{
	const struct api_param *param;
	size_t n = 0;

	while ((param = api_query_param(&request->query, "mailbox", n)) != NULL) {
		if (n == most) {
			api_reply_problem(request->exchange, API_PROBLEM_BAD_REQUEST, NULL,
					  "parameter 'mailbox' may come %zu times at most", most);
			return false;
		}
		request->mailbox = (struct api_mailbox_ref){.role = NULL};
		if (!read_mailbox(request, param->raw_value, param->value)) {
			return false;
		}
		mailboxes[n++] = request->mailbox;
	}
	*n_out = n;
	return true;
}

/* ?mailbox= of the short addresses. */
static bool read_mailbox_parameter(struct api_request *request, bool is_list)
{
	const struct api_param *first = api_query_param(&request->query, "mailbox", 0);
	const struct api_param *second = api_query_param(&request->query, "mailbox", 1);

	if (is_list && request->exchange->method != API_POST && (!first || second)) {
		api_reply_problem(request->exchange, API_PROBLEM_UNPROCESSABLE, NULL,
				  "%s: give one 'mailbox' parameter, as in /messages?mailbox=INBOX",
				  first ? "a list over several mailboxes is not offered yet"
					: "a list over all mailboxes is not offered yet");
		return false;
	}
	if (!first) {
		request->mailbox.name = SPAN_LIT("INBOX");
		return true;
	}
	if (second) {
		(void)api_query_text(&request->query, "mailbox"); /* not repeatable here: says so */
		api_reply_error(request->exchange, &request->query.error);
		return false;
	}
	return read_mailbox(request, first->raw_value, first->value);
}

static bool read_names(struct api_request *request, const struct match *match)
{
	const struct api_target *target = &request->target;

	request->is_mailbox_in_path = match->is_mailbox_in_path;
	if (match->is_mailbox_in_path) {
		if (!read_mailbox(request, target->segments[1].raw, target->segments[1].text)) {
			return false;
		}
	} else if (match->is_message && !read_mailbox_parameter(request, match->route->pattern[0] == '\0')) {
		return false;
	}
	if (!match->is_message) {
		return true;
	}
	request->uidvalidity = (uint32_t)api_query_number(&request->query, "uidValidity", 1, UINT32_MAX, 0);
	request->has_uidvalidity = request->uidvalidity != 0;
	return read_message_path(request, match);
}

/* ---- the entry ---- */

/* OPTIONS and methods that the resource has not: true when they were answered. */
static bool answer_method(struct api_request *request, const struct route *route)
{
	struct api_exchange *exchange = request->exchange;
	char allow[ALLOW_SIZE];

	write_allow(route, allow);
	if (exchange->method == API_OPTIONS) {
		if (api_cors_is_preflight(exchange)) {
			api_cors_preflight(request->app, exchange, allow);
		} else {
			api_header_add(exchange, "Allow", allow);
			api_reply_empty(exchange, 204);
		}
		return true;
	}
	if (!find_handler(route, exchange->method)) {
		api_header_add(exchange, "Allow", allow);
		api_reply_problem(exchange, API_PROBLEM_METHOD_NOT_ALLOWED, NULL, "%s is not offered here, but %s",
				  api_excerpt(exchange->method_name).text, allow);
		return true;
	}
	return false;
}

static void run_handler(struct api_request *request, const struct match *match)
{
	struct api_exchange *exchange = request->exchange;
	struct gp_error error = {0};
	struct imap_credential *credential = NULL;

	if (!match->route->is_open) {
		if (request->app->is_draining) {
			api_reply_problem(exchange, API_PROBLEM_UNAVAILABLE, NULL, "the gateway is shutting down");
			return;
		}
		enum gp_status status = api_auth_credential(exchange, &credential, &error);
		if (status != GP_OK) {
			api_reply_problem(exchange,
					  status == GP_AUTH ? API_PROBLEM_UNAUTHORIZED : API_PROBLEM_UNAVAILABLE, NULL,
					  "%s", error.text);
			return;
		}
	}
	request->credential = credential;
	bool is_let_in = match->route->is_open || api_throttle_enter(exchange, credential);
	if (is_let_in && read_names(request, match)) {
		find_handler(match->route, exchange->method)(request);
	}
	imap_credential_unref(&credential);
}

/* A change that is guarded by what is not looked at would be made unguarded. */
static bool check_conditions(struct api_exchange *exchange)
{
	bool is_read = exchange->method == API_GET || exchange->method == API_HEAD;

	if (!is_read && !span_is_nil(exchange->ops->header(exchange, "If-None-Match"))) {
		api_reply_problem(exchange, API_PROBLEM_BAD_REQUEST, NULL,
				  "If-None-Match is for GET and HEAD: If-Match guards a change");
		return false;
	}
	return true;
}

static void reply_bad_target(struct api_exchange *exchange, const struct gp_error *error)
{
	enum api_problem problem = error->status == GP_LIMIT ? API_PROBLEM_URI_TOO_LONG : api_problem_of(error);

	api_reply_problem(exchange, problem, NULL, "%s", error->text);
}

/* Handlers that take a message, which may be long. */
static bool is_streamed(api_handler_fn handler)
{
	static const api_handler_fn handlers[] = {api_message_post, api_message_put};
	bool is_found = false;

	for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++) {
		is_found |= handlers[i] == handler;
	}
	return is_found;
}

bool api_takes_upload(struct api_app *app, struct api_exchange *exchange)
{
	struct api_target target;
	struct gp_error error = {0};
	struct match match = {0};

	(void)app;
	if (exchange->method != API_POST && exchange->method != API_PUT) {
		return false;
	}
	if (api_target_parse(exchange->target, &exchange->arena, &target, &error) != GP_OK ||
	    !find_match(&target, &match)) {
		return false;
	}
	return is_streamed(find_handler(match.route, exchange->method));
}

void api_handle(struct api_app *app, struct api_exchange *exchange)
{
	struct gp_error error = {0};
	struct match match = {0};

	exchange->app = app;
	exchange->n_json_failures = api_json_failures();
	struct api_request *request = gp_arena_new(&exchange->arena, struct api_request);
	if (!request) {
		api_reply_problem(exchange, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return;
	}
	request->app = app;
	request->exchange = exchange;
	if (api_target_parse(exchange->target, &exchange->arena, &request->target, &error) != GP_OK) {
		reply_bad_target(exchange, &error);
		return;
	}
	api_query_init(&request->query, &request->target, &exchange->arena);
	exchange->is_pretty = api_query_bool(&request->query, "pretty", false);

	if (!find_match(&request->target, &match)) {
		api_reply_problem(exchange, API_PROBLEM_NOT_FOUND, NULL, "there is nothing at '%s'%s",
				  api_excerpt(exchange->target).text,
				  request->target.has_trailing_slash ? ": leave out the slash at the end" : "");
		return;
	}
	if (!answer_method(request, match.route) && api_cors_guard(app, exchange) && check_conditions(exchange)) {
		run_handler(request, &match);
	}
}

/* ---- addresses ---- */

char *api_mailbox_href(struct gp_arena *arena, struct span mailbox)
{
	char *name = api_percent_encode(arena, mailbox);

	return name ? gp_arena_printf(arena, "/mailboxes/%s", name) : NULL;
}

char *api_message_href(struct gp_arena *arena, struct span mailbox, uint32_t uid, const char *suffix)
{
	char *href = api_mailbox_href(arena, mailbox);

	return href ? gp_arena_printf(arena, "%s/messages/%u%s", href, (unsigned)uid, suffix) : NULL;
}

char *api_part_href(struct gp_arena *arena, struct span mailbox, uint32_t uid, const char *part_id)
{
	char *parts = api_message_href(arena, mailbox, uid, "/parts/");

	return parts ? gp_arena_printf(arena, "%s%s", parts, part_id) : NULL;
}
