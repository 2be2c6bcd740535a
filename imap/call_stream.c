/*
 * One section of a message in windows of partial FETCH.
 *
 * FETCH responses name the origin of a window but not what length was asked, and the
 * rows of every command in flight on this message come here: a short row may be
 * another reader's Range. So a window that came full is passed on at once, as it can
 * only be right; a shorter one is kept until its command's tagged answer, the longest
 * one that came counts, and then it is the end of the section.
 *
 * Where the length is not known, the second window waits until the first came full:
 * most sections end in their first one.
 *
 * There are servers that give less than was asked. A short window that ends before where
 * the section should is asked to go on from there: an empty one is the end.
 */
#include <stdlib.h>

#include "imap/call_internal.h"

#define MAX_WINDOWS 2
/* IMAP's numbers end here (RFC 3501 section 9): no stream goes on for ever. */
#define MAX_ORIGIN UINT32_MAX

struct window {
	struct imap_call_step *step; /* link; NULL when its command has ended */
	uint64_t origin;
	size_t len;             /* asked for */
	struct gp_buffer bytes; /* what came and is not passed on yet */
	bool has_bytes;
	bool is_delivered;
	bool is_too_long; /* a longer one came */
};

struct imap_stream {
	struct imap_call base;
	const struct imap_stream_events *events; /* borrow */
	void *ctx;                               /* borrow */
	struct imap_uid_range range;             /* the message */
	const char *section;                     /* arena */
	uint64_t next_origin;
	uint64_t rest; /* not asked for yet; UINT64_MAX: to the end */
	uint64_t told; /* the section's length; 0: not told */
	size_t window_len;
	size_t credit; /* what may still be delivered */
	size_t asked;  /* in flight and not delivered: at most the credit, unless that was lowered */
	struct window windows[MAX_WINDOWS]; /* in order */
	size_t n_windows;
	bool may_run_ahead; /* two windows at a time */
	bool is_stray;      /* a row of this section with an origin that nobody here asked */
	bool is_going_on;   /* behind a short window: there may be nothing */
};

static struct imap_stream *of(struct imap_call *call)
{
	return (struct imap_stream *)call;
}

/* ---- asking ---- */

static enum gp_status send_window(struct imap_stream *self, size_t len)
{
	struct imap_uidset uids = {.ranges = &self->range, .n_ranges = 1};
	struct imap_command_spec spec = {
		.kind = IMAP_COMMAND_FETCH, .uids = &uids, .row_items = IMAP_ITEM_SECTION, .is_window = true};
	struct imap_call_step *step = imap_call_step_new(&self->base, "UID FETCH", &spec);

	if (!step) {
		return GP_NO_MEMORY;
	}
	struct imap_writer *writer = imap_call_step_writer(step);
	imap_writer_range(writer, self->range.first, self->range.last);
	imap_writer_open(writer);
	imap_writer_word(writer, "UID");
	imap_writer_body_peek(writer, self->section, self->next_origin, len);
	imap_writer_close(writer);
	imap_call_step_submit(step);

	struct window *window = &self->windows[self->n_windows++];
	*window = (struct window){.step = step, .origin = self->next_origin, .len = len};
	gp_buffer_init(&window->bytes, len);
	self->next_origin += len;
	self->asked += len;
	if (self->rest != UINT64_MAX) {
		self->rest -= len;
	}
	return GP_OK;
}

static enum gp_status advance(struct imap_call *call)
{
	struct imap_stream *self = of(call);
	size_t max_windows = self->may_run_ahead ? MAX_WINDOWS : 1;

	while (self->rest > 0 && self->n_windows < max_windows) {
		size_t len = self->rest < self->window_len ? (size_t)self->rest : self->window_len;
		if (self->credit < self->asked || self->credit - self->asked < len) {
			return GP_OK;
		}
		if (self->next_origin > MAX_ORIGIN - len) {
			return GP_LIMIT;
		}
		enum gp_status status = send_window(self, len);
		if (status != GP_OK) {
			return status;
		}
	}
	call->is_complete = self->rest == 0 && self->n_windows == 0;
	return GP_OK;
}

