/* The ENVELOPE of a row, without the row. */
#include "base/limits.h"
#include "imap/parse.h"
#include "tests/fuzz/digest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct gp_arena arena;
	struct imap_lexer lexer;
	uint64_t digest = 0;

	gp_arena_init(&arena, GP_MAX_IMAP_PARSE_ARENA);
	imap_lexer_init(&lexer, span_make((const char *)data, len), &arena);
	const struct imap_envelope *envelope = imap_parse_envelope(&lexer);
	if (envelope) {
		digest_envelope(&digest, envelope);
	}
	if (lexer.at > lexer.end || lexer.is_out_of_memory || lexer.is_inside_structure) {
		abort();
	}
	gp_arena_deinit(&arena);
	return 0;
}
