/* Responses begin and end at the same bytes however the stream is cut, and a literal
 * is found by the lexer's rule where framing found one. */
#include "imap/framing.h"
#include "imap/lexer.h"
#include "tests/fuzz/digest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A line feed stands behind an announcement or inside a literal. */
static void check_response(struct span text)
{
	while (text.len > 0) {
		uint64_t len;
		size_t announcement;
		if (text.ptr[0] == '\n') {
			abort();
		}
		if (imap_literal_announcement(text, &len, &announcement)) {
			text = span_from(text, announcement);
			text = span_from(text, len > text.len ? 0 : (size_t)len);
		} else {
			text = span_from(text, 1);
		}
	}
}

static uint64_t feed(struct span stream, size_t piece_len)
{
	struct imap_framing framing;
	uint64_t digest = 0;
	enum imap_parser_result result = IMAP_PARSER_NEED_MORE;

	imap_framing_init(&framing);
	while (stream.len > 0 && result != IMAP_PARSER_ERROR) {
		struct span input = span_slice(stream, 0, piece_len);
		struct span text;
		stream = span_from(stream, input.len);
		while ((result = imap_framing_next(&framing, &input, &text, NULL)) == IMAP_PARSER_RESPONSE) {
			check_response(text);
			digest_span(&digest, text);
		}
	}
	imap_framing_deinit(&framing);
	return digest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct span stream = span_make((const char *)data, len);
	uint64_t whole = feed(stream, SIZE_MAX);

	if (feed(stream, 1) != whole || feed(stream, 3) != whole) {
		abort();
	}
	return 0;
}
