/* The gateway itself: what it is, what it offers, whether it is well. */
#include "api/conditional.h"
#include "api/etag.h"
#include "api/router.h"

/* openapi.yaml as it stands in the source tree (found through the include path). */
__asm__(".pushsection .rodata\n"
	".local gp_openapi_begin\n"
	".local gp_openapi_end\n"
	"gp_openapi_begin:\n"
	".incbin \"openapi.yaml\"\n"
	"gp_openapi_end:\n"
	".byte 0\n"
	".popsection\n");
extern const char gp_openapi_begin[], gp_openapi_end[];

/* False: 400 has been replied. */
static bool has_plain_query(struct api_request *request)
{
	if (api_query_finish(&request->query) != GP_OK) {
		api_reply_error(request->exchange, &request->query.error);
		return false;
	}
	return true;
}

static json_t *links(void)
{
	static const char *const hrefs[][2] = {
		{"mailboxes", "/mailboxes{?subscribed,role,parent,counts,fields}"},
		{"mailbox", "/mailboxes/{mailbox}"},
		{"changes", "/mailboxes/{mailbox}/changes{?since,maxChanges,wait}"},
		{"events", "/events{?mailbox*}"},
		{"messages", "/mailboxes/{mailbox}/messages"},
		{"message", "/mailboxes/{mailbox}/messages/{uid}"},
		{"inboxMessages", "/messages?mailbox=INBOX"},
		{"inboxMessage", "/messages/{uid}{?mailbox}"},
		{"raw", "/mailboxes/{mailbox}/messages/{uid}/raw"},
		{"headers", "/mailboxes/{mailbox}/messages/{uid}/headers"},
		{"text", "/mailboxes/{mailbox}/messages/{uid}/text"},
		{"html", "/mailboxes/{mailbox}/messages/{uid}/html"},
		{"part", "/mailboxes/{mailbox}/messages/{uid}/parts/{partId}"},
		{"keyword", "/mailboxes/{mailbox}/messages/{uid}/keywords/{keyword}"},
		{"openapi", "/openapi.yaml"},
		{"health", "/healthz"},
		{"readiness", "/readyz"},
	};
	json_t *object = json_object();

	for (size_t i = 0; i < sizeof hrefs / sizeof hrefs[0]; i++) {
		api_json_set(object, hrefs[i][0], json_string(hrefs[i][1]));
	}
	return object;
}

void api_root_get(struct api_request *request)
{
	if (!has_plain_query(request)) {
		return;
	}
	json_t *root = json_object();
	api_json_set(root, "name", json_string("gatepost"));
	api_json_set(root, "version", json_string(GATEPOST_VERSION));
	api_json_set(root, "links", links());
	api_header_add(request->exchange, "Link", "</openapi.yaml>; rel=\"service-desc\"; type=\"application/yaml\"");
	api_reply_json_tagged(request->exchange, root);
}

void api_openapi_get(struct api_request *request)
{
	struct api_exchange *exchange = request->exchange;
	/* cppcheck-suppress comparePointers ; both ends of one .incbin */
	struct span text = span_make(gp_openapi_begin, (size_t)(gp_openapi_end - gp_openapi_begin));
	char etag[API_ETAG_SIZE];

	if (!has_plain_query(request)) {
		return;
	}
	if (api_etag_of_bytes(exchange->account, text, etag) == GP_OK) {
		unsigned settled = api_precondition(exchange, etag);
		if (settled != 0) {
			api_reply_precondition(exchange, settled, etag);
			return;
		}
		api_header_add(exchange, "ETag", etag);
	}
	api_reply_text(exchange, 200, "application/yaml", text);
}

static void reply_status(struct api_exchange *exchange, const char *status)
{
	json_t *object = json_object();

	api_json_set(object, "status", json_string(status));
	api_header_add(exchange, "Cache-Control", "no-store");
	api_reply_json(exchange, 200, object);
}

void api_healthz_get(struct api_request *request)
{
	if (has_plain_query(request)) {
		reply_status(request->exchange, "ok");
	}
}

void api_readyz_get(struct api_request *request)
{
	if (!has_plain_query(request)) {
		return;
	}
	if (request->app->is_draining) {
		api_reply_problem(request->exchange, API_PROBLEM_UNAVAILABLE, NULL, "the gateway is shutting down");
		return;
	}
	reply_status(request->exchange, "ready");
}
