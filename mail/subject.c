/* mail_base_subject(): RFC 5256 section 2.1. */
#include <glib.h>

#include "base/limits.h"
#include "base/utf8.h"
#include "mail/header.h"

/* A subject is compared, not shown: beyond this two are the same. */
#define MAX_SUBJECT (8 * GP_KIB)

static struct span skip_blanks(struct span s)
{
	while (s.len > 0 && s.ptr[0] == ' ') {
		s = span_from(s, 1);
	}
	return s;
}

/* subj-blob = "[" *BLOBCHAR "]" *WSP; what is behind it. */
static bool skip_blob(struct span s, struct span *rest_out)
{
	if (s.len == 0 || s.ptr[0] != '[') {
		return false;
	}
	for (size_t i = 1; i < s.len && s.ptr[i] != '['; i++) {
		if (s.ptr[i] == ']') {
			*rest_out = skip_blanks(span_from(s, i + 1));
			return true;
		}
	}
	return false;
}

/* subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":" */
static bool skip_refwd(struct span s, struct span *rest_out)
{
	size_t len = span_starts_with(s, "re") ? 2 : span_starts_with(s, "fwd") ? 3 : span_starts_with(s, "fw") ? 2 : 0;

	if (len == 0) {
		return false;
	}
	s = skip_blanks(span_from(s, len));
	skip_blob(s, &s);
	if (s.len == 0 || s.ptr[0] != ':') {
		return false;
	}
	*rest_out = span_from(s, 1);
	return true;
}

/* Steps 3 to 5: leaders, and blobs while something is left behind them. Looks at
 * each run of blobs once: it goes whole before "re:", else down to what is behind
 * it, or to its last blob. */
static struct span without_leaders(struct span s)
{
	for (;;) {
		s = skip_blanks(s);
		struct span last = s;
		struct span rest = s;
		struct span behind;
		while (skip_blob(rest, &behind)) {
			last = rest;
			rest = behind;
		}
		if (skip_refwd(rest, &behind)) {
			s = behind;
			continue;
		}
		return rest.len > 0 ? rest : last;
	}
}

static struct span without_trailers(struct span s)
{
	for (;;) {
		s = span_trim(s);
		if (s.len < 5 || !span_equal_text(span_from(s, s.len - 5), "(fwd)")) {
			return s;
		}
		s.len -= 5;
	}
}

static struct span base_subject(struct span s)
{
	for (;;) {
		s = without_trailers(without_leaders(without_trailers(s)));
		if (!span_starts_with(s, "[fwd:") || s.ptr[s.len - 1] != ']') {
			return s;
		}
		s = span_slice(s, 5, s.len - 6);
	}
}

enum gp_status mail_base_subject(struct span utf8, struct gp_buffer *out)
{
	struct gp_buffer text;
	enum gp_status status = GP_OK;
	bool was_blank = false;

	gp_buffer_init(&text, 4 * MAX_SUBJECT);
	utf8 = span_slice(utf8, 0, MAX_SUBJECT);
	utf8.len = utf8_valid_prefix(utf8);
	while (status == GP_OK && utf8.len > 0) {
		uint32_t c;
		char encoded[4];
		size_t len = utf8_decode(utf8, &c);
		bool is_blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';
		if (!is_blank) {
			status =
				gp_buffer_append(&text, span_make(encoded, utf8_encode(g_unichar_tolower(c), encoded)));
		} else if (!was_blank) {
			status = gp_buffer_append_char(&text, ' ');
		}
		was_blank = is_blank;
		utf8 = span_from(utf8, len);
	}
	if (status == GP_OK) {
		status = gp_buffer_append(out, base_subject(gp_buffer_span(&text)));
	}
	gp_buffer_deinit(&text);
	return status;
}
