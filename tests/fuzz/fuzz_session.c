/*
 * The whole program but its sockets, on a virtual clock, with the input as its IMAP
 * server and its client's moods: api_handle(), the pool, the session, the parser.
 *
 * The first two bytes: what the server offers, how its bytes are cut, whether it lets the
 * gateway log in by itself; and the first request. Then bytes of the server, as they are,
 * among which stand (the numbers are the dictionary's):
 *
 *	01 02	the tag of the command that has waited longest, shortest
 *	03	the next connection is meant from here on
 *	04	the connection ends
 *	05 n	the clock moves by 2^n ms
 *	06 n	one more request
 *	07 n	request n's client leaves
 *	08 n	request n's client reads, or sends, what it can
 *	0E	a good answer to what has waited longest
 *	0F	good answers until nothing waits on any connection
 *	10	connected, or secured
 *	11	a cut: what stands before it arrives before what stands behind it
 *	12 n	the byte n itself
 *
 * What holds for every input: each request gets exactly one reply, within its deadline;
 * a write is a success only if its command was told OK, or was lost and looked for;
 * nothing of it is left half an hour later, no memory either; and what is held meanwhile
 * is bounded by what arrived.
 */
#include <stdlib.h>

#include "api/hub.h"
#include "api/idempotency.h"
#include "api/throttle.h"
#include "base/log.h"
#include "mail/header.h"
#include "tests/fuzz/model_server.h"
#include "tests/support/fake_exchange.h"
#include "tests/support/fake_network.h"
#include "tests/support/fake_work.h"

#define MAX_CONNECTIONS 64
#define MAX_REQUESTS 12
#define MAX_STEPS 4000
#define REQUEST_TIMEOUT_MS 60000
/* Connections, requests and the program's own tables; then what one byte may become. */
#define BASE_MEMORY ((size_t)48 * GP_MIB)
#define MEMORY_PER_BYTE ((size_t)4 * GP_KIB)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* In place of OpenSSL's: every run is the same. */
int RAND_bytes(unsigned char *to, int len);
/* The sanitizer's; without it memory is not looked at. */
__attribute__((weak)) size_t __sanitizer_get_current_allocated_bytes(void);

static const char *const offers[] = {
	"IMAP4rev1",
	"IMAP4rev1 LITERAL+ ESEARCH UIDPLUS MOVE",
	"IMAP4rev1 LITERAL+ ESEARCH CONDSTORE UIDPLUS MOVE LIST-EXTENDED LIST-STATUS SPECIAL-USE ENABLE QRESYNC IDLE",
	("IMAP4rev1 LITERAL- ESEARCH CONDSTORE ENABLE QRESYNC UIDPLUS SORT ESORT NOTIFY IDLE ID MULTIAPPEND PREVIEW "
	 "OBJECTID STATUS=SIZE UNSELECT"),
};

/* assert() that says what it was, in every build */
#define require(condition)                                                                                             \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "fuzz_session.c:%d: not so: %s\n", __LINE__, #condition);                      \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

struct kind {
	const char *method, *target;
	const char *body;    /* NULL: none */
	const char *headers; /* "Name: value", one; NULL: none */
	unsigned verbs;      /* a success needs one of them to have been told OK; 0: reads */
	const char *unless;  /* a body with this in it tells that nothing was done; NULL: any */
	bool is_endless;     /* an event stream */
};

#define MOVES (MODEL_MOVE | MODEL_COPY)
#define JSON "Content-Type: application/json"
#define MBOX "From ann@x Mon Jan  1 10:00:00 2024\nSubject: 1\n\none\n\nFrom ann@x Mon Jan  1 10:00:00 2024\n\ntwo\n"

