/*
 * What can go wrong, as one list. Functions that can fail return enum
 * gp_status (must be used); where a person or a client will want to know more,
 * they also fill a struct gp_error that the caller owns. The first error wins.
 */
#ifndef GP_BASE_STATUS_H
#define GP_BASE_STATUS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"

#define GP_MUST_USE __attribute__((warn_unused_result))
#define GP_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* name, what it says to a person */
#define GP_STATUS_MAP(X)                                                                                               \
	X(OK, "ok")                                                                                                    \
	/* ours */                                                                                                     \
	X(NO_MEMORY, "out of memory")                                                                                  \
	X(LIMIT, "a limit was reached")                                                                                \
	X(INVALID, "invalid input")                                                                                    \
	X(CANCELLED, "cancelled")                                                                                      \
	X(QUEUE_FULL, "the queue of this account is full")                                                             \
	X(POOL_FULL, "the IMAP session pool is full")                                                                  \
	X(DRAINING, "shutting down")                                                                                   \
	X(DEADLINE, "the deadline passed")                                                                             \
	X(IO, "input or output failed")                                                                                \
	/* reaching the IMAP server */                                                                                 \
	X(RESOLVE, "the IMAP server's name cannot be resolved")                                                        \
	X(REFUSED, "the IMAP server cannot be reached")                                                                \
	X(CONNECT_TIMEOUT, "the IMAP server did not answer in time")                                                   \
	X(TLS, "no secure connection to the IMAP server")                                                              \
	X(GREETING, "the IMAP server's greeting is not acceptable")                                                    \
	/* being let in */                                                                                             \
	X(AUTH, "the IMAP server refused the user name or password")                                                   \
	X(AUTH_UNAVAILABLE, "the IMAP server cannot check credentials now")                                            \
	X(TOO_MANY, "the IMAP server allows no more connections")                                                      \
	X(THROTTLED, "the IMAP server asks to slow down")                                                              \
	/* speaking with it */                                                                                         \
	X(LOST, "the connection to the IMAP server was lost")                                                          \
	X(PROTOCOL, "the IMAP server sent what IMAP does not allow")                                                   \
	X(NO, "the IMAP server refused the command")                                                                   \
	X(BAD, "the IMAP server did not understand the command")                                                       \
	X(UNSUPPORTED, "the IMAP server cannot do this")                                                               \
	X(STALE, "the mailbox changed while it was read")                                                              \
	X(NOT_FOUND, "there is no such mailbox or message")                                                            \
	X(UIDVALIDITY, "the mailbox has a new UIDVALIDITY")

enum gp_status {
#define X(name, text) GP_##name,
	GP_STATUS_MAP(X)
#undef X
};

struct gp_error {
	enum gp_status status;
	char code[40];  /* IMAP response code as sent, upper case, or "" */
	char text[256]; /* one line, valid UTF-8, for people */
};

/* "NO_MEMORY" and "out of memory"; static storage. */
const char *gp_status_name(enum gp_status status);
const char *gp_status_text(enum gp_status status);

/* Sets `error` unless it already holds one; NULL is a no-op. Bytes that are not
 * printable become '?'. Returns `status`, so that a caller can fail in one line. */
enum gp_status gp_error_set(struct gp_error *error, enum gp_status status, const char *format, ...) GP_PRINTF(3, 4);
void gp_error_clear(struct gp_error *error);

#endif
