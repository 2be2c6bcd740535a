#include "imap/parse.h"

/* The offset of the bracket that ends the code at the start of `text`, or -1. Quoted
 * strings and parentheses may hold brackets of their own. */
static ptrdiff_t find_end_by_grammar(struct span text)
{
	size_t brackets = 0;
	size_t parens = 0;
	bool is_quoted = false;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (is_quoted) {
			i += c == '\\';
			is_quoted = c != '"';
		} else if (c == '"') {
			is_quoted = true;
		} else if (c == '(') {
			parens++;
		} else if (c == ')') {
			parens -= parens > 0;
		} else if (parens == 0 && c == '[') {
			brackets++;
		} else if (parens == 0 && c == ']' && --brackets == 0) {
			return (ptrdiff_t)i;
		}
	}
	return -1;
}

static ptrdiff_t find_end_by_brackets(struct span text)
{
	size_t brackets = 0;

	for (size_t i = 0; i < text.len; i++) {
		brackets += text.ptr[i] == '[';
		if (text.ptr[i] == ']' && --brackets == 0) {
			return (ptrdiff_t)i;
		}
	}
	return -1;
}

/* Strict first, then with what is unbalanced inside. */
static ptrdiff_t find_end(struct span text)
{
	ptrdiff_t end = find_end_by_grammar(text);

	if (end < 0) {
		end = find_end_by_brackets(text);
	}
	return end < 0 ? span_find_char(text, ']') : end;
}

void imap_parse_text(struct imap_parse *parse)
{
	struct span text = imap_lexer_rest(&parse->lexer);

	if (span_starts_with(text, "[")) {
		ptrdiff_t end = find_end(text);
		if (end > 0) {
			imap_parse_code(parse, span_slice(text, 1, (size_t)end - 1));
			text = span_from(text, (size_t)end + 1);
			while (text.len > 0 && text.ptr[0] == ' ') {
				text = span_from(text, 1);
			}
		}
	}
	parse->response.text = text;
}

/* One set out of a code; NULL when it is empty or cannot be read. */
static const struct imap_uidset *parse_set(struct imap_parse *parse, struct imap_uidset *set, struct span text)
{
	set->n_ranges = 0;
	enum gp_status status = imap_uidset_parse(set, text);
	parse->lexer.is_out_of_memory |= status == GP_NO_MEMORY;
	return status == GP_OK && !imap_uidset_is_empty(set) ? set : NULL;
}

static void parse_code_value(struct imap_parse *parse)
{
	static const char *const numbers[] = {"UIDNEXT", "UIDVALIDITY", "UNSEEN", "HIGHESTMODSEQ", "APPENDLIMIT"};
	struct imap_code *code = &parse->response.code;
	struct imap_lexer lexer;

	imap_lexer_init(&lexer, code->value, &parse->arena);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		if (span_equal_text_nocase(code->name, numbers[i])) {
			(void)span_to_u64(imap_lexer_word(&lexer), &code->number);
			return;
		}
	}
	if (span_equal_text_nocase(code->name, "MODIFIED")) {
		code->uids = parse_set(parse, &parse->code_uids, imap_lexer_word(&lexer));
	} else if (span_equal_text_nocase(code->name, "APPENDUID")) {
		(void)span_to_u64(imap_lexer_word(&lexer), &code->number);
		code->uids = parse_set(parse, &parse->code_uids, imap_lexer_word(&lexer));
	} else if (span_equal_text_nocase(code->name, "COPYUID")) {
		(void)span_to_u64(imap_lexer_word(&lexer), &code->number);
		code->source_uids = parse_set(parse, &parse->code_source, imap_lexer_word(&lexer));
		code->uids = parse_set(parse, &parse->code_uids, imap_lexer_word(&lexer));
	}
}

void imap_parse_code(struct imap_parse *parse, struct span text)
{
	struct imap_code *code = &parse->response.code;

	text = span_trim(text);
	if (text.len == 0) {
		return;
	}
	size_t len = 0;
	while (len < text.len && text.ptr[len] != ' ') {
		len++;
	}
	code->name = span_slice(text, 0, len);
	code->value = span_trim(span_from(text, len));
	parse_code_value(parse);
}