static const struct kind kinds[] = {
	{"GET", "/mailboxes/INBOX/messages?limit=5", NULL, NULL, 0, NULL, false},
	{"GET", "/messages/7", NULL, NULL, 0, NULL, false},
	{"GET", "/messages/7/raw", NULL, NULL, 0, NULL, false},
	{"GET", "/mailboxes", NULL, NULL, 0, NULL, false},
	{"GET", "/messages/7?fields=keywords", NULL, NULL, 0, NULL, false},
	{"GET", "/messages/7/parts/1", NULL, NULL, 0, NULL, false},
	{"GET", "/messages/7/text", NULL, NULL, 0, NULL, false},
	{"GET", "/messages/7/html", NULL, NULL, 0, NULL, false},
	{"GET", "/messages/7/headers", NULL, NULL, 0, NULL, false},
	{"GET", "/messages/7/attachments.zip", NULL, NULL, 0, NULL, false},
	{"GET", "/mailboxes/INBOX/messages?subject=x&sort=-receivedAt,from&limit=2", NULL, NULL, 0, NULL, false},
	{"GET", "/mailboxes/INBOX/messages?hasAttachment=1&preview=1", NULL, NULL, 0, NULL, false},
	{"GET", "/mailboxes/INBOX/messages?limit=3&body=text,html", NULL, NULL, 0, NULL, false},
	{"GET", "/mailboxes/INBOX/messages", NULL, "Accept: application/x-ndjson", 0, NULL, false},
	{"GET", "/mailboxes/INBOX/messages?subject=x", NULL, "Accept: application/mbox", 0, NULL, false},
	{"GET", "/mailboxes/INBOX/messages", NULL, "Accept: application/zip", 0, NULL, false},
	{"HEAD", "/messages/8/raw", NULL, NULL, 0, NULL, false},
	{"GET", "/messages/7/raw", NULL, "Range: bytes=10-20", 0, NULL, false},
	{"GET", "/mailboxes/INBOX", NULL, NULL, 0, NULL, false},
	{"GET", "/mailboxes/@sent/messages?fields=uid", NULL, NULL, 0, NULL, false},
	{"GET", "/mailboxes/INBOX/changes?since=q7.50.8", NULL, NULL, 0, NULL, false},
	{"GET", "/mailboxes/INBOX/changes?since=q7.60.10&wait=20", NULL, NULL, 0, NULL, false},
	{"GET", "/events?mailbox=INBOX", NULL, NULL, 0, NULL, true},
	{"GET", "/events", NULL, NULL, 0, NULL, true},
	{"PUT", "/messages/7/keywords/$flagged", NULL, NULL, MODEL_STORE, NULL, false},
	{"DELETE", "/messages/7/keywords/x", NULL, NULL, MODEL_STORE, NULL, false},
	{"PATCH", "/messages/7", "{\"keywords\":{\"$seen\":true}}", JSON, MODEL_STORE, NULL, false},
	{"PATCH", "/messages/7", "{\"mailbox\":\"Archive\"}", JSON, MOVES, NULL, false},
	{"PATCH", "/mailboxes/INBOX/messages?uid=7,8", "{\"keywords\":{\"$seen\":true}}", JSON, MODEL_STORE,
	 "\"updated\":[]", false},
	{"PATCH", "/mailboxes/INBOX/messages?subject=x", "{\"mailbox\":\"Archive\"}", JSON, MOVES, "\"updated\":[]",
	 false},
	{"DELETE", "/messages/7", NULL, NULL, MOVES | MODEL_EXPUNGE, NULL, false},
	{"DELETE", "/messages/7?permanent=1", NULL, NULL, MODEL_EXPUNGE, NULL, false},
	{"DELETE", "/mailboxes/INBOX/messages?uid=7:9&permanent=1", NULL, NULL, MODEL_EXPUNGE, "\"destroyed\":[]",
	 false},
	{"POST", "/messages/7/copy", "{\"mailbox\":\"Archive\"}", JSON, MODEL_COPY, NULL, false},
	{"POST", "/mailboxes/INBOX/messages", "Subject: x\r\n\r\nhello\r\n", "Content-Type: message/rfc822",
	 MODEL_APPEND, NULL, false},
	{"POST", "/mailboxes/INBOX/messages", "{\"subject\":\"x\",\"text\":\"hello\"}", JSON, MODEL_APPEND, NULL,
	 false},
	{"POST", "/mailboxes/INBOX/messages", MBOX, "Content-Type: application/mbox", MODEL_APPEND, "\"appended\":[]",
	 false},
	{"PUT", "/messages/7", "Subject: x\r\n\r\nhello\r\n", "Content-Type: message/rfc822",
	 MODEL_APPEND | MODEL_REPLACE, NULL, false},
	{"POST", "/mailboxes", "{\"name\":\"New\"}", JSON, MODEL_CREATE, NULL, false},
	{"PATCH", "/mailboxes/Archive", "{\"name\":\"New\"}", JSON, MODEL_RENAME, NULL, false},
	{"PATCH", "/mailboxes/Archive", "{\"isSubscribed\":false}", JSON, MODEL_UNSUBSCRIBE | MODEL_LOOK, NULL, false},
	{"DELETE", "/mailboxes/Archive", NULL, NULL, MODEL_DELETE, NULL, false},
};

