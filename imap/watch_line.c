/*
 * Sessions that are told of changes: how they get there, and how they stay.
 *
 * Line 0 decides the manner: NOTIFY where it works, else IDLE where it works, else the
 * session is given back. Line 1 is for a second named mailbox under IDLE; without it that
 * mailbox is asked for in rounds.
 *
 * A server that is silent may be gone. Dovecot says "Still here" every two minutes in
 * IDLE; where nothing came for GP_WATCH_SILENT_MS, or nothing was sent for
 * GP_WATCH_RENEW_MS, IDLE is begun anew or a NOOP sent, and the session's own silence
 * timer judges.
 *
 * Dovecot waits half a second for more before it tells (mailbox-list-notify has no
 * setting for it), but tells at once what it knows when a command comes. So after a
 * change, when more are likely, NOOPs *probe* for the next one, for a while, and as often
 * as the budget of the pool permits. In IDLE they take its place until it is quiet again.
 *
 * IDLE is not believed to tell all: what comes just as it begins Dovecot may miss, and on
 * some file systems it hears of nothing. So it is begun anew, which makes the server look:
 * soon after the beginning or a change, then in pauses that double, and at least as often
 * as those mailboxes are looked at that no server tells of.
 */
#include <stdlib.h>

#include "base/utf8.h"
#include "imap/utf7.h"
#include "imap/watch_internal.h"

#define IDLE_AGAIN_MS 1000 /* a server that ends each IDLE at once */
#define ACQUIRE_MS 20000

static struct imap_session *session_of(const struct watch_line *line)
{
	return imap_lease_session(line->lease);
}

/* The connection is gone: the pool's `closed` comes, and says why. */
static bool is_lost(const struct watch_line *line)
{
	return imap_session_state(session_of(line)) == IMAP_SESSION_CLOSED;
}

/* ---- by polling ---- */

/* `again_ms`: when a session is asked for again; 0: never. */
static void go_polling(struct imap_watch *watch, uint64_t again_ms)
{
	for (size_t i = 0; i < GP_WATCH_SESSIONS; i++) {
		watch_line_close(&watch->lines[i]);
	}
	watch->state = WATCH_STARTING; /* what was told until now, and the first round: something may be between */
	watch->manner = WATCH_BY_POLLING;
	bool may_have_one = watch->pool->config.max_sessions_per_account > 1;
	watch->retry_at_ms = again_ms && may_have_one ? watch_now_ms(watch) + again_ms : 0;
	watch_round_reset(watch);
	watch_round_begin(watch);
	watch_schedule(watch);
}

/* ---- IDLE ---- */

static void open_second(struct imap_watch *watch);

static void on_idle_done(void *ctx, const struct gp_error *error)
{
	struct watch_line *line = ctx;
	struct imap_watch *watch = line->watch;

	line->idle = NULL;
	if (is_lost(line)) {
		return;
	}
	if (error) {
		watch->cannot_idle = true;
		go_polling(watch, 0);
	} else if (!line->call && !watch->round.is_running) {
		/* The server ended it. */
		bool is_hasty = watch_now_ms(watch) - line->sent_at_ms < IDLE_AGAIN_MS;
		line->idle_again_at_ms = is_hasty ? watch_now_ms(watch) + IDLE_AGAIN_MS : watch_now_ms(watch);
		watch_schedule(watch);
	}
	/* else whoever interrupted it goes on */
}

static void start_idle(struct watch_line *line)
{
	line->idle_again_at_ms = 0;
	line->sent_at_ms = watch_now_ms(line->watch);
	imap_call_cancel(&line->idle);
	line->idle = imap_idle_start(session_of(line), on_idle_done, line);
	if (!line->idle) {
		watch_fail_with(line->watch, GP_NO_MEMORY, gp_status_text(GP_NO_MEMORY));
	}
}

void watch_line_resume(struct watch_line *line)
{
	if (line->is_told && line->mailbox && !line->idle && !line->call) {
		start_idle(line);
	}
	watch_schedule(line->watch);
}

