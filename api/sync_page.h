/*
 * A page of changes: when there are more than are wanted, those of the lowest UIDs, and
 * the state that a client is in who has been told these. Below the page's end, the cut,
 * that is the state of the moment, and from there on the old one.
 */
#ifndef GP_API_SYNC_PAGE_H
#define GP_API_SYNC_PAGE_H

#include "api/sync.h"

/* Leaves in `changes` max_changes of those from `since` to `now` (more where the state
 * would need more than API_STATE_MAX_PIECES), and sets its state and has_more. The states
 * are of one kind and UIDVALIDITY. GP_NO_MEMORY. */
enum gp_status api_sync_cut_page(struct api_changes *changes, const struct api_state *now,
				 const struct api_state *since, uint64_t max_changes);

#endif
