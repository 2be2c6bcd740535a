/*
 * What the session's files share; nobody else includes this but white-box tests.
 *
 *	session.c          the object, its states, the transport's events, its end
 *	session_command.c  commands: the queue, sending, how they end
 *	session_route.c    untagged answers: to commands, and into the mailbox state
 *	session_login.c    from the greeting to READY
 *	session_idle.c     IDLE: a command that lasts
 *	session_literal.c  a literal that comes in pieces
 *
 * A command is in exactly one list of its session from new to the end of done():
 *
 *	drafts → queue → in_flight → (ended)
 *	       ↘ failed ↗ could not be written
 *
 * One timer, `turn`, does what was put off until the caller has returned: it ends
 * failed commands, sends, reports idle, and on a closed session ends everything.
 * Nothing else writes to the transport.
 */
#ifndef GP_IMAP_SESSION_INTERNAL_H
#define GP_IMAP_SESSION_INTERNAL_H

#include "imap/parser.h"
#include "imap/session.h"

#define IMAP_SESSION_LOGOUT_MS 2000
/* After a BYE during login the server may still say NO with the reason. */
#define IMAP_SESSION_BYE_GRACE_MS 250
/* In flight at once; more wait in the queue. */
#define IMAP_SESSION_MAX_IN_FLIGHT 64
/* In all lists; a command more ends with GP_LIMIT. */
#define IMAP_SESSION_MAX_COMMANDS 200000

enum imap_command_stage {
	IMAP_COMMAND_DRAFT,
	IMAP_COMMAND_FAILED,
	IMAP_COMMAND_QUEUED,
	IMAP_COMMAND_IN_FLIGHT, /* from its first byte on */
	IMAP_COMMAND_ENDED,
};

struct imap_command {
	struct imap_command *prev, *next; /* link: neighbours in the list of its stage */
	struct imap_session *session;     /* borrow */
	struct imap_command_spec spec;
	char *mailbox;     /* own: spec.mailbox in UTF-8, or NULL */
	char *raw_mailbox; /* own: as the server writes it, or NULL */
	char tag[24];
	char name[24];             /* for the log */
	struct imap_writer writer; /* wiped as soon as all is sent */
	struct imap_writer
		dialogue; /* a line to send after one more "+" (SASL); not finished if has_dialogue is false */
	size_t n_sent;    /* bytes of the writer that are sent */
	size_t n_synced;  /* sync points passed */
	uint32_t first_wanted, last_wanted; /* FETCH: the messages, at the outside */
	uint64_t text_hash;                 /* FETCH */
	uint64_t sent_at_ms;
	enum gp_status failure; /* FAILED: why */
	enum imap_command_stage stage;
	bool is_barrier;
	bool is_login; /* sent before READY */
	bool is_cancelled;
	bool is_late; /* submitted after the end of the session */
	bool has_row; /* STATUS, MYRIGHTS: an answer came */
	bool has_dialogue;
	bool is_sent;            /* all of it was given to the transport */
	bool is_streaming;       /* its literal is being sent */
	uint64_t n_literal_left; /* octets of a streamed literal */
	bool is_continued;       /* awaits no longer: "+" came, the next piece goes out with this turn */
	bool is_held;            /* IDLE: the next piece, DONE, goes out when something else is to be sent */
};

/* Ways to say the password, in the order they are tried. */
enum imap_login_attempt {
	IMAP_LOGIN_SASL_IR, /* AUTHENTICATE PLAIN with an initial response (RFC 4959) */
	IMAP_LOGIN_SASL,    /* AUTHENTICATE PLAIN, the response after "+" */
	IMAP_LOGIN_PLAIN,   /* LOGIN */
};

struct imap_command_list {
	struct imap_command *first, *last; /* own */
	size_t n;
};

struct imap_session {
	/* set once */
	struct gp_timers *timers;                 /* borrow */
	const struct imap_endpoint *endpoint;     /* borrow */
	const struct imap_session_events *events; /* borrow */
	void *ctx;                                /* borrow, for events */
	struct imap_credential *credential;       /* own: one reference */
	uint64_t id;
	uint64_t silence_timeout_ms;

	/* the connection */
	enum imap_session_state state;
	struct imap_transport *transport; /* own; NULL when closed */
	struct imap_parser *parser;       /* own */
	struct gp_buffer out;             /* what this turn sends */
	struct gp_error error;            /* CLOSED: why */
	struct gp_error bye;              /* status GP_OK: none came */
	bool is_closed_told;
	char *personal_prefix; /* own: UTF-8; NULL: not known */
	uint64_t ready_at_ms, last_received_ms;
	uint64_t silent_since_ms;                       /* something is in flight, and no byte came since */
	uint64_t n_rows_dropped, n_stray_continuations; /* for the log */
	bool is_taken;                                  /* a command had the untagged answer at hand */