#define N_KINDS (sizeof kinds / sizeof kinds[0])

struct client {
	struct fake_exchange exchange;
	const struct kind *kind;
	size_t n_sent; /* of an upload */
	bool is_checked;
};

struct world {
	struct fake_network *network;
	struct imap_endpoint endpoint;
	struct imap_pool *pool;
	struct api_hubs *hubs;
	struct api_app app;
	struct model_connection connections[MAX_CONNECTIONS];
	bool is_connected[MAX_CONNECTIONS];
	size_t n_connections, current;
	struct client clients[MAX_REQUESTS];
	size_t n_clients;
	struct gp_buffer pending; /* the server's bytes up to the next cut */
	bool logs_in;             /* by itself */
	unsigned split;           /* 0: whole, 1: a byte, else random pieces */
	uint32_t random;
	const char *capabilities;
	size_t memory_before, n_arrived;
};

static struct fake_network *network_of_clock; /* app->now_us has no context */

static uint64_t now_us(void)
{
	return fake_now_ms(network_of_clock) * 1000;
}

int RAND_bytes(unsigned char *to, int len)
{
	memset(to, 0x55, (size_t)len);
	return 1;
}

static bool fixed_random(void *to, size_t len)
{
	memset(to, 0x61, len);
	return true;
}

/* ---- both ends ---- */

static void check_memory(const struct world *world)
{
	if (__sanitizer_get_current_allocated_bytes) {
		size_t now = __sanitizer_get_current_allocated_bytes();
		require(now < world->memory_before + BASE_MEMORY + world->n_arrived * MEMORY_PER_BYTE);
	}
}

static void feed(struct world *world, size_t index, struct span bytes)
{
	struct fake_transport *transport = fake_transport(world->network, index);

	if (!world->is_connected[index]) {
		return;
	}
	world->n_arrived += bytes.len;
	model_note_sent(&world->connections[index], bytes);
	while (bytes.len > 0) {
		size_t n = world->split == 0 ? bytes.len : 1;
		if (world->split > 1) {
			world->random = world->random * 1664525u + 1013904223u;
			n = 1 + (world->random >> 16) % (world->random & 1024 ? 4 : 200);
		}
		struct span piece = span_slice(bytes, 0, n);
		fake_feed_bytes(transport, piece);
		bytes = span_from(bytes, piece.len);
	}
}

static void answer(struct world *world, size_t index)
{
	struct gp_buffer out;

	gp_buffer_init(&out, 64 * GP_MIB);
	if (model_answer(&world->connections[index], &out)) {
		feed(world, index, gp_buffer_span(&out));
	}
	gp_buffer_deinit(&out);
}

static void take_written(struct world *world)
{
	for (size_t i = 0; i < world->n_connections; i++) {
		model_take(&world->connections[i], fake_take(fake_transport(world->network, i)));
	}
}

static void connect_or_secure(struct world *world, size_t index)
{
	struct fake_transport *transport = fake_transport(world->network, index);

	if (fake_is_closed(transport)) {
		return;
	}
	if (!world->is_connected[index]) {
		world->is_connected[index] = true;
		fake_connect(transport);
	} else if (fake_wants_tls(transport)) {
		fake_secure(transport);
	}
}

