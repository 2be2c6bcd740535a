#include "api/state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/base64url.h"
#include "base/hash.h"

#define MAX_NUMBERS (3 + 2 * API_STATE_MAX_PIECES)
#define MAX_DICTIONARY ((size_t)4096)
#define FLAGS_BYTES 6
#define FLAGS_MASK (((uint64_t)1 << (8 * FLAGS_BYTES)) - 1)

/* ---- life ---- */

void api_state_init(struct api_state *state)
{
	*state = (struct api_state){.kind = API_STATE_NONE};
}

void api_state_deinit(struct api_state *state)
{
	imap_uidset_deinit(&state->uids);
	free(state->runs);
	api_state_init(state);
}

enum gp_status api_state_copy(struct api_state *to, const struct api_state *from)
{
	struct api_state copy = *from;
	enum gp_status status;

	imap_uidset_init(&copy.uids);
	copy.runs = NULL;
	copy.n_runs = copy.runs_size = 0;
	status = imap_uidset_add_all(&copy.uids, &from->uids);
	if (status == GP_OK && from->n_runs > 0) {
		copy.runs = malloc(from->n_runs * sizeof *copy.runs);
		status = copy.runs ? GP_OK : GP_NO_MEMORY;
	}
	api_state_deinit(to);
	if (status != GP_OK) {
		api_state_deinit(&copy);
		return status;
	}
	if (from->n_runs > 0) {
		memcpy(copy.runs, from->runs, from->n_runs * sizeof *copy.runs);
		copy.n_runs = copy.runs_size = from->n_runs;
	}
	*to = copy;
	return GP_OK;
}

static bool has_equal_pieces(const struct api_state *a, const struct api_state *b)
{
	bool is_equal = a->n_pieces == b->n_pieces;

	for (size_t i = 0; is_equal && i < a->n_pieces; i++) {
		is_equal = a->pieces[i].from == b->pieces[i].from && a->pieces[i].modseq == b->pieces[i].modseq;
	}
	return is_equal;
}

static bool has_equal_runs(const struct api_state *a, const struct api_state *b)
{
	bool is_equal = a->n_runs == b->n_runs;

	for (size_t i = 0; is_equal && i < a->n_runs; i++) {
		is_equal = a->runs[i].flags == b->runs[i].flags && a->runs[i].n == b->runs[i].n;
	}
	return is_equal;
}

bool api_state_is_equal(const struct api_state *a, const struct api_state *b)
{
	return a->kind == b->kind && a->uidvalidity == b->uidvalidity && a->uidnext == b->uidnext &&
	       a->n_messages == b->n_messages && a->digest == b->digest && has_equal_pieces(a, b) &&
	       imap_uidset_is_equal(&a->uids, &b->uids) && has_equal_runs(a, b);
}

/* ---- flags ---- */

uint64_t api_state_flags(const struct span *flags, size_t n_flags)
{
	uint64_t sum = 0; /* in any order */

	for (size_t i = 0; i < n_flags; i++) {
		if (span_equal_text_nocase(flags[i], "\\Recent")) {
			continue; /* says whether another session has looked already, nothing about the message */
		}
		uint64_t hash = GP_HASH_START;
		for (size_t j = 0; j < flags[i].len; j++) {
			char c = flags[i].ptr[j];
			hash = gp_hash_octet(hash, (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c));
		}
		sum += hash ^ hash >> 29;
	}
	return (sum ^ sum >> 48) & FLAGS_MASK;
}

enum gp_status api_state_add_run(struct api_state *state, uint64_t flags, uint64_t n)
{
	if (n == 0) {
		return GP_OK;
	}
	if (state->n_runs > 0 && state->runs[state->n_runs - 1].flags == flags) {
		state->runs[state->n_runs - 1].n += n;
		return GP_OK;
	}
	if (state->n_runs == state->runs_size) {
		size_t size = state->runs_size ? 2 * state->runs_size : 8;
		struct api_state_run *runs = realloc(state->runs, size * sizeof *runs);
		if (!runs) {
			return GP_NO_MEMORY;
		}
		state->runs = runs;
		state->runs_size = size;
	}
	state->runs[state->n_runs++] = (struct api_state_run){flags, n};
	return GP_OK;
}

