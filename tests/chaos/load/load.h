/*
 * The load of the soaks: an HTTP client of many connections, and a relay between the
 * gateway and its IMAP server that breaks connections. One thread, one epoll.
 *
 *	main.c    options, what there is (accounts and mailboxes), the loop, the report
 *	client.c  HTTP connections: requests by chance, responses, cancels
 *	check.c   canaries: whose they are, and of which message
 *	relay.c   IMAP connections to the server, reset at chosen bytes
 *
 * Everything is driven by one seed; how connections interleave is chance.
 */
#ifndef GP_TESTS_CHAOS_LOAD_H
#define GP_TESTS_CHAOS_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#define MAX_ACCOUNTS 1000
#define MAX_MAILBOXES 8
#define N_KNOWN 64

/* A message as a canary names it. */
struct message_name {
	uint32_t uidvalidity, uid;
};

struct mailbox {
	char name[128];                   /* needs no encoding in a target */
	uint32_t uidvalidity, n_messages; /* 0: not fixed, messages are learned from lists */
	bool is_inbound;                  /* messages are appended here through the gateway */
	struct message_name known[N_KNOWN];
	size_t n_known, next_known;
	uint32_t latest; /* UIDVALIDITY of the last that was learned */
};

struct account {
	unsigned number;
	char user[64], secret[16]; /* `secret` is in each of its canaries */
	char password[64], old_password[64];
	uint64_t changed_at_ms; /* 0: never */
	unsigned n_refused;     /* wrong passwords, 401 */
	struct mailbox mailboxes[MAX_MAILBOXES];
	size_t n_mailboxes;
};

struct counts {
	uint64_t responses, fetches, cancels, resets, ends, unauthorized, refused, foreign, wrong, broken_off, events;
	uint64_t statuses[6]; /* by their first digit */
	uint64_t n_404, n_410, n_401;
	uint64_t n_429; /* not among the responses: nothing was asked of anybody's mail */
};

struct load {
	bool is_races;
	struct account accounts[MAX_ACCOUNTS];
	size_t n_accounts;
	uint16_t gateway_port, server_port, relay_port;
	size_t n_connections, n_hot;
	uint64_t goal_responses, goal_fetches, cancels_per_mille, resets_per_mille;
	struct counts counts;
	int epoll;
	uint64_t random, began_at_ms;
	bool is_over;
	const char *dump; /* borrow: a folder, or NULL */
};

extern struct load load;

/* What epoll tells of one descriptor. Freed at the end of the turn in which it was closed. */
struct watched {
	void (*ready)(struct watched *self, uint32_t events);
	struct watched *next_dead;
	int fd;
};

void die(const char *what) __attribute__((noreturn));
uint64_t now_ms(void);
uint32_t chance(uint32_t below); /* 0 … below-1 */
void watch(struct watched *self, uint32_t events);
void rewatch(struct watched *self, uint32_t events);
/* Closes, with a reset when `is_hard`. */
void unwatch(struct watched *self, bool is_hard);
/* free() at the end of the turn. */
void bury(struct watched *self);

/* ---- check.c ---- */

/* What a response may hold. */
struct expectation {
	const struct account *account;
	/* of one message: every canary with a UID must be of it */
	struct message_name message; /* uid 0: not one */
	/* JSON rows: a canary belongs to the "uid" before it, and to the reply's "uidValidity" */
	bool is_rows;
	bool is_whole; /* else the end may be missing, and what needs it is not checked */
	const char *target;
};

/* How many messages were seen in it, each with its canary; what is wrong is counted and told. */
size_t check_body(const struct expectation *expectation, const char *text, size_t len);
void report_wrong(const struct expectation *expectation, const char *what, const char *text, size_t len);
/* Notes the messages of a list, for requests to come. */
void learn(struct mailbox *mailbox, const char *text, size_t len);

/* ---- client.c ---- */

void clients_start(void);
/* Cancels that are due, connections that are to be opened. */
void clients_turn(void);

/* ---- relay.c ---- */

void relay_start(void);
/* What the servers said last, into files in the folder of --dump; no-op without it. */
void relay_dump(void);

#endif
