/* What a charset's name in a message means: a closed list. */
#ifndef GP_MAIL_CHARSET_NAMES_H
#define GP_MAIL_CHARSET_NAMES_H

#include "mail/charset.h"

struct mail_charset_name {
	const char *alias;
	enum mail_charset_kind kind;
	const char *iconv_name; /* for MAIL_CHARSET_ICONV */
	unsigned char unit;
	bool is_multibyte;
	bool is_combining;
};

/* NULL for a name that is not known. Case, quotes, blanks, "x-" and "_" for "-" do
 * not matter; NIL and the empty name are us-ascii. Static storage. */
const struct mail_charset_name *mail_charset_find(struct span name);

#endif