enum gp_status api_state_to_detect(const struct api_state *state, struct api_state *detect_out)
{
	uint64_t digest = GP_HASH_START;

	if (state->kind == API_STATE_DETECT) {
		return api_state_copy(detect_out, state);
	}
	for (size_t i = 0; i < state->n_pieces; i++) {
		digest = gp_hash_number(gp_hash_number(digest, state->pieces[i].from), state->pieces[i].modseq);
	}
	for (size_t i = 0; i < state->uids.n_ranges; i++) {
		digest =
			gp_hash_number(gp_hash_number(digest, state->uids.ranges[i].first), state->uids.ranges[i].last);
	}
	for (size_t i = 0; i < state->n_runs; i++) {
		digest = gp_hash_number(gp_hash_number(digest, state->runs[i].flags), state->runs[i].n);
	}
	api_state_deinit(detect_out);
	detect_out->kind = API_STATE_DETECT;
	detect_out->uidvalidity = state->uidvalidity;
	detect_out->uidnext = state->uidnext;
	detect_out->pieces[0] = (struct api_state_piece){1, state->pieces[0].modseq};
	detect_out->n_pieces = 1;
	detect_out->n_messages = imap_uidset_count(&state->uids);
	detect_out->digest = digest;
	return GP_OK;
}

/* ---- writing ---- */

static enum gp_status put_varint(struct gp_buffer *out, uint64_t number)
{
	enum gp_status status = GP_OK;

	for (; number >= 0x80 && status == GP_OK; number >>= 7) {
		status = gp_buffer_append_char(out, (char)(number | 0x80));
	}
	return status == GP_OK ? gp_buffer_append_char(out, (char)number) : status;
}

/* The gap before each range and its length. */
static enum gp_status put_uids(struct gp_buffer *out, const struct imap_uidset *uids)
{
	enum gp_status status = put_varint(out, uids->n_ranges);
	uint32_t last = 0;

	for (size_t i = 0; i < uids->n_ranges && status == GP_OK; i++) {
		struct imap_uid_range range = uids->ranges[i];
		status = put_varint(out, range.first - last - 1);
		if (status == GP_OK) {
			status = put_varint(out, range.last - range.first);
		}
		last = range.last;
	}
	return status;
}

/* The index of `flags` among those that were written first; `n_words` when it is new. */
static size_t find_word(const uint64_t *words, size_t n_words, uint64_t flags)
{
	size_t i = 0;

	while (i < n_words && words[i] != flags) {
		i++;
	}
	return i;
}

/* Each run as the number of its flags and its length. Numbers are given as they come: a
 * new one is followed by the flags themselves. */
static enum gp_status put_runs(struct gp_buffer *out, const struct api_state *state)
{
	enum gp_status status = GP_OK;
	size_t n_words = 0;
	uint64_t *words = malloc(MAX_DICTIONARY * sizeof *words);

	if (!words) {
		return GP_NO_MEMORY;
	}
	for (size_t i = 0; i < state->n_runs && status == GP_OK; i++) {
		uint64_t flags = state->runs[i].flags;
		size_t at = find_word(words, n_words, flags);
		if (at == MAX_DICTIONARY) {
			status = GP_LIMIT; /* far beyond what fits */
			break;
		}
		status = put_varint(out, at);
		if (at == n_words) {
			words[n_words++] = flags;
			for (unsigned byte = 0; byte < FLAGS_BYTES && status == GP_OK; byte++) {
				status = gp_buffer_append_char(out, (char)(flags >> 8 * byte & 255));
			}
		}
		if (status == GP_OK) {
			status = put_varint(out, state->runs[i].n - 1);
		}
	}
	free(words);
	return status;
}

