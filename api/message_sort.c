#include "api/message_sort.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/limits.h"
#include "mail/header.h"

static const struct {
	const char *name;
	enum imap_sort_key key;
	unsigned items;
} keys_by_name[] = {
	{"receivedAt", IMAP_SORT_ARRIVAL, IMAP_ITEM_INTERNALDATE},
	{"sentAt", IMAP_SORT_DATE, IMAP_ITEM_ENVELOPE | IMAP_ITEM_INTERNALDATE},
	{"from", IMAP_SORT_FROM, IMAP_ITEM_ENVELOPE},
	{"to", IMAP_SORT_TO, IMAP_ITEM_ENVELOPE},
	{"cc", IMAP_SORT_CC, IMAP_ITEM_ENVELOPE},
	{"subject", IMAP_SORT_SUBJECT, IMAP_ITEM_ENVELOPE},
	{"size", IMAP_SORT_SIZE, IMAP_ITEM_SIZE},
};

#define N_KEYS (sizeof keys_by_name / sizeof keys_by_name[0])

/* ---- the parameter ---- */

static void read_term(struct api_query *query, struct span term, struct api_sort *sort)
{
	bool is_reverse = term.len > 0 && term.ptr[0] == '-';
	struct span name = span_from(term, is_reverse ? 1 : 0);

	for (size_t i = 0; i < N_KEYS; i++) {
		if (!span_equal_text(name, keys_by_name[i].name)) {
			continue;
		}
		if (sort->n_terms == API_MAX_SORT_TERMS) {
			api_query_fail(query, "'sort' has more than %d keys", API_MAX_SORT_TERMS);
			return;
		}
		sort->terms[sort->n_terms++] =
			(struct imap_sort_term){.key = keys_by_name[i].key, .is_reverse = is_reverse};
		return;
	}
	api_query_fail(query,
		       "'sort' knows no key '%.*s': it takes receivedAt, sentAt, from, to, cc, subject and size, each "
		       "with an optional '-'",
		       SPAN_ARGS(span_slice(name, 0, 60)));
}

void api_sort_read(struct api_query *query, struct api_sort *sort_out)
{
	struct span text = api_query_text(query, "sort");

	*sort_out = (struct api_sort){.n_terms = 0};
	if (span_is_nil(text)) {
		return;
	}
	for (;;) {
		ptrdiff_t comma = span_find_char(text, ',');
		read_term(query, comma < 0 ? text : span_slice(text, 0, (size_t)comma), sort_out);
		if (comma < 0) {
			return;
		}
		text = span_from(text, (size_t)comma + 1);
	}
}

unsigned api_sort_items(const struct api_sort *sort)
{
	unsigned items = IMAP_ITEM_UID;

	for (size_t i = 0; i < sort->n_terms; i++) {
		for (size_t k = 0; k < N_KEYS; k++) {
			if (keys_by_name[k].key == sort->terms[i].key) {
				items |= keys_by_name[k].items;
			}
		}
	}
	return items;
}

/* ---- sorting here ---- */

struct key {
	int64_t number;
	const char *text; /* in the arena; NULL for numbers */
};

struct sortable {
	uint32_t uid;
	const struct api_sort *sort; /* borrow */
	struct key keys[API_MAX_SORT_TERMS];
};

struct api_sort_keys {
	const struct api_sort *sort; /* borrow */
	struct gp_arena arena;
	struct sortable *items; /* own: API_MAX_SORTED */
	size_t n_items;
};

struct api_sort_keys *api_sort_keys_new(const struct api_sort *sort)
{
	struct api_sort_keys *keys = calloc(1, sizeof *keys);

	if (!keys) {
		return NULL;
	}
	keys->sort = sort;
	gp_arena_init(&keys->arena, 16 * GP_MIB);
	keys->items = calloc(API_MAX_SORTED, sizeof *keys->items);
	if (!keys->items) {
		api_sort_keys_free(&keys);
	}
	return keys;
}

void api_sort_keys_free(struct api_sort_keys **keys_ref)
{
	struct api_sort_keys *keys = *keys_ref;

	*keys_ref = NULL;
	if (keys) {
		gp_arena_deinit(&keys->arena);
		free(keys->items);
		free(keys);
	}
}

static const char *folded_copy(struct gp_arena *arena, struct span text)
{
	char *copy = gp_arena_strdup(arena, text);

	for (char *p = copy; p && *p; p++) {
		*p = (char)tolower((unsigned char)*p);
	}
	return copy;
}

