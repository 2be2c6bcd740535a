/*
 * Messages to an mbox, in the variant that loses nothing ("mboxrd", RFC 4155 appendix):
 * each message stands behind a line "From sender date" and before an empty one; a line
 * of it that begins with "From " behind any number of ">" has one more ">", which
 * readers take away again. CRLF becomes LF, a lone CR stays.
 *
 * Bytes go in in any pieces; what comes out is appended to the caller's buffer: at most
 * one byte for five of input, and a handful, more than went in. Nothing is allocated.
 */
#ifndef GP_MAIL_MBOX_H
#define GP_MAIL_MBOX_H

#include "base/buffer.h"

struct mail_mbox {
	bool is_at_start;  /* of a line: nothing but ">" has been in it so far */
	bool has_cr;       /* a CR that is held back */
	bool ends_in_line; /* the last byte that came out was no LF */
	size_t n_matched;  /* bytes of "From " that are held back */
};

/* The "From " line. `sender` is an address, NIL or unfit ones are MAILER-DAEMON; the
 * date is in UTC. */
enum gp_status mail_mbox_begin(struct mail_mbox *mbox, struct span sender, int64_t received,
			       struct gp_buffer *out) GP_MUST_USE;
enum gp_status mail_mbox_feed(struct mail_mbox *mbox, struct span bytes, struct gp_buffer *out) GP_MUST_USE;
enum gp_status mail_mbox_end(struct mail_mbox *mbox, struct gp_buffer *out) GP_MUST_USE;

#endif
