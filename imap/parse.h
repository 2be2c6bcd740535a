/*
 * The upper layer of the parser: one whole response becomes typed values. Internal to
 * imap/: struct imap_parser calls it, white-box tests and fuzz targets too.
 *
 * Nothing here fails because of what the server sent: an item that cannot be read is
 * left out, and a response that cannot be read is IMAP_RESPONSE_OTHER. Each function
 * consumes what it read; the rest of the response stays where it is.
 */
#ifndef GP_IMAP_PARSE_H
#define GP_IMAP_PARSE_H

#include "imap/lexer.h"
#include "imap/response.h"

struct imap_parse {
	struct imap_lexer lexer;
	struct gp_arena arena; /* everything but UID sets; reset for each response */
	/* own; `response` borrows their ranges. Kept from response to response. */
	struct imap_uidset uids, esearch_all, code_uids, code_source;
	struct imap_response response;
};

void imap_parse_init(struct imap_parse *parse);
void imap_parse_deinit(struct imap_parse *parse);
void imap_parse_trim(struct imap_parse *parse);

/* Reads `text`, which is borrowed as long as the response is. GP_NO_MEMORY or GP_OK. */
enum gp_status imap_parse_response(struct imap_parse *parse, struct span text) GP_MUST_USE;

/* ---- what follows the response's name, each in its own file ---- */

/* parse_code.c: "[UIDNEXT 5] text" behind OK, NO, BAD … */
void imap_parse_text(struct imap_parse *parse);
/* A code's name and value, without brackets. */
void imap_parse_code(struct imap_parse *parse, struct span text);

/* parse_fetch.c; `number` is a sequence number, or the UID of UIDFETCH (RFC 9586) */
void imap_parse_fetch(struct imap_parse *parse, uint32_t number, bool is_uid);

/* parse_mailbox.c: false when there is no name or nothing that could be read */
bool imap_parse_list(struct imap_parse *parse);
bool imap_parse_status(struct imap_parse *parse);
void imap_parse_namespace(struct imap_parse *parse);
bool imap_parse_my_rights(struct imap_parse *parse);

/* parse_search.c */
void imap_parse_search(struct imap_parse *parse);
void imap_parse_esearch(struct imap_parse *parse);
bool imap_parse_vanished(struct imap_parse *parse);

/* ---- values: false (or NULL) when they cannot be read ---- */

/* parse_envelope.c, parse_body.c; both leave the lexer anywhere on failure */
const struct imap_envelope *imap_parse_envelope(struct imap_lexer *lexer);
struct imap_body *imap_parse_body(struct imap_lexer *lexer);
/* A parenthesised list of flags or other words: NIL and lists inside are passed over. */
bool imap_parse_words(struct imap_lexer *lexer, const struct span **words_out, size_t *n_words_out);

#endif
