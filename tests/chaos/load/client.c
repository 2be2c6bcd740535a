/*
 * HTTP connections that are kept alive. Each asks for what chance says, of any account: the
 * gateway authenticates each request by itself. Some requests are left in the midst of the
 * answer, by a reset.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

#define MAX_REQUEST 4096
#define FIRST_BUFFER 65536
#define MAX_BUFFER (16 * 1024 * 1024)
#define SMALL_WINDOW 8192 /* of connections that will be reset: the answer is not in the socket's buffer at once */
#define GRACE_MS 3000     /* after a password changed */
#define OLD_MS 20000      /* so long the old one is tried, too */
/* What the gateway's throttle forgives: wrong passwords of an account at first, and then one in
 * each interval. The clients come from several addresses, as those of real users do. */
#define WRONG_BURST 6
#define WRONG_MS 60000
#define N_ADDRESSES 8

enum kind {
	KIND_LIST,
	KIND_LIST_BODIES,
	KIND_ONE,
	KIND_FULL,
	KIND_PART,
	KIND_RAW,
	KIND_TEXT,
	KIND_SEARCH,
	KIND_NDJSON,
	KIND_MAILBOXES,
	KIND_KEYWORD,
	KIND_APPEND,
	KIND_INBOUND,
	KIND_EVENTS,
	N_KINDS,
};

/* Of a thousand requests. */
static const struct {
	unsigned accounts, races;
	bool is_rows, is_of_message, is_list;
	uint32_t cut_within; /* bytes of an answer, at most: where it may be left */
} kinds[N_KINDS] = {
	[KIND_LIST] = {300, 400, true, false, true, 3000},   [KIND_LIST_BODIES] = {40, 50, true, false, true, 4000},
	[KIND_ONE] = {200, 200, true, true, false, 700},     [KIND_FULL] = {90, 100, true, true, false, 3000},
	[KIND_PART] = {120, 100, false, true, false, 40000}, [KIND_RAW] = {90, 200, false, true, false, 60000},
	[KIND_TEXT] = {60, 100, false, true, false, 1500},   [KIND_SEARCH] = {60, 0, true, true, false, 1000},
	[KIND_NDJSON] = {15, 0, true, false, false, 4000},   [KIND_MAILBOXES] = {35, 0, false, false, false, 700},
	[KIND_KEYWORD] = {10, 0, true, true, false, 700},    [KIND_APPEND] = {3, 0, false, false, false, 300},
	[KIND_INBOUND] = {4, 0, false, false, false, 2000},  [KIND_EVENTS] = {3, 0, false, false, false, 300},
};

enum password { PASSWORD_RIGHT, PASSWORD_OLD, PASSWORD_WRONG, PASSWORD_ANOTHERS };

struct client {
	struct watched watched; /* first */
	bool is_open, is_busy, is_small;
	char request[MAX_REQUEST];
	size_t request_len, n_sent;
	char target[512];
	enum kind kind;
	enum password password;
	struct account *account;
	struct mailbox *mailbox;
	struct message_name message;
	uint64_t cancel_at_ms; /* 0: not by time */
	size_t cancel_at;      /* bytes of the answer; 0: not by length */
	/* the answer */
	char *bytes; /* own */
	size_t len, cap, body_at;
	unsigned status;
	bool is_chunked, has_length, closes;
	size_t length;
};

static struct client *clients; /* own */
static unsigned hot[MAX_ACCOUNTS];

/* ---- what is asked ---- */

/* Mostly those that are hot now, so that there is something to share; the others evict them. */
static struct account *any_account(void)
{
	if (chance(3000) == 0) {
		hot[chance((uint32_t)load.n_hot)] = chance((uint32_t)load.n_accounts);
	}
	if (chance(40) == 0) {
		return &load.accounts[chance((uint32_t)load.n_accounts)];
	}
	return &load.accounts[hot[chance((uint32_t)load.n_hot)]];
}

static enum kind any_kind(void)
{
	unsigned sum = 0;
	int n = 0;

	for (int i = 0; i < N_KINDS; i++) {
		sum += load.is_races ? kinds[i].races : kinds[i].accounts;
	}
	unsigned at = chance(sum);
	for (;; n++) {
		unsigned weight = load.is_races ? kinds[n].races : kinds[n].accounts;
		if (at < weight) {
			return (enum kind)n;
		}
		at -= weight;
	}
}

