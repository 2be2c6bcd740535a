/*
 * What can be asked of a session, typed: each call is one or several commands with
 * the fallbacks that servers need (facts about them stand in docs/servers.md).
 *
 * A call is started on a session, reports rows while they arrive (borrowed for the
 * callback), and ends with exactly one done(), from the loop, as its last touch:
 * `error` is NULL on success, else borrowed. After imap_call_cancel() nothing comes.
 * start() never calls back before it returns; it answers NULL only when memory ends.
 * Everything a spec points to is copied or written before start() returns.
 */
#ifndef GP_IMAP_CALLS_H
#define GP_IMAP_CALLS_H

#include "imap/session.h"

struct imap_call;
typedef void (*imap_done_fn)(void *ctx, const struct gp_error *error);

/* Leaves NULL; NULL is a no-op. Needed only before done(). */
void imap_call_cancel(struct imap_call **call);

struct imap_call *imap_noop_start(struct imap_session *session, imap_done_fn done, void *ctx);

/* IDLE (RFC 2177): what happens is told by the session's event `untagged`. Ends when any
 * other command is submitted, when the server ends it, or when it is cancelled; DONE is
 * sent then, and never before the server's "+". GP_UNSUPPORTED where it is not offered. */
struct imap_call *imap_idle_start(struct imap_session *session, imap_done_fn done, void *ctx);

/* NOTIFY SET STATUS (RFC 5465) for what happens to all mailboxes, of the personal namespaces
 * and of the others that NAMESPACE tells of, that are not selected: told by the session's
 * event `untagged`, as STATUS and LIST, from now on. First comes a STATUS of each.
 * GP_UNSUPPORTED where it is not offered. */
struct imap_call *imap_notify_start(struct imap_session *session, imap_done_fn done, void *ctx);

/* SELECT or EXAMINE (with CONDSTORE where offered). For the pool. NO becomes
 * GP_NOT_FOUND when the server says NONEXISTENT or something like "doesn't exist",
 * is unspecific, or has no code; other codes stay GP_NO with the code. */
struct imap_call *imap_select_start(struct imap_session *session, struct span mailbox, bool is_examine,
				    imap_done_fn done, void *ctx);

/* UNSELECT (RFC 3691): nothing is selected. GP_UNSUPPORTED where it is not offered. */
struct imap_call *imap_unselect_start(struct imap_session *session, imap_done_fn done, void *ctx);

/* ---- mailboxes ---- */

enum imap_mailbox_attribute {
	IMAP_MAILBOX_NOSELECT = 1 << 0, /* \Noselect or \NonExistent */
	IMAP_MAILBOX_HASCHILDREN = 1 << 1,
	IMAP_MAILBOX_HASNOCHILDREN = 1 << 2, /* also \NoInferiors */
	IMAP_MAILBOX_SUBSCRIBED = 1 << 3,
	IMAP_MAILBOX_NOINFERIORS = 1 << 4,
	IMAP_MAILBOX_AT_TOP = 1 << 5, /* directly under the personal namespace's prefix (RFC 2342) */
	/* special use (RFC 6154) */
	IMAP_MAILBOX_ALL = 1 << 8,
	IMAP_MAILBOX_ARCHIVE = 1 << 9,
	IMAP_MAILBOX_DRAFTS = 1 << 10,
	IMAP_MAILBOX_FLAGGED = 1 << 11,
	IMAP_MAILBOX_JUNK = 1 << 12,
	IMAP_MAILBOX_SENT = 1 << 13,
	IMAP_MAILBOX_TRASH = 1 << 14,
	IMAP_MAILBOX_IMPORTANT = 1 << 15,
};

struct imap_mailbox {
	struct span name;    /* UTF-8; the raw name (repaired) where it is no modified UTF-7 */
	char delimiter;      /* 0: none */
	unsigned attributes; /* enum imap_mailbox_attribute */
	bool has_status;
	struct imap_status status; /* what could be had; .mailbox is the raw name */
	struct span my_rights;     /* NIL: not known */
};

struct imap_list_spec {
	struct span pattern;   /* UTF-8; "*" for all, or a mailbox's name for one (wildcards in a name match more:
				  the caller compares names) */
	bool with_status;      /* counts: by LIST-STATUS, else STATUS for each selectable one, pipelined */
	unsigned status_items; /* enum imap_status_item; those the server cannot do are left out */
	bool with_my_rights;
};

