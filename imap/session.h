/*
 * One authenticated conversation with an IMAP server.
 *
 * A session connects, secures, authenticates and then runs commands, pipelined
 * where RFC 3501 section 5.5 permits. It owns its transport and its parser. Who
 * uses it: the pool makes and closes sessions; typed calls (imap/calls.h) make
 * commands on them; nobody else sees either.
 *
 *   NEW → CONNECTING → GREETING → [STARTTLS → SECURING] → AUTHENTICATING → READY → LOGOUT → CLOSED
 *
 * Commands wait in one queue and are sent in order. Barriers (SELECT, EXAMINE,
 * AUTHENTICATE, STARTTLS, LOGOUT …) wait until nothing is in flight and let nothing
 * pass; a command with a synchronising literal holds those behind it until its last
 * "+" came, and one with a streamed literal until its last octet was sent: nothing goes
 * between. Who cancels it in between, or is answered OK too early, loses the session. What is queued in one turn of the
 * loop goes out in one write.
 *
 * Answers are routed: a tagged response ends its command; FETCH rows go to every
 * command in flight that asked for that UID (or, for a FETCH by position, that
 * position), and commands that could take each other's rows for their own are not in
 * flight together; ESEARCH by its tag; SEARCH, SORT, LIST, STATUS, … to the oldest command
 * of that kind in flight. The mailbox state (EXISTS, EXPUNGE, UIDVALIDITY, …) is kept
 * here. A reply to a tag that was never sent closes the session.
 *
 * Lifetimes. events->closed comes exactly once, from the loop, after every command
 * has had its done; the session object stays until imap_session_free(). A command on
 * a closed session ends with GP_LOST (from the loop). Callbacks may start and cancel
 * commands and close the session; they must not free it: free it from a timer or from
 * `closed`.
 */
#ifndef GP_IMAP_SESSION_H
#define GP_IMAP_SESSION_H

#include "base/timers.h"
#include "imap/credential.h"
#include "imap/response.h"
#include "imap/transport.h"
#include "imap/writer.h"

/* ---- capabilities ---- */

/* enum suffix, name on the wire */
#define IMAP_CAPABILITY_MAP(X)                                                                                         \
	X(LITERAL_PLUS, "LITERAL+")                                                                                    \
	X(LITERAL_MINUS, "LITERAL-")                                                                                   \
	X(SASL_IR, "SASL-IR")                                                                                          \
	X(AUTH_PLAIN, "AUTH=PLAIN")                                                                                    \
	X(LOGINDISABLED, "LOGINDISABLED")                                                                              \
	X(STARTTLS, "STARTTLS")                                                                                        \
	X(ID, "ID")                                                                                                    \
	X(ENABLE, "ENABLE")                                                                                            \
	X(NAMESPACE, "NAMESPACE")                                                                                      \
	X(UIDPLUS, "UIDPLUS")                                                                                          \
	X(MOVE, "MOVE")                                                                                                \
	X(UNSELECT, "UNSELECT")                                                                                        \
	X(IDLE, "IDLE")                                                                                                \
	X(NOTIFY, "NOTIFY")                                                                                            \
	X(SPECIAL_USE, "SPECIAL-USE")                                                                                  \
	X(CREATE_SPECIAL_USE, "CREATE-SPECIAL-USE")                                                                    \
	X(LIST_EXTENDED, "LIST-EXTENDED")                                                                              \
	X(LIST_STATUS, "LIST-STATUS")                                                                                  \
	X(CHILDREN, "CHILDREN")                                                                                        \
	X(CONDSTORE, "CONDSTORE")                                                                                      \
	X(QRESYNC, "QRESYNC")                                                                                          \
	X(ESEARCH, "ESEARCH")                                                                                          \
	X(SORT, "SORT")                                                                                                \
	X(SORT_DISPLAY, "SORT=DISPLAY")                                                                                \
	X(THREAD_REFERENCES, "THREAD=REFERENCES")                                                                      \
	X(THREAD_REFS, "THREAD=REFS")                                                                                  \
	X(PARTIAL, "PARTIAL")                                                                                          \
	X(PREVIEW, "PREVIEW")                                                                                          \
	X(BINARY, "BINARY")                                                                                            \
	X(OBJECTID, "OBJECTID")                                                                                        \
	X(STATUS_SIZE, "STATUS=SIZE")                                                                                  \
	X(APPENDLIMIT, "APPENDLIMIT")                                                                                  \
	X(MULTIAPPEND, "MULTIAPPEND")                                                                                  \
	X(WITHIN, "WITHIN")                                                                                            \
	X(ACL, "ACL")                                                                                                  \
	X(LIST_MYRIGHTS, "LIST-MYRIGHTS")                                                                              \
	X(QUOTA, "QUOTA")                                                                                              \
	X(UTF8_ACCEPT, "UTF8=ACCEPT")                                                                                  \
	X(GMAIL, "X-GM-EXT-1")

