#include "api/event_id.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/limits.h"

#define VERSION "1"
#define DIGEST_ROOM (sizeof "~+0123456789abcdef" - 1)
#define MIN_STATE ((size_t)100) /* a d has less */

static uint64_t spread(uint64_t hash)
{
	hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdu;
	return hash ^ hash >> 33;
}

void api_event_hash(struct span mailbox, char hash_out[API_EVENT_HASH + 1])
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	struct span name = span_equal_text_nocase(mailbox, "INBOX") ? SPAN_LIT("INBOX") : mailbox;
	uint64_t hash = spread(gp_hash_span(GP_HASH_START, name));

	for (size_t i = 0; i < API_EVENT_HASH; i++) {
		hash_out[i] = digits[hash & 63];
		hash >>= 6;
	}
	hash_out[API_EVENT_HASH] = '\0';
}

/* ---- writing ---- */

void api_event_id_begin(struct api_event_id_writer *writer, struct gp_buffer *out, size_t n_mailboxes)
{
	*writer = (struct api_event_id_writer){.out = out, .start = out->len, .n_left = n_mailboxes};
	writer->status = gp_buffer_append(out, SPAN_LIT(VERSION));
}

static enum gp_status write_state(const struct api_state *state, size_t max, struct gp_buffer *out)
{
	if (!state || state->kind == API_STATE_NONE) {
		return gp_buffer_append_char(out, '-');
	}
	return api_state_write(state, max, out);
}

uint64_t api_event_id_digest(uint64_t digest, const char *hash, const struct api_state *state)
{
	struct gp_buffer text;

	gp_buffer_init(&text, GP_MAX_REQUEST_ARENA);
	uint64_t one = gp_hash_span(GP_HASH_START, span_of(hash));
	if (write_state(state, MIN_STATE, &text) == GP_OK) {
		one = gp_hash_span(one, gp_buffer_span(&text));
	}
	gp_buffer_deinit(&text);
	digest += spread(one) | 1;
	return digest ? digest : 1;
}

void api_event_id_add(struct api_event_id_writer *writer, const char *hash, const struct api_state *state)
{
	size_t used = writer->out->len - writer->start, kept = used + DIGEST_ROOM + 1 + API_EVENT_HASH;
	size_t room = kept < API_EVENT_ID_MAX ? API_EVENT_ID_MAX - kept : 0;
	size_t share = writer->n_left > 0 ? room / writer->n_left : room;

	writer->n_left -= writer->n_left > 0;
	if (writer->status != GP_OK) {
		return;
	}
	if (room < MIN_STATE || writer->is_full) {
		writer->is_full = true;
		writer->digest = api_event_id_digest(writer->digest, hash, state);
		return;
	}
	writer->status = gp_buffer_printf(writer->out, "~%s", hash);
	if (writer->status == GP_OK) {
		writer->status = write_state(state, share > MIN_STATE ? share : MIN_STATE, writer->out);
	}
}

enum gp_status api_event_id_end(struct api_event_id_writer *writer)
{
	if (writer->status == GP_OK && writer->digest != 0) {
		writer->status = gp_buffer_printf(writer->out, "~+%016" PRIx64, writer->digest);
	}
	return writer->status;
}

/* ---- reading ---- */

void api_event_id_deinit(struct api_event_id *id)
{
	free(id->entries);
	*id = (struct api_event_id){.entries = NULL};
}

static bool is_hash(struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		bool is_alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
		if (!is_alnum && c != '-' && c != '_') {
			return false;
		}
	}
	return text.len == API_EVENT_HASH;
}

static bool read_entry(struct span text, struct api_event_id *id)
{
	if (id->n_entries == API_EVENT_MAX_MAILBOXES || !is_hash(span_slice(text, 0, API_EVENT_HASH)) ||
	    text.len == API_EVENT_HASH) {
		return false;
	}
	struct api_event_id_entry *entry = &id->entries[id->n_entries++];
	memcpy(entry->hash, text.ptr, API_EVENT_HASH);
	entry->hash[API_EVENT_HASH] = '\0';
	entry->state = span_from(text, API_EVENT_HASH);
	return true;
}

static bool read_entries(struct span text, struct api_event_id *id)
{
	while (text.len > 0) {
		if (text.ptr[0] != '~' || id->digest != 0) {
			return false; /* the digest is the last */
		}
		text = span_from(text, 1);
		ptrdiff_t end = span_find_char(text, '~');
		struct span one = end < 0 ? text : span_slice(text, 0, (size_t)end);
		text = span_from(text, one.len);
		bool is_digest = one.len > 0 && one.ptr[0] == '+';
		bool is_good = is_digest ? span_hex_to_u64(span_from(one, 1), &id->digest) && id->digest != 0
					 : read_entry(one, id);
		if (!is_good) {
			return false;
		}
	}
	return true;
}

enum gp_status api_event_id_parse(struct span text, struct api_event_id *id_out)
{
	struct api_event_id id = {.n_entries = 0};

	if (text.len > API_EVENT_ID_MAX + API_STATE_MAX || !span_starts_with(text, VERSION)) {
		return GP_INVALID;
	}
	id.entries = calloc(API_EVENT_MAX_MAILBOXES, sizeof *id.entries);
	if (!id.entries) {
		return GP_NO_MEMORY;
	}
	if (!read_entries(span_from(text, strlen(VERSION)), &id)) {
		api_event_id_deinit(&id);
		return GP_INVALID;
	}
	*id_out = id;
	return GP_OK;
}

struct api_event_id_entry *api_event_id_find(struct api_event_id *id, const char *hash)
{
	struct api_event_id_entry *found = NULL;

	for (size_t i = 0; i < id->n_entries; i++) {
		if (strcmp(id->entries[i].hash, hash) == 0) {
			if (found) {
				return NULL;
			}
			found = &id->entries[i];
		}
	}
	return found;
}