/* Until a mailbox that was not there is tried again: it may be made anew at once. */
static uint64_t refused_ms(struct imap_watch *watch)
{
	uint64_t ms = (uint64_t)GP_WATCH_LOOK_MS << watch->n_refusals;

	if (ms >= GP_WATCH_RETRY_MS) {
		return GP_WATCH_RETRY_MS;
	}
	watch->n_refusals++;
	return ms;
}

static void on_examined(void *ctx, const struct gp_error *error)
{
	struct watch_line *line = ctx;
	struct imap_watch *watch = line->watch;
	bool is_first = line == &watch->lines[0];

	line->call = NULL;
	if (is_lost(line)) {
		return;
	}
	if (error) {
		/* The mailbox is not there, or not to be seen: it is asked for. */
		if (is_first) {
			go_polling(watch, refused_ms(watch));
		} else {
			watch_line_close(line);
		}
		return;
	}
	line->is_told = true;
	pool_tenant_note_mailbox(line->lease, span_of(line->mailbox));
	watch_note_changed(watch, span_of(line->mailbox), NULL); /* since it was last asked for */
	if (!is_first) {
		start_idle(line);
		return;
	}
	watch->n_refusals = 0;
	open_second(watch);
	if (watch->state != WATCH_UP && watch_round_is_needed(watch)) {
		watch_round_begin(watch); /* IDLE after it: nothing of this mailbox is lost meanwhile */
	} else {
		start_idle(line);
		watch_is_up(watch);
	}
}

static void examine(struct watch_line *line, const char *mailbox)
{
	line->mailbox = mailbox;
	line->examined_at_ms = watch_now_ms(line->watch);
	line->is_doubted = line->is_told = false;
	line->call = imap_select_start(session_of(line), span_of(mailbox), true, on_examined, line);
	if (!line->call) {
		watch_fail_with(line->watch, GP_NO_MEMORY, gp_status_text(GP_NO_MEMORY));
	}
}

/* ---- NOTIFY ---- */

static void on_notified(void *ctx, const struct gp_error *error)
{
	struct watch_line *line = ctx;
	struct imap_watch *watch = line->watch;

	line->call = NULL;
	if (is_lost(line)) {
		return;
	}
	if (error) {
		watch->cannot_notify = true;
		watch_line_begin(line);
		return;
	}
	line->is_told = true;
	if (watch_round_is_needed(watch)) {
		watch_round_begin(watch);
	} else {
		watch_is_up(watch);
	}
}

static void notify(struct watch_line *line)
{
	line->call = imap_notify_start(session_of(line), on_notified, line);
	if (!line->call) {
		watch_fail_with(line->watch, GP_NO_MEMORY, gp_status_text(GP_NO_MEMORY));
	}
}

static void on_unselected(void *ctx, const struct gp_error *error)
{
	struct watch_line *line = ctx;

	line->call = NULL;
	if (is_lost(line)) {
		return;
	}
	if (error) {
		line->watch->cannot_notify = true;
		watch_line_begin(line);
		return;
	}
	pool_tenant_note_mailbox(line->lease, SPAN_NIL);
	notify(line);
}

/* A session that served leases has their mailbox selected, and of that one NOTIFY does not
 * tell (RFC 5465 section 6.1): it would be the one that is read most. */
static void unselect(struct watch_line *line)
{
	line->call = imap_unselect_start(session_of(line), on_unselected, line);
	if (!line->call) {
		watch_fail_with(line->watch, GP_NO_MEMORY, gp_status_text(GP_NO_MEMORY));
	}
}

void watch_line_forget(struct watch_line *line)
{
	imap_call_cancel(&line->call);
	imap_call_cancel(&line->idle);
	line->is_told = false;
	line->mailbox = NULL;
}

