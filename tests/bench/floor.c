/*
 * The floor of the benchmark: what an IMAP server gives to a client that does nothing
 * with the answers. Plain sockets and epoll; N connections log in over plain-text IMAP
 * to 127.0.0.1, SELECT INBOX, and keep D commands in flight each for S seconds. Only
 * the framing is read: lines, literals, tagged OK. One JSON line comes out.
 *
 *   floor PORT USER PASSWORD page|message|attachment CONNECTIONS DEPTH SECONDS
 *
 * `page` fetches the newest 20 as a list needs them, `message` one with its text,
 * `attachment` one's second part; the messages are taken in turn.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 1000
#define MAX_DEPTH 64
#define MAX_LINE 65536 /* the end of a line is enough: a longer one keeps its last half */
#define MAX_SAMPLES ((size_t)1 << 22)
#define PAGE 20
#define MAX_UIDS 5000 /* the newest; their SEARCH fits a line */

#define ENVELOPE_ITEMS                                                                                                 \
	"UID FLAGS INTERNALDATE RFC822.SIZE MODSEQ ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (REFERENCES)]"

enum work { WORK_PAGE, WORK_MESSAGE, WORK_ATTACHMENT };
enum answer { ANSWER_UNTAGGED, ANSWER_OK, ANSWER_OTHER };

struct connection {
	int fd;
	char line[MAX_LINE];
	size_t line_len;
	uint64_t literal; /* bytes of it still to come */
	unsigned long n_sent, n_done;
	uint64_t sent_at_ns[MAX_DEPTH]; /* by number of the command, modulo depth */
	uint32_t next_uid;              /* index in uids */
};

static enum work work;
static unsigned depth;
static uint32_t *uids; /* own */
static size_t n_uids;
static uint32_t *samples_us; /* own */
static size_t n_samples;
static uint64_t n_bytes, n_operations;