/* ---- passing on ---- */

static void drop_windows(struct imap_stream *self)
{
	for (size_t i = 0; i < self->n_windows; i++) {
		gp_buffer_deinit(&self->windows[i].bytes);
	}
	self->n_windows = 0;
}

/* The receiver may cancel the stream in it. */
static void deliver(struct imap_stream *self, struct window *window, struct span bytes)
{
	window->is_delivered = true;
	self->asked -= window->len;
	self->credit -= bytes.len < self->credit ? bytes.len : self->credit;
	self->is_stray = false;
	if (bytes.len == window->len) {
		self->may_run_ahead = true;
	}
	if (bytes.len > 0) {
		self->events->data(self->ctx, bytes);
	}
}

/* A short window is the last one, unless the section should be longer. */
static void after_short(struct imap_stream *self, const struct window *window)
{
	uint64_t at = window->origin + window->bytes.len;
	size_t len = window->bytes.len;

	imap_call_drop_steps(&self->base);
	if (len == 0 || at >= self->told) {
		drop_windows(self);
		self->rest = 0;
		self->base.is_complete = true;
		return;
	}
	if (self->rest != UINT64_MAX) {
		self->rest += self->next_origin - at;
	}
	drop_windows(self);
	self->next_origin = at;
	self->asked = 0;
	self->is_going_on = true;
	/* as much as this server gives, if that makes sense */
	self->window_len = len >= GP_STREAM_WINDOW / 16 ? len : self->window_len;
}

/* Passes on what is whole and next in order, and forgets windows that are through. */
static void flush(struct imap_stream *self)
{
	for (size_t i = 0; i < self->n_windows && !self->base.is_cancelled; i++) {
		struct window *window = &self->windows[i];
		bool is_full = window->has_bytes && window->bytes.len == window->len;
		bool is_end = window->has_bytes && !is_full && !window->step;

		if (window->is_delivered) {
			continue;
		}
		if (!is_full && !is_end) {
			break;
		}
		deliver(self, window, gp_buffer_span(&window->bytes));
		if (is_end && !self->base.is_cancelled) {
			after_short(self, window);
			return;
		}
	}
	while (self->n_windows > 0 && self->windows[0].is_delivered && !self->windows[0].step) {
		gp_buffer_deinit(&self->windows[0].bytes);
		self->n_windows--;
		memmove(&self->windows[0], &self->windows[1], self->n_windows * sizeof self->windows[0]);
	}
}

/* ---- reading ---- */

static struct window *find_window(struct imap_stream *self, uint64_t origin)
{
	for (size_t i = 0; i < self->n_windows; i++) {
		if (self->windows[i].origin == origin) {
			return &self->windows[i];
		}
	}
	return NULL;
}

static bool is_next(const struct imap_stream *self, const struct window *window)
{
	for (const struct window *w = self->windows; w < window; w++) {
		if (!w->is_delivered) {
			return false;
		}
	}
	return true;
}

static void take_section(struct imap_stream *self, const struct imap_section *section)
{
	uint64_t origin = section->has_origin ? section->origin : 0;
	struct window *window = find_window(self, origin);

	if (!window) {
		self->is_stray = true;
		return;
	}
	if (window->is_delivered) {
		return;
	}
	if (section->is_too_long || section->value.len > window->len) {
		window->is_too_long = true;
		return;
	}
	if (span_is_nil(section->value) || (window->has_bytes && section->value.len <= window->bytes.len)) {
		return;
	}
	/* The usual case: in order, full, and not copied. */
	if (section->value.len == window->len && is_next(self, window)) {
		deliver(self, window, section->value);
		return;
	}
	gp_buffer_truncate(&window->bytes, 0);
	enum gp_status status = gp_buffer_append(&window->bytes, section->value);
	if (status != GP_OK) {
		imap_call_fail_with(&self->base, status, gp_status_text(status));
		return;
	}
	window->has_bytes = true;
}

