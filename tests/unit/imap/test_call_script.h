/*
 * Scripts for typed calls: what the call writes, what the server says, and the
 * callbacks that must come, as text. Each script is played
 *
 *	whole, and with every answer a byte at a time,
 *	with the call cancelled at each moment, and from within each callback,
 *	with the connection lost at each moment,
 *
 * and each time the session must be in step afterwards: a NOOP works.
 */
#ifndef GP_TESTS_UNIT_IMAP_TEST_CALL_SCRIPT_H
#define GP_TESTS_UNIT_IMAP_TEST_CALL_SCRIPT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/limits.h"
#include "imap/calls.h"
#include "tests/support/fake_session.h"

#define MAX_SCRIPT_STEPS 32
#define MAX_MOMENTS 256

struct script_step {
	bool is_server;
	const char *text; /* borrow: a literal; NULL ends the script */
};

#define C(text_)                                                                                                       \
	{                                                                                                              \
		false, text_                                                                                           \
	}
#define S(text_)                                                                                                       \
	{                                                                                                              \
		true, text_                                                                                            \
	}

struct fixture {
	struct fake_session *fake;  /* own */
	struct imap_call *call;     /* link: NULL once it has ended or was cancelled */
	struct imap_stream *stream; /* link: the same thing, where it is one */
	struct gp_buffer log;
	size_t n_callbacks, n_done;
	size_t cancel_in; /* the number of the callback that cancels; 0: none */
};

struct script {
	const char *name;
	const char *capabilities;
	const char *selected; /* untagged answers to SELECT INBOX; NULL: none is selected */
	struct imap_call *(*start)(struct fixture *f, const void *spec);
	const void *spec;
	struct script_step steps[MAX_SCRIPT_STEPS];
	const char *expected; /* what note() wrote */
};

/* ---- for the callbacks ---- */

GP_PRINTF(2, 3) static inline void note(struct fixture *f, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	assert_int_equal(gp_buffer_append(&f->log, span_of(text)), GP_OK);
}

static inline void fixture_cancel(struct fixture *f)
{
	if (f->stream) {
		imap_stream_cancel(&f->stream);
		assert_null(f->stream);
		f->call = NULL;
	} else {
		imap_call_cancel(&f->call);
		assert_null(f->call);
	}
}

/* First thing in each callback but done(). */
static inline void on_callback(struct fixture *f)
{
	assert_int_equal(f->n_done, 0);
	assert_non_null(f->call);
	if (++f->n_callbacks == f->cancel_in) {
		fixture_cancel(f);
	}
}

static inline void note_end(struct fixture *f, const struct gp_error *error)
{
	assert_int_equal(f->n_done, 0);
	assert_non_null(f->call);
	f->n_done++;
	if (++f->n_callbacks == f->cancel_in) {
		fixture_cancel(f); /* harmless: it has ended */
	}
	f->call = NULL;
	f->stream = NULL;
	note(f, "done %s%s%s", error ? gp_status_name(error->status) : "OK", error && error->code[0] ? " " : "",
	     error ? error->code : "");
}

static inline void note_uids(struct fixture *f, const struct imap_uidset *uids)
{
	struct gp_buffer text;
	size_t at = 0;

	gp_buffer_init(&text, 65536);
	if (uids && !imap_uidset_is_empty(uids)) {
		assert_int_equal(imap_uidset_write(uids, &at, 65000, &text), GP_OK);
	}
	note(f, " [%.*s]", SPAN_ARGS(gp_buffer_span(&text)));
	gp_buffer_deinit(&text);
}

static inline void note_row(struct fixture *f, const struct imap_fetch *row)
{
	note(f, "row %u", (unsigned)row->uid);
	for (size_t i = 0; (row->items & IMAP_ITEM_FLAGS) && i < row->n_flags; i++) {
		note(f, " %.*s", SPAN_ARGS(row->flags[i]));
	}
	if (row->items & IMAP_ITEM_MODSEQ) {
		note(f, " modseq=%u", (unsigned)row->modseq);
	}
	if (row->items & IMAP_ITEM_SIZE) {
		note(f, " size=%u", (unsigned)row->size);
	}
	if (row->items & IMAP_ITEM_EMAILID) {
		note(f, " email=%.*s", SPAN_ARGS(row->email_id));
	}
	for (size_t i = 0; i < row->n_sections; i++) {
		note(f, " [%.*s]=%.*s", SPAN_ARGS(row->sections[i].spec), SPAN_ARGS(row->sections[i].value));
	}
	note(f, "\n");
}

