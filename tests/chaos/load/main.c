/*
 *	chaos_load accounts|races --seed N --server-port P --connections N --hot N
 *	           --responses N --fetches N --cancels PER_MILLE --resets PER_MILLE [--dump FOLDER]
 *
 * Reads from standard input what there is:
 *
 *	account NUMBER USER PASSWORD SECRET
 *	mailbox NAME UIDVALIDITY N_MESSAGES     of the account before it; 0 0: learned; 0 1: for appends
 *	gateway PORT                            begins
 *	password NUMBER NEW                     later, at any time
 *
 * Says "relay PORT" first, then a line of counts each second and, with the last one, "over".
 * The exit is 1 when something foreign or wrong came.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

#define MAX_EVENTS 256
#define MAX_LINE 512

struct load load;

static struct watched *dead;
static struct watched input;
static bool has_begun;

void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(2);
}

uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* xorshift64* */
uint32_t chance(uint32_t below)
{
	load.random ^= load.random >> 12;
	load.random ^= load.random << 25;
	load.random ^= load.random >> 27;
	return (uint32_t)((load.random * 2685821657736338717U) >> 32) % below;
}

/* ---- descriptors ---- */

static void control(int operation, struct watched *self, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = self};

	if (epoll_ctl(load.epoll, operation, self->fd, &event) != 0) {
		die("epoll");
	}
}

void watch(struct watched *self, uint32_t events)
{
	control(EPOLL_CTL_ADD, self, events);
}

void rewatch(struct watched *self, uint32_t events)
{
	control(EPOLL_CTL_MOD, self, events);
}