static struct mailbox *any_mailbox(struct account *account, bool is_inbound)
{
	struct mailbox *mailbox;

	do {
		mailbox = &account->mailboxes[chance((uint32_t)account->n_mailboxes)];
	} while (mailbox->is_inbound != is_inbound);
	return mailbox;
}

/* False: none is known yet. */
static bool any_message(const struct mailbox *mailbox, struct message_name *out)
{
	if (mailbox->n_messages > 0) {
		*out = (struct message_name){mailbox->uidvalidity, 1 + chance(mailbox->n_messages)};
		return true;
	}
	if (mailbox->n_known == 0) {
		return false;
	}
	*out = mailbox->known[chance((uint32_t)mailbox->n_known)];
	if (chance(8) == 0) {
		/* a UID of now with the UIDVALIDITY of another time */
		out->uidvalidity = mailbox->known[chance((uint32_t)mailbox->n_known)].uidvalidity;
	}
	return true;
}

static void write_target(struct client *self)
{
	const char *mailbox = self->mailbox->name;
	const char *tail = "";
	char *to = self->target;
	size_t size = sizeof self->target;

	switch (self->kind) {
	case KIND_LIST:
		snprintf(to, size, "/mailboxes/%s/messages?fields=uid,subject&limit=%u", mailbox,
			 load.is_races ? 50 + chance(150) : 5 + chance(30));
		return;
	case KIND_LIST_BODIES:
		snprintf(to, size, "/mailboxes/%s/messages?fields=uid,subject&body=text&limit=%u", mailbox,
			 2 + chance(6));
		return;
	case KIND_SEARCH:
		/* one message, by its own UID: an answer to another's search has another */
		snprintf(to, size, "/mailboxes/%s/messages?fields=uid,subject&subject=-%010u-", mailbox,
			 self->message.uid);
		return;
	case KIND_INBOUND:
		snprintf(to, size, "/mailboxes/%s/messages?fields=uid,subject&limit=20", mailbox);
		return;
	case KIND_NDJSON:
		snprintf(to, size, "/mailboxes/%s/messages?format=ndjson&fields=uid,subject", mailbox);
		return;
	case KIND_MAILBOXES:
		snprintf(to, size, "/mailboxes?counts=%u", chance(2));
		return;
	case KIND_APPEND:
		snprintf(to, size, "/mailboxes/%s/messages", mailbox);
		return;
	case KIND_EVENTS:
		snprintf(to, size, "/events?mailbox=%s", mailbox);
		return;
	case KIND_PART:
		tail = "/parts/2";
		break;
	case KIND_RAW:
		tail = "/raw";
		break;
	case KIND_TEXT:
		tail = "/text";
		break;
	case KIND_KEYWORD:
		tail = "/keywords/$flagged";
		break;
	case KIND_ONE:
	case KIND_FULL:
	case N_KINDS:
		break;
	}
	snprintf(to, size, "/mailboxes/%s/messages/%u%s?uidValidity=%u%s", mailbox, self->message.uid, tail,
		 self->message.uidvalidity, self->kind == KIND_ONE ? "&fields=uid,uidValidity,subject,from" : "");
}

static enum password any_password(const struct account *account)
{
	if (load.is_races || account->n_refused >= WRONG_BURST + (now_ms() - load.began_at_ms) / WRONG_MS) {
		return PASSWORD_RIGHT;
	}
	if (account->changed_at_ms != 0 && now_ms() - account->changed_at_ms < OLD_MS && chance(4) == 0) {
		return PASSWORD_OLD;
	}
	if (chance(200) == 0) {
		return chance(2) == 0 ? PASSWORD_WRONG : PASSWORD_ANOTHERS;
	}
	return PASSWORD_RIGHT;
}

static void encode(const char *text, char *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i += 3) {
		uint32_t bits = (uint32_t)(unsigned char)text[i] << 16;
		bits |= i + 1 < len ? (uint32_t)(unsigned char)text[i + 1] << 8 : 0;
		bits |= i + 2 < len ? (uint32_t)(unsigned char)text[i + 2] : 0;
		*out++ = digits[bits >> 18];
		*out++ = digits[bits >> 12 & 63];
		*out++ = i + 1 < len ? digits[bits >> 6 & 63] : '=';
		*out++ = i + 2 < len ? digits[bits & 63] : '=';
	}
	*out = '\0';
}