void watch_line_begin(struct watch_line *line)
{
	struct imap_watch *watch = line->watch;
	struct imap_session *session = session_of(line);

	watch_line_forget(line);
	line->sent_at_ms = watch_now_ms(watch);
	line->look_ms = GP_WATCH_LOOK_MS;
	if (imap_session_can(session, IMAP_CAP_NOTIFY) && !watch->cannot_notify) {
		watch->manner = WATCH_BY_NOTIFY;
		if (imap_session_selected(session)->mailbox) {
			unselect(line);
		} else {
			notify(line);
		}
	} else if (imap_session_can(session, IMAP_CAP_IDLE) && !watch->cannot_idle &&
		   (watch->is_all || watch->n_names > 0)) {
		watch->manner = WATCH_BY_IDLE;
		examine(line, watch->is_all ? "INBOX" : watch->names[0].name);
	} else {
		go_polling(watch, 0);
	}
}

/* ---- what the session is told ---- */

/* The name as callers know it; false when memory ends. */
static bool decode(struct span raw, struct gp_buffer *name)
{
	if (span_equal_text_nocase(raw, "INBOX")) {
		return gp_buffer_append(name, SPAN_LIT("INBOX")) == GP_OK;
	}
	bool is_repaired;
	return imap_utf7_decode(raw, name) == GP_OK || utf8_append_repaired(name, raw, &is_repaired) == GP_OK;
}

static void on_status(struct watch_line *line, const struct imap_status *status)
{
	struct imap_watch *watch = line->watch;
	struct gp_buffer name;

	gp_buffer_init(&name, GP_MAX_IMAP_LINE);
	if (!decode(status->mailbox, &name)) {
		watch_fail_with(watch, GP_NO_MEMORY, gp_status_text(GP_NO_MEMORY));
	} else {
		for (size_t i = 0; i < watch->n_names; i++) {
			watch->names[i].is_notified |= span_equal_text(gp_buffer_span(&name), watch->names[i].name);
		}
		watch_note_changed(watch, gp_buffer_span(&name), status);
	}
	gp_buffer_deinit(&name);
}

/* More is likely to come. */
static void enliven(struct watch_line *line)
{
	struct imap_watch *watch = line->watch;

	watch->lively_until_ms = watch_now_ms(watch) + GP_WATCH_LIVELY_MS;
	line->look_ms = GP_WATCH_LOOK_MS;
}

static void on_untagged(void *ctx, const struct imap_response *response)
{
	struct watch_line *line = ctx;
	struct imap_watch *watch = line->watch;

	if (watch->manner == WATCH_BY_NOTIFY) {
		if (response->type == IMAP_RESPONSE_STATUS) {
			enliven(line);
			on_status(line, &response->status);
		} else if (response->type == IMAP_RESPONSE_LIST) {
			enliven(line);
			watch_note_listed(watch);
		} else if (response->type == IMAP_RESPONSE_CONDITION &&
			   span_equal_text_nocase(response->code.name, "NOTIFICATIONOVERFLOW")) {
			/* RFC 5465 section 5.8: from now on nothing is told. */
			watch_fail_with(watch, GP_LOST, "the IMAP server had more to tell than it could");
		}
	} else if (line->is_told) {
		bool is_change = response->type == IMAP_RESPONSE_EXISTS || response->type == IMAP_RESPONSE_EXPUNGE ||
				 response->type == IMAP_RESPONSE_VANISHED || response->type == IMAP_RESPONSE_FETCH;
		if (is_change) {
			enliven(line);
			watch_note_changed(watch, span_of(line->mailbox), NULL);
		}
		line->is_doubted |= response->type == IMAP_RESPONSE_CONDITION && response->condition == IMAP_NO;
	}
}

static void on_leave(void *ctx)
{
	struct watch_line *line = ctx;

	line->watch->is_left = true;
	gp_timer_start(&line->watch->turn, 0);
}

