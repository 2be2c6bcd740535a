#include "imap/lexer.h"

#include "base/limits.h"

void imap_lexer_init(struct imap_lexer *lexer, struct span response, struct gp_arena *arena)
{
	*lexer = (struct imap_lexer){.at = response.ptr, .end = response.ptr + response.len, .arena = arena};
}

void *imap_lexer_alloc(struct imap_lexer *lexer, size_t n, size_t item_size)
{
	void *items = gp_arena_array(lexer->arena, n, item_size);

	if (!items && n <= (lexer->arena->cap - lexer->arena->used) / item_size) {
		lexer->is_out_of_memory = true;
	}
	return items;
}

void *imap_lexer_grow(struct imap_lexer *lexer, void *items, size_t n, size_t *size, size_t item_size)
{
	if (n < *size) {
		return items;
	}
	size_t wanted = *size ? *size * 2 : 4;
	void *grown = imap_lexer_alloc(lexer, wanted, item_size);
	if (grown) {
		if (n > 0) {
			memcpy(grown, items, n * item_size);
		}
		*size = wanted;
	}
	return grown;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

/* Bytes that mean something inside of an atom, and inside of a quoted string; all others
 * are passed over at one look. */
enum { IN_ATOM = 1, IN_QUOTED = 2 };

static const unsigned char meanings[256] = {
	[' '] = IN_ATOM,
	['\t'] = IN_ATOM,
	['('] = IN_ATOM,
	[')'] = IN_ATOM,
	['"'] = IN_ATOM | IN_QUOTED,
	['{'] = IN_ATOM | IN_QUOTED,
	['\\'] = IN_QUOTED,
};

static const char *pass_over(const char *at, const char *end, unsigned char meaning)
{
	while (at < end && !(meanings[(unsigned char)*at] & meaning)) {
		at++;
	}
	return at;
}

static size_t left(const struct imap_lexer *lexer)
{
	return (size_t)(lexer->end - lexer->at);
}

void imap_lexer_skip_spaces(struct imap_lexer *lexer)
{
	while (lexer->at < lexer->end && is_space(*lexer->at)) {
		lexer->at++;
	}
}

bool imap_literal_announcement(struct span text, uint64_t *len_out, size_t *announcement_len_out)
{
	size_t at = 1;

	if (text.len < 4 || text.ptr[0] != '{') {
		return false;
	}
	while (at < text.len && text.ptr[at] >= '0' && text.ptr[at] <= '9') {
		at++;
	}
	struct span digits = span_make(text.ptr + 1, at - 1);
	if (at < text.len && text.ptr[at] == '+') {
		at++;
	}
	if (at >= text.len || text.ptr[at] != '}') {
		return false;
	}
	at++;
	while (at < text.len && text.ptr[at] == '\r') {
		at++;
	}
	if (at >= text.len || text.ptr[at] != '\n' || !span_to_u64(digits, len_out)) {
		return false;
	}
	*announcement_len_out = at + 1;
	return true;
}

static bool is_literal_at(const struct imap_lexer *lexer, const char *at)
{
	uint64_t len;
	size_t announcement;

	return *at == '{' && imap_literal_announcement(span_make(at, (size_t)(lexer->end - at)), &len, &announcement);
}

enum imap_token_kind imap_lexer_peek(struct imap_lexer *lexer)
{
	imap_lexer_skip_spaces(lexer);
	if (lexer->at >= lexer->end) {
		return IMAP_TOKEN_END;
	}
	switch (*lexer->at) {
	case '(':
		return IMAP_TOKEN_OPEN;
	case ')':
		return IMAP_TOKEN_CLOSE;
	case '"':
		return IMAP_TOKEN_STRING;
	case '{':
		return is_literal_at(lexer, lexer->at) ? IMAP_TOKEN_STRING : IMAP_TOKEN_ATOM;
	case '~':
		return left(lexer) > 1 && is_literal_at(lexer, lexer->at + 1) ? IMAP_TOKEN_STRING : IMAP_TOKEN_ATOM;
	default:
		return IMAP_TOKEN_ATOM;
	}
}

/* Whether `text` begins with one of the bare words that may follow a string. */
static bool starts_with_known_word(struct span text)
{
	static const char *const words[] = {"NIL", "base64", "binary", "quoted-printable"};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		size_t len = strlen(words[i]);
		if (span_starts_with_nocase(text, words[i]) &&
		    (text.len == len || text.ptr[len] == ' ' || text.ptr[len] == ')' || text.ptr[len] == '(' ||
		     text.ptr[len] == '"')) {
			return true;
		}
	}
	return false;
}

