/*
 * HTML as the lines of text that a reader sees: markup, style, script and comments
 * left out, character references decoded, a new line where a block begins or ends.
 * One pass, no recursion, forgiving: what is no markup is text.
 */
#ifndef GP_MAIL_HTML_H
#define GP_MAIL_HTML_H

#include "base/buffer.h"

/* `line` is borrowed, not trimmed, without its end; white space is as in the source.
 * False: enough, stop. Lines longer than 4 KiB come in pieces. */
typedef bool (*mail_html_line_fn)(void *ctx, struct span line, bool is_quoted);

enum gp_status mail_html_lines(struct span utf8, mail_html_line_fn line, void *ctx) GP_MUST_USE;

#endif
