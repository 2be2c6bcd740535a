/* An mbox file, whole and in pieces: the same messages and dates, none over the cap, no
 * more bytes than there were. The first byte says how it is cut, the second the cap. */
#include <stdlib.h>

#include "api/mbox_reader.h"
#include "base/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct told {
	struct gp_buffer text;
	size_t n_messages, n_lines;
	bool is_one;
};

static void require(bool condition)
{
	if (!condition) {
		abort();
	}
}

static void note_message(struct told *told, struct mbox_reader *reader, size_t cap)
{
	struct span message = gp_buffer_span(&reader->message);

	require(message.len <= cap);
	told->n_messages++;
	for (size_t i = 0; i < message.len; i++) {
		/* every line ends in CRLF */
		require(message.ptr[i] != '\n' || (i > 0 && message.ptr[i - 1] == '\r'));
		told->n_lines += message.ptr[i] == '\n';
	}
	require(gp_buffer_printf(&told->text, "[%d %lld %d ", reader->has_date,
				 reader->has_date ? (long long)reader->date : 0, reader->is_too_long) == GP_OK);
	if (!reader->is_too_long) {
		require(gp_buffer_append(&told->text, message) == GP_OK);
	}
	require(gp_buffer_append_char(&told->text, ']') == GP_OK);
	mbox_reader_next(reader);
}

/* Feeds one piece, or the end; false: nothing more is read. */
static bool read_piece(struct mbox_reader *reader, struct span piece, bool is_end, size_t cap, struct told *told)
{
	enum mbox_result result;
	/* a copy of its own, so that one byte too far is seen */
	char *copy = malloc(piece.len + 1);

	require(copy != NULL);
	memcpy(copy, piece.len > 0 ? piece.ptr : "", piece.len);
	struct span rest = span_make(copy, piece.len);
	do {
		result = is_end ? mbox_reader_end(reader) : mbox_reader_feed(reader, &rest);
		if (result == MBOX_MESSAGE) {
			note_message(told, reader, cap);
		}
	} while (result == MBOX_MESSAGE);
	require(result != MBOX_NO_MEMORY && (result != MBOX_NEED_MORE || rest.len == 0));
	free(copy);
	return result != MBOX_NOT_ONE;
}

static void read_all(struct span file, size_t step, size_t cap, struct told *told)
{
	struct mbox_reader reader;
	struct span rest = file;

	mbox_reader_init(&reader, cap);
	gp_buffer_init(&told->text, 64 * GP_MIB);
	told->is_one = true;
	while (rest.len > 0 && told->is_one) {
		told->is_one = read_piece(&reader, span_slice(rest, 0, step), false, cap, told);
		rest = span_from(rest, step);
	}
	told->is_one = told->is_one && read_piece(&reader, SPAN_NIL, true, cap, told);
	mbox_reader_deinit(&reader);
	/* a line break may become two bytes, and ">" goes */
	require(told->text.len <= 2 * file.len + 64 * (told->n_messages + 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct told whole = {.n_messages = 0}, pieces = {.n_messages = 0}, bytes = {.n_messages = 0};

	if (size < 2) {
		return 0;
	}
	struct span file = span_make((const char *)data + 2, size - 2);
	size_t cap = data[1] == 0 ? GP_MIB : (size_t)data[1] * 4;
	read_all(file, file.len + 1, cap, &whole);
	read_all(file, (size_t)data[0] + 2, cap, &pieces);
	read_all(file, 1, cap, &bytes);
	require(whole.is_one == pieces.is_one && whole.is_one == bytes.is_one);
	require(span_equal(gp_buffer_span(&whole.text), gp_buffer_span(&pieces.text)));
	require(span_equal(gp_buffer_span(&whole.text), gp_buffer_span(&bytes.text)));
	gp_buffer_deinit(&whole.text);
	gp_buffer_deinit(&pieces.text);
	gp_buffer_deinit(&bytes.text);

	int64_t date;
	(void)mbox_parse_from(file, &date);
	return 0;
}
