/*
 * STATUS of the mailboxes that no server tells of, and what is another since the last
 * time. A mailbox costs 24 bytes between two rounds: hashes.
 *
 * A round that takes long comes less often: at most a GP_WATCH_POLL_FACTOR-th of the time
 * is spent with it.
 */
#include <stdlib.h>

#include "base/hash.h"
#include "imap/watch_internal.h"

#define ITEMS                                                                                                          \
	(IMAP_STATUS_MESSAGES | IMAP_STATUS_UNSEEN | IMAP_STATUS_UIDNEXT | IMAP_STATUS_UIDVALIDITY |                   \
	 IMAP_STATUS_HIGHESTMODSEQ)

/* ---- entries ---- */

static uint64_t hash_counts(const struct imap_status *status)
{
	uint64_t hash = GP_HASH_START;

	if (!status) {
		return 0;
	}
	hash = gp_hash_number(hash, status->items);
	hash = gp_hash_number(hash, (uint64_t)status->messages << 32 | status->unseen);
	hash = gp_hash_number(hash, (uint64_t)status->uidvalidity << 32 | status->uidnext);
	return gp_hash_number(hash, status->highestmodseq);
}

static int compare(const void *a, const void *b)
{
	const struct watch_entry *x = a;
	const struct watch_entry *y = b;

	return (x->name > y->name) - (x->name < y->name);
}

static const struct watch_entry *find_earlier(const struct watch_round *round, uint64_t name)
{
	const struct watch_entry key = {.name = name};

	return round->n_earlier ? bsearch(&key, round->earlier, round->n_earlier, sizeof key, compare) : NULL;
}

static bool add_entry(struct watch_round *round, const struct watch_entry *entry)
{
	if (round->n_entries == round->size) {
		size_t size = round->size ? 2 * round->size : 16;
		struct watch_entry *grown = realloc(round->entries, size * sizeof *grown);
		if (!grown) {
			return false;
		}
		round->entries = grown;
		round->size = size;
	}
	round->entries[round->n_entries++] = *entry;
	return true;
}

/* ---- one mailbox ---- */

static bool is_told(const struct imap_watch *watch, struct span name)
{
	bool is_told_by_line = false;

	for (size_t i = 0; i < GP_WATCH_SESSIONS; i++) {
		const struct watch_line *line = &watch->lines[i];
		is_told_by_line |= line->is_told && line->mailbox && span_equal_text(name, line->mailbox);
	}
	return is_told_by_line;
}

/* A change of flags alone shows in the mod-sequence, and nowhere else. */
static bool is_blind(const struct imap_status *status)
{
	return status && status->messages > 0 &&
	       (!(status->items & IMAP_STATUS_HIGHESTMODSEQ) || status->highestmodseq == 0);
}

static void take(struct imap_watch *watch, struct span name, const struct imap_status *status, unsigned attributes)
{
	struct watch_round *round = &watch->round;
	const struct watch_entry entry = {
		.name = gp_hash_span(GP_HASH_START, name), .counts = hash_counts(status), .attributes = attributes};
	const struct watch_entry *earlier = find_earlier(round, entry.name);

	if (!add_entry(round, &entry)) {
		watch_fail_with(watch, GP_NO_MEMORY, gp_status_text(GP_NO_MEMORY));
		return;
	}
	if (!round->has_baseline) {
		return;
	}
	if (!earlier || earlier->attributes != entry.attributes) {
		watch_note_listed(watch);
	}
	bool is_changed = !earlier || earlier->counts != entry.counts || (round->is_blind_due && is_blind(status));
	if (is_changed && !is_told(watch, name)) {
		watch_note_changed(watch, name, status);
	}
}

/* ---- the end of a round ---- */

static void finish(struct imap_watch *watch)
{
	struct watch_round *round = &watch->round;
	uint64_t now_ms = watch_now_ms(watch);
	uint64_t pause_ms = (now_ms - round->began_at_ms) * GP_WATCH_POLL_FACTOR;

	if (round->n_entries > 0) {
		qsort(round->entries, round->n_entries, sizeof *round->entries, compare);
	}
	/* Fewer than before: some are gone. More, or others, was seen with each. */
	if (round->has_baseline && watch->is_all && round->n_entries < round->n_earlier) {
		watch_note_listed(watch);
	}
	free(round->earlier);
	round->earlier = NULL;
	round->n_earlier = 0;
	round->has_baseline = true;
	round->is_running = false;
	if (round->is_blind_due) {
		round->blind_at_ms = now_ms + GP_WATCH_BLIND_MS;
	}
	round->next_at_ms = now_ms + (pause_ms > GP_WATCH_POLL_MS ? pause_ms : GP_WATCH_POLL_MS);
	imap_lease_end(&round->lease, false);
	watch_line_resume(&watch->lines[0]);
	watch_is_up(watch);
}

/* ---- all mailboxes ---- */

static void on_listed(void *ctx, const struct gp_error *error, const struct imap_mailbox *mailboxes, size_t n_mailboxes)
{
	struct imap_watch *watch = ctx;

	watch->round.call = NULL;
	if (error) {
		watch_fail(watch, error);
		return;
	}
	for (size_t i = 0; i < n_mailboxes; i++) {
		const struct imap_mailbox *mailbox = &mailboxes[i];
		unsigned attributes =
			mailbox->attributes & ~(unsigned)(IMAP_MAILBOX_HASCHILDREN | IMAP_MAILBOX_HASNOCHILDREN);
		take(watch, mailbox->name, mailbox->has_status ? &mailbox->status : NULL, attributes);
	}
	finish(watch);
}

