/*
 * The `state` of a mailbox, as one opaque string for callers: what `/changes`
 * continues from. A mailbox and every list of its messages carry the same one.
 *
 * "<uidValidity>.<highestModseq>", or, where the server keeps no mod-sequences,
 * "<uidValidity>.<uidNext>.<totalEmails>.<unreadEmails>": that cannot say what
 * changed, but differs when messages came, went or were read.
 */
#ifndef GP_API_STATE_H
#define GP_API_STATE_H

#include <stdbool.h>
#include <stdint.h>

#define API_STATE_SIZE 64 /* with the NUL */

struct api_state {
	uint32_t uidvalidity; /* 0: not known, and then there is no state */
	uint32_t uidnext, total, unread;
	bool has_counts;        /* the three above are known */
	uint64_t highestmodseq; /* 0: none */
};

/* False when too little is known for a state: it is null then. */
bool api_state_write(const struct api_state *state, char state_out[API_STATE_SIZE]);

#endif
