/*
 * Request bodies that are JSON. Accepted types: application/json,
 * application/merge-patch+json, and what `curl -d` sends by itself
 * (application/x-www-form-urlencoded) when the request has neither Origin nor
 * Sec-Fetch-Site: a page in a browser cannot leave both out, so a cross-site form
 * never passes as JSON.
 *
 * Limits: GP_MAX_JSON_BODY bytes (the exchange keeps no more), GP_MAX_JSON_DEPTH
 * levels and GP_MAX_JSON_VALUES, counted before Jansson, which recurses, sees a byte.
 */
#ifndef GP_API_BODY_H
#define GP_API_BODY_H

#include <jansson.h>

#include "api/exchange.h"

/* The body as one JSON object (new reference). NULL: a problem has been replied
 * (400, 413, 415 or 503), and the exchange must not be touched any more. */
json_t *api_body_object(struct api_exchange *exchange);

/* NULL: the request's type is one of those above. Else why it is not. */
const char *api_body_json_fault(struct api_exchange *exchange);

/* The pure part of it: any bytes to an object. GP_INVALID (and `error` says what and
 * where), GP_NO_MEMORY. */
enum gp_status api_body_parse(struct span bytes, json_t **object_out, struct gp_error *error) GP_MUST_USE;

/* GP_INVALID "unknown member 'x'" (with `where` in front when it is not NULL: "in
 * 'attachments[2]'") unless every member of `object` is one of the `n_names`. */
enum gp_status api_body_check_members(const json_t *object, const char *where, const char *const *names, size_t n_names,
				      struct gp_error *error) GP_MUST_USE;

#endif