static bool may_follow_string(struct span text)
{
	if (text.len == 0) {
		return true;
	}
	char c = text.ptr[0];
	return c == '(' || c == ')' || c == '"' || c == '{' || c == '~' || c == '-' || (c >= '0' && c <= '9') ||
	       starts_with_known_word(text);
}

/* Whether the quote at `quote` ends its string, or is one that the server forgot to
 * escape. Looks a bounded way ahead. */
static bool is_closing_quote(const struct imap_lexer *lexer, const char *quote)
{
	struct span after = span_make(quote + 1, (size_t)(lexer->end - quote) - 1);

	if (!lexer->is_inside_structure || after.len == 0) {
		return true;
	}
	if (after.ptr[0] == '"') {
		/* "say "hi"": the second of two is the end, unless a string starts with it */
		return after.len > 1 && after.ptr[1] != ' ' && after.ptr[1] != ')';
	}
	for (size_t i = 0; i < 4 && after.len > 0 && is_space(after.ptr[0]); i++) {
		after = span_from(after, 1);
	}
	return may_follow_string(after);
}

static void next_quoted(struct imap_lexer *lexer, struct imap_token *token)
{
	const char *start = lexer->at + 1;
	const char *at = start;

	token->kind = IMAP_TOKEN_STRING;
	for (;; at++) {
		at = pass_over(at, lexer->end, IN_QUOTED);
		if (at >= lexer->end) {
			break;
		}
		if (*at == '"') {
			if (is_closing_quote(lexer, at)) {
				token->text = span_make(start, (size_t)(at - start));
				lexer->at = at + 1;
				return;
			}
		} else if (*at == '\\') {
			token->is_escaped = true;
			at += at + 1 < lexer->end && (at[1] == '"' || at[1] == '\\');
		} else if (*at == '{' && is_literal_at(lexer, at)) {
			break;
		}
	}
	token->text = span_make(start, (size_t)(at - start));
	lexer->at = at;
}

static void next_literal(struct imap_lexer *lexer, struct imap_token *token)
{
	uint64_t len;
	size_t announcement;

	if (*lexer->at == '~') {
		lexer->at++;
	}
	if (!imap_literal_announcement(span_make(lexer->at, left(lexer)), &len, &announcement)) {
		return;
	}
	lexer->at += announcement;
	if (len > GP_MAX_IMAP_LITERAL) {
		token->kind = IMAP_TOKEN_TOO_LONG;
		return;
	}
	token->kind = IMAP_TOKEN_STRING;
	token->text = span_make(lexer->at, len > left(lexer) ? left(lexer) : (size_t)len);
	lexer->at += token->text.len;
}

static void next_atom(struct imap_lexer *lexer, struct imap_token *token)
{
	const char *start = lexer->at;

	/* whatever the first byte is, it is consumed */
	do {
		lexer->at = pass_over(lexer->at + 1, lexer->end, IN_ATOM);
	} while (lexer->at < lexer->end && *lexer->at == '{' && !is_literal_at(lexer, lexer->at));
	token->kind = IMAP_TOKEN_ATOM;
	token->text = span_make(start, (size_t)(lexer->at - start));
}

