/* The whole parser: whole and in pieces gives the same responses. */
#include "imap/parser.h"
#include "tests/fuzz/digest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static uint64_t feed(struct span stream, size_t piece_len)
{
	struct imap_parser *parser = imap_parser_new();
	uint64_t digest = 0;
	bool is_lost = false;

	while (stream.len > 0 && !is_lost) {
		/* a copy of its own, so that one byte too far is seen */
		struct span piece = span_slice(stream, 0, piece_len);
		char *copy = malloc(piece.len);
		if (!copy) {
			abort();
		}
		memcpy(copy, piece.ptr, piece.len);
		struct span input = span_make(copy, piece.len);
		for (;;) {
			const struct imap_response *response;
			enum imap_parser_result result = imap_parser_next(parser, &input, &response, NULL);
			is_lost = result == IMAP_PARSER_ERROR;
			if (result != IMAP_PARSER_RESPONSE) {
				break;
			}
			digest_response(&digest, response);
		}
		free(copy);
		stream = span_from(stream, piece.len);
	}
	imap_parser_free(&parser);
	return digest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct span stream = span_make((const char *)data, len);
	uint64_t whole = feed(stream, SIZE_MAX);

	if (feed(stream, 1) != whole || feed(stream, 7) != whole) {
		abort();
	}
	return 0;
}
