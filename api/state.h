/*
 * The state of a mailbox: one moment of it, from which on every change can be told. As
 * text it is the `state` of lists and the `since` of `/changes`, opaque to callers, and
 * a part of the `id:` of event streams. Nothing of it is kept here: whoever has the text
 * can go on with it, at any gateway.
 *
 * What it holds is what the server cannot say later by itself (docs/decisions/0014):
 *
 *   q  QRESYNC: UIDVALIDITY, HIGHESTMODSEQ, UIDNEXT. The server knows the rest.
 *   c  CONDSTORE alone: also the UIDs, so that what was expunged can be told.
 *   f  neither: the UIDs, and a hash of each message's flags.
 *   d  of a mailbox whose c or f would be too long: tells that something changed, not
 *      what.
 *
 * Where the changes were too many for one answer, the state behind it is of two moments
 * or more: UIDs from pieces[i].from on (below pieces[i + 1].from) are known as they were
 * at pieces[i].modseq. UIDs from `uidnext` on are not known at all.
 *
 *   q7.4711.100              UIDVALIDITY 7, mod-sequence 4711, UIDNEXT 100
 *   q7.4711.100.50.4000      the same, but from UID 50 on as of 4000
 *   c7.4711.100_<base64url>  f7.100_<base64url>  d7.4711.100.36.<16 hex digits>
 */
#ifndef GP_API_STATE_H
#define GP_API_STATE_H

#include "imap/uidset.h"

#define API_STATE_MAX ((size_t)6144) /* characters of a state as text */
#define API_STATE_MAX_PIECES 4
#define API_STATE_LISTED_SIZE 48 /* with the NUL */

enum api_state_kind {
	API_STATE_NONE, /* nothing is known */
	API_STATE_QRESYNC,
	API_STATE_CONDSTORE,
	API_STATE_FLAGS,
	API_STATE_DETECT,
};

struct api_state_piece {
	uint32_t from;   /* of the first: 1 */
	uint64_t modseq; /* 0 only where there are none: f, d */
};

/* Neighbours in the order of the UIDs with the same flags. */
struct api_state_run {
	uint64_t flags; /* api_state_flags() */
	uint64_t n;     /* messages, not 0 */
};

struct api_state {
	enum api_state_kind kind;
	uint32_t uidvalidity;
	uint32_t uidnext; /* 0: the server does not tell (c, f, d) */
	struct api_state_piece pieces[API_STATE_MAX_PIECES];
	size_t n_pieces;            /* at least 1, but for API_STATE_NONE */
	struct imap_uidset uids;    /* own: c, f */
	struct api_state_run *runs; /* own: f; as many messages as there are UIDs */
	size_t n_runs, runs_size;
	uint64_t n_messages, digest; /* d */
};

void api_state_init(struct api_state *state);
void api_state_deinit(struct api_state *state);
/* `to` is initialised; what it held is freed. GP_NO_MEMORY leaves it empty. */
enum gp_status api_state_copy(struct api_state *to, const struct api_state *from) GP_MUST_USE;
bool api_state_is_equal(const struct api_state *a, const struct api_state *b);

/* A number for a message's flags: the same for the same ones in any order and case,
 * \Recent left out. 48 bits. */
uint64_t api_state_flags(const struct span *flags, size_t n_flags);
/* One more message behind the last one. */
enum gp_status api_state_add_run(struct api_state *state, uint64_t flags, uint64_t n) GP_MUST_USE;
/* What a d of this state is; of a d itself, too. */
enum gp_status api_state_to_detect(const struct api_state *state, struct api_state *detect_out) GP_MUST_USE;

/* Appends it: at most `max` characters, else as a d (which has at most 80). GP_LIMIT is
 * the buffer's. Not for API_STATE_NONE. */
enum gp_status api_state_write(const struct api_state *state, size_t max, struct gp_buffer *out) GP_MUST_USE;
/* GP_INVALID: none of ours. `state_out` is initialised; what it held is freed. */
enum gp_status api_state_parse(struct span text, struct api_state *state_out) GP_MUST_USE;

/* What lists and mailboxes tell without looking further: a q, or false where the server
 * has no QRESYNC. */
bool api_state_write_listed(bool has_qresync, uint32_t uidvalidity, uint64_t modseq, uint32_t uidnext,
			    char state_out[API_STATE_LISTED_SIZE]);

#endif