static inline void script_on_row(void *ctx, const struct imap_fetch *row)
{
	note_row(ctx, row);
	on_callback(ctx);
}

static inline void script_on_done(void *ctx, const struct gp_error *error)
{
	note_end(ctx, error);
	note(ctx, "\n");
}

/* ---- the fixture ---- */

static inline void ignore_done(void *ctx, const struct gp_error *error)
{
	bool *is_done = ctx;

	assert_null(error);
	*is_done = true;
}

static inline void select_inbox(struct fixture *f, const char *untagged)
{
	bool is_done = false;
	bool with_modseq = imap_session_can(f->fake->session, IMAP_CAP_CONDSTORE);

	assert_non_null(imap_select_start(f->fake->session, SPAN_LIT("INBOX"), false, ignore_done, &is_done));
	fake_turn(f->fake->network, 0);
	fake_expect(f->fake->transport, with_modseq ? "SELECT INBOX (CONDSTORE)" : "SELECT INBOX");
	fake_reply(f->fake->transport, untagged);
	fake_reply(f->fake->transport, "$ OK [READ-WRITE] selected\r\n");
	assert_true(is_done);
}

static inline void fixture_init(struct fixture *f, const char *capabilities, const char *selected)
{
	memset(f, 0, sizeof *f);
	gp_buffer_init(&f->log, GP_MIB);
	f->fake = fake_session_ready(capabilities);
	if (selected) {
		select_inbox(f, selected);
	}
}

static inline void fixture_deinit(struct fixture *f)
{
	fixture_cancel(f);
	fake_session_free(&f->fake);
	gp_buffer_deinit(&f->log);
}

static inline void assert_log(const struct script *script, const char *how, size_t n, const struct fixture *f,
			      const char *expected)
{
	if (!span_equal_text(gp_buffer_span(&f->log), expected)) {
		fail_msg("%s, %s %zu: expected\n%sbut this came:\n%.*s", script->name, how, n, expected,
			 SPAN_ARGS(gp_buffer_span(&f->log)));
	}
}

/* ---- playing ---- */

struct moment {
	bool is_server;
	struct span text; /* borrow: one line of the script */
};

/* The script line by line. */
static inline size_t flatten(const struct script *script, struct moment *moments)
{
	size_t n = 0;

	for (size_t i = 0; i < MAX_SCRIPT_STEPS && script->steps[i].text; i++) {
		struct span rest = span_of(script->steps[i].text);
		while (rest.len > 0) {
			ptrdiff_t end = script->steps[i].is_server ? span_find(rest, SPAN_LIT("\r\n")) : -1;
			size_t len = end < 0 ? rest.len : (size_t)end + 2;
			assert_true(n < MAX_MOMENTS);
			moments[n++] = (struct moment){script->steps[i].is_server, span_slice(rest, 0, len)};
			rest = span_from(rest, len);
		}
	}
	return n;
}

static inline void play(struct fixture *f, struct moment moment, int *n_waiting)
{
	char *text = strndup(moment.text.ptr, moment.text.len);

	assert_non_null(text);
	if (moment.is_server) {
		*n_waiting -= text[0] == '$';
		fake_reply(f->fake->transport, text);
	} else {
		*n_waiting += 1;
		fake_expect(f->fake->transport, text);
	}
	free(text);
}

/* What was sent gets its answer, and a command more works. */
static inline void assert_in_step(struct fixture *f, int n_waiting)
{
	bool is_done = false;

	for (; n_waiting > 0; n_waiting--) {
		fake_reply(f->fake->transport, "$ OK late\r\n");
	}
	fake_expect_nothing(f->fake->transport);
	assert_non_null(imap_noop_start(f->fake->session, ignore_done, &is_done));
	fake_turn(f->fake->network, 0);
	fake_expect(f->fake->transport, "NOOP");
	fake_reply(f->fake->transport, "$ OK\r\n");
	assert_true(is_done);
	assert_int_equal(imap_session_n_commands(f->fake->session), 0);
}

static inline void start_script(struct fixture *f, const struct script *script)
{
	fixture_init(f, script->capabilities, script->selected);
	f->call = script->start(f, script->spec);
	assert_non_null(f->call);
	assert_int_equal(f->n_callbacks, 0);
}

