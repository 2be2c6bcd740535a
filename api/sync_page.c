#include "api/sync_page.h"

/* ---- where a page ends ---- */

static uint64_t count_below(const struct api_changes *changes, uint64_t uid)
{
	return imap_uidset_count_below(&changes->created, uid) + imap_uidset_count_below(&changes->updated, uid) +
	       imap_uidset_count_below(&changes->destroyed, uid);
}

/* The highest UID with at most max_changes changes below it. */
static uint64_t find_cut(const struct api_changes *changes, uint64_t max_changes)
{
	uint64_t low = 1, high = (uint64_t)UINT32_MAX + 1; /* low: not too many */

	while (low < high) {
		uint64_t middle = low + (high - low + 1) / 2;
		if (count_below(changes, middle) > max_changes) {
			high = middle - 1;
		} else {
			low = middle;
		}
	}
	return low;
}

static size_t piece_of(const struct api_state *state, uint64_t uid)
{
	size_t at = 0;

	while (at + 1 < state->n_pieces && state->pieces[at + 1].from <= uid) {
		at++;
	}
	return at;
}

/* There is room for so many pieces only: then the page reaches to the end of one. */
static uint64_t move_cut(const struct api_state *since, uint64_t cut)
{
	size_t at = piece_of(since, cut);

	if (since->n_pieces - at < API_STATE_MAX_PIECES) {
		return cut;
	}
	return at + 1 < since->n_pieces ? since->pieces[at + 1].from : since->uidnext;
}

/* ---- the state behind a page: the moment below the cut, the old state from there on ---- */

static void mix_pieces(struct api_state *mixed, const struct api_state *since, uint32_t cut)
{
	size_t at = piece_of(since, cut);

	if (cut >= since->uidnext) {
		mixed->uidnext = cut; /* all that was known is new, and what is not told yet is not known */
		return;
	}
	mixed->uidnext = since->uidnext;
	mixed->pieces[mixed->n_pieces++] = (struct api_state_piece){cut, since->pieces[at].modseq};
	while (++at < since->n_pieces) {
		mixed->pieces[mixed->n_pieces++] = since->pieces[at];
	}
}

/* The runs of the messages [from, from + n) of `state`. */
static enum gp_status add_runs(struct api_state *mixed, const struct api_state *state, uint64_t from, uint64_t n)
{
	enum gp_status status = GP_OK;

	for (size_t i = 0; i < state->n_runs && n > 0 && status == GP_OK; i++) {
		uint64_t n_here = state->runs[i].n;
		uint64_t n_before = from < n_here ? from : n_here;
		from -= n_before;
		n_here -= n_before;
		n_here = n_here < n ? n_here : n;
		n -= n_here;
		status = api_state_add_run(mixed, state->runs[i].flags, n_here);
	}
	return status;
}

static enum gp_status mix_runs(struct api_state *mixed, const struct api_state *now, const struct api_state *since,
			       uint32_t cut)
{
	uint64_t n_below = imap_uidset_count_below(&now->uids, cut);
	uint64_t n_old = imap_uidset_count_below(&since->uids, cut);
	enum gp_status status = add_runs(mixed, now, 0, n_below);

	return status == GP_OK ? add_runs(mixed, since, n_old, imap_uidset_count(&since->uids) - n_old) : status;
}

static enum gp_status mix(struct api_state *mixed, const struct api_state *now, const struct api_state *since,
			  uint32_t cut)
{
	enum gp_status status = GP_OK;

	mixed->kind = now->kind;
	mixed->uidvalidity = now->uidvalidity;
	mixed->uidnext = now->uidnext;
	mixed->pieces[0] = now->pieces[0];
	mixed->n_pieces = 1;
	if (now->kind != API_STATE_FLAGS) {
		mix_pieces(mixed, since, cut);
	}
	if (now->kind != API_STATE_QRESYNC) {
		status = imap_uidset_add_within(&mixed->uids, &now->uids, 1, cut - 1);
		if (status == GP_OK) {
			status = imap_uidset_add_within(&mixed->uids, &since->uids, cut, UINT32_MAX);
		}
	}
	if (now->kind == API_STATE_FLAGS && status == GP_OK) {
		status = mix_runs(mixed, now, since, cut);
	}
	return status;
}

static enum gp_status keep_below(struct imap_uidset *set, uint32_t cut)
{
	struct imap_uidset kept;

	imap_uidset_init(&kept);
	enum gp_status status = imap_uidset_add_within(&kept, set, 1, cut - 1);
	if (status == GP_OK) {
		imap_uidset_deinit(set);
		*set = kept;
	} else {
		imap_uidset_deinit(&kept);
	}
	return status;
}

enum gp_status api_sync_cut_page(struct api_changes *changes, const struct api_state *now,
				 const struct api_state *since, uint64_t max_changes)
{
	uint64_t cut = find_cut(changes, max_changes);

	if (now->kind != API_STATE_FLAGS) {
		cut = move_cut(since, cut);
	}
	if (cut > UINT32_MAX || count_below(changes, cut) == count_below(changes, UINT64_MAX)) {
		return api_state_copy(&changes->state, now);
	}
	changes->has_more = true;
	enum gp_status status = mix(&changes->state, now, since, (uint32_t)cut);
	struct imap_uidset *sets[] = {&changes->created, &changes->updated, &changes->destroyed};
	for (size_t i = 0; i < 3 && status == GP_OK; i++) {
		status = keep_below(sets[i], (uint32_t)cut);
	}
	return status;
}
