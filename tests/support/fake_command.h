/*
 * A command of a test on a session: what came for it, as text, and how it ended.
 *
 *	struct fake_command noop;
 *	fake_command_start(&noop, fake->session, "NOOP", &(struct imap_command_spec){0});
 *
 * `rows` gathers "FETCH 7;" for the UID (or "FETCH #3;" for a position without one),
 * "LIST name;", "STATUS name;", "SEARCH 2;" for the number of hits, "ESEARCH;", …
 */
#ifndef GP_TESTS_SUPPORT_FAKE_COMMAND_H
#define GP_TESTS_SUPPORT_FAKE_COMMAND_H

#include "imap/session.h"

struct fake_command {
	struct imap_session *session; /* borrow */
	struct imap_command *command; /* own until it ends */
	struct fake_command *other;   /* borrow: for the hooks */
	char rows[512];
	size_t n_done;
	struct gp_error error; /* of its end; GP_OK: none */
	bool has_response;
	size_t order; /* 1 for the first of all that ended since fake_command_reset_order() */
	/* called in the callbacks when set */
	void (*on_row)(struct fake_command *self);
	void (*on_done)(struct fake_command *self);
};

/* Made, not submitted: its arguments may be written. */
void fake_command_new(struct fake_command *self, struct imap_session *session, const char *name,
		      const struct imap_command_spec *spec);
void fake_command_submit(struct fake_command *self);
/* Both. */
void fake_command_start(struct fake_command *self, struct imap_session *session, const char *name,
			const struct imap_command_spec *spec);
/* SELECT or EXAMINE, submitted. */
void fake_command_select(struct fake_command *self, struct imap_session *session, const char *mailbox, bool is_examine);
/* It has ended, once, with this (GP_OK: a tagged OK). */
void fake_command_expect(const struct fake_command *self, enum gp_status status);
void fake_command_reset_order(void);

#endif