static void untagged(struct imap_call_step *step, const struct imap_response *response)
{
	struct imap_stream *self = of(step->call);
	const struct imap_fetch *row = &response->fetch;

	if (response->type != IMAP_RESPONSE_FETCH || row->uid != self->range.first) {
		return;
	}
	for (size_t i = 0; i < row->n_sections && !self->base.is_cancelled; i++) {
		if (span_equal_text_nocase(row->sections[i].spec, self->section)) {
			take_section(self, &row->sections[i]);
		}
	}
	flush(self);
}

static void fail_window(struct imap_stream *self, const struct window *window, const struct gp_error *error)
{
	if (error && !imap_error_is_expunged(error) && !imap_error_has_code(error, "NONEXISTENT")) {
		imap_call_fail(&self->base, error);
	} else if (window->is_too_long) {
		imap_call_fail_with(&self->base, GP_PROTOCOL, "the IMAP server sent more than was asked");
	} else if (!error && self->is_stray) {
		imap_call_fail_with(&self->base, GP_PROTOCOL, "the IMAP server sent another piece than was asked");
	} else {
		imap_call_fail_with(&self->base, GP_NOT_FOUND, "the message is gone");
	}
}

static void step_done(struct imap_call_step *step, const struct imap_result *result)
{
	struct imap_stream *self = of(step->call);

	for (size_t i = 0; i < self->n_windows; i++) {
		struct window *window = &self->windows[i];
		if (window->step != step) {
			continue;
		}
		window->step = NULL;
		bool is_full = window->is_delivered || (window->has_bytes && window->bytes.len == window->len);
		/* A full window is right however its command ended; a short one is the end of
		 * the section only when the server says that it was all. */
		if (!is_full && !result->error && !window->has_bytes && self->is_going_on && !self->is_stray &&
		    !window->is_too_long) {
			window->has_bytes = true; /* nothing, as was to be expected */
		} else if (!is_full && (result->error || !window->has_bytes)) {
			window->has_bytes = false;
			fail_window(self, window, result->error);
		}
		break;
	}
	flush(self);
}

static void end(struct imap_call *call, const struct gp_error *error)
{
	struct imap_stream *self = of(call);

	self->events->done(self->ctx, error);
}

static void deinit(struct imap_call *call)
{
	drop_windows(of(call));
}

static const struct imap_call_ops ops = {
	.advance = advance, .untagged = untagged, .step_done = step_done, .end = end, .deinit = deinit};

/* ---- start ---- */

struct imap_stream *imap_stream_start(struct imap_session *session, const struct imap_stream_spec *spec,
				      const struct imap_stream_events *events, void *ctx)
{
	struct imap_stream *self = calloc(1, sizeof *self);

	if (!self) {
		return NULL;
	}
	imap_call_init(&self->base, session, &ops);
	self->events = events;
	self->ctx = ctx;
	self->range = (struct imap_uid_range){spec->uid, spec->uid};
	self->section = gp_arena_strdup(&self->base.arena, span_of(spec->section));
	self->next_origin = spec->origin;
	self->rest = spec->len;
	self->told = spec->told;
	self->window_len = spec->window > 0 && spec->window < GP_STREAM_WINDOW ? spec->window : GP_STREAM_WINDOW;
	self->may_run_ahead = spec->len != UINT64_MAX;
	if (!self->section) {
		imap_call_discard(&self->base);
		return NULL;
	}
	return imap_call_begin(&self->base) ? self : NULL;
}

void imap_stream_want(struct imap_stream *stream, size_t credit)
{
	stream->credit = credit;
	imap_call_poke(&stream->base);
}

void imap_stream_cancel(struct imap_stream **stream)
{
	struct imap_call *call = *stream ? &(*stream)->base : NULL;

	*stream = NULL;
	imap_call_cancel(&call);
}
