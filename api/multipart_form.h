/*
 * multipart/form-data as a stream (RFC 7578): fed in any pieces, it tells of parts as they
 * come. libmicrohttpd's PostProcessor is not used: it has a history of reading past its
 * end, and cannot say what is wrong.
 *
 * As browsers and curl write it: names and file names in UTF-8, with "%22", "%0D" and
 * "%0A" or backslashes for what cannot stand between quotes; filename* (RFC 8187) wins.
 *
 * Limits: API_MAX_FORM_PARTS parts, 8 KiB of header fields a part, 1 KiB a name; what a
 * part holds is for the receiver to bound. Nothing is kept but less than a boundary.
 */
#ifndef GP_API_MULTIPART_FORM_H
#define GP_API_MULTIPART_FORM_H

#include "base/arena.h"
#include "base/buffer.h"

#define API_MAX_FORM_PARTS 256
#define API_MAX_FORM_HEADER ((size_t)8192)
#define API_MAX_FORM_NAME ((size_t)1024)
#define API_MAX_BOUNDARY ((size_t)70) /* RFC 2046 */

/* Borrowed for the callback. */
struct api_form_part {
	struct span name;
	bool has_filename;
	struct span filename; /* valid UTF-8; may be empty */
	struct span type;     /* Content-Type as it came; NIL: none */
};

/* What they return other than GP_OK ends the form: api_form_feed() returns it. They fill
 * `error`. They must not free the form. */
struct api_form_events {
	enum gp_status (*part)(void *ctx, const struct api_form_part *part, struct gp_error *error);
	enum gp_status (*data)(void *ctx, struct span bytes, struct gp_error *error);
	enum gp_status (*part_end)(void *ctx, struct gp_error *error);
};

struct api_form;

/* The boundary of "multipart/form-data; boundary=…", a part of `content_type`. False: it
 * is no such type, or has none that could be one. */
bool api_form_boundary(struct span content_type, struct span *boundary_out);

/* NULL when memory ends. `boundary` as above, copied. */
struct api_form *api_form_new(struct span boundary, const struct api_form_events *events, void *ctx);
void api_form_free(struct api_form **form);
/* GP_INVALID, GP_NO_MEMORY, or what an event returned. After a failure the form can only
 * be freed. */
enum gp_status api_form_feed(struct api_form *form, struct span bytes, struct gp_error *error) GP_MUST_USE;
/* The end of the body: GP_INVALID when the last boundary has not come. */
enum gp_status api_form_finish(struct api_form *form, struct gp_error *error) GP_MUST_USE;

#endif
