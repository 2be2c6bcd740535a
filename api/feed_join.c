/*
 * A stream that begins: the mailboxes it asks for, and where in each of them it goes on
 * from. Where it is to be brought up it has a catch, and a sync of the mailbox sees to it
 * (feed_sync.c). What the id it comes with does not tell is to be read anew: `reset`.
 */
#include <stdio.h>
#include <stdlib.h>

#include "api/feed_internal.h"
#include "api/query.h"
#include "base/limits.h"

struct join {
	struct api_listener *stream; /* borrow */
	struct api_event_id id;      /* own */
	bool has_id;                 /* it comes with one, readable or not */
	bool is_id_good;
	struct gp_buffer text; /* own: what is told at once */
	enum gp_status status;
};

/* ---- which mailboxes ---- */

static struct feed_mailbox *resolve(const struct api_feed *feed, const struct api_mailbox_ref *ref)
{
	if (ref->role && strcmp(ref->role, "inbox") != 0) {
		const struct imap_mailbox *listed =
			api_role_mailbox(feed->app->roles, ref->role, feed->list, feed->n_list);
		return listed ? feed_find(feed, listed->name) : NULL;
	}
	return feed_find(feed, ref->role ? SPAN_LIT("INBOX") : ref->name);
}

static bool is_current(const struct api_listener *stream)
{
	const struct api_feed *feed = stream->feed;
	/* who comes back is to be told all that happened until now, and the watch may be late */
	bool is_current = !stream->last_id && feed->n_lists > 0 && feed->hub->is_up && !feed->is_list_due &&
			  !feed->list_lease && (!stream->is_all || feed->n_all > 0);

	for (size_t i = 0; i < stream->n_refs && is_current; i++) {
		const struct feed_mailbox *mailbox = resolve(feed, &stream->refs[i]);
		is_current = mailbox && mailbox->is_listed && feed_is_tracked(feed, mailbox);
	}
	return is_current;
}

bool feed_can_join(const struct api_listener *stream)
{
	return stream->feed->n_lists > stream->list_number || is_current(stream);
}

static void end_without(struct api_listener *stream, const struct api_mailbox_ref *ref)
{
	char detail[160];

	if (ref->role) {
		snprintf(detail, sizeof detail, "no mailbox has the role '%s'", ref->role);
	} else {
		snprintf(detail, sizeof detail, "there is no mailbox '%s'", api_excerpt(ref->name).text);
	}
	feed_end_stream(stream, API_PROBLEM_NOT_FOUND, NULL, detail);
}

/* One that was there when the client was here last, and is not any more. */
static struct feed_mailbox *find_deleted(struct join *join, const struct api_mailbox_ref *ref)
{
	char hash[API_EVENT_HASH + 1];

	if (ref->role || !join->is_id_good) {
		return NULL;
	}
	api_event_hash(ref->name, hash);
	if (!api_event_id_find(&join->id, hash)) {
		return NULL;
	}
	struct feed_mailbox *mailbox = feed_find_or_add(join->stream->feed, ref->name);
	join->status = mailbox ? api_event_deleted(&join->text, ref->name) : GP_NO_MEMORY;
	return mailbox;
}

/* False: the stream has ended, or join->status says why not. */
static bool name_mailboxes(struct join *join)
{
	struct api_listener *stream = join->stream;

	stream->mailboxes = calloc(stream->n_refs + 1, sizeof(struct feed_mailbox *));
	if (!stream->mailboxes) {
		join->status = GP_NO_MEMORY;
		return false;
	}
	for (size_t i = 0; i < stream->n_refs; i++) {
		struct feed_mailbox *mailbox = resolve(stream->feed, &stream->refs[i]);
		if (!mailbox || !mailbox->is_listed) {
			mailbox = find_deleted(join, &stream->refs[i]);
		}
		if (!mailbox) {
			if (join->status == GP_OK) {
				end_without(stream, &stream->refs[i]);
			}
			return false;
		}
		if (!feed_stream_sees(stream, mailbox)) {
			mailbox->n_named++;
			stream->mailboxes[stream->n_mailboxes++] = mailbox;
		}
	}
	return true;
}