/* All matching mailboxes in the server's order, INBOX once; `mailboxes` is borrowed
 * for the callback. Subscriptions by RETURN (SUBSCRIBED) or LSUB. */
typedef void (*imap_mailboxes_fn)(void *ctx, const struct gp_error *error, const struct imap_mailbox *mailboxes,
				  size_t n_mailboxes);
struct imap_call *imap_list_start(struct imap_session *session, const struct imap_list_spec *spec,
				  imap_mailboxes_fn done, void *ctx);

/* One STATUS. `items` the server cannot do are left out. `status` is NULL on error. */
typedef void (*imap_status_fn)(void *ctx, const struct gp_error *error, const struct imap_status *status);
struct imap_call *imap_status_start(struct imap_session *session, struct span mailbox, unsigned items,
				    imap_status_fn done, void *ctx);

/* Writes to the mailboxes themselves. A mailbox that is not there is GP_NOT_FOUND, where
 * the server says so; any other refusal stays GP_NO. `special_use` is one of the
 * attributes above, or 0; with one it is GP_UNSUPPORTED where CREATE-SPECIAL-USE is not
 * offered. */
struct imap_call *imap_create_start(struct imap_session *session, struct span mailbox, unsigned special_use,
				    imap_done_fn done, void *ctx);
struct imap_call *imap_rename_start(struct imap_session *session, struct span mailbox, struct span new_name,
				    imap_done_fn done, void *ctx);
struct imap_call *imap_delete_start(struct imap_session *session, struct span mailbox, imap_done_fn done, void *ctx);
struct imap_call *imap_subscribe_start(struct imap_session *session, struct span mailbox, bool is_subscribed,
				       imap_done_fn done, void *ctx);

/* ---- messages ---- */

struct imap_section_spec {
	const char *section;  /* "", "1.2", "HEADER", "2.MIME", … */
	uint64_t origin, len; /* len 0: all of it, bounded by GP_MAX_IMAP_LITERAL */
};

struct imap_fetch_spec {
	const struct imap_uidset *uids;         /* NULL: by position */
	uint32_t first_position, last_position; /* last may be IMAP_UID_STAR */
	unsigned items;                         /* enum imap_item; those the server cannot do are left out */
	const struct span *fields;              /* header fields: BODY.PEEK[HEADER.FIELDS (…)] */
	size_t n_fields;
	const struct imap_section_spec *sections;
	size_t n_sections;
};

/*
 * UID FETCH (or FETCH by position), PEEK only. Long sets are split over commands.
 * Every row that is reported has a UID that was asked for (checked) and something
 * that was asked for. A NO after rows is a success: what is missing is gone. By
 * position, GP_STALE says that positions moved while the command ran; the rows
 * that came may be the wrong ones: start over.
 */
typedef void (*imap_row_fn)(void *ctx, const struct imap_fetch *row);
struct imap_call *imap_fetch_start(struct imap_session *session, const struct imap_fetch_spec *spec, imap_row_fn row,
				   imap_done_fn done, void *ctx);

enum imap_store_mode { IMAP_STORE_ADD, IMAP_STORE_REMOVE };

struct imap_store_spec {
	const struct imap_uidset *uids;
	enum imap_store_mode mode;
	const struct span *flags; /* "\\Seen" or keywords, checked by imap_is_keyword() */
	size_t n_flags;
	bool is_silent;           /* .SILENT: rows come only for what UNCHANGEDSINCE or others changed */
	bool has_unchanged_since; /* only where CONDSTORE is in force */
	uint64_t unchanged_since;
};

/* UID STORE. Unless silent, rows bring the new flags and MODSEQ. `modified` (borrowed,
 * maybe empty) are the UIDs that UNCHANGEDSINCE refused. `row` may be NULL. */
typedef void (*imap_store_fn)(void *ctx, const struct gp_error *error, const struct imap_uidset *modified);
struct imap_call *imap_store_start(struct imap_session *session, const struct imap_store_spec *spec, imap_row_fn row,
				   imap_store_fn done, void *ctx);
/* Silently marks them \Deleted, on the way to imap_expunge_start(). `unchanged_since`: 0 is
 * without; only where CONDSTORE is in force. */
struct imap_call *imap_mark_deleted_start(struct imap_session *session, const struct imap_uidset *uids,
					  uint64_t unchanged_since, imap_row_fn row, imap_store_fn done, void *ctx);