static void die(const char *what)
{
	fprintf(stderr, "floor: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static unsigned long read_number(const char *text, unsigned long max)
{
	char *end;

	errno = 0;
	unsigned long value = strtoul(text, &end, 10);
	if (errno || *text < '0' || *text > '9' || *end || value == 0 || value > max) {
		errno = 0;
		fprintf(stderr, "floor: not a number from 1 to %lu: %s\n", max, text);
		exit(2);
	}
	return value;
}

static void send_all(struct connection *c, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = send(c->fd, bytes, len, MSG_NOSIGNAL);
		if (n < 0) {
			die("send");
		}
		bytes += n;
		len -= (size_t)n;
	}
}

/* ---- framing ---- */

/* The size announced at the end of a line: "{123}", or no literal. */
static bool announced(const char *line, size_t len, uint64_t *size_out)
{
	uint64_t size = 0, place = 1;
	size_t at = len;

	if (at < 3 || line[--at] != '}') {
		return false;
	}
	while (at > 0 && line[at - 1] >= '0' && line[at - 1] <= '9' && len - at < 12) {
		size += (uint64_t)(line[--at] - '0') * place;
		place *= 10;
	}
	if (at == 0 || line[at - 1] != '{' || place == 1) {
		return false;
	}
	*size_out = size;
	return true;
}

static void append_line(struct connection *c, const char *bytes, size_t len)
{
	while (len > 0) {
		if (c->line_len == MAX_LINE) {
			memmove(c->line, c->line + MAX_LINE / 2, MAX_LINE / 2);
			c->line[0] = '*'; /* only tagged lines are looked at, and they are short */
			c->line_len = MAX_LINE / 2;
		}
		size_t n = len < MAX_LINE - c->line_len ? len : MAX_LINE - c->line_len;
		memcpy(c->line + c->line_len, bytes, n);
		c->line_len += n;
		bytes += n;
		len -= n;
	}
}

/* Calls `ended` for each line that ends a response or goes on after a literal. */
static void feed(struct connection *c, const char *bytes, size_t len,
		 void (*ended)(struct connection *c, const char *line, size_t len))
{
	while (len > 0) {
		if (c->literal > 0) {
			size_t n = c->literal < len ? (size_t)c->literal : len;
			c->literal -= n;
			bytes += n;
			len -= n;
			continue;
		}
		const char *newline = memchr(bytes, '\n', len);
		size_t n = newline ? (size_t)(newline - bytes) + 1 : len;
		append_line(c, bytes, n);
		bytes += n;
		len -= n;
		if (!newline) {
			return;
		}
		size_t line_len = c->line_len - 1;
		if (line_len > 0 && c->line[line_len - 1] == '\r') {
			line_len--;
		}
		if (announced(c->line, line_len, &c->literal)) {
			c->line[0] = '*'; /* what follows belongs to this response */
			c->line_len = 1;
		} else {
			ended(c, c->line, line_len);
			c->line_len = 0;
		}
	}
}

static enum answer classify(const char *line, size_t len)
{
	const char *space = memchr(line, ' ', len);

	if (len == 0 || line[0] != 'A') {
		return ANSWER_UNTAGGED;
	}
	return space && len - (size_t)(space - line) >= 4 && memcmp(space, " OK ", 4) == 0 ? ANSWER_OK : ANSWER_OTHER;
}

static void check_answer(const char *line, size_t len, enum answer answer)
{
	if (answer == ANSWER_OTHER) {
		fprintf(stderr, "floor: %.*s\n", (int)(len < 200 ? len : 200), line);
		exit(1);
	}
}

/* ---- logging in ---- */

static bool is_answered;
static unsigned long n_messages;

static void add_uids(const char *line, size_t len)
{
	static const char prefix[] = "* SEARCH";
	uint32_t uid = 0;

	if (len < sizeof prefix - 1 || memcmp(line, prefix, sizeof prefix - 1) != 0 || n_uids > 0) {
		return;
	}
	uids = calloc(len / 2 + 1, sizeof *uids);
	if (!uids) {
		die("memory");
	}
	for (size_t i = sizeof prefix - 1; i <= len; i++) {
		if (i < len && line[i] >= '0' && line[i] <= '9') {
			uid = uid * 10 + (uint32_t)(line[i] - '0');
		} else if (uid) {
			uids[n_uids++] = uid;
			uid = 0;
		}
	}
}

static void add_exists(const char *line, size_t len)
{
	static const char suffix[] = " EXISTS";
	char *end;

	if (len > 9 && memcmp(line, "* ", 2) == 0 && memcmp(line + len - 7, suffix, 7) == 0) {
		n_messages = strtoul(line + 2, &end, 10);
	}
}

static void on_setup_line(struct connection *c, const char *line, size_t len)
{
	enum answer answer = classify(line, len);

	(void)c;
	check_answer(line, len, answer);
	add_uids(line, len);
	add_exists(line, len);
	is_answered = answer == ANSWER_OK || (len >= 4 && memcmp(line, "* OK", 4) == 0 && c->n_sent == 0);
}

/* Sends one command (NULL: waits for the greeting) and reads to its OK. */
static void ask(struct connection *c, const char *command)
{
	char bytes[4096];

	if (command) {
		c->n_sent = 1;
		send_all(c, command, strlen(command));
	}
	for (is_answered = false; !is_answered;) {
		ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
		if (n <= 0) {
			die("the server closed the connection");
		}
		feed(c, bytes, (size_t)n, on_setup_line);
	}
}

static void append_quoted(char *out, size_t size, const char *text)
{
	size_t at = strlen(out);

	if (at + 2 * strlen(text) + 3 > size || strpbrk(text, "\r\n")) {
		errno = 0;
		die("such a name or password cannot be sent");
	}
	out[at++] = '"';
	for (; *text; text++) {
		if (*text == '"' || *text == '\\') {
			out[at++] = '\\';
		}
		out[at++] = *text;
	}
	out[at++] = '"';
	out[at] = '\0';
}

static void log_in(struct connection *c, uint16_t port, const char *user, const char *password)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	char command[1024] = "A0 LOGIN ";
	size_t len;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0) {
		die("connect");
	}
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	ask(c, NULL);
	append_quoted(command, sizeof command - 256, user);
	len = strlen(command);
	command[len] = ' ';
	command[len + 1] = '\0';
	append_quoted(command, sizeof command - 2, password);
	len = strlen(command);
	memcpy(command + len, "\r\n", 3);
	ask(c, command);
	ask(c, "A0 SELECT INBOX\r\n");
	snprintf(command, sizeof command, "A0 UID SEARCH %lu:*\r\n",
		 n_messages > MAX_UIDS ? n_messages - MAX_UIDS + 1 : 1);
	ask(c, command);
	c->n_sent = 0;
}

/* ---- the load ---- */

