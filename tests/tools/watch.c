/*
 * Watches on a real server, and a line on standard output for each thing they tell:
 *
 *   watch PORT PER-ACCOUNT USERS USER PASSWORD [MAILBOX…]
 *
 * IMAP on 127.0.0.1: without TLS, or with it where WATCH_CA names the file of a CA. USERS accounts are watched: USER
 * itself, or with more than one USER0, USER1, … Without a mailbox all are. A line is
 *
 *   MICROSECONDS NUMBER up|listed|changed NAME|down STATUS|final STATUS
 *
 * by CLOCK_MONOTONIC. Ends with SIGTERM, orderly; exit 0 when everything was given back.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gateway/loop.h"
#include "imap/tcp.h"
#include "imap/tls.h"
#include "imap/watch.h"

struct watched {
	unsigned number;
	struct imap_credential *credential; /* own */
	struct imap_watch *watch;           /* own */
};

static struct gateway_loop loop;
static struct imap_pool *pool;
static struct watched *watched;
static unsigned n_watched;

static void say(const struct watched *who, const char *what, struct span name)
{
	printf("%llu %u %s%s%.*s\n", (unsigned long long)gateway_now_us(), who->number, what, name.len ? " " : "",
	       SPAN_ARGS(name));
	fflush(stdout);
}

static void on_changed(void *ctx, struct span mailbox, const struct imap_status *status)
{
	(void)status;
	say(ctx, "changed", mailbox);
}

static void on_listed(void *ctx)
{
	say(ctx, "listed", SPAN_LIT(""));
}

static void on_up(void *ctx)
{
	say(ctx, "up", SPAN_LIT(""));
}

static void on_down(void *ctx, const struct gp_error *error, bool is_final)
{
	say(ctx, is_final ? "final" : "down", span_of(gp_status_name(error->status)));
}

static const struct imap_watch_events events = {
	.changed = on_changed, .listed = on_listed, .up = on_up, .down = on_down};

static void start(struct watched *self, const char *user, const char *password, char **mailboxes, int n_mailboxes)
{
	struct span *names = calloc((size_t)n_mailboxes + 1, sizeof *names);
	char name[256];

	for (int i = 0; names && i < n_mailboxes; i++) {
		names[i] = span_of(mailboxes[i]);
	}
	if (n_watched == 1) {
		snprintf(name, sizeof name, "%s", user);
	} else {
		snprintf(name, sizeof name, "%s%u", user, self->number);
	}
	if (!names || imap_credential_new(span_of(name), span_of(password), &self->credential) != GP_OK) {
		exit(1);
	}
	const struct imap_watch_spec spec = {.credential = self->credential,
					     .is_all = n_mailboxes == 0,
					     .mailboxes = names,
					     .n_mailboxes = (size_t)n_mailboxes};
	self->watch = imap_watch_start(pool, &spec, &events, self);
	free(names);
	if (!self->watch) {
		exit(1);
	}
}

static void on_drained(void *ctx)
{
	(void)ctx;
	gateway_loop_stop(&loop);
}

static void on_signal(void *ctx, int signal_number)
{
	(void)ctx;
	(void)signal_number;
	imap_pool_drain(pool, on_drained, NULL);
}

int main(int argc, char **argv)
{
	struct imap_endpoint endpoint = {.host = "127.0.0.1", .security = IMAP_SECURITY_NONE};

	if (argc < 6) {
		fprintf(stderr, "usage: watch PORT PER-ACCOUNT USERS USER PASSWORD [MAILBOX...]\n");
		return 2;
	}
	gp_log_setup(getenv("WATCH_LOG") ? GP_LOG_DEBUG : GP_LOG_WARN, GP_LOG_TEXT);
	endpoint.port = (uint16_t)strtoul(argv[1], NULL, 10);
	n_watched = (unsigned)strtoul(argv[3], NULL, 10);
	watched = calloc(n_watched, sizeof *watched);
	if (!watched || gateway_loop_init(&loop) != 0 || gateway_loop_watch_signals(&loop, on_signal, NULL) != 0) {
		return 1;
	}
	struct gp_error error = {.status = GP_OK};
	struct imap_tls_context *tls = NULL;
	if (getenv("WATCH_CA")) {
		tls = imap_tls_context_new(getenv("WATCH_CA"), &error);
		endpoint.security = IMAP_SECURITY_TLS;
	}
	struct imap_network *network = imap_tcp_network_new(&loop.uv, &loop.timers, tls);
	const struct imap_pool_config config = {
		.network = network,
		.endpoint = &endpoint,
		.timers = &loop.timers,
		.max_sessions_per_account = strtoul(argv[2], NULL, 10),
		.max_sessions = 4 * n_watched,
		.connect_timeout_ms = 60000,
		.idle_timeout_ms = 300000,
		.silence_timeout_ms = 60000,
	};
	pool = imap_pool_new(&config);
	for (unsigned i = 0; i < n_watched; i++) {
		watched[i].number = i;
		start(&watched[i], argv[4], argv[5], argv + 6, argc - 6);
	}
	gateway_loop_run(&loop);
	for (unsigned i = 0; i < n_watched; i++) {
		imap_watch_stop(&watched[i].watch);
		imap_credential_unref(&watched[i].credential);
	}
	free(watched);
	imap_pool_free(&pool);
	imap_tcp_network_free(&network);
	imap_tls_context_free(&tls);
	gateway_loop_deinit(&loop);
	return 0;
}
