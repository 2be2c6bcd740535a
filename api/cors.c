#include "api/cors.h"

#include "api/query.h"
#include "api/reply.h"

#define ALLOWED_HEADERS                                                                                                \
	"Authorization, Cache-Control, Content-Type, Idempotency-Key, If-Match, If-None-Match, If-Range, "             \
	"Last-Event-ID, Range, "                                                                                       \
	"X-Request-Id"
#define EXPOSED_HEADERS                                                                                                \
	"ETag, Idempotent-Replayed, Link, Location, Content-Location, X-Request-Id, Server-Timing, Content-Range, "    \
	"Retry-After"
#define PREFLIGHT_SECONDS "7200" /* browsers keep it no longer */

static struct span without_suffix(struct span s, const char *suffix)
{
	size_t len = strlen(suffix);

	if (s.len > len && span_equal_text(span_from(s, s.len - len), suffix)) {
		s.len -= len;
	}
	return s;
}

/* Browsers leave the scheme's own port out of Origin and Host; others may not. */
static bool is_own(struct api_exchange *exchange, struct span origin)
{
	const char *scheme = exchange->is_tls ? "https://" : "http://";
	const char *port = exchange->is_tls ? ":443" : ":80";
	struct span host = exchange->ops->header(exchange, "Host");

	return host.len > 0 && span_starts_with_nocase(origin, scheme) &&
	       span_equal_nocase(without_suffix(span_from(origin, strlen(scheme)), port), without_suffix(host, port));
}

enum api_origin api_cors_origin(const struct api_app *app, struct api_exchange *exchange)
{
	struct span origin = exchange->ops->header(exchange, "Origin");
	bool is_any = false;

	if (span_is_nil(origin)) {
		return API_ORIGIN_ABSENT;
	}
	if (is_own(exchange, origin)) {
		return API_ORIGIN_OWN;
	}
	/* Sandboxed frames and local files all say "null": it names nobody. */
	if (span_equal_text_nocase(origin, "null")) {
		return API_ORIGIN_FOREIGN;
	}
	for (size_t i = 0; i < app->n_cors_origins; i++) {
		if (span_equal_text_nocase(origin, app->cors_origins[i])) {
			return API_ORIGIN_ALLOWED;
		}
		is_any = is_any || strcmp(app->cors_origins[i], "*") == 0;
	}
	return is_any ? API_ORIGIN_ANY : API_ORIGIN_FOREIGN;
}

void api_cors_add_headers(const struct api_app *app, struct api_exchange *exchange)
{
	enum api_origin origin = api_cors_origin(app, exchange);

	if (origin == API_ORIGIN_ALLOWED) {
		char *value = gp_arena_strdup(&exchange->arena, exchange->ops->header(exchange, "Origin"));
		api_header_add(exchange, "Access-Control-Allow-Origin", value);
		api_header_add(exchange, "Access-Control-Allow-Credentials", "true");
	} else if (origin == API_ORIGIN_ANY) {
		api_header_add(exchange, "Access-Control-Allow-Origin", "*");
	} else {
		return;
	}
	api_header_add(exchange, "Access-Control-Expose-Headers", EXPOSED_HEADERS);
}

bool api_cors_is_preflight(struct api_exchange *exchange)
{
	return exchange->method == API_OPTIONS && !span_is_nil(exchange->ops->header(exchange, "Origin")) &&
	       !span_is_nil(exchange->ops->header(exchange, "Access-Control-Request-Method"));
}

static void refuse(struct api_exchange *exchange)
{
	api_reply_problem(exchange, API_PROBLEM_FORBIDDEN, NULL, "the origin '%s' is not allowed here",
			  api_excerpt(exchange->ops->header(exchange, "Origin")).text);
}

void api_cors_preflight(const struct api_app *app, struct api_exchange *exchange, const char *methods)
{
	if (api_cors_origin(app, exchange) == API_ORIGIN_FOREIGN) {
		refuse(exchange);
		return;
	}
	api_header_add(exchange, "Access-Control-Allow-Methods", methods);
	api_header_add(exchange, "Access-Control-Allow-Headers", ALLOWED_HEADERS);
	api_header_add(exchange, "Access-Control-Max-Age", PREFLIGHT_SECONDS);
	api_header_add(exchange, "Allow", methods);
	api_reply_empty(exchange, 204);
}

bool api_cors_guard(const struct api_app *app, struct api_exchange *exchange)
{
	bool is_safe = exchange->method == API_GET || exchange->method == API_HEAD || exchange->method == API_OPTIONS;

	return is_safe || api_cors_guard_effect(app, exchange);
}

bool api_cors_guard_effect(const struct api_app *app, struct api_exchange *exchange)
{
	struct span site = exchange->ops->header(exchange, "Sec-Fetch-Site");
	enum api_origin origin = api_cors_origin(app, exchange);
	bool is_of_other_site = origin == API_ORIGIN_ABSENT && !span_is_nil(site) &&
				!span_equal_text_nocase(site, "same-origin") && !span_equal_text_nocase(site, "none");

	if (origin == API_ORIGIN_FOREIGN) {
		refuse(exchange);
	} else if (is_of_other_site) {
		api_reply_problem(exchange, API_PROBLEM_FORBIDDEN, NULL,
				  "a page of another site may not change anything here");
	}
	return origin != API_ORIGIN_FOREIGN && !is_of_other_site;
}