/* Where a copy is: zeros when the server did not say. */
struct imap_copied {
	uint32_t uidvalidity, uid;
};

/* UID COPY, or UID MOVE (GP_UNSUPPORTED where it is not offered), of one message.
 * GP_NOT_FOUND: there is no such mailbox. A message that is gone is no error to servers: they answer OK and no
 * COPYUID. `copied` is there on an error too: a MOVE that failed may have copied before. */
typedef void (*imap_copy_fn)(void *ctx, const struct gp_error *error, const struct imap_copied *copied);
struct imap_call *imap_copy_start(struct imap_session *session, uint32_t uid, struct span mailbox, bool is_move,
				  imap_copy_fn done, void *ctx);

/* The same of a set of UIDs, without "*": long ones are split over commands, one at a time. */
struct imap_copy_pair {
	uint32_t source, copy; /* UIDs */
};

struct imap_copies {
	uint32_t uidvalidity;               /* of the target; 0: the server told nothing */
	const struct imap_copy_pair *pairs; /* those it told of, by ascending source; borrowed */
	size_t n_pairs;
};

/* `copies` is there on an error too. */
typedef void (*imap_copies_fn)(void *ctx, const struct gp_error *error, const struct imap_copies *copies);
struct imap_call *imap_copy_set_start(struct imap_session *session, const struct imap_uidset *uids, struct span mailbox,
				      bool is_move, imap_copies_fn done, void *ctx);

/*
 * APPEND of one message that comes in pieces. It asks for nothing by itself: room() says
 * how much may be written, first when the server has taken the head of the command, then
 * when the network has taken what was written. Until the last octet nothing else is sent
 * on the session: it is to be leased alone. A cancel before it closes the connection, and
 * nothing is appended.
 */
struct imap_append;

struct imap_append_spec {
	struct span mailbox;      /* UTF-8 */
	const struct span *flags; /* "\\Seen" or keywords, checked by imap_is_keyword() */
	size_t n_flags;
	bool has_date;
	int64_t date;  /* INTERNALDATE: seconds since 1970 UTC */
	uint64_t size; /* octets of the message; 0, and more than APPENDLIMIT, is GP_INVALID */
};

struct imap_append_result {
	struct imap_copied appended; /* zeros: not told */
	bool is_sent; /* the whole command left, and its answer was lost: it may have been done. False: it was not */
};

struct imap_append_events {
	/* `n` octets may be written from now on. It replaces the earlier number. */
	void (*room)(void *ctx, size_t n);
	/* The last touch. GP_NOT_FOUND: there is no such mailbox. */
	void (*done)(void *ctx, const struct gp_error *error, const struct imap_append_result *result);
};

struct imap_append *imap_append_start(struct imap_session *session, const struct imap_append_spec *spec,
				      const struct imap_append_events *events, void *ctx);
/* Several at once (RFC 3502), which the server takes all or none of. */
struct imap_append_item {
	struct span octets; /* without NUL; all of them within GP_MAX_IMAP_COMMAND */
	bool has_date;
	int64_t date;
};

/* `uids`: as many as there were messages, in their order; NULL where that was not told. */
typedef void (*imap_multiappend_fn)(void *ctx, const struct gp_error *error, const struct imap_append_result *result,
				    const struct imap_uidset *uids);
/* GP_UNSUPPORTED without MULTIAPPEND. */
struct imap_call *imap_multiappend_start(struct imap_session *session, struct span mailbox, const struct span *flags,
					 size_t n_flags, const struct imap_append_item *items, size_t n_items,
					 imap_multiappend_fn done, void *ctx);

/* What room() would say now: after a write that the network took at once, no room() comes. */
size_t imap_append_room(const struct imap_append *append);
/* In order, at most the room; `size` in all. */
void imap_append_write(struct imap_append *append, struct span octets);
void imap_append_cancel(struct imap_append **append);

/* UID EXPUNGE: removes those of the set that are marked \Deleted, and nothing else.
 * GP_UNSUPPORTED without UIDPLUS: an EXPUNGE without UIDs would remove what others marked. */
struct imap_call *imap_expunge_set_start(struct imap_session *session, const struct imap_uidset *uids,
					 imap_done_fn done, void *ctx);
/* The same of one message. */
struct imap_call *imap_expunge_start(struct imap_session *session, uint32_t uid, imap_done_fn done, void *ctx);