/* ---- named ones ---- */

static bool is_asked_for(const struct imap_watch *watch, const struct watch_name *name)
{
	return watch->manner == WATCH_BY_NOTIFY ? !name->is_notified : !is_told(watch, span_of(name->name));
}

/* The watch is not failed by a mailbox that is not there, or not to be seen. */
static bool is_about_mailbox(const struct gp_error *error)
{
	return error->status == GP_NOT_FOUND || error->status == GP_NO || error->status == GP_BAD;
}

static void on_status(void *ctx, const struct gp_error *error, const struct imap_status *status)
{
	struct watch_name *name = ctx;
	struct imap_watch *watch = name->watch;

	name->ask = NULL;
	watch->round.n_asked--;
	if (error && !is_about_mailbox(error)) {
		watch_fail(watch, error);
		return;
	}
	take(watch, span_of(name->name), status, status ? 0 : IMAP_MAILBOX_NOSELECT);
	if (watch->round.n_asked == 0) {
		finish(watch);
	}
}

static void ask_names(struct imap_watch *watch, struct imap_session *session)
{
	for (size_t i = 0; i < watch->n_names; i++) {
		struct watch_name *name = &watch->names[i];
		if (!is_asked_for(watch, name)) {
			continue;
		}
		name->ask = imap_status_start(session, span_of(name->name), ITEMS, on_status, name);
		if (!name->ask) {
			watch_fail_with(watch, GP_NO_MEMORY, gp_status_text(GP_NO_MEMORY));
			return;
		}
		watch->round.n_asked++;
	}
	if (watch->round.n_asked == 0) {
		finish(watch);
	}
}

/* ---- the beginning ---- */

static void ask(struct imap_watch *watch, struct imap_session *session)
{
	const struct imap_list_spec all = {.pattern = SPAN_LIT("*"), .with_status = true, .status_items = ITEMS};

	if (!watch->is_all) {
		ask_names(watch, session);
		return;
	}
	watch->round.call = imap_list_start(session, &all, on_listed, watch);
	if (!watch->round.call) {
		watch_fail_with(watch, GP_NO_MEMORY, gp_status_text(GP_NO_MEMORY));
	}
}

static void on_fresh(void *ctx, const struct gp_error *error)
{
	struct imap_watch *watch = ctx;

	watch->round.call = NULL;
	if (error) {
		watch_fail(watch, error);
	} else {
		ask(watch, imap_lease_session(watch->round.lease));
	}
}

static void on_lease(void *ctx, struct imap_lease *lease, const struct gp_error *error)
{
	struct imap_watch *watch = ctx;

	if (error) {
		watch->round.lease = NULL;
		watch_fail(watch, error);
	} else if (imap_lease_is_fresh(lease)) {
		ask(watch, imap_lease_session(lease));
	} else {
		watch->round.call = imap_noop_start(imap_lease_session(lease), on_fresh, watch);
		if (!watch->round.call) {
			watch_fail_with(watch, GP_NO_MEMORY, gp_status_text(GP_NO_MEMORY));
		}
	}
}

bool watch_round_is_needed(const struct imap_watch *watch)
{
	bool is_needed = watch->is_all && watch->manner != WATCH_BY_NOTIFY;

	for (size_t i = 0; i < watch->n_names; i++) {
		is_needed |= is_asked_for(watch, &watch->names[i]);
	}
	return is_needed;
}

void watch_round_begin(struct imap_watch *watch)
{
	struct watch_round *round = &watch->round;
	uint64_t now_ms = watch_now_ms(watch);

	round->is_running = true;
	round->began_at_ms = now_ms;
	round->is_blind_due = round->has_baseline && now_ms >= round->blind_at_ms;
	round->earlier = round->entries;
	round->n_earlier = round->n_entries;
	round->entries = NULL;
	round->n_entries = round->size = 0;
	if (!round->has_baseline) {
		round->blind_at_ms = now_ms + GP_WATCH_BLIND_MS;
	}
	if (watch->manner != WATCH_BY_POLLING) {
		ask(watch, imap_lease_session(watch->lines[0].lease));
		return;
	}
	const struct imap_lease_spec spec = {
		.credential = watch->credential, .mailbox = SPAN_NIL, .deadline_at_ms = now_ms + GP_WATCH_POLL_MS};
	round->lease = imap_lease_start(watch->pool, &spec, on_lease, watch);
	if (!round->lease) {
		watch_fail_with(watch, GP_NO_MEMORY, gp_status_text(GP_NO_MEMORY));
	}
}

void watch_round_reset(struct imap_watch *watch)
{
	struct watch_round *round = &watch->round;

	imap_call_cancel(&round->call);
	for (size_t i = 0; i < watch->n_names; i++) {
		imap_call_cancel(&watch->names[i].ask);
	}
	imap_lease_end(&round->lease, false);
	free(round->entries);
	free(round->earlier);
	*round = (struct watch_round){.lease = NULL};
}