static void greet(struct world *world, size_t index)
{
	struct gp_buffer greeting;

	connect_or_secure(world, index);
	gp_buffer_init(&greeting, GP_KIB);
	model_must(
		gp_buffer_printf(&greeting, "* OK [CAPABILITY %s AUTH=PLAIN SASL-IR] hello\r\n", world->capabilities));
	feed(world, index, gp_buffer_span(&greeting));
	gp_buffer_deinit(&greeting);
	for (int i = 0; i < 4; i++) {
		struct model_connection *connection = &world->connections[index];
		take_written(world);
		const char *line = connection->n_commands > 0 ? connection->commands[0].line : "";
		if (!model_has(line, "AUTHENTICATE") && !model_has(line, "ID ") && !model_has(line, "ENABLE")) {
			return;
		}
		answer(world, index);
	}
}

/* What the last step did: new connections, lines of the gateway. */
static void settle(struct world *world)
{
	while (world->n_connections < fake_n_opened(world->network) && world->n_connections < MAX_CONNECTIONS) {
		size_t index = world->n_connections++;
		model_init(&world->connections[index], world->capabilities);
		if (world->logs_in) {
			greet(world, index);
		}
	}
	take_written(world);
	check_memory(world);
}

static void flush(struct world *world)
{
	if (world->n_connections > 0 && world->pending.len > 0) {
		feed(world, world->current, gp_buffer_span(&world->pending));
		settle(world);
	}
	gp_buffer_truncate(&world->pending, 0);
}

static void advance(struct world *world, uint64_t ms)
{
	fake_turn(world->network, ms);
	settle(world);
}

/* ---- clients ---- */

/* A success of a write has its reason. */
static void check_reply(struct world *world, struct client *client)
{
	const struct fake_exchange *exchange = &client->exchange;
	unsigned all_written = 0, confirmed = 0;

	if (client->is_checked || !exchange->is_replied) {
		return;
	}
	client->is_checked = true;
	if (!client->kind->verbs || exchange->status / 100 != 2 ||
	    (client->kind->unless && exchange->body.len > 0 && strstr(exchange->body.data, client->kind->unless))) {
		return;
	}
	bool is_lost = false;
	for (size_t i = 0; i < world->n_connections; i++) {
		unsigned written, told;
		model_verbs(&world->connections[i], &written, &told);
		bool is_closed = fake_is_closed(fake_transport(world->network, i));
		is_lost |= is_closed && (written & client->kind->verbs) != 0;
		all_written |= written;
		confirmed |= told;
	}
	/* Lost, and another command said how it went. */
	bool is_looked_for = is_lost && (confirmed & MODEL_LOOK);
	require((all_written & client->kind->verbs) != 0);
	require((confirmed & client->kind->verbs) != 0 || is_looked_for);
}

static void request(struct world *world, unsigned which)
{
	const struct kind *kind = &kinds[which % N_KINDS];

	if (world->n_clients == MAX_REQUESTS) {
		return;
	}
	struct client *client = &world->clients[world->n_clients++];
	struct fake_exchange *exchange = &client->exchange;
	client->kind = kind;
	fake_exchange_init(exchange, kind->method, kind->target);
	fake_exchange_login(exchange);
	exchange->exchange.started_us = now_us();
	if (kind->headers) {
		static const char *const names[] = {"Content-Type", "Accept", "Range"};
		for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
			if (strncmp(kind->headers, names[i], strlen(names[i])) == 0) {
				fake_exchange_add_header(exchange, names[i], kind->headers + strlen(names[i]) + 2);
			}
		}
	}
	if (kind->body) {
		fake_exchange_set_body(exchange, span_of(kind->body));
		if (api_takes_upload(&world->app, &exchange->exchange)) {
			fake_exchange_set_upload(exchange, (int64_t)strlen(kind->body));
		}
	}
	api_handle(&world->app, &exchange->exchange);
	advance(world, 0);
}

