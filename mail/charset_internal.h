/* What the files behind charset.h share. */
#ifndef GP_MAIL_CHARSET_INTERNAL_H
#define GP_MAIL_CHARSET_INTERNAL_H

#include "mail/charset.h"

/* The only two ways out: valid UTF-8 without NUL, and U+FFFD. */
enum gp_status mail_charset_put_clean(struct mail_charset *charset, struct span text,
				      struct gp_buffer *out) GP_MUST_USE;
enum gp_status mail_charset_put_bad(struct mail_charset *charset, struct gp_buffer *out) GP_MUST_USE;

/* What a converter made: whole characters, but not always ones that UTF-8 may hold. */
enum gp_status mail_charset_put_converted(struct mail_charset *charset, struct span text,
					  struct gp_buffer *out) GP_MUST_USE;

/* charset_7bit.c */
enum gp_status mail_charset_feed_iso_2022_jp(struct mail_charset *charset, struct span bytes,
					     struct gp_buffer *out) GP_MUST_USE;
enum gp_status mail_charset_feed_utf7(struct mail_charset *charset, struct span bytes,
				      struct gp_buffer *out) GP_MUST_USE;
enum gp_status mail_charset_finish_utf7(struct mail_charset *charset, struct gp_buffer *out) GP_MUST_USE;

#endif
