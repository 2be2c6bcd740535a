/*
 * Transfer encodings undone as a stream: base64 and quoted-printable (RFC 2045),
 * uuencode (POSIX). Shared by header.c and content.c, of no use outside this room.
 * Nothing is refused; what could not be meant sets `has_problem`. The result does
 * not depend on how the input is cut into pieces.
 *
 * GMime's steps are not used: its quoted-printable drops an unfinished escape and
 * keeps blanks after "=", its uudecoder needs the "begin" line found for it, and its
 * base64 goes byte by byte (360 MB/s of input where this one does 2,200, gcc -O2)
 * and cannot say that there was junk.
 */
#ifndef GP_MAIL_TRANSFER_H
#define GP_MAIL_TRANSFER_H

#include "mail/content.h"

#define MAIL_TRANSFER_HOLD 160

struct mail_transfer {
	enum mail_encoding encoding;
	bool has_problem;
	uint32_t quantum;                       /* base64: the bits of an unfinished group */
	unsigned n_sextets;                     /* base64: 0 to 3 of them */
	unsigned char uu;                       /* uuencode: enum uu_state of transfer.c */
	unsigned char hold[MAIL_TRANSFER_HOLD]; /* an unfinished escape or line */
	size_t hold_len;
};

/* The most that a step of `len` bytes, or the finish (0), can write. */
#define MAIL_TRANSFER_BOUND(len) ((len) + MAIL_TRANSFER_HOLD)

void mail_transfer_init(struct mail_transfer *transfer, enum mail_encoding encoding);
/* Return how many bytes were written to `out`. */
size_t mail_transfer_step(struct mail_transfer *transfer, struct span bytes, char *out);
size_t mail_transfer_finish(struct mail_transfer *transfer, char *out);

/* The value of a hexadecimal digit, or -1. */
int mail_hex_value(char c);

#endif
