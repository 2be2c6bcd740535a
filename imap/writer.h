/*
 * The command writer: the one place that encodes what goes to IMAP. Typed
 * appenders choose atom, quoted string or literal; CR, LF and NUL cannot reach
 * the wire outside a literal, NUL not at all, and there is no way to append raw
 * text: fixed words are compile-time literals and are checked too.
 *
 * A command is a run of bytes with *sync points*: offsets at which the sender must
 * wait for the server's "+" (a synchronising literal). With LITERAL+ there are
 * none; with LITERAL- only for literals over 4096 bytes (RFC 7888).
 *
 * The first failure sticks: appenders after it do nothing, and
 * imap_writer_finish() returns it. So a command can be written in one go and
 * checked once.
 */
#ifndef GP_IMAP_WRITER_H
#define GP_IMAP_WRITER_H

#include "base/buffer.h"
#include "imap/response.h"
#include "imap/search.h"
#include "imap/uidset.h"

enum imap_literal_mode { IMAP_LITERAL_SYNC, IMAP_LITERAL_MINUS, IMAP_LITERAL_PLUS };

struct imap_writer {
	struct gp_buffer bytes;
	size_t *sync_points; /* own: offsets into bytes, ascending */
	size_t n_sync_points;
	enum imap_literal_mode literals;
	bool is_utf8;       /* ENABLE UTF8=ACCEPT is in force: names go as UTF-8 */
	bool is_gmail;      /* X-GM-EXT-1 without OBJECTID: ids are searched for by X-GM-MSGID, X-GM-THRID */
	bool needs_space;   /* a separator goes before the next argument */
	bool has_secret;    /* the log shows only the command's name */
	bool needs_charset; /* an 8-bit search string was written */
	size_t n_open;      /* parentheses */
	enum gp_status status;
};

void imap_writer_init(struct imap_writer *writer, enum imap_literal_mode literals, bool is_utf8);
void imap_writer_deinit(struct imap_writer *writer); /* wipes the bytes */

/* The tag and the command's name: imap_writer_command(w, "A1", "UID FETCH"). */
void imap_writer_command(struct imap_writer *writer, const char *tag, const char *name);
/* A fixed word or words from the program's own text: printable ASCII without
 * quotes, backslashes other than a leading one, or braces; anything else is GP_INVALID. */
void imap_writer_word(struct imap_writer *writer, const char *word);
void imap_writer_number(struct imap_writer *writer, uint64_t number);
void imap_writer_open(struct imap_writer *writer);  /* "(" */
void imap_writer_close(struct imap_writer *writer); /* ")" */
/* astring (RFC 3501): atom if it can be one, else quoted, else a literal. NUL: GP_INVALID. */
void imap_writer_astring(struct imap_writer *writer, struct span text);
/* string: quoted or literal, never an atom. */
void imap_writer_string(struct imap_writer *writer, struct span text);
/* string or NIL */
void imap_writer_nstring(struct imap_writer *writer, struct span text);
/* A mailbox name in UTF-8 (valid, no NUL, CR or LF: else GP_INVALID), as modified
 * UTF-7 or UTF-8, as astring. "INBOX" in any case is INBOX. */
void imap_writer_mailbox(struct imap_writer *writer, struct span utf8_name);
/* The same for a LIST pattern: "%" and "*" in it are wildcards (list-mailbox). */
void imap_writer_list_pattern(struct imap_writer *writer, struct span utf8_pattern);
/* A flag or keyword: "\\Seen" of the five settable system flags, or an atom. */
void imap_writer_flag(struct imap_writer *writer, struct span flag);
void imap_writer_flags(struct imap_writer *writer, const struct span *flags, size_t n_flags); /* with parentheses */
/* The ranges [*at, …) as far as GP_MAX_IMAP_SET_BYTES allows; *at moves on. */
void imap_writer_uidset(struct imap_writer *writer, const struct imap_uidset *set, size_t *at);
/* "{size}", the last argument: the octets themselves are sent by someone else, after the
 * server's "+", whatever it offers: it is the last sync point. */
void imap_writer_literal_head(struct imap_writer *writer, uint64_t size);
/* A literal of any octets but NUL, never a quoted string. */
void imap_writer_literal(struct imap_writer *writer, struct span octets);
/* An INTERNALDATE in quotes: seconds since 1970 UTC, years 1 to 9999. */
void imap_writer_date_time(struct imap_writer *writer, int64_t seconds);
void imap_writer_range(struct imap_writer *writer, uint32_t first, uint32_t last); /* last: IMAP_UID_STAR is "*" */
/* BODY.PEEK[section] and, if len > 0, <origin.len>. `section` may be "", a part number,
 * or part and HEADER/TEXT/MIME: digits, dots and those words only. */
void imap_writer_body_peek(struct imap_writer *writer, const char *section, uint64_t origin, uint64_t len);
/* BODY.PEEK[HEADER.FIELDS (A B)] */
void imap_writer_body_peek_fields(struct imap_writer *writer, const struct span *names, size_t n_names);
/* The search key; the CHARSET argument is not written (needs_charset says if it is
 * needed: write the program into a second writer, or call imap_search_needs_charset). */
void imap_writer_search(struct imap_writer *writer, const struct imap_search *search);
bool imap_search_needs_charset(const struct imap_search *search);
/* SASL: base64 of a secret, or "=" when empty, as an argument. */
void imap_writer_base64(struct imap_writer *writer, struct span secret);
/* Marks what was written as secret. */
void imap_writer_secret(struct imap_writer *writer);
/* Appends CRLF; the result of all that was written. */
enum gp_status imap_writer_finish(struct imap_writer *writer) GP_MUST_USE;

/* Whether `keyword` may be sent as a flag: an atom of RFC 3501 without "]" and, after
 * an optional leading "$" or "\\", nothing that is not an atom character. */
bool imap_is_keyword(struct span keyword);

#endif
