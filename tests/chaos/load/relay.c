/*
 * Between the gateway and its server. Now and then a connection ends behind a byte of the
 * server's that chance chose: by a reset, or by an end in order.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

#define PIECE 32768
#define RECORD ((size_t)1 << 20)
#define MAX_COUNTDOWN 6000 /* bytes, until the next end */

struct link;

struct side {
	struct watched watched; /* first: freed with the link, when both are closed */
	struct link *link;
	struct side *other;
	char bytes[PIECE]; /* for the other side, not taken yet */
	size_t at, len;
	bool is_connecting, is_server;
	uint32_t events;
};

/* The last that went by, each piece with a line in front: which way, and when. */
struct record {
	char *bytes; /* own */
	size_t at;
	bool is_full;
};

struct link {
	struct side gateway, server;
	bool is_closed;
	struct link *prev, *next; /* link: all that are open, where they are recorded */
	struct record record;
	unsigned number;
};

static struct watched listener;
static struct link *first;     /* where they are recorded */
static int64_t countdown = -1; /* bytes of all servers' until a connection ends; below 0: none is to */

/* ---- for whoever looks into a failure ---- */

static void put(struct record *record, const char *bytes, size_t len)
{
	while (len > 0) {
		size_t n = RECORD - record->at < len ? RECORD - record->at : len;
		memcpy(record->bytes + record->at, bytes, n);
		record->is_full |= record->at + n == RECORD;
		record->at = (record->at + n) % RECORD;
		bytes += n;
		len -= n;
	}
}

static void note(struct side *side)
{
	struct record *record = &side->link->record;
	char line[64];

	if (record->bytes) {
		int len =
			snprintf(line, sizeof line, "\n== %s %" PRIu64 " ==\n", side->is_server ? "S" : "C", now_ms());
		put(record, line, (size_t)len);
		put(record, side->bytes, side->len);
	}
}

void relay_dump(void)
{
	char name[512];

	for (struct link *link = first; link; link = link->next) {
		snprintf(name, sizeof name, "%s/link-%u", load.dump, link->number);
		FILE *file = fopen(name, "w");
		if (file) {
			if (link->record.is_full) {
				fwrite(link->record.bytes + link->record.at, 1, RECORD - link->record.at, file);
			}
			fwrite(link->record.bytes, 1, link->record.at, file);
			fclose(file);
		}
	}
}

static void begin_record(struct link *link)
{
	static unsigned n;

	link->number = ++n;
	link->record.bytes = malloc(RECORD);
	link->next = first;
	if (first) {
		first->prev = link;
	}
	first = link;
}

static void end_record(struct link *link)
{
	if (link->record.bytes) {
		*(link->prev ? &link->prev->next : &first) = link->next;
		if (link->next) {
			link->next->prev = link->prev;
		}
		free(link->record.bytes);
	}
}

/* ---- links ---- */

static void close_link(struct link *link, bool is_hard)
{
	if (!link->is_closed) {
		link->is_closed = true;
		end_record(link);
		unwatch(&link->gateway.watched, is_hard);
		unwatch(&link->server.watched, is_hard);
		bury(&link->gateway.watched); /* the start of the link's memory */
	}
}

/* Reads only while the other side has taken all. */
static void arm(struct side *side)
{
	uint32_t events = side->len == 0 && !side->other->is_connecting ? EPOLLIN : 0;

	if (side->is_connecting || side->other->len > side->other->at) {
		events |= EPOLLOUT;
	}
	if (events != side->events) {
		side->events = events;
		rewatch(&side->watched, events);
	}
}

/* Resets keep pace with responses. */
static void arm_countdown(void)
{
	uint64_t n = load.counts.resets + load.counts.ends;

	if (countdown < 0 && n * 1000 < load.counts.responses * load.resets_per_mille) {
		countdown = chance(MAX_COUNTDOWN);
	}
}

static bool pass(struct side *from)
{
	struct side *to = from->other;
	ssize_t n = send(to->watched.fd, from->bytes + from->at, from->len - from->at, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN) {
		return false;
	}
	from->at += n > 0 ? (size_t)n : 0;
	if (from->at == from->len) {
		from->at = from->len = 0;
	}
	return true;
}

static void take(struct side *side)
{
	ssize_t n = recv(side->watched.fd, side->bytes, chance(50) == 0 ? 1 + chance(200) : PIECE, 0);
	bool ends = false;

	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		close_link(side->link, n < 0);
		return;
	}
	if (n < 0) {
		return;
	}
	side->len = (size_t)n;
	note(side);
	if (side->is_server) {
		arm_countdown();
		if (countdown >= 0 && countdown < n) {
			side->len = (size_t)countdown;
			ends = true;
			countdown = -1;
		} else if (countdown >= 0) {
			countdown -= n;
		}
	}
	if ((side->len > 0 && !pass(side)) || ends) {
		bool is_hard = chance(2) == 0;
		load.counts.resets += ends && is_hard;
		load.counts.ends += ends && !is_hard;
		close_link(side->link, is_hard);
	}
}

static void ready(struct watched *watched, uint32_t events)
{
	struct side *side = (struct side *)watched;
	struct link *link = side->link;

	if (link->is_closed) {
		return;
	}
	if (events & EPOLLOUT) {
		side->is_connecting = false;
		if (side->other->len > 0 && !pass(side->other)) {
			close_link(link, true);
			return;
		}
	}
	if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) && side->len == 0) {
		take(side);
	}
	if (!link->is_closed) {
		arm(&link->gateway);
		arm(&link->server);
	}
}

static void init_side(struct side *side, struct link *link, struct side *other, int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	side->watched = (struct watched){.ready = ready, .fd = fd};
	side->link = link;
	side->other = other;
}

static void accepted(struct watched *watched, uint32_t events)
{
	struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(load.server_port)};

	(void)events;
	inet_pton(AF_INET, "127.0.0.1", &server.sin_addr);
	int fd = accept4(watched->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0) {
		return;
	}
	struct link *link = calloc(1, sizeof *link);
	int to = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (!link || to < 0) {
		die("no link");
	}
	init_side(&link->gateway, link, &link->server, fd);
	init_side(&link->server, link, &link->gateway, to);
	link->server.is_server = true;
	if (load.dump) {
		begin_record(link);
	}
	link->server.is_connecting = connect(to, (struct sockaddr *)&server, sizeof server) != 0;
	if (link->server.is_connecting && errno != EINPROGRESS) {
		die("the IMAP server");
	}
	watch(&link->gateway.watched, 0);
	watch(&link->server.watched, 0);
	arm(&link->gateway);
	arm(&link->server);
}

void relay_start(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET};
	socklen_t len = sizeof any;

	inet_pton(AF_INET, "127.0.0.1", &any.sin_addr);
	listener = (struct watched){.ready = accepted,
				    .fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
	if (listener.fd < 0 || bind(listener.fd, (struct sockaddr *)&any, sizeof any) != 0 ||
	    listen(listener.fd, 512) != 0 || getsockname(listener.fd, (struct sockaddr *)&any, &len) != 0) {
		die("no listener");
	}
	load.relay_port = ntohs(any.sin_port);
	watch(&listener, EPOLLIN);
}