enum imap_capability {
#define X(name, wire) IMAP_CAP_##name,
	IMAP_CAPABILITY_MAP(X)
#undef X
		IMAP_N_CAPABILITIES,
};

/* ---- the session ---- */

#define IMAP_SESSION_STATE_MAP(X)                                                                                      \
	X(NEW) X(CONNECTING) X(GREETING) X(STARTTLS) X(SECURING) X(AUTHENTICATING) X(READY) X(LOGOUT) X(CLOSED)

enum imap_session_state {
#define X(name) IMAP_SESSION_##name,
	IMAP_SESSION_STATE_MAP(X)
#undef X
};

struct imap_session_config {
	struct imap_network *network;         /* borrow */
	const struct imap_endpoint *endpoint; /* borrow */
	struct gp_timers *timers;             /* borrow */
	struct imap_credential *credential;   /* a reference is taken */
	uint64_t connect_timeout_ms;          /* until READY */
	uint64_t silence_timeout_ms;          /* with a command in flight and no byte from the server: closed */
};

struct imap_session_events {
	void (*ready)(void *ctx);
	void (*closed)(void *ctx, const struct gp_error *error);
	void (*idle)(void *ctx); /* READY, and the last command in flight or in the queue has ended */
	/* What no command has asked for: EXISTS, FETCH, LIST, STATUS, OK with a code … Borrowed.
	 * The mailbox's state has it already. */
	void (*untagged)(void *ctx, const struct imap_response *response);
};

struct imap_session;

/* Starts connecting. NULL when memory ends. `events` and `ctx` are borrowed. */
struct imap_session *imap_session_new(const struct imap_session_config *config,
				      const struct imap_session_events *events, void *ctx);
/* Closes if need be; no event comes any more. Commands still known get no done. */
void imap_session_free(struct imap_session **session);
/* Every command ends with `error`, the connection is closed, then `closed` comes (all
 * from the loop). Idempotent. */
void imap_session_close(struct imap_session *session, const struct gp_error *error);
/* LOGOUT behind what is queued, then closes (after 2 s in any case). */
void imap_session_logout(struct imap_session *session);

enum imap_session_state imap_session_state(const struct imap_session *session);
const struct imap_credential *imap_session_credential(const struct imap_session *session);
bool imap_session_can(const struct imap_session *session, enum imap_capability capability);
/* The n of APPENDLIMIT=n; 0: none was told for all mailboxes. */
uint64_t imap_session_append_limit(const struct imap_session *session);
/* Some servers offer what they cannot do: stop using it in this session. */
void imap_session_disable(struct imap_session *session, enum imap_capability capability);
/* QRESYNC is in force (RFC 7162): what is expunged is told by UID, and a mailbox's past
 * can be asked for. From the answer to ENABLE on. */
bool imap_session_has_qresync(const struct imap_session *session);
struct gp_timers *imap_session_timers(const struct imap_session *session);
/* The prefix of the account's personal namespace, in UTF-8 ("", "INBOX."); NULL until
 * the server has told. */
const char *imap_session_personal_prefix(const struct imap_session *session);
/* Commands in flight or in the queue. */
size_t imap_session_n_commands(const struct imap_session *session);
/* Commands of others that are not through and have somebody to tell: those that were
 * cancelled are drained without a word, and what the session asks itself is not counted. */
size_t imap_session_n_listening(const struct imap_session *session);
/* Whether it may be given to somebody new: it is READY, and what was cancelled on it is
 * drained by its own tagged answers. False from the moment on in which the position in
 * either stream came into doubt, also before `closed` says so. */
bool imap_session_is_in_step(const struct imap_session *session);
/* Where it is connected to; borrowed. */
const struct imap_endpoint *imap_session_endpoint(const struct imap_session *session);
uint64_t imap_session_ready_at_ms(const struct imap_session *session);
uint64_t imap_session_last_received_ms(const struct imap_session *session);

/* ---- the selected mailbox ---- */

#define IMAP_MAX_VANISHED 1000