void unwatch(struct watched *self, bool is_hard)
{
	struct linger at_once = {.l_onoff = 1, .l_linger = 0};

	if (is_hard) {
		setsockopt(self->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
	}
	close(self->fd);
	self->fd = -1;
}

void bury(struct watched *self)
{
	self->next_dead = dead;
	dead = self;
}

static void free_dead(void)
{
	while (dead) {
		struct watched *next = dead->next_dead;
		free(dead);
		dead = next;
	}
}

/* ---- what there is ---- */

static struct account *last_account(void)
{
	return &load.accounts[load.n_accounts - 1];
}

static void read_mailbox(const char *line)
{
	struct account *account = last_account();
	struct mailbox *mailbox = &account->mailboxes[account->n_mailboxes];

	if (account->n_mailboxes == MAX_MAILBOXES ||
	    sscanf(line, "mailbox %127s %u %u", mailbox->name, &mailbox->uidvalidity, &mailbox->n_messages) != 3) {
		die(line);
	}
	mailbox->is_inbound = mailbox->uidvalidity == 0 && mailbox->n_messages == 1;
	mailbox->n_messages = mailbox->is_inbound ? 0 : mailbox->n_messages;
	account->n_mailboxes++;
}

static void read_account(const char *line)
{
	struct account *account = &load.accounts[load.n_accounts];

	if (load.n_accounts == MAX_ACCOUNTS ||
	    sscanf(line, "account %u %63s %63s %15s", &account->number, account->user, account->password,
		   account->secret) != 4 ||
	    account->number != load.n_accounts) {
		die(line);
	}
	load.n_accounts++;
}

static void read_password(const char *line)
{
	char password[64];
	unsigned number;

	if (sscanf(line, "password %u %63s", &number, password) != 2 || number >= load.n_accounts) {
		die(line);
	}
	struct account *account = &load.accounts[number];
	memcpy(account->old_password, account->password, sizeof password);
	memcpy(account->password, password, sizeof password);
	account->changed_at_ms = now_ms();
}

static void read_line(const char *line)
{
	unsigned port;

	if (strncmp(line, "account ", 8) == 0) {
		read_account(line);
	} else if (strncmp(line, "mailbox ", 8) == 0) {
		read_mailbox(line);
	} else if (strncmp(line, "password ", 9) == 0) {
		read_password(line);
	} else if (sscanf(line, "gateway %u", &port) == 1) {
		load.gateway_port = (uint16_t)port;
		has_begun = true;
		clients_start();
	} else {
		die(line);
	}
}

static void on_input(struct watched *self, uint32_t events)
{
	static char bytes[MAX_LINE];
	static size_t len;
	char *end;

	(void)events;
	ssize_t n = read(self->fd, bytes + len, sizeof bytes - len - 1);
	if (n <= 0) {
		load.is_over = true; /* whoever wanted it has gone */
		return;
	}
	len += (size_t)n;
	bytes[len] = '\0';
	while ((end = strchr(bytes, '\n'))) {
		*end = '\0';
		read_line(bytes);
		len -= (size_t)(end + 1 - bytes);
		memmove(bytes, end + 1, len + 1);
	}
}

/* ---- the run ---- */

static void report(void)
{
	const struct counts *c = &load.counts;

	printf("responses %" PRIu64 " fetches %" PRIu64 " cancels %" PRIu64 " resets %" PRIu64 " ends %" PRIu64
	       " foreign %" PRIu64 " wrong %" PRIu64 " unauthorized %" PRIu64 " broken-off %" PRIu64
	       " event-streams %" PRIu64 " 2xx %" PRIu64 " 4xx %" PRIu64 " 401 %" PRIu64 " 404 %" PRIu64 " 410 %" PRIu64
	       " 429 %" PRIu64 " 5xx %" PRIu64 " defects %" PRIu64 "\n",
	       c->responses, c->fetches, c->cancels, c->resets, c->ends, c->foreign, c->wrong, c->unauthorized,
	       c->broken_off, c->events, c->statuses[2], c->statuses[4], c->n_401, c->n_404, c->n_410, c->n_429,
	       c->statuses[5], c->refused);
	fflush(stdout);
}

static void run(void)
{
	struct epoll_event events[MAX_EVENTS];
	uint64_t said_ms = now_ms();

	while (!load.is_over) {
		int n = epoll_wait(load.epoll, events, MAX_EVENTS, has_begun ? 1 : -1);
		for (int i = 0; i < n; i++) {
			struct watched *watched = events[i].data.ptr;
			if (watched->fd >= 0) {
				watched->ready(watched, events[i].events);
			}
		}
		if (has_begun) {
			clients_turn();
		}
		free_dead();
		if (now_ms() - said_ms >= 1000) {
			said_ms = now_ms();
			report();
		}
		const struct counts *c = &load.counts;
		if (c->responses >= load.goal_responses && c->fetches >= load.goal_fetches &&
		    c->cancels * 1000 >= load.goal_responses * load.cancels_per_mille &&
		    (c->resets + c->ends) * 1000 >= load.goal_responses * load.resets_per_mille) {
			load.is_over = true;
		}
	}
}

static void read_options(int argc, char **argv)
{
	const struct {
		const char *name;
		uint64_t *value;
	} options[] = {
		{"--responses", &load.goal_responses},
		{"--fetches", &load.goal_fetches},
		{"--cancels", &load.cancels_per_mille},
		{"--resets", &load.resets_per_mille},
		{"--seed", &load.random},
		{"--connections", &load.n_connections},
		{"--hot", &load.n_hot},
	};

	for (int i = 2; i + 1 < argc; i += 2) {
		uint64_t number = strtoull(argv[i + 1], NULL, 10);
		for (size_t j = 0; j < sizeof options / sizeof *options; j++) {
			if (strcmp(argv[i], options[j].name) == 0) {
				*options[j].value = number;
			}
		}
		if (strcmp(argv[i], "--dump") == 0) {
			load.dump = argv[i + 1];
		}
		if (strcmp(argv[i], "--server-port") == 0) {
			load.server_port = (uint16_t)number;
		}
	}
	load.is_races = argc > 1 && strcmp(argv[1], "races") == 0;
	load.random = load.random * 2654435761U + 88172645463325252U;
}

int main(int argc, char **argv)
{
	struct rlimit files;

	load.n_connections = 48;
	load.n_hot = 16;
	read_options(argc, argv);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	signal(SIGPIPE, SIG_IGN);
	load.epoll = epoll_create1(EPOLL_CLOEXEC);
	relay_start();
	input = (struct watched){.ready = on_input, .fd = STDIN_FILENO};
	watch(&input, EPOLLIN);
	printf("relay %u\n", load.relay_port);
	fflush(stdout);
	run();
	report();
	puts("over");
	return load.counts.foreign || load.counts.wrong || load.counts.unauthorized || load.counts.refused ? 1 : 0;
}