static void go_on(struct world *world, struct client *client)
{
	struct fake_exchange *exchange = &client->exchange;

	if (exchange->is_gone || exchange->is_replied) {
		return;
	}
	if (exchange->is_stream) {
		fake_exchange_take(exchange, SIZE_MAX);
	} else if (exchange->is_upload_begun && !exchange->is_upload_ended) {
		struct span rest = span_from(span_of(client->kind->body), client->n_sent);
		client->n_sent += fake_exchange_send(exchange, rest);
		if (client->n_sent == strlen(client->kind->body)) {
			fake_exchange_end_upload(exchange);
		}
	}
	advance(world, 0);
}

static void leave(struct world *world, struct client *client)
{
	if (!client->exchange.is_gone && !client->exchange.is_replied) {
		fake_exchange_leave(&client->exchange);
		advance(world, 0);
	}
}

/* ---- the input ---- */

static void answer_all(struct world *world)
{
	bool is_moving = true;

	for (int round = 0; is_moving && round < 50; round++) {
		is_moving = false;
		for (size_t i = 0; i < world->n_connections; i++) {
			struct model_connection *connection = &world->connections[i];
			bool is_idle = connection->n_commands == 1 && !connection->awaits_plus &&
				       strcmp(connection->commands[0].line, "DONE") == 0;
			if ((connection->n_commands > 0 && !is_idle) || connection->awaits_plus) {
				is_moving = true;
				answer(world, i);
				settle(world);
			}
		}
		for (size_t i = 0; i < world->n_clients; i++) {
			go_on(world, &world->clients[i]);
		}
	}
}

static void put_tag(struct world *world, bool is_newest)
{
	if (world->n_connections == 0) {
		return;
	}
	const struct model_connection *connection = &world->connections[world->current];
	const char *tag = connection->n_commands > 0
				  ? connection->commands[is_newest ? connection->n_commands - 1 : 0].tag
			  : connection->is_growing ? connection->growing.tag
						   : "*";
	model_must(gp_buffer_append(&world->pending, span_of(tag)));
}

/* A step other than the server's bytes; how many bytes of the input it took. */
static size_t step(struct world *world, unsigned char what, unsigned char argument)
{
	struct client *client = &world->clients[argument % MAX_REQUESTS];
	bool is_client = argument % MAX_REQUESTS < world->n_clients;

	flush(world);
	switch (what) {
	case 0x03:
		world->current = world->n_connections > 0 ? (world->current + 1) % world->n_connections : 0;
		return 1;
	case 0x04:
		if (world->n_connections > 0) {
			fake_end(fake_transport(world->network, world->current), GP_LOST, "lost");
		}
		return 1;
	case 0x05:
		advance(world, (uint64_t)1 << argument % 20);
		return 2;
	case 0x06:
		request(world, argument);
		return 2;
	case 0x07:
		if (is_client) {
			leave(world, client);
		}
		return 2;
	case 0x08:
		if (is_client) {
			go_on(world, client);
		}
		return 2;
	case 0x0E:
		if (world->n_connections > 0) {
			answer(world, world->current);
		}
		return 1;
	case 0x0F:
		answer_all(world);
		return 1;
	case 0x10:
		if (world->n_connections > 0) {
			connect_or_secure(world, world->current);
		}
		return 1;
	default:
		return 1;
	}
}

static bool is_step(unsigned char byte)
{
	return (byte >= 0x03 && byte <= 0x08) || (byte >= 0x0E && byte <= 0x11);
}

static void play(struct world *world, const uint8_t *data, size_t size)
{
	size_t n_steps = 0;

	for (size_t i = 0; i < size && n_steps < MAX_STEPS;) {
		unsigned char byte = data[i], next = i + 1 < size ? data[i + 1] : 0;
		if (is_step(byte)) {
			n_steps++;
			i += step(world, byte, next);
			settle(world);
			for (size_t c = 0; c < world->n_clients; c++) {
				check_reply(world, &world->clients[c]);
			}
		} else if (byte == 0x01 || byte == 0x02) {
			put_tag(world, byte == 0x02);
			i++;
		} else {
			bool is_escaped = byte == 0x12 && i + 1 < size;
			model_must(gp_buffer_append_char(&world->pending, (char)(is_escaped ? next : byte)));
			i += is_escaped ? 2 : 1;
		}
	}
	flush(world);
}

