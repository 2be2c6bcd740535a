/*
 * A command of arguments that the input chooses: whatever they are, a strict server
 * sees one command with as many arguments, and in each string the bytes that were
 * given, or the writer has refused.
 */
#include <stdlib.h>

#include "imap/writer.h"
#include "tests/unit/strict_command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MAX_EXPECTED 16

struct expected {
	struct span items[MAX_EXPECTED]; /* borrow; NIL where the bytes are not compared */
	size_t n_items;
};

static bool is_unescaped(struct span written, struct span text)
{
	size_t at = 0;

	for (size_t i = 0; i < written.len; i++, at++) {
		if (written.ptr[i] == '\\' && i + 1 < written.len) {
			i++;
		}
		if (at >= text.len || written.ptr[i] != text.ptr[at]) {
			return false;
		}
	}
	return at == text.len;
}

static void expect(struct expected *expected, struct span text)
{
	expected->items[expected->n_items++] = text;
}

static void write_search(struct imap_writer *writer, struct expected *expected, struct span text)
{
	const struct imap_search_term terms[] = {{.kind = IMAP_SEARCH_NOT},
						 {.kind = IMAP_SEARCH_AND, .number = 1},
						 {.kind = IMAP_SEARCH_HEADER, .name = SPAN_LIT("A"), .text = text}};

	imap_writer_search(writer, &(struct imap_search){terms, 3});
	expect(expected, SPAN_NIL);
	expect(expected, SPAN_NIL);
	expect(expected, SPAN_NIL);
	expect(expected, text);
}

static void write_argument(struct imap_writer *writer, struct expected *expected, unsigned kind, struct span text)
{
	switch (kind % 8) {
	case 0:
		imap_writer_astring(writer, text);
		expect(expected, text);
		break;
	case 1:
		imap_writer_string(writer, text);
		expect(expected, text);
		break;
	case 2:
		imap_writer_mailbox(writer, text);
		expect(expected, SPAN_NIL);
		break;
	case 3:
		imap_writer_flags(writer, &text, 1);
		expect(expected, text);
		break;
	case 4:
		write_search(writer, expected, text);
		break;
	case 5:
		imap_writer_list_pattern(writer, text);
		expect(expected, SPAN_NIL);
		break;
	case 6:
		imap_writer_base64(writer, text);
		expect(expected, SPAN_NIL);
		break;
	default:
		imap_writer_nstring(writer, text);
		expect(expected, text);
		break;
	}
}

static void check(const struct imap_writer *writer, const struct expected *expected)
{
	struct strict_command command = strict_command_parse(gp_buffer_span(&writer->bytes));

	if (!command.is_valid || command.n_commands != 1 || command.n_arguments != expected->n_items) {
		abort();
	}
	for (size_t i = 0; i < expected->n_items; i++) {
		struct span text = expected->items[i];
		if (!span_is_nil(text) && !span_equal(command.arguments[i], text) &&
		    !is_unescaped(command.arguments[i], text)) {
			abort();
		}
	}
	for (size_t i = 0; i < writer->n_sync_points; i++) {
		size_t at = writer->sync_points[i];
		if (at < 3 || memcmp(writer->bytes.data + at - 3, "}\r\n", 3) != 0 ||
		    writer->literals == IMAP_LITERAL_PLUS) {
			abort();
		}
	}
	if (writer->literals == IMAP_LITERAL_SYNC && writer->n_sync_points != command.n_literals) {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct span in = span_make((const char *)data, len);
	struct imap_writer writer;
	struct expected expected = {.n_items = 0};

	if (in.len < 1) {
		return 0;
	}
	unsigned mode = (unsigned char)in.ptr[0];
	in = span_from(in, 1);
	imap_writer_init(&writer,
			 mode % 3 == 0   ? IMAP_LITERAL_SYNC
			 : mode % 3 == 1 ? IMAP_LITERAL_MINUS
					 : IMAP_LITERAL_PLUS,
			 mode & 0x80);
	imap_writer_command(&writer, "A1", "X");
	expect(&expected, SPAN_LIT("A1"));
	expect(&expected, SPAN_LIT("X"));
	/* kind, length, bytes */
	while (in.len >= 2 && expected.n_items + 4 <= MAX_EXPECTED) {
		unsigned kind = (unsigned char)in.ptr[0];
		size_t text_len = (unsigned char)in.ptr[1] * (kind & 0x80 ? 32u : 1u);
		struct span text = span_slice(in, 2, text_len);
		write_argument(&writer, &expected, kind, text);
		in = span_from(in, 2 + text.len);
	}
	if (imap_writer_finish(&writer) == GP_OK) {
		check(&writer, &expected);
	}
	imap_writer_deinit(&writer);
	return 0;
}
