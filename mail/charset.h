/*
 * Charsets to UTF-8 as a stream, on iconv: shared by header.c and content.c, of no
 * use outside this room. Which names are known is a closed list, so that a message
 * cannot make the C library load a converter of its choice.
 *
 * What comes out is valid UTF-8 without NUL (U+FFFD stands for both bad bytes and
 * NUL) and without a byte order mark at the start. The result does not depend on
 * how the input is cut into pieces.
 *
 * GMime's own conversion is not used: it turns bad bytes into "?" without telling,
 * and g_mime_iconv_open() keeps every unknown name that it was ever asked for.
 */
#ifndef GP_MAIL_CHARSET_H
#define GP_MAIL_CHARSET_H

#include <iconv.h>

#include "base/buffer.h"

enum mail_charset_kind {
	MAIL_CHARSET_GUESS, /* UTF-8 up to the first byte that is not, from there on Windows-1252 */
	MAIL_CHARSET_UTF8,
	MAIL_CHARSET_WINDOWS_1252,
	MAIL_CHARSET_UTF16, /* byte order by its mark, else by where the zeros are */
	MAIL_CHARSET_UTF32,
	MAIL_CHARSET_ISO_2022_JP,
	MAIL_CHARSET_UTF7,
	MAIL_CHARSET_ICONV,
};

#define MAIL_CHARSET_CARRY 16

struct mail_charset {
	enum mail_charset_kind kind;
	iconv_t iconv; /* own, valid if is_open */
	unsigned unit; /* bytes to pass over after a bad one: 1, 2 or 4 */
	bool is_open;
	bool is_multibyte; /* a bad lead byte takes its non-ASCII second byte with it */
	bool is_combining; /* iconv holds a character back in case a mark follows */
	bool is_started;   /* something came out: the byte order mark is no longer one */
	bool is_1252;      /* a guess that has ended */
	bool has_problem;
	unsigned char jis_set;               /* enum jis_set of charset_7bit.c */
	unsigned char jis_lead;              /* the first byte of a pair, or 0 */
	unsigned char jis_escape;            /* bytes of an escape sequence in `carry` */
	bool utf7_is_shifted, utf7_is_empty; /* inside base64; just begun */
	uint16_t utf7_high;                  /* a surrogate that waits for the other, or 0 */
	uint32_t utf7_bits;                  /* of a code unit not yet complete: 0 to 15 of them */
	unsigned utf7_n_bits;
	unsigned char carry[MAIL_CHARSET_CARRY];
	size_t carry_len;
};

/* NIL, empty and "unknown" names guess; a name that is not known does too, and is a
 * problem. GP_NO_MEMORY is the only failure. */
enum gp_status mail_charset_init(struct mail_charset *charset, struct span name) GP_MUST_USE;
void mail_charset_deinit(struct mail_charset *charset);
enum gp_status mail_charset_feed(struct mail_charset *charset, struct span bytes, struct gp_buffer *out) GP_MUST_USE;
enum gp_status mail_charset_finish(struct mail_charset *charset, struct gp_buffer *out) GP_MUST_USE;

/* All of it at once; `*problem_out` (may be NULL) is set to true or left. */
enum gp_status mail_charset_convert(struct span name, struct span bytes, struct gp_buffer *out,
				    bool *problem_out) GP_MUST_USE;

/* What a byte of Windows-1252 stands for; all 256 are something. */
uint32_t mail_windows_1252(unsigned char c);

/* The next piece of `s` that is valid UTF-8 without NUL: its length. */
size_t mail_utf8_clean_prefix(struct span s);

#endif
