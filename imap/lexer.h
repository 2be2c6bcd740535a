/*
 * Tolerant tokens over one whole response, as framing hands it out. Spaces are never
 * required and never too many. Nothing here fails but for memory: what is missing
 * reads as NIL, and only the end of the response ends a list that was not closed.
 *
 * A literal is always read as a literal, whatever quotes stand before it: message
 * bytes are never taken for grammar.
 *
 * Spans point into the response, or into the arena where a quoted string had to be
 * unescaped. The arena has a cap; running into it costs the item that is being read,
 * an allocation that fails is kept in is_out_of_memory.
 */
#ifndef GP_IMAP_LEXER_H
#define GP_IMAP_LEXER_H

#include "base/arena.h"
#include "base/span.h"

enum imap_token_kind {
	IMAP_TOKEN_END,
	IMAP_TOKEN_OPEN,
	IMAP_TOKEN_CLOSE,
	IMAP_TOKEN_ATOM,
	IMAP_TOKEN_STRING,   /* quoted or literal */
	IMAP_TOKEN_TOO_LONG, /* a literal that was passed over */
};

struct imap_token {
	enum imap_token_kind kind;
	struct span text; /* of atoms and strings; a quoted one as it was sent */
	bool is_escaped;  /* imap_lexer_text() has something to undo */
};

struct imap_lexer {
	const char *at, *end;   /* borrow: the response */
	struct gp_arena *arena; /* borrow */
	/* In ENVELOPE and BODYSTRUCTURE no bare word but NIL, a number or an encoding can
	 * follow a string: a quote with anything else behind it is part of the text. */
	bool is_inside_structure;
	bool is_out_of_memory;
};

void imap_lexer_init(struct imap_lexer *lexer, struct span response, struct gp_arena *arena);

void imap_lexer_skip_spaces(struct imap_lexer *lexer);
/* What the next token is; nothing is consumed but spaces. A literal that was passed
 * over shows as STRING. */
enum imap_token_kind imap_lexer_peek(struct imap_lexer *lexer);
void imap_lexer_next(struct imap_lexer *lexer, struct imap_token *token_out);
/* The token's text without escapes; NIL for what has none, and when memory ends. */
struct span imap_lexer_text(struct imap_lexer *lexer, const struct imap_token *token);

/* Consumes `c` if it is next. */
bool imap_lexer_take(struct imap_lexer *lexer, char c);
/* Whether the next token is the atom NIL; nothing is consumed. */
bool imap_lexer_is_nil(struct imap_lexer *lexer);
/* Up to the next space, whatever it is: for the words that begin a response. */
struct span imap_lexer_word(struct imap_lexer *lexer);
/* What is left, without leading spaces; consumes it. */
struct span imap_lexer_rest(struct imap_lexer *lexer);
/* Consumes one token or one whole list; nothing before ")" and at the end. False when
 * the list does not end. */
bool imap_lexer_skip_value(struct imap_lexer *lexer);
/* One nstring, or an atom in its place. NIL for NIL, for a list (consumed) and where
 * nothing is left in the list (nothing consumed). */
struct span imap_lexer_nstring(struct imap_lexer *lexer);
/* Consumes one value; false when it is no number that fits. */
bool imap_lexer_number(struct imap_lexer *lexer, uint64_t *number_out);

/* Whether an announcement of a literal starts at `text` ("{12}", "{12+}" and a line
 * end): its length and that of the announcement. */
bool imap_literal_announcement(struct span text, uint64_t *len_out, size_t *announcement_len_out);

/* `n` zeroed items; NULL at the arena's cap or when memory ends. */
void *imap_lexer_alloc(struct imap_lexer *lexer, size_t n, size_t item_size);
/* Room for item `n` of an arena array with `*size` places: the array, maybe moved. */
void *imap_lexer_grow(struct imap_lexer *lexer, void *items, size_t n, size_t *size, size_t item_size);

#endif
