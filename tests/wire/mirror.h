/*
 * The IMAP server of a case, learned from its script: while a case runs undisturbed, what
 * was answered to which command is kept (struct mirror_memory). When a fault has led the
 * program off the script, the mirror answers by itself: what it knows as it learned it,
 * housekeeping and the mailbox "Fresh" by its own means, and all else by NO, so that no
 * look into what became of a write ever finds anything; least of all what was there before
 * the write.
 *
 * A world's tap (fake_set_tap()) tells it what both ends really got.
 */
#ifndef GP_TESTS_WIRE_MIRROR_H
#define GP_TESTS_WIRE_MIRROR_H

#include "tests/wire/world.h"

#define MIRROR_TAG "\x1A"    /* in an answer that was learned; no script has this byte */
#define MIRROR_FRESH "Fresh" /* a mailbox with one message, UID 7 */

struct mirror_answer {
	char *command; /* own: without its tag, with its literals */
	size_t command_len;
	char *text; /* own: the answer; MIRROR_TAG stands for the tag */
	size_t text_len;
};

struct mirror_memory {
	struct mirror_answer *answers; /* own, in the order of their ends */
	size_t n_answers;
	char *greeting; /* own; NULL: none was seen */
	size_t greeting_len;
	bool is_mixed; /* answers came among each other: which is whose, is not known */
};

struct mirror_command {
	char *tag, *text; /* own */
	size_t text_len;
	bool is_idle;
};

/* One connection, as both ends saw it. */
struct mirror_connection {
	struct gp_buffer sent;           /* by the gateway, and not a whole command yet */
	struct gp_buffer answered;       /* by the server, and not a whole response yet */
	struct gp_buffer untagged;       /* since the last tagged one */
	struct mirror_command *commands; /* own: not answered yet, in order */
	size_t n_commands;
	size_t n_asked; /* literals of the command that begins `sent` for which "+" was said */
	bool is_greeted, is_fresh;
};

struct mirror {
	struct world *world;          /* borrow */
	struct mirror_memory *memory; /* borrow */
	bool is_learning;
	bool is_kind; /* from now on it greets and lets in, whatever it has learned */
	struct mirror_connection connections[WORLD_MAX_CONNECTIONS];
	/* What came whole, without tags: the changes that the server made. */
	char **writes; /* own, each own */
	size_t n_writes;
	size_t *n_used; /* own: how often each answer's command was answered */
};

/* Sets the tap of the world, which is open. */
void mirror_init(struct mirror *mirror, struct world *world, struct mirror_memory *memory, bool is_learning);
void mirror_deinit(struct mirror *mirror);
void mirror_memory_free(struct mirror_memory *memory);
/* Connects, greets and answers whatever waits; false: there was nothing to do. */
bool mirror_serve(struct mirror *mirror);

#endif