/* UID SEARCH: by ESEARCH where offered, CHARSET UTF-8 only when needed, with the
 * fallbacks for servers that lie about either. `uids` is borrowed; NULL on error. */
typedef void (*imap_search_fn)(void *ctx, const struct gp_error *error, const struct imap_uidset *uids);
struct imap_call *imap_search_start(struct imap_session *session, const struct imap_search *search, imap_search_fn done,
				    void *ctx);

enum imap_sort_key {
	IMAP_SORT_ARRIVAL,
	IMAP_SORT_DATE,
	IMAP_SORT_FROM, /* the display name where SORT=DISPLAY is offered */
	IMAP_SORT_TO,
	IMAP_SORT_CC,
	IMAP_SORT_SUBJECT,
	IMAP_SORT_SIZE,
};

struct imap_sort_term {
	enum imap_sort_key key;
	bool is_reverse;
};

/* UID SORT (RFC 5256): GP_UNSUPPORTED where it is not offered. At most 2^20 UIDs. */
typedef void (*imap_sort_fn)(void *ctx, const struct gp_error *error, const uint32_t *uids, size_t n_uids);
struct imap_call *imap_sort_start(struct imap_session *session, const struct imap_sort_term *terms, size_t n_terms,
				  const struct imap_search *search, imap_sort_fn done, void *ctx);

/* What changed since a mod-sequence (RFC 7162), in the selected mailbox. */
struct imap_changes {
	const struct imap_uidset *changed; /* UIDs whose row came, with a mod-sequence in (since, until] */
	const struct imap_uidset
		*vanished; /* expunged since; ranges may name UIDs that never were. Empty without has_vanished */
	bool has_vanished; /* QRESYNC was in force */
};

/* UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE since [VANISHED]). `since` is at least 1. Rows
 * with a mod-sequence above `until` are left out: they come again the next time. Sets are
 * borrowed for the callback; `changes` is NULL on error. GP_UNSUPPORTED where the mailbox
 * keeps no mod-sequences. */
typedef void (*imap_changes_fn)(void *ctx, const struct gp_error *error, const struct imap_changes *changes);
struct imap_call *imap_changes_start(struct imap_session *session, uint64_t since, uint64_t until, imap_changes_fn done,
				     void *ctx);

/* The position of the first message with a UID of at least `uid`, 0 when there is
 * none: SEARCH RETURN (MIN), or a plain SEARCH. Holds for the session's state when
 * done() is called. */
typedef void (*imap_position_fn)(void *ctx, const struct gp_error *error, uint32_t position);
struct imap_call *imap_position_start(struct imap_session *session, uint32_t uid, imap_position_fn done, void *ctx);

/*
 * One section of one message as a stream, in windows of partial FETCH
 * (GP_STREAM_WINDOW bytes). Nothing is asked for without credit: the receiver says
 * with imap_stream_want() how many more bytes it can take now, and a window is sent
 * for only when a whole one fits (or the rest, at the end). So a slow receiver
 * stops the reading upstream, and other commands of the session go between windows.
 * Two windows are in flight at most.
 */
struct imap_stream;

struct imap_stream_spec {
	uint32_t uid;
	const char *section; /* as in imap_section_spec */
	uint64_t origin;     /* the first byte wanted */
	uint64_t len;        /* how many; UINT64_MAX: to the end */
	size_t window;       /* bytes of one partial FETCH; 0: GP_STREAM_WINDOW, which is also the most */
	/* What the server told of the section's length; 0: nothing. It may be wrong either way:
	 * what comes is what there is, and it is asked for until the server gives no more. */
	uint64_t told;
};

struct imap_stream_events {
	void (*data)(void *ctx, struct span bytes); /* in order; borrowed */
	/* The last touch. NULL: the section ended, or `len` bytes came. GP_NOT_FOUND:
	 * the message is gone; GP_PROTOCOL: the server sent what was not asked. */
	void (*done)(void *ctx, const struct gp_error *error);
};

struct imap_stream *imap_stream_start(struct imap_session *session, const struct imap_stream_spec *spec,
				      const struct imap_stream_events *events, void *ctx);
/* `credit` bytes may be delivered from now on, in all, beyond what was delivered: it
 * replaces the earlier number. */
void imap_stream_want(struct imap_stream *stream, size_t credit);
void imap_stream_cancel(struct imap_stream **stream);

#endif
