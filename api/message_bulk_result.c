#include <stdlib.h>

#include "api/message_bulk.h"

struct api_bulk_group {
	struct imap_uidset uids; /* own */
	enum api_problem problem;
	struct gp_error error; /* GP_OK: none */
	const char *detail;    /* borrow; may be NULL */
	bool is_outcome_unknown;
};

void api_bulk_result_init(struct api_bulk_result *result)
{
	*result = (struct api_bulk_result){.failure = GP_OK};
	imap_uidset_init(&result->changed);
	imap_uidset_init(&result->remains);
}

void api_bulk_result_deinit(struct api_bulk_result *result)
{
	for (size_t i = 0; i < result->n_groups; i++) {
		imap_uidset_deinit(&result->groups[i].uids);
	}
	imap_uidset_deinit(&result->changed);
	imap_uidset_deinit(&result->remains);
	free(result->groups);
	free(result->pairs);
	api_bulk_result_init(result);
}

static void note_failure(struct api_bulk_result *result, enum gp_status status)
{
	if (result->failure == GP_OK) {
		result->failure = status;
	}
}

void api_bulk_result_add_changed(struct api_bulk_result *result, const struct imap_uidset *uids)
{
	note_failure(result, imap_uidset_add_all(&result->changed, uids));
}

void api_bulk_result_add_remains(struct api_bulk_result *result, const struct imap_uidset *uids)
{
	note_failure(result, imap_uidset_add_all(&result->remains, uids));
}

static bool is_same_text(const char *a, const char *b)
{
	return (!a && !b) || (a && b && strcmp(a, b) == 0);
}

static bool is_same_error(const struct gp_error *a, const struct gp_error *b)
{
	return a->status == b->status && strcmp(a->code, b->code) == 0 && strcmp(a->text, b->text) == 0;
}

/* The group of messages with this problem, a new one at the end if need be. */
static struct api_bulk_group *find_group(struct api_bulk_result *result, const struct api_bulk_group *wanted)
{
	for (size_t i = 0; i < result->n_groups; i++) {
		struct api_bulk_group *group = &result->groups[i];
		if (group->problem == wanted->problem && group->is_outcome_unknown == wanted->is_outcome_unknown &&
		    is_same_text(group->detail, wanted->detail) && is_same_error(&group->error, &wanted->error)) {
			return group;
		}
	}
	if (result->n_groups == result->groups_size) {
		size_t size = result->groups_size ? 2 * result->groups_size : 8;
		struct api_bulk_group *groups = realloc(result->groups, size * sizeof *groups);
		if (!groups) {
			return NULL;
		}
		result->groups = groups;
		result->groups_size = size;
	}
	struct api_bulk_group *group = &result->groups[result->n_groups++];
	*group = *wanted;
	imap_uidset_init(&group->uids);
	return group;
}

void api_bulk_result_add_problem(struct api_bulk_result *result, const struct imap_uidset *uids,
				 enum api_problem problem, const struct gp_error *error, const char *detail,
				 bool is_outcome_unknown)
{
	struct api_bulk_group wanted = {.problem = problem, .detail = detail, .is_outcome_unknown = is_outcome_unknown};

	if (imap_uidset_is_empty(uids)) {
		return;
	}
	if (error) {
		wanted.error = *error;
	}
	struct api_bulk_group *group = find_group(result, &wanted);
	note_failure(result, group ? imap_uidset_add_all(&group->uids, uids) : GP_NO_MEMORY);
}

