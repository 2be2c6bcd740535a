#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "api/cors.h"
#include "api/problem.h"
#include "base/log.h"
#include "gateway/http_internal.h"

/* libmicrohttpd reads that much of a stream at a time when the length is known. */
#define STREAM_BLOCK (32 * GP_KIB)

static char out_of_memory_body[] = "{\"type\":\"/problems/unavailable\",\"title\":\"Not now\",\"status\":503,"
				   "\"detail\":\"The gateway is out of memory.\",\"retryable\":true}\n";

/* libmicrohttpd's own function for constant bodies has another name in each version;
 * a free function that does nothing serves all of them. */
static void keep(void *body)
{
	(void)body;
}

struct MHD_Response *http_reply_out_of_memory(void)
{
	struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback(
		sizeof out_of_memory_body - 1, out_of_memory_body, keep);

	if (!response) {
		return NULL;
	}
	if (MHD_add_response_header(response, "Content-Type", "application/problem+json") != MHD_YES ||
	    MHD_add_response_header(response, "Cache-Control", "no-store") != MHD_YES ||
	    MHD_add_response_header(response, "Retry-After", "1") != MHD_YES ||
	    MHD_add_response_header(response, "Connection", "close") != MHD_YES) {
		MHD_destroy_response(response);
		return NULL;
	}
	return response;
}

static bool add_headers(struct http_exchange *exchange, struct MHD_Response *response)
{
	for (size_t i = 0; i < exchange->api.n_headers; i++) {
		const struct api_header *header = &exchange->api.headers[i];
		if (MHD_add_response_header(response, header->name, header->value) != MHD_YES) {
			return false;
		}
	}
	/* While draining a kept connection would only get 503s. */
	return !exchange->server->is_draining || MHD_add_response_header(response, "Connection", "close") == MHD_YES;
}

/* Takes `response`; NULL, or one that cannot have its headers, becomes the ready-made
 * one, which lives with the server. */
static bool set_response(struct http_exchange *exchange, unsigned status, struct MHD_Response *response)
{
	bool is_good = response && add_headers(exchange, response);

	if (response && !is_good) {
		MHD_destroy_response(response);
	}
	exchange->response = is_good ? response : exchange->server->out_of_memory;
	exchange->status = is_good ? status : 503;
	return is_good;
}

/* What 304 would have to say of a length is the length of the 200 (RFC 9110 section 8.6), which
 * nobody knows here, least of all that it is 0. libmicrohttpd before 0.9.77 says so all the same,
 * or closes the connection; no client goes by it. */
static struct MHD_Response *not_modified(void)
{
#if MHD_VERSION >= 0x00097701
	return MHD_create_response_empty(MHD_RF_HEAD_ONLY_RESPONSE);
#else
	return MHD_create_response_from_buffer_with_free_callback(0, NULL, keep);
#endif
}

void http_reply_buffer(struct http_exchange *exchange, unsigned status, struct gp_buffer *body)
{
	struct MHD_Response *response = NULL;
	size_t len = 0;
	char *data = NULL;

	if (body && body->len > 0) {
		data = gp_buffer_take(body, &len);
	} else if (body) {
		gp_buffer_deinit(body);
	}
	response = status == 304 && !data ? not_modified()
					  : MHD_create_response_from_buffer_with_free_callback(len, data, free);
	if (!response) {
		free(data);
	}
	if (set_response(exchange, status, response) && exchange->api.method != API_HEAD) {
		exchange->n_sent = len;
	}
}

#if MHD_VERSION < 0x00097701
static ssize_t end_at_once(void *ctx, uint64_t position, char *out, size_t size)
{
	(void)ctx;
	(void)position;
	(void)out;
	(void)size;
	return MHD_CONTENT_READER_END_OF_STREAM;
}
#endif

/* A head without a body whose length nobody knows. A chunked one would be ended by a
 * last chunk even here, which the client reads as the beginning of its next reply. */
static struct MHD_Response *head_only(void)
{
	struct MHD_Response *response;

#if MHD_VERSION >= 0x00097701
	response = MHD_create_response_empty(MHD_RF_HEAD_ONLY_RESPONSE);
#else
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 1, end_at_once, NULL, NULL);
	if (response && MHD_set_response_options(response, MHD_RF_HTTP_VERSION_1_0_ONLY, MHD_RO_END) != MHD_YES) {
		MHD_destroy_response(response);
		response = NULL;
	}
#endif
	return response;
}

bool http_reply_stream(struct http_exchange *exchange, unsigned status, MHD_ContentReaderCallback reader)
{
	if (exchange->api.method == API_HEAD && exchange->content_length < 0) {
		return set_response(exchange, status, head_only());
	}
	uint64_t len = exchange->content_length < 0 ? MHD_SIZE_UNKNOWN : (uint64_t)exchange->content_length;

	return set_response(exchange, status,
			    MHD_create_response_from_callback(len, STREAM_BLOCK, reader, exchange, NULL));
}

static void slug_and_title(unsigned status, const char **slug_out, const char **title_out)
{
	static const struct {
		unsigned status;
		const char *slug, *title;
	} problems[] = {
#define X(name, slug, status, retryable, title) {status, slug, title},
		API_PROBLEM_MAP(X)
#undef X
	};

	for (size_t i = 0; i < sizeof problems / sizeof problems[0]; i++) {
		if (problems[i].status == status) {
			*slug_out = problems[i].slug;
			*title_out = problems[i].title;
			return;
		}
	}
	*slug_out = "bad-request";
	*title_out = "The request is malformed";
}

static void add_header(struct api_exchange *exchange, const char *name, const char *value)
{
	exchange->headers[exchange->n_headers++] = (struct api_header){name, value};
}

static void add_common_headers(const struct http_exchange *exchange, struct api_exchange *api)
{
	add_header(api, "Cache-Control", "no-store");
	add_header(api, "X-Content-Type-Options", "nosniff");
	add_header(api, "X-Request-Id", api->request_id);
	add_header(api, "Server-Timing", "queue;dur=0.000, imap;dur=0.000, total;dur=0.000");
	add_header(api, "Vary", "Authorization, Cookie, Origin");
	api_cors_add_headers(exchange->server->app, api);
}

void http_reply_refusal(struct http_exchange *exchange, const struct http_guard_verdict *verdict)
{
	struct api_exchange *api = &exchange->api;
	struct gp_buffer body;
	const char *slug;
	const char *title;

	slug_and_title(verdict->status, &slug, &title);
	gp_buffer_init(&body, 4 * GP_KIB);
	api->n_headers = 0;
	add_header(api, "Content-Type", "application/problem+json");
	if (!verdict->is_tight) {
		add_common_headers(exchange, api);
	}
	if (gp_buffer_printf(&body,
			     "{\"type\":\"/problems/%s\",\"title\":\"%s\",\"status\":%u,\"detail\":\"%s\","
			     "\"requestId\":\"%s\",\"retryable\":false}\n",
			     slug, title, verdict->status, verdict->detail, api->request_id) != GP_OK) {
		gp_buffer_deinit(&body);
		set_response(exchange, verdict->status, NULL);
		return;
	}
	http_reply_buffer(exchange, verdict->status, &body);
}