static enum gp_status write_head(const struct api_state *state, struct gp_buffer *out)
{
	switch (state->kind) {
	case API_STATE_FLAGS:
		return gp_buffer_printf(out, "f%" PRIu32 ".%" PRIu32, state->uidvalidity, state->uidnext);
	case API_STATE_DETECT:
		return gp_buffer_printf(out, "d%" PRIu32 ".%" PRIu64 ".%" PRIu32 ".%" PRIu64 ".%016" PRIx64,
					state->uidvalidity, state->pieces[0].modseq, state->uidnext, state->n_messages,
					state->digest);
	case API_STATE_QRESYNC:
	case API_STATE_CONDSTORE:
		break;
	case API_STATE_NONE:
		return GP_INVALID;
	}
	enum gp_status status = gp_buffer_printf(out, "%c%" PRIu32 ".%" PRIu64 ".%" PRIu32,
						 state->kind == API_STATE_QRESYNC ? 'q' : 'c', state->uidvalidity,
						 state->pieces[0].modseq, state->uidnext);
	for (size_t i = 1; i < state->n_pieces && status == GP_OK; i++) {
		status = gp_buffer_printf(out, ".%" PRIu32 ".%" PRIu64, state->pieces[i].from, state->pieces[i].modseq);
	}
	return status;
}

static enum gp_status write_whole(const struct api_state *state, size_t max, struct gp_buffer *out)
{
	struct gp_buffer text, bytes;
	enum gp_status status;

	gp_buffer_init(&text, max);
	gp_buffer_init(&bytes, max);
	status = write_head(state, &text);
	if (status == GP_OK && (state->kind == API_STATE_CONDSTORE || state->kind == API_STATE_FLAGS)) {
		status = put_uids(&bytes, &state->uids);
		if (status == GP_OK) {
			status = put_runs(&bytes, state);
		}
		if (status == GP_OK) {
			status = gp_buffer_append_char(&text, '_');
		}
		if (status == GP_OK) {
			status = api_base64url_write(gp_buffer_span(&bytes), &text);
		}
	}
	if (status == GP_OK) {
		status = gp_buffer_append(out, gp_buffer_span(&text));
	}
	gp_buffer_deinit(&text);
	gp_buffer_deinit(&bytes);
	return status;
}

enum gp_status api_state_write(const struct api_state *state, size_t max, struct gp_buffer *out)
{
	enum gp_status status = write_whole(state, max, out);

	if (status == GP_LIMIT && (state->kind == API_STATE_CONDSTORE || state->kind == API_STATE_FLAGS)) {
		struct api_state detect;
		api_state_init(&detect);
		status = api_state_to_detect(state, &detect);
		if (status == GP_OK) {
			status = write_head(&detect, out);
		}
		api_state_deinit(&detect);
	}
	return status;
}

bool api_state_write_listed(bool has_qresync, uint32_t uidvalidity, uint64_t modseq, uint32_t uidnext,
			    char state_out[API_STATE_LISTED_SIZE])
{
	if (!has_qresync || uidvalidity == 0 || modseq == 0 || modseq > INT64_MAX || uidnext == 0) {
		return false;
	}
	snprintf(state_out, API_STATE_LISTED_SIZE, "q%" PRIu32 ".%" PRIu64 ".%" PRIu32, uidvalidity, modseq, uidnext);
	return true;
}

/* ---- reading ---- */

/* A number as it is written: no sign, no leading zero. */
static bool take_number(struct span *text, uint64_t most, uint64_t *number_out)
{
	size_t len = 0;

	while (len < text->len && text->ptr[len] >= '0' && text->ptr[len] <= '9') {
		len++;
	}
	struct span digits = span_slice(*text, 0, len);
	if ((len > 1 && digits.ptr[0] == '0') || !span_to_u64(digits, number_out) || *number_out > most) {
		return false;
	}
	*text = span_from(*text, len);
	return true;
}

static bool take_dot(struct span *text)
{
	bool is_dot = text->len > 0 && text->ptr[0] == '.';

	*text = span_from(*text, is_dot);
	return is_dot;
}