static inline void play_whole(const struct script *script, size_t split)
{
	struct moment moments[MAX_MOMENTS];
	size_t n = flatten(script, moments);
	struct fixture f;
	int n_waiting = 0;

	start_script(&f, script);
	fake_turn(f.fake->network, 0);
	fake_set_split(f.fake->network, split);
	for (size_t i = 0; i < n; i++) {
		play(&f, moments[i], &n_waiting);
	}
	assert_log(script, split ? "split" : "whole", split, &f, script->expected);
	assert_int_equal(f.n_done, 1);
	assert_in_step(&f, n_waiting);
	fixture_deinit(&f);
}

/* Plays up to `moment`, where nothing that was written is unread. */
static inline int play_until(struct fixture *f, const struct moment *moments, size_t moment)
{
	int n_waiting = 0;

	for (size_t i = 0; i < moment; i++) {
		if (i == 0) {
			fake_turn(f->fake->network, 0);
		}
		play(f, moments[i], &n_waiting);
	}
	return n_waiting;
}

/* The answers to what was sent still come. */
static inline int play_answers(struct fixture *f, const struct moment *moments, size_t n, size_t from, int n_waiting)
{
	for (size_t i = from; i < n && moments[i].is_server; i++) {
		play(f, moments[i], &n_waiting);
	}
	return n_waiting;
}

static inline void play_cancelled(const struct script *script, size_t moment)
{
	struct moment moments[MAX_MOMENTS];
	size_t n = flatten(script, moments);
	struct fixture f;

	start_script(&f, script);
	int n_waiting = play_until(&f, moments, moment);
	fixture_cancel(&f);
	size_t n_before = f.n_callbacks;
	fake_turn(f.fake->network, 0);
	n_waiting = play_answers(&f, moments, n, moment, n_waiting);
	assert_int_equal(f.n_callbacks, n_before);
	assert_in_step(&f, n_waiting);
	fixture_deinit(&f);
}

static inline bool play_cancelled_within(const struct script *script, size_t callback)
{
	struct moment moments[MAX_MOMENTS];
	size_t n = flatten(script, moments);
	struct fixture f;
	int n_waiting = 0;
	size_t i = 0;

	start_script(&f, script);
	f.cancel_in = callback;
	fake_turn(f.fake->network, 0);
	for (; i < n && f.call; i++) {
		play(&f, moments[i], &n_waiting);
	}
	bool was_reached = f.n_callbacks == callback;
	assert_true(f.n_callbacks <= callback);
	n_waiting = play_answers(&f, moments, n, i, n_waiting);
	assert_true(f.n_callbacks <= callback);
	assert_in_step(&f, n_waiting);
	fixture_deinit(&f);
	return was_reached;
}

static inline void play_lost(const struct script *script, size_t moment)
{
	struct moment moments[MAX_MOMENTS];
	struct fixture f;

	(void)flatten(script, moments);
	start_script(&f, script);
	(void)play_until(&f, moments, moment);
	bool was_done = f.n_done > 0;
	fake_end(f.fake->transport, GP_LOST, "cut");
	fake_turn(f.fake->network, 0);
	assert_int_equal(f.n_done, 1);
	if (!was_done && span_find(gp_buffer_span(&f.log), SPAN_LIT("done LOST")) < 0 &&
	    span_find(span_of(script->expected), gp_buffer_span(&f.log)) != 0) {
		fail_msg("%s, lost at %zu: %.*s", script->name, moment, SPAN_ARGS(gp_buffer_span(&f.log)));
	}
	assert_int_equal(f.fake->n_closed, 1);
	fixture_deinit(&f);
}

static inline void play_all_ways(const struct script *script)
{
	struct moment moments[MAX_MOMENTS];
	size_t n = flatten(script, moments);

	play_whole(script, 0);
	play_whole(script, 1);
	play_whole(script, 7);
	for (size_t i = 0; i <= n; i++) {
		/* between two lines of the client both are written already */
		if (i == 0 || i == n || moments[i].is_server) {
			play_cancelled(script, i);
			play_lost(script, i);
		}
	}
	for (size_t i = 1; play_cancelled_within(script, i); i++) {
	}
}

#define play_scripts(scripts)                                                                                          \
	for (size_t script_i = 0; script_i < sizeof(scripts) / sizeof *(scripts); script_i++) {                        \
		play_all_ways(&(scripts)[script_i]);                                                                   \
	}

#endif