static uint64_t renew_ms(const struct watch_line *line)
{
	const struct imap_pool *pool = line->watch->pool;

	return watch_now_ms(line->watch) < pool->watch_renew_until_ms ? pool->watch_renew_ms : GP_WATCH_RENEW_MS;
}

/* Servers close what is quiet, after 29 minutes or after 55 s. Who did it once, does it
 * again: all watches of this server speak sooner from now on. */
static void learn_patience(const struct watch_line *line)
{
	struct imap_pool *pool = line->watch->pool;
	uint64_t quiet_ms = watch_now_ms(line->watch) - line->sent_at_ms;

	if (line->is_told && quiet_ms >= GP_WATCH_MIN_RENEW_MS && quiet_ms < renew_ms(line)) {
		uint64_t sooner_ms = quiet_ms - quiet_ms / 4;
		pool->watch_renew_ms = sooner_ms > GP_WATCH_MIN_RENEW_MS ? sooner_ms : GP_WATCH_MIN_RENEW_MS;
		pool->watch_renew_until_ms = watch_now_ms(line->watch) + GP_WATCH_LEARNED_MS;
	}
}

static void on_closed(void *ctx, const struct gp_error *error)
{
	struct watch_line *line = ctx;

	if (error->status == GP_LOST) {
		learn_patience(line);
	}
	watch_fail(line->watch, error);
}

static const struct pool_tenant_events tenant_events = {
	.untagged = on_untagged, .leave = on_leave, .closed = on_closed};

/* ---- a session ---- */

static void on_lease(void *ctx, struct imap_lease *lease, const struct gp_error *error)
{
	struct watch_line *line = ctx;
	struct imap_watch *watch = line->watch;
	bool is_first = line == &watch->lines[0];

	if (!error) {
		struct imap_session *session = imap_lease_session(lease);
		uint64_t most_ms = GP_MAX_SESSION_AGE_MS / 8; /* not all of them at once */
		line->ends_at_ms = imap_session_ready_at_ms(session) + GP_MAX_SESSION_AGE_MS - watch_random_ms(most_ms);
		if (is_first) {
			watch_line_begin(line);
		} else {
			line->look_ms = GP_WATCH_LOOK_MS;
			examine(line, line->mailbox);
		}
		watch_schedule(watch);
		return;
	}
	line->lease = NULL;
	if (!is_first) {
		line->mailbox = NULL;
	} else if (error->status == GP_POOL_FULL || error->status == GP_DEADLINE) {
		go_polling(watch, GP_WATCH_RETRY_MS);
	} else {
		watch_fail(watch, error);
	}
}

static bool acquire(struct watch_line *line)
{
	struct imap_watch *watch = line->watch;

	line->lease = pool_tenant_start(watch->pool, watch->credential, watch_now_ms(watch) + ACQUIRE_MS,
					&tenant_events, on_lease, line);
	return line->lease != NULL;
}

static void open_second(struct imap_watch *watch)
{
	struct watch_line *line = &watch->lines[1];

	if (!watch->is_all && watch->n_names > 1 && !line->lease) {
		line->mailbox = watch->names[1].name;
		if (!acquire(line)) {
			line->mailbox = NULL;
		}
	}
}

void watch_line_open(struct imap_watch *watch)
{
	if (!acquire(&watch->lines[0])) {
		watch_fail_with(watch, GP_NO_MEMORY, gp_status_text(GP_NO_MEMORY));
	}
}

void watch_line_close(struct watch_line *line)
{
	struct imap_watch *watch = line->watch;

	imap_call_cancel(&line->call);
	imap_call_cancel(&line->idle);
	imap_lease_end(&line->lease, false);
	*line = (struct watch_line){.watch = watch};
}

/* ---- time ---- */

void watch_line_settle(struct imap_watch *watch)
{
	bool is_lively = watch->state == WATCH_UP && watch->manner != WATCH_BY_POLLING &&
			 watch_now_ms(watch) < watch->lively_until_ms;

	if (is_lively != watch->is_lively) {
		watch->is_lively = is_lively;
		watch->pool->n_lively += is_lively ? 1 : (size_t)-1;
	}
}