/* Each has to be looked through from end to end before the stream can tell anything. */
static bool is_too_much(const struct api_listener *stream)
{
	const struct api_feed *feed = stream->feed;
	size_t n = 0;

	for (size_t i = 0; i < feed->n_mailboxes && !feed->has_qresync; i++) {
		const struct feed_mailbox *mailbox = feed->mailboxes[i];
		n += mailbox->is_listed && mailbox->is_selectable && feed_stream_sees(stream, mailbox);
	}
	return n > API_FEED_MAX_WITHOUT_QRESYNC;
}

/* ---- where it goes on ---- */

static bool has_state(const struct feed_mailbox *mailbox)
{
	return mailbox->is_selectable && !mailbox->is_refused;
}

static void add_catch(struct join *join, struct feed_mailbox *mailbox, struct api_state *since, bool is_reset_due)
{
	struct feed_catch *catch = calloc(1, sizeof *catch);

	if (!catch) {
		join->status = GP_NO_MEMORY;
		return;
	}
	catch->mailbox = mailbox;
	catch->number = ++mailbox->feed->clock;
	catch->is_reset_due = is_reset_due;
	catch->told = mailbox->told;
	catch->since = *since;
	api_state_init(since);
	catch->next = join->stream->catches;
	join->stream->catches = catch;
	mailbox->is_dirty = true;
}

/* From wherever the mailbox is, once that is known. False: it is, or never will be. */
static bool begin_later(struct join *join, struct feed_mailbox *mailbox, bool is_reset_due)
{
	struct api_state none;

	api_state_init(&none);
	if (mailbox->state.kind != API_STATE_NONE || !has_state(mailbox)) {
		return false;
	}
	add_catch(join, mailbox, &none, is_reset_due);
	return true;
}

/* Who reads it anew before it is known where it goes on from would miss what comes between. */
static void begin_anew(struct join *join, struct feed_mailbox *mailbox)
{
	if (begin_later(join, mailbox, true) || join->text.len > FEED_MAX_ANEW) {
		return; /* beyond that all is read anew */
	}
	join->status = feed_write_mailbox(mailbox, &join->text);
	if (join->status == GP_OK) {
		join->status = api_event_reset(&join->text, span_of(mailbox->name));
	}
}

static void go_on(struct join *join, struct feed_mailbox *mailbox, struct api_event_id_entry *entry)
{
	struct api_state since;

	entry->is_seen = true;
	if (!has_state(mailbox)) {
		return;
	}
	api_state_init(&since);
	enum gp_status status = api_state_parse(entry->state, &since);
	if (status == GP_NO_MEMORY) {
		join->status = status;
	} else if (status != GP_OK) {
		begin_anew(join, mailbox); /* it had none, or none of ours */
	} else if (!api_state_is_equal(&since, &mailbox->state) || mailbox->is_dirty || mailbox->sync ||
		   !join->stream->is_all) {
		/* One that was named is looked at itself: a list's STATUS may be late. */
		add_catch(join, mailbox, &since, false);
	}
	api_state_deinit(&since);
}

/* Those that the id has no entry for: it was too long, or they are new. */
static bool are_absent_unchanged(struct join *join)
{
	const struct api_feed *feed = join->stream->feed;
	uint64_t digest = 0;

	for (size_t i = 0; i < feed->n_mailboxes; i++) {
		const struct feed_mailbox *mailbox = feed->mailboxes[i];
		if (mailbox->is_listed && feed_stream_sees(join->stream, mailbox) &&
		    !api_event_id_find(&join->id, mailbox->hash)) {
			digest = api_event_id_digest(digest, mailbox->hash, feed_told_state(mailbox));
		}
	}
	return digest == join->id.digest;
}