void api_bulk_result_add_copies(struct api_bulk_result *result, const struct imap_copies *copies)
{
	if (copies->n_pairs == 0) {
		return;
	}
	if (result->uidvalidity != copies->uidvalidity) {
		/* the target was made anew in between: what was told of the old one is gone */
		result->n_pairs = 0;
	}
	if (result->pairs_size - result->n_pairs < copies->n_pairs) {
		size_t size = 2 * result->pairs_size + copies->n_pairs;
		struct imap_copy_pair *pairs = realloc(result->pairs, size * sizeof *pairs);
		if (!pairs) {
			return; /* not told, then */
		}
		result->pairs = pairs;
		result->pairs_size = size;
	}
	result->uidvalidity = copies->uidvalidity;
	memcpy(result->pairs + result->n_pairs, copies->pairs, copies->n_pairs * sizeof *copies->pairs);
	result->n_pairs += copies->n_pairs;
}

bool api_bulk_result_is_empty(const struct api_bulk_result *result)
{
	return imap_uidset_is_empty(&result->changed) && result->n_groups == 0;
}

/* ---- JSON ---- */

static json_t *array_of(const struct imap_uidset *uids)
{
	json_t *array = json_array();

	for (size_t i = 0; i < uids->n_ranges; i++) {
		for (uint64_t uid = uids->ranges[i].first; uid <= uids->ranges[i].last; uid++) {
			api_json_append(array, json_integer((json_int_t)uid));
		}
	}
	return array;
}

static void set_uid_member(json_t *object, uint32_t uid, json_t *value)
{
	char key[API_JSON_WRITER_DIGITS + 1];

	key[api_json_writer_digits(uid, key)] = '\0';
	api_json_set(object, key, value);
}

/* One value for all messages of a group: Jansson counts its references. */
static void set_group(json_t *object, const struct api_bulk_group *group)
{
	const struct gp_error *error = group->error.status != GP_OK ? &group->error : NULL;
	json_t *problem = api_problem_json(group->problem, error, group->detail);

	if (group->is_outcome_unknown) {
		api_json_set(problem, "outcome", json_string("unknown"));
	}
	for (size_t i = 0; i < group->uids.n_ranges; i++) {
		for (uint64_t uid = group->uids.ranges[i].first; uid <= group->uids.ranges[i].last; uid++) {
			set_uid_member(object, (uint32_t)uid, json_incref(problem));
		}
	}
	json_decref(problem);
}

static int compare(const void *a, const void *b)
{
	const struct imap_copy_pair *x = a;
	const struct imap_copy_pair *y = b;

	return x->source < y->source ? -1 : x->source > y->source;
}

/* {"mailbox":"Archive","uidValidity":9,"uids":{"4":12}} of those that have moved. */
static json_t *moved_json(const struct api_bulk_result *result, struct span target)
{
	json_t *moved = json_object();
	json_t *uids = json_object();

	qsort(result->pairs, result->n_pairs, sizeof *result->pairs, compare);
	for (size_t i = 0; i < result->n_pairs; i++) {
		if (imap_uidset_contains(&result->changed, result->pairs[i].source)) {
			set_uid_member(uids, result->pairs[i].source, json_integer(result->pairs[i].copy));
		}
	}
	api_json_set(moved, "mailbox", api_json_text(target));
	api_json_set(moved, "uidValidity", json_integer(result->uidvalidity));
	api_json_set(moved, "uids", uids);
	return moved;
}

json_t *api_bulk_result_json(const struct api_bulk_result *result, uint64_t n_matched, bool is_for_deletion,
			     struct span target)
{
	json_t *object = json_object();
	json_t *problems = json_object();

	for (size_t i = 0; i < result->n_groups; i++) {
		set_group(problems, &result->groups[i]);
	}
	api_json_set(object, "matched", json_integer((json_int_t)n_matched));
	api_json_set(object, is_for_deletion ? "destroyed" : "updated", array_of(&result->changed));
	api_json_set(object, is_for_deletion ? "notDestroyed" : "notUpdated", problems);
	if (!imap_uidset_is_empty(&result->remains)) {
		api_json_set(object, "remains", array_of(&result->remains));
	}
	if (result->n_pairs > 0) {
		api_json_set(object, "moved", moved_json(result, target));
	}
	return object;
}
