/*
 * Roles of mailboxes (the names are JMAP's, RFC 8621 section 2). Whoever runs the program
 * may lay them down (--mailbox-role), by the mailbox's name; for an account that has no
 * such mailbox, and for other roles, the server says them (SPECIAL-USE, RFC 6154); for
 * roles that it does not give, well-known names in many languages serve. Each role is
 * given to one mailbox at most, each mailbox has at most one. INBOX is inbox.
 */
#ifndef GP_API_ROLE_H
#define GP_API_ROLE_H

#include "imap/calls.h"

#define API_N_ROLES 8

struct api_role {
	const char *role;   /* static: "sent"; NULL: none */
	const char *source; /* static: "config", "server" or "name"; NULL: none */
};

/* Zeroed: nothing is laid down. */
struct api_role_config {
	struct span mailboxes[API_N_ROLES]; /* borrow: full names in UTF-8; NIL: none */
};

/* Adds "sent=Sent Items"; the text is borrowed. GP_INVALID: the error tells why not. */
enum gp_status api_role_config_add(struct api_role_config *config, struct span text,
				   struct gp_error *error) GP_MUST_USE;

/* The static name of a role, NULL when there is none of this name. Case counts. */
const char *api_role_find(struct span name);
/* The attribute (enum imap_mailbox_attribute) by which a server says it; 0 for inbox. */
unsigned api_role_attribute(const char *role);
/* "@inbox, @sent, …", for people. */
const char *api_role_list(void);

/* Fills roles_out[0 … n_mailboxes - 1]. Here and below `config` may be NULL. */
void api_roles_assign(const struct api_role_config *config, const struct imap_mailbox *mailboxes, size_t n_mailboxes,
		      struct api_role *roles_out);
/* Whether the mailbox could get a role at all; which one depends on the others. */
bool api_role_is_candidate(const struct api_role_config *config, const struct imap_mailbox *mailbox);
/* The mailbox of this role (one that api_role_find() returned), NULL when none has it. */
const struct imap_mailbox *api_role_mailbox(const struct api_role_config *config, const char *role,
					    const struct imap_mailbox *mailboxes, size_t n_mailboxes);

#endif