	struct gp_timer turn;
	struct gp_timer connect_timer; /* until READY */
	struct gp_timer silence_timer; /* while something is in flight */
	struct gp_timer end_timer;     /* LOGOUT, and BYE during login */

	/* commands */
	struct imap_command_list drafts, failed, queue, in_flight;
	struct imap_command *awaiting; /* link: the one in flight that is not wholly sent */
	uint64_t n_tags;
	size_t n_unsent_at_end; /* CLOSED: bytes that never left */
	bool is_idle_due;

	/* capabilities */
	uint64_t append_limit;
	bool has_capability[IMAP_N_CAPABILITIES];
	bool is_disabled[IMAP_N_CAPABILITIES];
	bool knows_capabilities;     /* of this layer: plain, TLS, logged in */
	uint64_t n_capability_lists; /* received */
	uint64_t n_lists_before;     /* n_capability_lists when the login command was made */
	enum imap_login_attempt attempt;
	bool has_notify;  /* NOTIFY SET was sent */
	bool has_qresync; /* the server said that it is enabled */

	/* the mailbox */
	struct imap_selected selected;
	struct imap_selected selecting; /* what the SELECT in flight has brought; mailbox stays NULL */
};

/* session.c */
void imap_session_set_state(struct imap_session *session, enum imap_session_state state);
void imap_session_fail(struct imap_session *session, enum gp_status status, const char *text);
/* From a server's status response: its code and text, "" replaced by `status`'s own. */
void imap_session_error_from(struct gp_error *error, enum gp_status status, const struct imap_response *response);
void imap_session_start_turn(struct imap_session *session);
bool imap_session_is_open(const struct imap_session *session);
void imap_session_learn_capabilities(struct imap_session *session, const struct span *words, size_t n_words);
void imap_session_learn_capability_text(struct imap_session *session, struct span text);
void imap_session_forget_capabilities(struct imap_session *session);

/* session_command.c */
/* In front of the queue: no user's command is sent before READY. */
void imap_command_submit_login(struct imap_command *command);
void imap_session_flush(struct imap_session *session);
void imap_session_end_failed(struct imap_session *session);
/* On a closed session: what is there at the call is told its end. */
void imap_session_end_all(struct imap_session *session);
/* Without done. */
void imap_session_drop_all(struct imap_session *session);
void imap_session_on_tagged(struct imap_session *session, const struct imap_response *response);
void imap_session_on_continuation(struct imap_session *session);

/* Goes on with a command whose literal is complete. */
void imap_session_send_rest(struct imap_session *session, struct imap_command *command);

/* session_literal.c */
/* "+" came: the octets may. */
void imap_session_begin_literal(struct imap_session *session, struct imap_command *command);
void imap_session_on_drained(struct imap_session *session);
/* It is the client's turn in a streamed literal: the server has nothing to say. */
bool imap_session_is_fed(const struct imap_session *session);
/* session_idle.c */
/* The server has said "+": nothing is awaited of it now. */
void imap_idle_began(struct imap_session *session, struct imap_command *command);
/* Lets DONE go out; no-op for one that is not held. Before "+" it waits for that. */
void imap_idle_release(struct imap_session *session, struct imap_command *command);

/* session_route.c */
void imap_session_on_untagged(struct imap_session *session, const struct imap_response *response);
void imap_session_apply_code(struct imap_session *session, const struct imap_code *code);
void imap_session_select_sent(struct imap_session *session, const struct imap_command *command);
/* Takes the command's mailbox when `is_ok`. */
void imap_session_select_ended(struct imap_session *session, struct imap_command *command, bool is_ok);
void imap_session_deselect(struct imap_session *session);

/* session_login.c */
void imap_login_on_greeting(struct imap_session *session, const struct imap_response *response);
void imap_login_on_secured(struct imap_session *session);
void imap_login_on_bye(struct imap_session *session, const struct imap_response *response);
/* What a refused login or a BYE means. `fallback` when neither code nor text say. */
enum gp_status imap_login_classify(const struct imap_response *response, enum gp_status fallback);
/* What a tagged NO or BAD to any other command means. */
enum gp_status imap_refusal_status(const struct imap_response *response);

#endif
