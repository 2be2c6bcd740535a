/*
 * Text made from text: previews, and HTML made fit to be shown from the gateway.
 */
#ifndef GP_MAIL_TEXT_H
#define GP_MAIL_TEXT_H

#include "base/buffer.h"

#define MAIL_PREVIEW_CHARS 256

/* RFC 8621's preview: up to MAIL_PREVIEW_CHARS characters of what the reader sees,
 * white space folded, quoted lines and signatures left out where other text is
 * there. `utf8` is valid UTF-8; `is_html` strips tags, style, script, comments and
 * decodes character references. */
enum gp_status mail_preview(struct span utf8, bool is_html, struct gp_buffer *out) GP_MUST_USE;

/* HTML as plain text: what the reader sees, quotes marked with "> ", white space folded,
 * at most one empty line in a row. `utf8` is valid UTF-8. GP_LIMIT when the text does
 * not fit in `out`. */
enum gp_status mail_html_to_text(struct span utf8, struct gp_buffer *out) GP_MUST_USE;

/* Rewrites `cid:` URLs in HTML, as a stream: every "cid:" that begins a URL (after a
 * quote, "=", "(" or white space) is replaced by what `resolve` answers for the id
 * (percent-decoded); NIL leaves it as it is. Constant memory. */
typedef struct span (*mail_cid_fn)(void *ctx, struct span cid);
struct mail_cid_rewriter;
struct mail_cid_rewriter *mail_cid_rewriter_new(mail_cid_fn resolve, void *ctx);
void mail_cid_rewriter_free(struct mail_cid_rewriter **rewriter);
enum gp_status mail_cid_rewriter_feed(struct mail_cid_rewriter *rewriter, struct span bytes,
				      struct gp_buffer *out) GP_MUST_USE;
enum gp_status mail_cid_rewriter_finish(struct mail_cid_rewriter *rewriter, struct gp_buffer *out) GP_MUST_USE;

#endif
