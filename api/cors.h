/*
 * Pages of other origins (the Fetch standard's CORS protocol), and the guard against
 * requests that a page makes in its visitor's name: an unsafe method with an Origin
 * that is neither the gateway's own nor allowed is refused, whatever the credential, and
 * without an Origin one that Sec-Fetch-Site says is of another site.
 */
#ifndef GP_API_CORS_H
#define GP_API_CORS_H

#include "api/app.h"

enum api_origin {
	API_ORIGIN_ABSENT,
	API_ORIGIN_OWN,     /* this gateway's scheme and Host */
	API_ORIGIN_ALLOWED, /* named by --cors-origin */
	API_ORIGIN_ANY,     /* allowed by "*": readable, without credentials of the browser */
	API_ORIGIN_FOREIGN, /* also "null" and what is no origin */
};

enum api_origin api_cors_origin(const struct api_app *app, struct api_exchange *exchange);
/* Adds Access-Control-* for an allowed origin, and Vary. For every reply. */
void api_cors_add_headers(const struct api_app *app, struct api_exchange *exchange);
/* Whether the request is a preflight (OPTIONS with Origin and
 * Access-Control-Request-Method). */
bool api_cors_is_preflight(struct api_exchange *exchange);
/* Answers it; `methods` is "GET, HEAD, OPTIONS". */
void api_cors_preflight(const struct api_app *app, struct api_exchange *exchange, const char *methods);
/* False: it has been refused (403). */
bool api_cors_guard(const struct api_app *app, struct api_exchange *exchange);
/* The same whatever the method, for a GET that changes something: browsers send none of them with
 * an Origin when a page only embeds or links them, but say where they come from. */
bool api_cors_guard_effect(const struct api_app *app, struct api_exchange *exchange);

#endif
