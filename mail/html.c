#include "mail/html.h"

#include "base/limits.h"
#include "base/utf8.h"
#include "mail/entities.h"

#define MAX_LINE (4 * GP_KIB)
#define PIECE 64 /* bytes of text taken at once */

struct html {
	mail_html_line_fn fn;
	void *ctx;             /* borrow */
	struct gp_buffer line; /* own */
	enum gp_status status;
	unsigned quote_depth;
	unsigned pre_depth;
	bool is_head;
	bool is_enough;
};

static bool is_one_of(struct span name, const char *const *names, size_t n_names)
{
	for (size_t i = 0; i < n_names; i++) {
		if (span_equal_text_nocase(name, names[i])) {
			return true;
		}
	}
	return false;
}

#define IS_ONE_OF(name, names) is_one_of((name), (names), sizeof(names) / sizeof((names)[0]))

static void end_line(struct html *html)
{
	if (!html->is_enough && !html->fn(html->ctx, gp_buffer_span(&html->line), html->quote_depth > 0)) {
		html->is_enough = true;
	}
	gp_buffer_truncate(&html->line, 0);
}

static void put_text(struct html *html, struct span text)
{
	if (html->is_head) {
		return;
	}
	if (html->line.len + text.len > MAX_LINE) {
		end_line(html);
	}
	if (html->status == GP_OK) {
		html->status = gp_buffer_append(&html->line, text);
	}
}

/* The length of the tag at the start of `s`, up to ">" and not one in an attribute's
 * quotes; all of `s` when it does not end. */
static size_t tag_len(struct span s)
{
	char quote = '\0';
	char before = '\0'; /* the last character that is not white space */

	for (size_t i = 1; i < s.len; i++) {
		char c = s.ptr[i];
		if (quote) {
			quote = c == quote ? '\0' : quote;
		} else if (c == '>') {
			return i + 1;
		} else if ((c == '"' || c == '\'') && before == '=') {
			quote = c;
		}
		if ((unsigned char)c > ' ') {
			before = c;
		}
	}
	return s.len;
}

/* What is not shown from "<style>" on: up to and without "</style". */
static size_t raw_text_len(struct span s, struct span name)
{
	size_t at = 0;

	for (;;) {
		ptrdiff_t end = span_find(span_from(s, at), SPAN_LIT("</"));
		if (end < 0) {
			return s.len;
		}
		at += (size_t)end;
		if (span_equal_nocase(span_slice(s, at + 2, name.len), name)) {
			return at;
		}
		at += 2;
	}
}

static void count_depth(unsigned *depth, bool is_end)
{
	if (!is_end) {
		*depth += *depth < 1000;
	} else if (*depth > 0) {
		--*depth;
	}
}

/* A start or end tag; how much of `s` it takes, with what it hides. */
static size_t take_tag(struct html *html, struct span s, bool is_end)
{
	static const char *const raw[] = {"style",  "script",  "title",    "xmp",
					  "iframe", "noembed", "noframes", "template"};
	static const char *const of_head[] = {"meta",  "link",     "base",   "style", "script",
					      "title", "noscript", "object", "head"};
	static const char *const in_line[] = {
		"a",     "abbr", "acronym", "b",      "bdi", "bdo",   "big",  "cite", "code", "del", "dfn", "em",
		"font",  "i",    "img",     "ins",    "kbd", "label", "mark", "nobr", "o:p",  "q",   "s",   "samp",
		"small", "span", "strike",  "strong", "sub", "sup",   "time", "tt",   "u",    "var", "wbr",
	};
	size_t from = is_end ? 2 : 1;
	size_t to = from;

	while (to < s.len && (unsigned char)s.ptr[to] > ' ' && s.ptr[to] != '>' && s.ptr[to] != '/') {
		to++;
	}
	struct span name = span_slice(s, from, to - from);
	size_t len = tag_len(s);

	if (span_equal_text_nocase(name, "head")) {
		html->is_head = !is_end;
	} else if (!is_end && html->is_head && !IS_ONE_OF(name, of_head)) {
		html->is_head = false;
	}
	if (IS_ONE_OF(name, raw)) {
		return is_end ? len : len + raw_text_len(span_from(s, len), name);
	}
	if (!IS_ONE_OF(name, in_line)) {
		end_line(html);
	}
	if (span_equal_text_nocase(name, "blockquote")) {
		count_depth(&html->quote_depth, is_end);
	} else if (span_equal_text_nocase(name, "pre")) {
		count_depth(&html->pre_depth, is_end);
	}
	return len;
}

/* "<!--…-->", "<!doctype …>", "<?xml …>": up to the end, or all of `s`. */
static size_t declaration_len(struct span s)
{
	bool is_comment = span_starts_with(s, "<!--");

	if (span_starts_with(s, "<!-->")) {
		return 5;
	}
	ptrdiff_t end = is_comment ? span_find(span_from(s, 4), SPAN_LIT("-->")) : span_find_char(s, '>');
	return end < 0 ? s.len : (size_t)end + (is_comment ? 7 : 1);
}

static bool is_letter(char c)
{
	return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

static size_t take_markup(struct html *html, struct span s)
{
	char next = s.len > 1 ? s.ptr[1] : '\0';

	if (next == '!' || next == '?') {
		return declaration_len(s);
	}
	if (is_letter(next)) {
		return take_tag(html, s, false);
	}
	if (next == '/' && s.len > 2 && is_letter(s.ptr[2])) {
		return take_tag(html, s, true);
	}
	put_text(html, span_slice(s, 0, 1));
	return 1;
}

static size_t take_reference(struct html *html, struct span s)
{
	uint32_t c;
	char encoded[4];
	size_t len = mail_entity_decode(s, &c);

	if (len == 0) {
		put_text(html, span_slice(s, 0, 1));
		return 1;
	}
	put_text(html, span_make(encoded, utf8_encode(c, encoded)));
	return len;
}

enum gp_status mail_html_lines(struct span utf8, mail_html_line_fn line, void *ctx)
{
	struct html html = {.fn = line, .ctx = ctx, .status = GP_OK};
	struct span s = utf8;

	gp_buffer_init(&html.line, MAX_LINE);
	while (s.len > 0 && !html.is_enough && html.status == GP_OK) {
		size_t len = 0;
		while (len < s.len && s.ptr[len] != '<' && s.ptr[len] != '&' && s.ptr[len] != '\n' && len < PIECE) {
			len++;
		}
		/* a character is not taken apart */
		while (len > 0 && len < s.len && ((unsigned char)s.ptr[len] & 0xC0) == 0x80) {
			len--;
		}
		if (len > 0) {
			put_text(&html, span_slice(s, 0, len));
		} else if (s.ptr[0] == '<') {
			len = take_markup(&html, s);
		} else if (s.ptr[0] == '&') {
			len = take_reference(&html, s);
		} else {
			len = 1;
			if (html.pre_depth > 0) {
				end_line(&html);
			} else {
				put_text(&html, SPAN_LIT(" "));
			}
		}
		s = span_from(s, len);
	}
	end_line(&html);
	gp_buffer_deinit(&html.line);
	return html.status;
}
