/* mail_preview(): lines of text, from plain text or from HTML, of which the first
 * that say something are kept. One pass, and a second one only for a message that
 * is nothing but quotes. */
#include "base/limits.h"
#include "base/utf8.h"
#include "mail/html.h"
#include "mail/text.h"

/* What is behind this has no say in a preview. */
#define MAX_LOOK GP_MIB
#define MAX_ATTRIBUTION 600 /* bytes of "On … wrote:" */

struct preview {
	struct gp_buffer *out; /* borrow */
	enum gp_status status;
	size_t n_chars;
	bool is_spaced;        /* white space is due before the next character */
	bool is_done;          /* full, or the signature has begun */
	bool leaves_quotes;    /* quotes and the signature are left out */
	struct gp_buffer held; /* own: lines that are left out if a quote follows */
};

/* ---- characters ---- */

static bool is_space(uint32_t c)
{
	return c <= 0x20 || c == 0x7F || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
	       c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/* What senders stuff the preview with so that no text follows: it has no width. The
 * joiners have a meaning between letters and none next to white space. */
static bool is_invisible(const struct preview *p, uint32_t c)
{
	bool is_joiner = c == 0x200C || c == 0x200D;

	return c == 0xAD || c == 0x34F || c == 0x180E || c == 0x200B || c == 0x2060 || c == 0xFEFF ||
	       (is_joiner && (p->is_spaced || p->n_chars == 0));
}

static void put_text(struct preview *p, struct span text)
{
	while (text.len > 0 && !p->is_done && p->status == GP_OK) {
		uint32_t c;
		size_t len = utf8_decode(text, &c);
		if (len == 0) {
			break;
		}
		if (is_space(c)) {
			p->is_spaced = p->n_chars > 0;
		} else if (!is_invisible(p, c)) {
			if (p->n_chars + p->is_spaced >= MAIL_PREVIEW_CHARS) {
				p->is_done = true;
				break;
			}
			if (p->is_spaced) {
				p->status = gp_buffer_append_char(p->out, ' ');
			}
			if (p->status == GP_OK) {
				p->status = gp_buffer_append(p->out, span_slice(text, 0, len));
			}
			p->n_chars += 1 + p->is_spaced;
			p->is_spaced = false;
		}
		text = span_from(text, len);
	}
	p->is_spaced = p->n_chars > 0;
}

/* ---- lines ---- */

/* "On … wrote:" in the languages most often met; -1 none, 0 its beginning, 1 all of it. */
static int attribution(struct span text)
{
	static const struct {
		const char *first, *last;
	} phrases[] = {
		{"On ", "wrote"},    {"Am ", "schrieb"}, {"Le ", "crit"},   {"El ", "escribi"},   {"Il ", "scritto"},
		{"Em ", "escreveu"}, {"Op ", "schreef"}, {"Den ", "skrev"}, {"W dniu ", "pisze"}, {"Dne ", "napsal"},
	};

	for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++) {
		if (span_starts_with(text, phrases[i].first)) {
			bool is_whole = text.ptr[text.len - 1] == ':' && span_find(text, span_of(phrases[i].last)) >= 0;
			return is_whole ? 1 : 0;
		}
	}
	return -1;
}

static void flush_held(struct preview *p)
{
	put_text(p, gp_buffer_span(&p->held));
	gp_buffer_truncate(&p->held, 0);
}

/* False when it would become longer than any attribution. */
static bool hold(struct preview *p, struct span line)
{
	if (p->held.len + line.len + 1 > MAX_ATTRIBUTION) {
		return false;
	}
	p->status = gp_buffer_append(&p->held, line);
	if (p->status == GP_OK) {
		p->status = gp_buffer_append_char(&p->held, '\n');
	}
	return true;
}

static void put_line(struct preview *p, struct span line, bool is_quoted, bool is_signature)
{
	struct span text = span_trim(line);

	if (text.len == 0 || p->status != GP_OK || p->is_done) {
		return;
	}
	if (!p->leaves_quotes) {
		put_text(p, line);
		return;
	}
	bool was_attribution = p->held.len > 0 && attribution(span_trim(gp_buffer_span(&p->held))) == 1;
	if (is_quoted || text.ptr[0] == '>') {
		if (was_attribution) {
			gp_buffer_truncate(&p->held, 0);
		}
		flush_held(p);
		return;
	}
	if (is_signature) {
		flush_held(p);
		p->is_done = true;
		return;
	}
	if (was_attribution) {
		flush_held(p);
	}
	if ((p->held.len > 0 || attribution(text) >= 0) && hold(p, text)) {
		return;
	}
	flush_held(p);
	put_text(p, line);
}

static void put_plain(struct preview *p, struct span text)
{
	while (text.len > 0 && !p->is_done && p->status == GP_OK) {
		ptrdiff_t lf = span_find_char(text, '\n');
		struct span line = span_slice(text, 0, lf < 0 ? text.len : (size_t)lf);
		text = span_from(text, line.len + 1);
		if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
			line.len--;
		}
		put_line(p, line, false, span_equal_text(line, "-- "));
	}
}

/* ---- HTML ---- */

static bool put_html_line(void *ctx, struct span line, bool is_quoted)
{
	struct preview *p = ctx;

	put_line(p, line, is_quoted, span_equal_text(span_trim(line), "--"));
	return !p->is_done && p->status == GP_OK;
}

static void put_html(struct preview *p, struct span s)
{
	enum gp_status status = mail_html_lines(s, put_html_line, p);

	if (p->status == GP_OK) {
		p->status = status;
	}
}

enum gp_status mail_preview(struct span utf8, bool is_html, struct gp_buffer *out)
{
	enum gp_status status = GP_OK;
	size_t before = out->len;

	utf8 = span_slice(utf8, 0, MAX_LOOK);
	for (int pass = 0; pass < 2 && status == GP_OK && out->len == before; pass++) {
		struct preview p = {.out = out, .status = GP_OK, .leaves_quotes = pass == 0};
		gp_buffer_init(&p.held, MAX_ATTRIBUTION);
		if (is_html) {
			put_html(&p, utf8);
		} else {
			put_plain(&p, utf8);
		}
		flush_held(&p);
		status = p.status;
		gp_buffer_deinit(&p.held);
	}
	return status;
}