/* RFC 5957: the display name, else the address, of the first mailbox. */
static const char *address_key(struct gp_arena *arena, const struct imap_addresses *addresses)
{
	const struct imap_address *first = NULL;

	for (size_t i = 0; i < addresses->n_items && !first; i++) {
		first = span_is_nil(addresses->items[i].host) ? NULL : &addresses->items[i];
	}
	if (!first) {
		return "";
	}
	if (first->name.len == 0) {
		char *address = gp_arena_printf(arena, "%.*s@%.*s", SPAN_ARGS(span_slice(first->mailbox, 0, 200)),
						SPAN_ARGS(span_slice(first->host, 0, 200)));
		return address ? folded_copy(arena, span_of(address)) : NULL;
	}
	struct gp_buffer name;
	gp_buffer_init(&name, 4 * GP_KIB);
	enum gp_status status = mail_decode_text(span_slice(first->name, 0, GP_KIB), &name, NULL);
	const char *key = status == GP_OK ? folded_copy(arena, gp_buffer_span(&name)) : NULL;
	gp_buffer_deinit(&name);
	return key;
}

static const char *subject_key(struct gp_arena *arena, struct span subject)
{
	struct gp_buffer text, base;

	gp_buffer_init(&text, 16 * GP_KIB);
	gp_buffer_init(&base, 16 * GP_KIB);
	enum gp_status status = mail_decode_text(span_slice(subject, 0, 4 * GP_KIB), &text, NULL);
	if (status == GP_OK) {
		status = mail_base_subject(gp_buffer_span(&text), &base);
	}
	const char *key = status == GP_OK ? gp_arena_strdup(arena, gp_buffer_span(&base)) : NULL;
	gp_buffer_deinit(&base);
	gp_buffer_deinit(&text);
	return key;
}

enum gp_status api_sort_keys_add(struct api_sort_keys *keys, const struct imap_fetch *row)
{
	static const struct imap_envelope empty = {.date = {NULL, 0}};
	const struct imap_envelope *envelope = row->envelope ? row->envelope : &empty;
	int offset_minutes;

	if (keys->n_items == API_MAX_SORTED) {
		return GP_LIMIT;
	}
	struct sortable *item = &keys->items[keys->n_items];
	*item = (struct sortable){.uid = row->uid, .sort = keys->sort};
	for (size_t i = 0; i < keys->sort->n_terms; i++) {
		struct key *key = &item->keys[i];
		bool is_text = false;
		switch (keys->sort->terms[i].key) {
		case IMAP_SORT_ARRIVAL:
			key->number = row->internal_date;
			break;
		case IMAP_SORT_DATE:
			if (span_is_nil(envelope->date) ||
			    !mail_parse_date(envelope->date, &key->number, &offset_minutes)) {
				key->number = row->internal_date; /* RFC 5256 section 2.2 */
			}
			break;
		case IMAP_SORT_SIZE:
			key->number = (int64_t)row->size;
			break;
		case IMAP_SORT_FROM:
			key->text = address_key(&keys->arena, &envelope->from);
			is_text = true;
			break;
		case IMAP_SORT_TO:
			key->text = address_key(&keys->arena, &envelope->to);
			is_text = true;
			break;
		case IMAP_SORT_CC:
			key->text = address_key(&keys->arena, &envelope->cc);
			is_text = true;
			break;
		case IMAP_SORT_SUBJECT:
			key->text = subject_key(&keys->arena, envelope->subject);
			is_text = true;
			break;
		}
		if (is_text && !key->text) {
			return GP_NO_MEMORY;
		}
	}
	keys->n_items++;
	return GP_OK;
}

static int compare(const void *a, const void *b)
{
	const struct sortable *x = a;
	const struct sortable *y = b;

	for (size_t i = 0; i < x->sort->n_terms; i++) {
		int order;
		if (x->keys[i].text) {
			order = strcmp(x->keys[i].text, y->keys[i].text);
		} else {
			order = x->keys[i].number < y->keys[i].number ? -1 : x->keys[i].number > y->keys[i].number;
		}
		if (order != 0) {
			return x->sort->terms[i].is_reverse ? -order : order;
		}
	}
	return x->uid < y->uid ? -1 : x->uid > y->uid;
}

uint32_t *api_sort_keys_order(struct api_sort_keys *keys, size_t *n_out)
{
	uint32_t *order = calloc(keys->n_items + 1, sizeof *order);

	if (!order) {
		return NULL;
	}
	if (keys->n_items > 1) {
		qsort(keys->items, keys->n_items, sizeof keys->items[0], compare);
	}
	for (size_t i = 0; i < keys->n_items; i++) {
		order[i] = keys->items[i].uid;
	}
	*n_out = keys->n_items;
	return order;
}
