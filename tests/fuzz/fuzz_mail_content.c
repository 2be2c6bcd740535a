/* Content: a first line "<encoding><t or b><piece size> <charset>", then the bytes.
 * Fed whole and in pieces the result must be the same, and text valid UTF-8; it is
 * then read as a preview and rewritten as HTML. */
#include <stdlib.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "mail/content.h"
#include "mail/header.h"
#include "mail/text.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool is_true)
{
	if (!is_true) {
		abort();
	}
}

static bool decode(struct span how, struct span input, size_t step, struct gp_buffer *out)
{
	enum mail_encoding encoding = (enum mail_encoding)((unsigned char)how.ptr[0] & 3);
	struct span charset = how.len > 4 ? span_from(how, 4) : SPAN_NIL;
	struct mail_content *content = mail_content_new(encoding, how.ptr[1] == 't', charset);

	check(content != NULL);
	for (size_t at = 0; at < input.len; at += step) {
		check(mail_content_feed(content, span_slice(input, at, step), out) == GP_OK);
	}
	check(mail_content_finish(content, out) == GP_OK);
	bool has_problem = mail_content_has_problem(content);
	mail_content_free(&content);
	return has_problem;
}

static struct span resolve(void *ctx, struct span cid)
{
	(void)ctx;
	return cid.len % 2 ? SPAN_LIT("/part") : SPAN_NIL;
}

static void rewrite(struct span input, size_t step, struct gp_buffer *out)
{
	struct mail_cid_rewriter *rewriter = mail_cid_rewriter_new(resolve, NULL);

	check(rewriter != NULL);
	for (size_t at = 0; at < input.len; at += step) {
		check(mail_cid_rewriter_feed(rewriter, span_slice(input, at, step), out) == GP_OK);
	}
	check(mail_cid_rewriter_finish(rewriter, out) == GP_OK);
	mail_cid_rewriter_free(&rewriter);
}

static void fuzz_text(struct span text, size_t step)
{
	struct gp_buffer whole;
	struct gp_buffer pieces;

	gp_buffer_init(&whole, 64 * GP_MIB);
	gp_buffer_init(&pieces, 64 * GP_MIB);
	for (int is_html = 0; is_html < 2; is_html++) {
		check(mail_preview(text, is_html, &whole) == GP_OK);
		check(whole.len <= 4 * MAIL_PREVIEW_CHARS && utf8_is_valid(gp_buffer_span(&whole)));
		gp_buffer_truncate(&whole, 0);
	}
	rewrite(text, text.len + 1, &whole);
	rewrite(text, step, &pieces);
	check(span_equal(gp_buffer_span(&whole), gp_buffer_span(&pieces)));
	gp_buffer_deinit(&whole);
	gp_buffer_deinit(&pieces);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	mail_init();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span input = span_make((const char *)data, size);
	ptrdiff_t lf = span_find_char(input, '\n');
	struct gp_buffer whole;
	struct gp_buffer pieces;

	if (lf < 3) {
		return 0;
	}
	struct span how = span_slice(input, 0, (size_t)lf);
	size_t step = (unsigned char)how.ptr[2] % 16u + 1;
	input = span_from(input, (size_t)lf + 1);
	gp_buffer_init(&whole, 64 * GP_MIB);
	gp_buffer_init(&pieces, 64 * GP_MIB);
	bool has_problem = decode(how, input, input.len + 1, &whole);
	check(decode(how, input, step, &pieces) == has_problem);
	check(span_equal(gp_buffer_span(&whole), gp_buffer_span(&pieces)));
	if (how.ptr[1] == 't') {
		check(utf8_is_valid(gp_buffer_span(&whole)));
		check(span_find_char(gp_buffer_span(&whole), '\0') < 0);
		fuzz_text(gp_buffer_span(&whole), step);
	}
	gp_buffer_deinit(&whole);
	gp_buffer_deinit(&pieces);
	return 0;
}