static void write_request(struct client *self)
{
	const struct account *account = self->account;
	/* the next one's may be the same */
	const struct account *another = &load.accounts[(account->number + 2) % load.n_accounts];
	const char *method = self->kind == KIND_KEYWORD ? "PUT" : self->kind == KIND_APPEND ? "POST" : "GET";
	char pair[160], credential[256], body[512] = "";
	const char *password = account->password;

	if (self->password == PASSWORD_OLD) {
		password = account->old_password;
	} else if (self->password != PASSWORD_RIGHT) {
		password = self->password == PASSWORD_WRONG ? "no such password" : another->password;
	}
	snprintf(pair, sizeof pair, "%s:%s", account->user, password);
	encode(pair, credential);
	if (self->kind == KIND_APPEND) {
		snprintf(body, sizeof body,
			 "From: a@example.test\r\nSubject: canary "
			 "QC%04u-%010u-%010u-%sCQ\r\n\r\nQC%04u-%010u-%010u-%sCQ\r\n",
			 account->number, 0U, 0U, account->secret, account->number, 0U, 0U, account->secret);
	}
	int len = snprintf(self->request, sizeof self->request,
			   "%s %s HTTP/1.1\r\nHost: gatepost\r\nAuthorization: Basic %s\r\n", method, self->target,
			   credential);
	if (self->kind == KIND_APPEND) {
		len += snprintf(self->request + len, sizeof self->request - (size_t)len,
				"Content-Type: message/rfc822\r\nContent-Length: %zu\r\n", strlen(body));
	}
	len += snprintf(self->request + len, sizeof self->request - (size_t)len, "\r\n%s", body);
	self->request_len = (size_t)len;
	self->n_sent = 0;
}

/* Some are left before anything came, some in the midst. Never before the request was read. */
static void plan_cancel(struct client *self)
{
	bool is_behind = load.counts.cancels * 1000 < load.counts.responses * load.cancels_per_mille;

	self->cancel_at_ms = 0;
	self->cancel_at = 0;
	if (self->kind == KIND_EVENTS) {
		self->cancel_at_ms = now_ms() + 200 + chance(2000);
	} else if (load.cancels_per_mille > 0 && self->kind != KIND_APPEND &&
		   (is_behind ? chance(3) == 0 : chance(50) == 0)) {
		if (chance(2) == 0) {
			self->cancel_at_ms = now_ms() + 1 + chance(8);
		} else {
			self->cancel_at = 1 + chance(kinds[self->kind].cut_within);
		}
	}
}

static bool choose(struct client *self)
{
	self->account = any_account();
	self->kind = any_kind();
	self->mailbox = any_mailbox(self->account, self->kind == KIND_APPEND || self->kind == KIND_INBOUND);
	self->message = (struct message_name){0, 0};
	if (kinds[self->kind].is_of_message && !any_message(self->mailbox, &self->message)) {
		self->kind = KIND_LIST;
	}
	self->password = any_password(self->account);
	write_target(self);
	write_request(self);
	plan_cancel(self);
	return true;
}

/* ---- the answer ---- */

static void note_outcome(struct client *self, const struct expectation *expectation)
{
	unsigned status = self->status;

	load.counts.statuses[status / 100 < 6 ? status / 100 : 0]++;
	load.counts.n_404 += status == 404;
	load.counts.n_410 += status == 410;
	load.counts.n_401 += status == 401;
	self->account->n_refused += status == 401;
	if (status < 300 && (self->password == PASSWORD_WRONG || self->password == PASSWORD_ANOTHERS)) {
		load.counts.foreign++;
		report_wrong(expectation, "a wrong password was served", self->bytes, self->len);
	}
	bool is_settled = self->account->changed_at_ms == 0 || now_ms() - self->account->changed_at_ms > GRACE_MS;
	if (status == 401 && self->password == PASSWORD_RIGHT && is_settled) {
		load.counts.unauthorized++;
		report_wrong(expectation, "the right password was refused", self->bytes, self->len);
	}
	if (status == 500 || status == 400) {
		load.counts.refused++;
		report_wrong(expectation, "400 or 500", self->bytes, self->len);
	}
}