static bool has_unseen_entry(const struct join *join)
{
	for (size_t i = 0; i < join->id.n_entries; i++) {
		if (!join->id.entries[i].is_seen) {
			return true;
		}
	}
	return false;
}

static void place(struct join *join)
{
	struct api_feed *feed = join->stream->feed;
	bool is_absent_good = join->is_id_good && are_absent_unchanged(join);

	for (size_t i = 0; i < feed->n_mailboxes && join->status == GP_OK; i++) {
		struct feed_mailbox *mailbox = feed->mailboxes[i];
		if (!mailbox->is_listed || !feed_stream_sees(join->stream, mailbox)) {
			continue;
		}
		struct api_event_id_entry *entry =
			join->is_id_good ? api_event_id_find(&join->id, mailbox->hash) : NULL;
		if (entry) {
			go_on(join, mailbox, entry);
		} else if (join->has_id && !is_absent_good) {
			begin_anew(join, mailbox);
		} else {
			(void)begin_later(join, mailbox, false);
		}
	}
	/* Mailboxes that are gone, of which the names are not known any more. */
	if (join->stream->is_all && join->has_id && join->status == GP_OK &&
	    (!join->is_id_good || has_unseen_entry(join))) {
		join->status = api_event_reset(&join->text, SPAN_NIL);
	}
	if (join->text.len > FEED_MAX_ANEW && join->status == GP_OK) {
		gp_buffer_truncate(&join->text, 0);
		join->status = gp_buffer_append(&join->text, API_EVENT_RESET_ALL);
	}
}

/* ---- the beginning ---- */

static enum gp_status write_ready(struct gp_buffer *text)
{
	json_t *nothing = json_object();
	enum gp_status status = api_event_json(text, "ready", nothing);

	json_decref(nothing);
	return status;
}

/* The first batch tells the id at once: who loses the connection right away can go on. */
static void begin(struct join *join)
{
	struct api_listener *stream = join->stream;

	if (!stream->catches) {
		join->status = write_ready(&join->text);
		stream->is_live = true;
	} else if (join->text.len == 0) {
		join->status = gp_buffer_append(&join->text, SPAN_LIT(": going on\n"));
	}
	if (join->status == GP_OK) {
		stream->has_begun = true;
		stream->feed->n_all += stream->is_all;
		join->status = hub_subscribed(stream->feed->hub);
	}
	if (join->status == GP_OK) {
		free(stream->last_id);
		stream->last_id = NULL;
		stream->events->began(stream->ctx);
		feed_tell(stream, &join->text);
		feed_soon(stream->feed);
	}
}

static void read_id(struct join *join)
{
	const char *text = join->stream->last_id;

	if (text) {
		enum gp_status status = api_event_id_parse(span_of(text), &join->id);
		join->has_id = true;
		join->is_id_good = status == GP_OK;
		join->status = status == GP_NO_MEMORY ? status : GP_OK;
	}
}

void feed_join(struct api_listener *stream)
{
	struct join join = {.stream = stream, .status = GP_OK};

	gp_buffer_init(&join.text, FEED_MAX_BATCH);
	read_id(&join);
	if (join.status == GP_OK && name_mailboxes(&join)) {
		if (is_too_much(stream)) {
			char detail[200];
			snprintf(detail, sizeof detail,
				 "this IMAP server has no QRESYNC: at most %d mailboxes can be watched, named by "
				 "'mailbox'",
				 API_FEED_MAX_WITHOUT_QRESYNC);
			feed_end_stream(stream, API_PROBLEM_UNPROCESSABLE, NULL, detail);
		} else {
			place(&join);
			if (join.status == GP_OK) {
				begin(&join);
			}
		}
	}
	if (join.status != GP_OK && !stream->is_stopped) {
		feed_fail_stream(stream, join.status);
	}
	gp_buffer_deinit(&join.text);
	api_event_id_deinit(&join.id);
}