/* The token that imap_lexer_peek() has just seen. */
static void next_seen(struct imap_lexer *lexer, enum imap_token_kind seen, struct imap_token *token_out)
{
	*token_out = (struct imap_token){.kind = seen};
	switch (token_out->kind) {
	case IMAP_TOKEN_END:
		break;
	case IMAP_TOKEN_OPEN:
	case IMAP_TOKEN_CLOSE:
		lexer->at++;
		break;
	case IMAP_TOKEN_ATOM:
		next_atom(lexer, token_out);
		break;
	case IMAP_TOKEN_STRING:
	case IMAP_TOKEN_TOO_LONG:
		if (*lexer->at == '"') {
			next_quoted(lexer, token_out);
		} else {
			next_literal(lexer, token_out);
		}
		break;
	}
}

void imap_lexer_next(struct imap_lexer *lexer, struct imap_token *token_out)
{
	next_seen(lexer, imap_lexer_peek(lexer), token_out);
}

struct span imap_lexer_text(struct imap_lexer *lexer, const struct imap_token *token)
{
	if (!token->is_escaped) {
		return token->text;
	}
	char *text = imap_lexer_alloc(lexer, token->text.len, 1);
	if (!text) {
		return SPAN_NIL;
	}
	size_t len = 0;
	for (size_t i = 0; i < token->text.len; i++) {
		char c = token->text.ptr[i];
		if (c == '\\' && i + 1 < token->text.len &&
		    (token->text.ptr[i + 1] == '"' || token->text.ptr[i + 1] == '\\')) {
			i++;
			c = token->text.ptr[i];
		}
		text[len++] = c;
	}
	return span_make(text, len);
}

bool imap_lexer_take(struct imap_lexer *lexer, char c)
{
	imap_lexer_skip_spaces(lexer);
	if (lexer->at < lexer->end && *lexer->at == c) {
		lexer->at++;
		return true;
	}
	return false;
}

bool imap_lexer_is_nil(struct imap_lexer *lexer)
{
	imap_lexer_skip_spaces(lexer);
	if (left(lexer) < 3 || !span_starts_with_nocase(span_make(lexer->at, left(lexer)), "NIL")) {
		return false;
	}
	const char *start = lexer->at;
	struct imap_token token;
	imap_lexer_next(lexer, &token);
	lexer->at = start;
	return token.text.len == 3;
}

struct span imap_lexer_word(struct imap_lexer *lexer)
{
	imap_lexer_skip_spaces(lexer);
	const char *start = lexer->at;
	while (lexer->at < lexer->end && !is_space(*lexer->at)) {
		lexer->at++;
	}
	return span_make(start, (size_t)(lexer->at - start));
}

struct span imap_lexer_rest(struct imap_lexer *lexer)
{
	imap_lexer_skip_spaces(lexer);
	struct span rest = span_make(lexer->at, left(lexer));
	lexer->at = lexer->end;
	return rest;
}

bool imap_lexer_skip_value(struct imap_lexer *lexer)
{
	size_t depth = 0;

	do {
		if (depth == 0 && imap_lexer_peek(lexer) == IMAP_TOKEN_CLOSE) {
			return true;
		}
		struct imap_token token;
		imap_lexer_next(lexer, &token);
		if (token.kind == IMAP_TOKEN_END) {
			return depth == 0;
		}
		depth += token.kind == IMAP_TOKEN_OPEN;
		depth -= token.kind == IMAP_TOKEN_CLOSE;
	} while (depth > 0);
	return true;
}

struct span imap_lexer_nstring(struct imap_lexer *lexer)
{
	enum imap_token_kind kind = imap_lexer_peek(lexer);

	if (kind == IMAP_TOKEN_OPEN) {
		imap_lexer_skip_value(lexer);
		return SPAN_NIL;
	}
	if (kind == IMAP_TOKEN_CLOSE || kind == IMAP_TOKEN_END) {
		return SPAN_NIL;
	}
	struct imap_token token;
	next_seen(lexer, kind, &token);
	if (token.kind == IMAP_TOKEN_ATOM && token.text.len == 3 && span_equal_text_nocase(token.text, "NIL")) {
		return SPAN_NIL;
	}
	return imap_lexer_text(lexer, &token);
}

bool imap_lexer_number(struct imap_lexer *lexer, uint64_t *number_out)
{
	return span_to_u64(imap_lexer_nstring(lexer), number_out);
}