static struct expectation expectation_of(const struct client *self, bool is_whole)
{
	bool is_ok = self->status >= 200 && self->status < 300;

	return (struct expectation){
		.account = self->account,
		.message = self->message,
		.is_rows = kinds[self->kind].is_rows && is_ok,
		.is_whole = is_whole,
		.target = self->target,
	};
}

/* What was said of one message must be of it, also in rows: "uid" of another is a wrong answer. */
static void check(struct client *self, const char *body, size_t len, bool is_whole)
{
	const struct expectation expectation = expectation_of(self, is_whole);
	bool is_ok = self->status >= 200 && self->status < 300;

	size_t n = check_body(&expectation, body, len);
	if (is_ok && self->message.uid != 0) {
		struct expectation plain = expectation;
		plain.is_rows = false;
		if (expectation.is_rows) {
			(void)check_body(&plain, body, len);
		}
		if (n == 0 && is_whole && self->kind != KIND_KEYWORD) {
			load.counts.wrong++;
			report_wrong(&expectation, "a message without its canary", body, len);
		}
	}
	if (is_ok && is_whole) {
		load.counts.fetches += n;
	}
	if (is_ok && kinds[self->kind].is_list && load.is_races) {
		learn(self->mailbox, body, len);
	}
}

static void stop_reading(struct client *self, bool is_hard)
{
	unwatch(&self->watched, is_hard);
	self->is_open = false;
	self->is_busy = false;
}

static void cancel(struct client *self)
{
	if (self->kind == KIND_EVENTS) {
		load.counts.events++;
	} else {
		load.counts.cancels++;
	}
	check(self, self->bytes, self->len, false);
	stop_reading(self, true);
}

static void next_request(struct client *self);

static void complete(struct client *self, const char *body, size_t len)
{
	const struct expectation expectation = expectation_of(self, true);

	if (self->status == 429) {
		load.counts.n_429++;
	} else {
		load.counts.responses++;
		note_outcome(self, &expectation);
	}
	check(self, body, len, true);
	self->is_busy = false;
	if (self->closes) {
		stop_reading(self, false);
	} else {
		next_request(self);
	}
}

static void read_head(struct client *self)
{
	char *end = memmem(self->bytes, self->len, "\r\n\r\n", 4);

	if (!end) {
		return;
	}
	self->body_at = (size_t)(end - self->bytes) + 4;
	self->status = (unsigned)strtoul(self->bytes + 9, NULL, 10);
	for (char *line = self->bytes; line < end; line = strstr(line, "\r\n") + 2) {
		if (strncasecmp(line, "Content-Length:", 15) == 0) {
			self->has_length = true;
			self->length = strtoul(line + 15, NULL, 10);
		} else if (strncasecmp(line, "Transfer-Encoding: chunked", 26) == 0) {
			self->is_chunked = true;
		} else if (strncasecmp(line, "Connection: close", 17) == 0) {
			self->closes = true;
		}
		if (line == end) {
			break;
		}
	}
}

/* Joins the chunks in place; false when the last has not come. */
static bool join_chunks(struct client *self, size_t *len_out)
{
	size_t from = self->body_at, to = 0;
	char *joined = malloc(self->len - self->body_at + 1);

	if (!joined) {
		die("no memory");
	}
	while (from < self->len) {
		char *end = memmem(self->bytes + from, self->len - from, "\r\n", 2);
		if (!end) {
			break;
		}
		size_t n = strtoul(self->bytes + from, NULL, 16);
		from = (size_t)(end - self->bytes) + 2;
		if (self->len - from < n + 2) {
			break;
		}
		if (n == 0) {
			memcpy(self->bytes + self->body_at, joined, to);
			free(joined);
			*len_out = to;
			return true;
		}
		memcpy(joined + to, self->bytes + from, n);
		to += n;
		from += n + 2;
	}
	free(joined);
	return false;
}

static void look(struct client *self)
{
	size_t len;

	if (self->body_at == 0) {
		read_head(self);
	}
	if (self->body_at == 0) {
		return;
	}
	bool has_last = self->is_chunked && memcmp(self->bytes + self->len - 5, "0\r\n\r\n", 5) == 0;
	if (self->is_chunked && has_last && join_chunks(self, &len)) {
		complete(self, self->bytes + self->body_at, len);
	} else if (!self->is_chunked && self->len - self->body_at >= self->length) {
		complete(self, self->bytes + self->body_at, self->length);
	}
}