static void send_next(struct connection *c)
{
	char command[512];
	unsigned long tag = c->n_sent;
	uint32_t uid = uids[c->next_uid];
	int len = 0;

	c->next_uid = (c->next_uid + 1) % (uint32_t)n_uids;
	switch (work) {
	case WORK_PAGE:
		len = snprintf(command, sizeof command, "A%lu UID FETCH %u:%u (" ENVELOPE_ITEMS ")\r\n", tag,
			       uids[n_uids > PAGE ? n_uids - PAGE : 0], uids[n_uids - 1]);
		break;
	case WORK_MESSAGE:
		len = snprintf(command, sizeof command,
			       "A%lu UID FETCH %u (" ENVELOPE_ITEMS " BODY.PEEK[HEADER] BODY.PEEK[1])\r\n", tag, uid);
		break;
	case WORK_ATTACHMENT:
		len = snprintf(command, sizeof command, "A%lu UID FETCH %u (UID BODY.PEEK[2])\r\n", tag, uid);
		break;
	}
	c->sent_at_ns[c->n_sent % depth] = now_ns();
	c->n_sent++;
	send_all(c, command, (size_t)len);
}

static void on_load_line(struct connection *c, const char *line, size_t len)
{
	enum answer answer = classify(line, len);

	check_answer(line, len, answer);
	if (answer == ANSWER_OK) {
		/* Servers answer FETCHes of one connection in order. */
		uint64_t took_us = (now_ns() - c->sent_at_ns[c->n_done % depth]) / 1000;
		c->n_done++;
		n_operations++;
		if (n_samples < MAX_SAMPLES) {
			samples_us[n_samples++] = took_us > UINT32_MAX ? UINT32_MAX : (uint32_t)took_us;
		}
		send_next(c);
	}
}

static double run(struct connection *const *connections, size_t n_connections, unsigned long seconds)
{
	static char bytes[262144];
	struct epoll_event events[64];
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	uint64_t start = now_ns();
	uint64_t now = start;

	if (epoll < 0) {
		die("epoll");
	}
	for (size_t i = 0; i < n_connections; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = connections[i]};
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i]->fd, &event) < 0) {
			die("epoll");
		}
		/* Not all at the same message. */
		connections[i]->next_uid = (uint32_t)(i * n_uids / n_connections);
		for (unsigned d = 0; d < depth; d++) {
			send_next(connections[i]);
		}
	}
	while (now - start < seconds * 1000000000U) {
		int n_events = epoll_wait(epoll, events, 64, 1000);
		for (int i = 0; i < n_events; i++) {
			struct connection *c = events[i].data.ptr;
			ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
			if (n <= 0) {
				die("the server closed a connection");
			}
			n_bytes += (uint64_t)n;
			feed(c, bytes, (size_t)n, on_load_line);
		}
		now = now_ns();
	}
	close(epoll);
	return (double)(now - start) / 1e9;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double percentile_ms(size_t percent)
{
	return n_samples ? (double)samples_us[(n_samples - 1) * percent / 100] / 1000 : 0;
}

int main(int argc, char **argv)
{
	static const char *const works[] = {"page", "message", "attachment"};
	static struct connection *connections[MAX_CONNECTIONS];
	bool is_known = false;

	for (unsigned i = 0; argc == 8 && i < 3; i++) {
		if (strcmp(argv[4], works[i]) == 0) {
			work = (enum work)i;
			is_known = true;
		}
	}
	if (!is_known) {
		fputs("usage: floor PORT USER PASSWORD page|message|attachment CONNECTIONS DEPTH SECONDS\n", stderr);
		return 2;
	}
	uint16_t port = (uint16_t)read_number(argv[1], 65535);
	size_t n_connections = read_number(argv[5], MAX_CONNECTIONS);
	depth = (unsigned)read_number(argv[6], MAX_DEPTH);
	unsigned long seconds = read_number(argv[7], 3600);

	samples_us = calloc(MAX_SAMPLES, sizeof *samples_us);
	if (!samples_us) {
		die("memory");
	}
	for (size_t i = 0; i < n_connections; i++) {
		connections[i] = calloc(1, sizeof *connections[i]);
		if (!connections[i]) {
			die("memory");
		}
		log_in(connections[i], port, argv[2], argv[3]);
	}
	if (n_uids == 0) {
		errno = 0;
		die("INBOX is empty");
	}
	double took_s = run(connections, n_connections, seconds);
	qsort(samples_us, n_samples, sizeof *samples_us, compare);
	printf("{\"work\":\"%s\",\"connections\":%zu,\"depth\":%u,\"seconds\":%.2f,\"operations\":%llu,"
	       "\"per_second\":%.1f,\"mb_per_second\":%.2f,\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n",
	       argv[4], n_connections, depth, took_s, (unsigned long long)n_operations, (double)n_operations / took_s,
	       (double)n_bytes / took_s / 1e6, percentile_ms(50), percentile_ms(99));
	for (size_t i = 0; i < n_connections; i++) {
		close(connections[i]->fd);
		free(connections[i]);
	}
	free(uids);
	free(samples_us);
	return 0;
}
