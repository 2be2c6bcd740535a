/*
 * Who a session belongs to. A credential is made for each request and shared by
 * reference; its secret is wiped when the last reference goes. Two credentials are
 * the same account only if their keys are equal: a keyed hash (HMAC-SHA-256 under a
 * random key of this process) over user name, mechanism and secret, compared in
 * constant time. A wrong password therefore never finds another's session.
 */
#ifndef GP_IMAP_CREDENTIAL_H
#define GP_IMAP_CREDENTIAL_H

#include "base/span.h"
#include "base/status.h"

#define IMAP_CREDENTIAL_KEY_BYTES 32

struct imap_credential;

/* Copies both; user name and password are valid UTF-8 without NUL, at most 1024 bytes
 * each, else GP_INVALID. */
enum gp_status imap_credential_new(struct span username, struct span password,
				   struct imap_credential **credential_out) GP_MUST_USE;
struct imap_credential *imap_credential_ref(struct imap_credential *credential);
/* Drops one reference and leaves NULL; NULL is a no-op. */
void imap_credential_unref(struct imap_credential **credential);
struct span imap_credential_username(const struct imap_credential *credential);
struct span imap_credential_password(const struct imap_credential *credential);
const unsigned char *imap_credential_key(const struct imap_credential *credential);
bool imap_credential_is_same(const struct imap_credential *a, const struct imap_credential *b);

/* ---- the account invariant: nobody is served from another's session ---- */

/* By user name and password themselves, in constant time: a key that was made wrong does
 * not vouch for itself. */
bool imap_credential_is_owner(const struct imap_credential *credential, struct span username, struct span password);
/* Ends the program, in release builds too, when the two are not of one owner: `what` is
 * logged. No input leads there, only a defect, and then nothing in memory is to be relied
 * on (docs/decisions/0021-account-invariant.md). */
void imap_credential_check_owner(const struct imap_credential *is, const struct imap_credential *wanted,
				 const char *what);
/* The end itself, for those who found out otherwise. */
_Noreturn void imap_credential_violated(const char *what);

#endif