struct imap_selected {
	char *mailbox;     /* own: UTF-8; NULL: none is selected */
	bool is_read_only; /* EXAMINE, or the server said READ-ONLY */
	bool is_examine;   /* we asked for EXAMINE */
	uint32_t uidvalidity, uidnext, exists;
	uint64_t highestmodseq;   /* as SELECT told it, raised by what came later; 0: none */
	bool has_modseq;          /* CONDSTORE is in force here */
	bool can_create_keywords; /* PERMANENTFLAGS has \* (or none was sent) */
	bool is_without_keywords; /* the last FLAGS had none but system flags: no message has another */
	bool has_arrivals;        /* EXISTS has grown since SELECT: there may be UIDs beyond uidnext */
	bool is_doubtful;         /* the server has said what cannot be: how many there are is not known */
	uint64_t n_expunged;      /* EXPUNGE and VANISHED seen since SELECT: positions moved when it changes */
	/* own: with QRESYNC, UIDs that vanished since SELECT; the first ones, where they are
	 * many (IMAP_MAX_VANISHED ranges) */
	struct imap_uidset vanished;
	uint64_t n_changes; /* EXISTS, EXPUNGE, FETCH FLAGS … seen since SELECT */
};

/* Borrowed; changes as responses arrive. */
const struct imap_selected *imap_session_selected(const struct imap_session *session);

/* ---- commands: for imap/calls.c and the pool ---- */

enum imap_command_kind {
	IMAP_COMMAND_PLAIN,  /* only its tagged answer matters: NOOP, ID, … */
	IMAP_COMMAND_FETCH,  /* rows of `uids` or positions; the tagged answer. STORE too */
	IMAP_COMMAND_SEARCH, /* SEARCH, ESEARCH by tag */
	IMAP_COMMAND_SORT,
	IMAP_COMMAND_LIST, /* LIST and STATUS rows (LIST-STATUS), MYRIGHTS */
	IMAP_COMMAND_LSUB,
	IMAP_COMMAND_STATUS, /* the STATUS row whose raw name is that of `mailbox` */
	IMAP_COMMAND_NAMESPACE,
	IMAP_COMMAND_ENABLE,
	IMAP_COMMAND_MYRIGHTS,
	IMAP_COMMAND_COPY,   /* COPY, MOVE, EXPUNGE: the untagged OK with COPYUID */
	IMAP_COMMAND_APPEND, /* its literal may be streamed */
	IMAP_COMMAND_SELECT, /* barrier; changes the selected mailbox */
	IMAP_COMMAND_IDLE,   /* barrier; goes on until another command is submitted (RFC 2177) */
};

/* How a command ended. `response` is the tagged one, NULL when there was none
 * (connection lost, closed). `error` is NULL exactly when the tagged answer was OK. */
struct imap_result {
	const struct imap_response *response;
	const struct gp_error *error; /* NO, BAD, LOST, …; code and text from the server */
	bool is_sent;                 /* all of the command has left, as far as can be known: else it was not done */
};

struct imap_command_spec {
	enum imap_command_kind kind;
	bool is_by_position;                    /* FETCH: first/last instead of uids */
	uint32_t first_position, last_position; /* both included; IMAP_UID_STAR is open */
	const struct imap_uidset *uids;         /* borrow, until done or cancel */
	unsigned row_items;                     /* FETCH: the IMAP_ITEM_… it takes */
	bool takes_vanished;                    /* FETCH: VANISHED (EARLIER) too, and no other */
	bool is_window;                         /* FETCH: tells its rows by their origin */
	bool is_bare;                           /* SEARCH: its answer has no tag, whatever the server offers */
	struct span mailbox;                    /* STATUS, SELECT: UTF-8, copied */
	bool is_examine;                        /* SELECT */
	uint64_t streamed;                      /* APPEND: octets of the literal whose head was written last; 0: none */
	/* The server takes the literal, or has taken some of it: see
	 * imap_command_literal_room(). From the loop. */
	void (*room)(void *room_ctx);
	void *room_ctx;
	void (*untagged)(void *ctx, const struct imap_response *response); /* may be NULL */
	void (*done)(void *ctx, const struct imap_result *result);         /* exactly once, the last touch */
	void *ctx;
};

struct imap_command;

/* A command with its tag written; NULL when memory ends. Write the rest through
 * imap_command_writer(), then submit. `name` is the command's: "UID FETCH". */
struct imap_command *imap_command_new(struct imap_session *session, const char *name,
				      const struct imap_command_spec *spec);
struct imap_writer *imap_command_writer(struct imap_command *command);
/* Takes it into the queue. A command that could not be written ends with the
 * writer's status, and not a byte of it is sent. */
void imap_command_submit(struct imap_command *command);
/* No callback comes any more. What is not sent yet is taken out of the queue; what
 * is in flight is drained. Leaves NULL; NULL is a no-op. */
void imap_command_cancel(struct imap_command **command);

/* ---- a streamed literal (imap/session_literal.c) ---- */

/* How many octets of the literal may be written now: 0 until the server has said "+", and
 * while GP_MAX_IMAP_UNSENT bytes are on their way. room() comes when that changes. */
size_t imap_command_literal_room(const struct imap_command *command);
/* In order, at most the room. With the last octet the command is sent whole. */
void imap_command_write_literal(struct imap_command *command, struct span octets);

#endif