/* ---- one run ---- */

static void open_world(struct world *world, unsigned char options)
{
	world->memory_before = __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes() : 0;
	world->network = network_of_clock = fake_network_new();
	world->capabilities = offers[options & 3];
	world->split = options >> 2 & 3;
	world->logs_in = !(options & 0x10);
	world->random = options;
	world->endpoint = (struct imap_endpoint){.host = "imap.test",
						 .port = 993,
						 .security = options & 0x20 && !world->logs_in ? IMAP_SECURITY_STARTTLS
											       : IMAP_SECURITY_TLS};
	gp_buffer_init(&world->pending, 64 * GP_MIB);
	struct imap_pool_config config = {.network = fake_as_network(world->network),
					  .endpoint = &world->endpoint,
					  .timers = fake_timers(world->network),
					  .max_sessions_per_account = options & 0x40 ? 1 : 4,
					  .max_sessions = 8,
					  .connect_timeout_ms = 10000,
					  .idle_timeout_ms = 300000,
					  .silence_timeout_ms = REQUEST_TIMEOUT_MS};
	world->pool = imap_pool_new(&config);
	world->app = (struct api_app){.pool = world->pool,
				      .timers = fake_timers(world->network),
				      .now_us = now_us,
				      .request_timeout_ms = REQUEST_TIMEOUT_MS,
				      .max_body = GP_MIB,
				      .random = fixed_random,
				      .work = fake_work,
				      .idempotency = api_idempotency_new(fake_timers(world->network)),
				      .throttle = api_throttle_new(fake_timers(world->network), fixed_random),
				      .upstream_name = "imap.test"};
	world->hubs = api_hubs_new(&world->app);
	world->app.hubs = world->hubs;
	world->app.written = api_hubs_written;
}

/* The server says nothing more; clients read and send what they can. All that was asked
 * is answered by then. */
static void finish_requests(struct world *world)
{
	world->logs_in = false;
	for (int i = 0; i < 8; i++) {
		for (size_t c = 0; c < world->n_clients; c++) {
			go_on(world, &world->clients[c]);
		}
		advance(world, REQUEST_TIMEOUT_MS + 1);
	}
	for (size_t c = 0; c < world->n_clients; c++) {
		struct client *client = &world->clients[c];
		require(client->exchange.is_replied || client->exchange.is_gone ||
			(client->kind->is_endless && client->exchange.is_stream));
		check_reply(world, client);
		leave(world, client);
	}
}

static void close_world(struct world *world)
{
	struct imap_pool_stats stats;

	require(world->app.n_held == 0);
	/* a feed may be in the midst of a sync, and stays for a while */
	advance(world, API_HUB_GRACE_MS + 2 * REQUEST_TIMEOUT_MS);
	imap_pool_stats(world->pool, &stats);
	require(stats.n_leases == 0 && stats.n_waiting == 0);
	advance(world, (uint64_t)30 * 60 * 1000);
	imap_pool_stats(world->pool, &stats);
	require(stats.n_sessions == 0 && stats.n_accounts == 0);
	for (size_t c = 0; c < world->n_clients; c++) {
		fake_exchange_deinit(&world->clients[c].exchange);
	}
	api_hubs_free(&world->hubs);
	imap_pool_free(&world->pool);
	api_idempotency_free(&world->app.idempotency);
	api_throttle_free(&world->app.throttle);
	for (size_t i = 0; i < world->n_connections; i++) {
		model_deinit(&world->connections[i]);
	}
	gp_buffer_deinit(&world->pending);
	fake_network_free(&world->network);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	mail_init();
	gp_log_setup(GP_LOG_ERROR, GP_LOG_TEXT);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || size > GP_MIB) {
		return 0;
	}
	struct world *world = calloc(1, sizeof *world);
	require(world != NULL);
	open_world(world, data[0]);
	request(world, data[1]);
	play(world, data + 2, size - 2);
	finish_requests(world);
	close_world(world);
	free(world);
	return 0;
}