static void reserve(struct client *self)
{
	if (self->cap - self->len < FIRST_BUFFER / 2) {
		self->cap = self->cap == 0 ? FIRST_BUFFER : self->cap * 2;
		self->bytes = self->cap > MAX_BUFFER ? NULL : realloc(self->bytes, self->cap);
		if (!self->bytes) {
			die("no memory for an answer");
		}
	}
}

static void read_some(struct client *self)
{
	reserve(self);
	size_t room = self->cap - self->len - 1;
	if (self->cancel_at > 0 && self->cancel_at - self->len < room) {
		room = self->cancel_at - self->len;
	}
	ssize_t n = recv(self->watched.fd, self->bytes + self->len, room, 0);
	if (n < 0 && errno == EAGAIN) {
		return;
	}
	if (n <= 0) {
		/* An answer that breaks off visibly: the IMAP connection was reset in its midst. */
		if (self->is_busy) {
			load.counts.broken_off++;
			check(self, self->bytes, self->len, false);
		}
		stop_reading(self, n < 0);
		return;
	}
	self->len += (size_t)n;
	self->bytes[self->len] = '\0';
	look(self);
	if (self->is_open && self->is_busy && self->cancel_at > 0 && self->len >= self->cancel_at) {
		cancel(self);
	}
}

/* ---- connections ---- */

static void send_request(struct client *self)
{
	ssize_t n =
		send(self->watched.fd, self->request + self->n_sent, self->request_len - self->n_sent, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN) {
		stop_reading(self, true);
		return;
	}
	self->n_sent += n > 0 ? (size_t)n : 0;
	rewatch(&self->watched, self->n_sent < self->request_len ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void ready(struct watched *watched, uint32_t events)
{
	struct client *self = (struct client *)watched;

	if (self->is_open && (events & EPOLLOUT) && self->n_sent < self->request_len) {
		send_request(self);
	}
	if (self->is_open && (events & (EPOLLIN | EPOLLERR | EPOLLHUP))) {
		read_some(self);
	}
}

static void begin(struct client *self)
{
	self->is_busy = true;
	self->len = self->body_at = self->length = 0;
	self->status = 0;
	self->is_chunked = self->has_length = self->closes = false;
	reserve(self);
	self->bytes[0] = '\0';
}

static void open_connection(struct client *self)
{
	struct sockaddr_in gateway = {.sin_family = AF_INET, .sin_port = htons(load.gateway_port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_in from = {.sin_family = AF_INET};
	int on = 1, window = SMALL_WINDOW;

	inet_pton(AF_INET, "127.0.0.1", &gateway.sin_addr);
	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)((size_t)(self - clients) % N_ADDRESSES));
	if (fd < 0) {
		die("no socket");
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (chance(3) == 0) {
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
	}
	/* the port is chosen by connect(), which has more to choose from */
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
	if (bind(fd, (struct sockaddr *)&from, sizeof from) != 0) {
		die("no address of its own");
	}
	if (connect(fd, (struct sockaddr *)&gateway, sizeof gateway) != 0 && errno != EINPROGRESS) {
		die("the gateway");
	}
	self->watched = (struct watched){.ready = ready, .fd = fd};
	self->is_open = true;
	watch(&self->watched, EPOLLIN | EPOLLOUT);
}

static void next_request(struct client *self)
{
	if (load.is_over || !choose(self)) {
		return;
	}
	begin(self);
	if (self->is_open) {
		send_request(self);
	} else {
		open_connection(self);
	}
}

void clients_start(void)
{
	load.began_at_ms = now_ms();
	clients = calloc(load.n_connections, sizeof *clients);
	if (!clients) {
		die("no memory");
	}
	for (size_t i = 0; i < load.n_hot; i++) {
		hot[i] = chance((uint32_t)load.n_accounts);
	}
}

void clients_turn(void)
{
	uint64_t now = now_ms();

	for (size_t i = 0; i < load.n_connections; i++) {
		struct client *self = &clients[i];
		if (self->is_open && self->is_busy && self->cancel_at_ms != 0 && now >= self->cancel_at_ms) {
			cancel(self);
		}
		if (!self->is_busy) {
			next_request(self);
		}
	}
}
