/*
 * E-mail addresses that go into a message (RFC 5322 section 3.4): checked strictly,
 * for what is written with a mistake here reaches nobody, or somebody else.
 *
 * GMime's parser is not used: it reads "a@x; b@y" as one address and drops the second,
 * and "a@x junk" as two.
 */
#ifndef GP_MAIL_ADDRESS_H
#define GP_MAIL_ADDRESS_H

#include "base/arena.h"

#define MAIL_MAX_EMAIL ((size_t)320)         /* bytes, in ASCII */
#define MAIL_MAX_DISPLAY_NAME ((size_t)1024) /* bytes */

struct mail_address {
	struct span name;  /* UTF-8 for people, not encoded; NIL or empty: none */
	struct span email; /* addr-spec in ASCII */
};

/* One addr-spec. A domain in Unicode becomes its ASCII form (IDNA); a local part that is
 * not ASCII cannot be had. The result is in the arena. GP_INVALID: `error` says why,
 * without the address; GP_NO_MEMORY. */
enum gp_status mail_address_check(struct span email, struct gp_arena *arena, struct span *ascii_out,
				  struct gp_error *error) GP_MUST_USE;
/* Whether mail_address_check() would take it as it is. */
bool mail_address_is_ascii(struct span email);

/* A list as people write it into a header: "Ann <ann@x.example>, bob@y.example". At most
 * `max` addresses, into the arena. Groups and comments are refused; nothing is passed
 * over. GP_INVALID, GP_NO_MEMORY. */
enum gp_status mail_address_parse(struct span text, size_t max, struct gp_arena *arena,
				  struct mail_address **addresses_out, size_t *n_addresses_out,
				  struct gp_error *error) GP_MUST_USE;

#endif