/* "1.2.3" to its end. */
static bool read_numbers(struct span text, uint64_t numbers[MAX_NUMBERS], size_t *n_out)
{
	size_t n = 0;

	do {
		if (n == MAX_NUMBERS || !take_number(&text, INT64_MAX, &numbers[n])) {
			return false;
		}
		n++;
	} while (take_dot(&text));
	*n_out = n;
	return text.len == 0;
}

static bool read_pieces(struct api_state *state, const uint64_t *numbers, size_t n_numbers)
{
	if (n_numbers < 3 || n_numbers % 2 == 0 || numbers[0] == 0 || numbers[0] > UINT32_MAX || numbers[1] == 0 ||
	    numbers[2] > UINT32_MAX) {
		return false;
	}
	state->uidvalidity = (uint32_t)numbers[0];
	state->uidnext = (uint32_t)numbers[2];
	state->pieces[0] = (struct api_state_piece){1, numbers[1]};
	state->n_pieces = 1;
	for (size_t i = 3; i < n_numbers; i += 2) {
		uint32_t before = state->pieces[state->n_pieces - 1].from;
		if (numbers[i] <= before || numbers[i] >= state->uidnext || numbers[i + 1] == 0 ||
		    state->n_pieces == API_STATE_MAX_PIECES) {
			return false;
		}
		state->pieces[state->n_pieces++] = (struct api_state_piece){(uint32_t)numbers[i], numbers[i + 1]};
	}
	return true;
}

static bool take_varint(struct span *bytes, uint64_t *number_out)
{
	uint64_t number = 0;

	for (unsigned shift = 0; shift < 63 && bytes->len > 0; shift += 7) {
		unsigned char byte = (unsigned char)bytes->ptr[0];
		*bytes = span_from(*bytes, 1);
		number |= (uint64_t)(byte & 0x7F) << shift;
		if (byte < 0x80) {
			*number_out = number;
			return byte != 0 || shift == 0; /* as short as it can be */
		}
	}
	return false;
}

static enum gp_status take_uids(struct span *bytes, struct imap_uidset *uids)
{
	uint64_t n_ranges, gap, len, last = 0;

	/* each takes two bytes at least: nothing is believed that is not there */
	if (!take_varint(bytes, &n_ranges) || n_ranges > bytes->len / 2) {
		return GP_INVALID;
	}
	for (uint64_t i = 0; i < n_ranges; i++) {
		if (!take_varint(bytes, &gap) || !take_varint(bytes, &len) || (i > 0 && gap == 0) || gap > UINT32_MAX ||
		    len > UINT32_MAX || last + 1 + gap + len > UINT32_MAX) {
			return GP_INVALID;
		}
		uint64_t first = last + 1 + gap;
		last = first + len;
		enum gp_status status = imap_uidset_add(uids, (uint32_t)first, (uint32_t)last);
		if (status != GP_OK) {
			return status;
		}
	}
	return GP_OK;
}

static bool take_flags(struct span *bytes, uint64_t *flags_out)
{
	uint64_t flags = 0;

	if (bytes->len < FLAGS_BYTES) {
		return false;
	}
	for (unsigned i = 0; i < FLAGS_BYTES; i++) {
		flags |= (uint64_t)(unsigned char)bytes->ptr[i] << 8 * i;
	}
	*bytes = span_from(*bytes, FLAGS_BYTES);
	*flags_out = flags;
	return true;
}

static enum gp_status take_run(struct span *bytes, struct api_state *state, uint64_t *words, size_t *n_words,
			       uint64_t *n_left)
{
	uint64_t at, flags, n;

	if (!take_varint(bytes, &at) || at > *n_words || at == MAX_DICTIONARY) {
		return GP_INVALID;
	}
	if (at == *n_words) {
		if (!take_flags(bytes, &flags) || find_word(words, *n_words, flags) != *n_words) {
			return GP_INVALID;
		}
		words[(*n_words)++] = flags;
	}
	bool is_same = state->n_runs > 0 && state->runs[state->n_runs - 1].flags == words[at];
	if (is_same || !take_varint(bytes, &n) || n >= *n_left) {
		return GP_INVALID;
	}
	*n_left -= n + 1;
	return api_state_add_run(state, words[at], n + 1);
}

