/* What can be decoded is what encoding would have written, and the other way round. */
#include <stdlib.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "imap/utf7.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct span in = span_make((const char *)data, len);
	struct gp_buffer out, back;

	gp_buffer_init(&out, GP_MIB);
	gp_buffer_init(&back, GP_MIB);
	if (imap_utf7_decode(in, &out) == GP_OK) {
		if (!utf8_is_valid(gp_buffer_span(&out)) || imap_utf7_encode(gp_buffer_span(&out), &back) != GP_OK ||
		    !span_equal(gp_buffer_span(&back), in)) {
			abort();
		}
	} else if (out.len != 0) {
		abort();
	}
	gp_buffer_truncate(&out, 0);
	gp_buffer_truncate(&back, 0);
	if (imap_utf7_encode(in, &out) == GP_OK) {
		if (imap_utf7_decode(gp_buffer_span(&out), &back) != GP_OK || !span_equal(gp_buffer_span(&back), in)) {
			abort();
		}
	} else if (utf8_is_valid(in) && span_find_char(in, '\0') < 0) {
		abort();
	}
	gp_buffer_deinit(&out);
	gp_buffer_deinit(&back);
	return 0;
}