/* From one probe to the next; 0: there are none. */
static uint64_t probe_ms(const struct imap_watch *watch)
{
	uint64_t fair_ms = watch->pool->n_lively * 1000 / GP_WATCH_PROBES_S;

	if (!watch->is_lively || fair_ms > GP_WATCH_MAX_PROBE_MS) {
		return 0;
	}
	return fair_ms > GP_WATCH_PROBE_MS ? fair_ms : GP_WATCH_PROBE_MS;
}

/* From the last thing that was sent to the next. */
static uint64_t pause_ms(const struct watch_line *line)
{
	uint64_t probe = probe_ms(line->watch);
	uint64_t most_ms = renew_ms(line);

	if (probe) {
		return probe;
	}
	return line->mailbox && line->look_ms < most_ms ? line->look_ms : most_ms;
}

/* Probes took the place of IDLE, and have ended. */
static bool is_idle_due(const struct watch_line *line)
{
	return line->mailbox && !line->idle && !line->idle_again_at_ms && probe_ms(line->watch) == 0;
}

uint64_t watch_line_due_ms(const struct watch_line *line)
{
	if (!line->lease || !line->is_told || line->call) {
		return UINT64_MAX;
	}
	if (is_idle_due(line)) {
		return 0;
	}
	uint64_t speak_ms = line->sent_at_ms + pause_ms(line);
	uint64_t heard_ms = imap_session_last_received_ms(session_of(line));
	uint64_t silent_ms = (heard_ms > line->sent_at_ms ? heard_ms : line->sent_at_ms) + GP_WATCH_SILENT_MS;
	uint64_t due_ms = speak_ms < silent_ms ? speak_ms : silent_ms;

	if (line->idle_again_at_ms && line->idle_again_at_ms < due_ms) {
		due_ms = line->idle_again_at_ms;
	}
	return due_ms < line->ends_at_ms ? due_ms : line->ends_at_ms;
}

static void on_noop(void *ctx, const struct gp_error *error)
{
	struct watch_line *line = ctx;

	(void)error; /* a lost session is told by `closed` */
	line->call = NULL;
	watch_schedule(line->watch);
}

/* A warning (RFC 3501 section 7.1.2). Under a mailbox that was deleted, and made anew with
 * its name, Dovecot says nothing else, and ends commands and IDLE with OK. */
static bool is_examined_anew(const struct watch_line *line)
{
	return line->mailbox && line->is_doubted && watch_now_ms(line->watch) - line->examined_at_ms >= line->look_ms;
}

static void probe(struct watch_line *line)
{
	line->sent_at_ms = watch_now_ms(line->watch);
	line->call = imap_noop_start(session_of(line), on_noop, line);
	if (!line->call) {
		watch_fail_with(line->watch, GP_NO_MEMORY, gp_status_text(GP_NO_MEMORY));
	}
}

void watch_line_tick(struct watch_line *line)
{
	struct imap_watch *watch = line->watch;
	uint64_t now_ms = watch_now_ms(watch);
	bool is_probe = probe_ms(watch) > 0;

	if (watch_line_due_ms(line) > now_ms || watch->round.is_running) {
		return;
	}
	if (line->ends_at_ms <= now_ms) {
		watch->is_left = true; /* it logs in anew */
		gp_timer_start(&watch->turn, 0);
		return;
	}
	bool is_anew = is_examined_anew(line);
	if (!is_probe || is_anew) {
		uint64_t doubled_ms = 2 * line->look_ms;
		line->look_ms = doubled_ms < GP_WATCH_POLL_MS ? doubled_ms : GP_WATCH_POLL_MS;
	}
	if (is_anew) {
		imap_call_cancel(&line->idle);
		examine(line, line->mailbox);
	} else if (line->mailbox && !is_probe) {
		start_idle(line);
	} else {
		probe(line);
	}
}