static enum gp_status take_runs(struct span *bytes, struct api_state *state)
{
	uint64_t n_left = imap_uidset_count(&state->uids);
	enum gp_status status = GP_OK;
	size_t n_words = 0;
	uint64_t *words = malloc(MAX_DICTIONARY * sizeof *words);

	if (!words) {
		return GP_NO_MEMORY;
	}
	while (n_left > 0 && status == GP_OK) {
		status = take_run(bytes, state, words, &n_words, &n_left);
	}
	free(words);
	return status;
}

/* What stands behind the '_'. */
static enum gp_status read_tail(struct span text, struct api_state *state)
{
	struct gp_buffer bytes;

	gp_buffer_init(&bytes, API_STATE_MAX);
	enum gp_status status = api_base64url_read(text, &bytes);
	struct span rest = gp_buffer_span(&bytes);
	if (status == GP_OK) {
		status = take_uids(&rest, &state->uids);
	}
	if (status == GP_OK && state->kind == API_STATE_FLAGS) {
		status = take_runs(&rest, state);
	}
	if (status == GP_OK && rest.len > 0) {
		status = GP_INVALID;
	}
	gp_buffer_deinit(&bytes);
	return status == GP_LIMIT ? GP_INVALID : status;
}

static bool read_detect(struct span text, struct api_state *state)
{
	uint64_t numbers[MAX_NUMBERS];
	size_t n;

	if (text.len < 18 || text.ptr[text.len - 17] != '.' ||
	    !span_hex_to_u64(span_from(text, text.len - 16), &state->digest) ||
	    !read_numbers(span_slice(text, 0, text.len - 17), numbers, &n) || n != 4 || numbers[0] == 0 ||
	    numbers[0] > UINT32_MAX || numbers[2] > UINT32_MAX) {
		return false;
	}
	state->kind = API_STATE_DETECT;
	state->uidvalidity = (uint32_t)numbers[0];
	state->pieces[0] = (struct api_state_piece){1, numbers[1]};
	state->n_pieces = 1;
	state->uidnext = (uint32_t)numbers[2];
	state->n_messages = numbers[3];
	return true;
}

static enum gp_status read_state(struct span text, struct api_state *state)
{
	uint64_t numbers[MAX_NUMBERS];
	size_t n = 0;
	char letter = text.ptr[0];

	text = span_from(text, 1);
	if (letter == 'd') {
		return read_detect(text, state) ? GP_OK : GP_INVALID;
	}
	ptrdiff_t bar = span_find_char(text, '_');
	struct span head = bar < 0 ? text : span_slice(text, 0, (size_t)bar);
	if ((letter == 'q') != (bar < 0) || !read_numbers(head, numbers, &n)) {
		return GP_INVALID;
	}
	if (letter == 'q' || letter == 'c') {
		state->kind = letter == 'q' ? API_STATE_QRESYNC : API_STATE_CONDSTORE;
		if (!read_pieces(state, numbers, n) || (letter == 'q' && state->uidnext == 0)) {
			return GP_INVALID;
		}
	} else if (letter == 'f' && n == 2 && numbers[0] > 0 && numbers[0] <= UINT32_MAX && numbers[1] <= UINT32_MAX) {
		state->kind = API_STATE_FLAGS;
		state->uidvalidity = (uint32_t)numbers[0];
		state->uidnext = (uint32_t)numbers[1];
		state->pieces[0] = (struct api_state_piece){1, 0};
		state->n_pieces = 1;
	} else {
		return GP_INVALID;
	}
	return bar < 0 ? GP_OK : read_tail(span_from(text, (size_t)bar + 1), state);
}

enum gp_status api_state_parse(struct span text, struct api_state *state_out)
{
	struct api_state state;

	api_state_init(&state);
	if (text.len == 0 || text.len > API_STATE_MAX) {
		return GP_INVALID;
	}
	enum gp_status status = read_state(text, &state);
	if (status != GP_OK) {
		api_state_deinit(&state);
		return status;
	}
	api_state_deinit(state_out);
	*state_out = state;
	return GP_OK;
}
