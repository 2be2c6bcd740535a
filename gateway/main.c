/*
 * gatepost: the one file that sees every room. It puts the parts together, runs the
 * loop, and takes them apart again in this order:
 *
 *   SIGTERM or SIGINT → no new connections, new requests are 503 (app.is_draining)
 *   → event streams and waits for changes end at once → requests under way end,
 *   GP_DRAIN_MS at most → IMAP sessions log out,
 *   LOGOUT_MS at most → HTTP connections close → the loop runs empty → exit 0.
 *
 * A second signal shortens every wait to nothing.
 */
#include <jansson.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/hub.h"
#include "api/idempotency.h"
#include "api/json.h"
#include "api/throttle.h"
#include "base/limits.h"
#include "gateway/healthcheck.h"
#include "gateway/http_server.h"
#include "gateway/loop.h"
#include "gateway/options.h"
#include "gateway/process.h"
#include "gateway/sandbox.h"
#include "gateway/tls_files.h"
#include "gateway/worker.h"
#include "imap/tcp.h"
#include "mail/header.h"

#define LOGOUT_MS 5000
/* Descriptors that are neither an HTTP connection nor an IMAP session. */
#define SPARE_DESCRIPTORS 64

#define EXIT_BAD_OPTION 2

struct program {
	struct gateway_options options;
	struct gateway_loop loop;
	struct api_app app;
	struct imap_tls_context *tls;        /* own */
	struct imap_network *network;        /* own */
	struct imap_pool *pool;              /* own */
	struct api_hubs *hubs;               /* own */
	struct api_idempotency *idempotency; /* own */
	struct api_throttle *throttle;       /* own */
	struct http_server *server;          /* own */
	struct gp_timer logout_deadline;
	char *tls_cert, *tls_key; /* own: PEM text */
	bool is_draining;
	bool is_stopped;
};

/* ---- the end ---- */

static void stop(struct program *program)
{
	program->is_stopped = true;
	gp_timer_stop(&program->logout_deadline);
	gateway_loop_stop(&program->loop);
}

static void logged_out(void *ctx)
{
	struct program *program = ctx;

	if (!program->is_stopped) {
		stop(program);
	}
}

static void logout_deadline_passed(struct gp_timer *timer)
{
	stop(timer->ctx);
}

static void requests_ended(void *ctx)
{
	struct program *program = ctx;

	gp_timer_start(&program->logout_deadline, LOGOUT_MS);
	imap_pool_drain(program->pool, logged_out, program);
}

static void signalled(void *ctx, int signal_number)
{
	struct program *program = ctx;
	bool is_second = program->is_draining;

	program->is_draining = true;
	gp_log(GP_LOG_INFO, "program", "signal %d: %s", signal_number,
	       is_second ? "stopping at once" : "finishing what is under way");
	http_server_drain(program->server, is_second ? 0 : GP_DRAIN_MS, requests_ended, program);
	api_hubs_drain(program->hubs);
	if (is_second && gp_timer_is_running(&program->logout_deadline)) {
		gp_timer_start(&program->logout_deadline, 0);
	}
}

/* ---- the beginning ---- */

/* HTTP connections get what the IMAP sessions and the rest leave. */
static unsigned connection_limit(const struct gateway_options *options, uint64_t n_descriptors)
{
	uint64_t reserved = options->imap_sessions + SPARE_DESCRIPTORS;
	uint64_t left = n_descriptors > reserved ? n_descriptors - reserved : 0;

	if (left < SPARE_DESCRIPTORS) {
		left = SPARE_DESCRIPTORS;
	}
	if (left >= options->max_connections) {
		return (unsigned)options->max_connections;
	}
	gp_log(GP_LOG_WARN, "program", "only %llu descriptors are allowed: at most %llu HTTP connections",
	       (unsigned long long)n_descriptors, (unsigned long long)left);
	return (unsigned)left;
}

static enum gp_status start_imap(struct program *program, struct gp_error *error)
{
	const struct gateway_options *options = &program->options;

	program->network = imap_tcp_network_new(&program->loop.uv, &program->loop.timers, program->tls);
	if (!program->network) {
		return gp_error_set(error, GP_NO_MEMORY, "out of memory");
	}
	const struct imap_pool_config config = {
		.network = program->network,
		.endpoint = &options->endpoint,
		.timers = &program->loop.timers,
		.max_sessions_per_account = (size_t)options->imap_sessions_per_account,
		.max_sessions = (size_t)options->imap_sessions,
		.connect_timeout_ms = options->imap_connect_timeout_ms,
		.idle_timeout_ms = options->imap_idle_timeout_ms,
		.silence_timeout_ms = options->request_timeout_ms,
	};
	program->pool = imap_pool_new(&config);
	return program->pool ? GP_OK : gp_error_set(error, GP_NO_MEMORY, "out of memory");
}

static bool random_bytes(void *to, size_t len)
{
	return RAND_bytes(to, (int)len) == 1;
}

static enum gp_status start(struct program *program, uint64_t n_descriptors, struct gp_error *error)
{
	const struct gateway_options *options = &program->options;
	enum gp_status status = start_imap(program, error);

	if (status != GP_OK) {
		return status;
	}
	program->idempotency = api_idempotency_new(&program->loop.timers);
	if (!program->idempotency) {
		return gp_error_set(error, GP_NO_MEMORY, "out of memory");
	}
	program->throttle = api_throttle_new(&program->loop.timers, random_bytes);
	if (!program->throttle) {
		return gp_error_set(error, GP_NO_MEMORY, "out of memory, or no randomness");
	}
	program->app = (struct api_app){
		.pool = program->pool,
		.timers = &program->loop.timers,
		.now_us = gateway_now_us,
		.request_timeout_ms = options->request_timeout_ms,
		.max_body = options->max_body,
		.random = random_bytes,
		.work = gateway_work,
		.work_ctx = &program->loop,
		.idempotency = program->idempotency,
		.throttle = program->throttle,
		.cors_origins = (const char *const *)options->cors_origins,
		.n_cors_origins = options->n_cors_origins,
		.roles = &options->roles,
		.upstream_name = options->endpoint.host,
	};
	program->hubs = api_hubs_new(&program->app);
	if (!program->hubs) {
		return gp_error_set(error, GP_NO_MEMORY, "out of memory");
	}
	program->app.hubs = program->hubs;
	program->app.written = api_hubs_written;
	const struct http_server_config config = {
		.loop = &program->loop,
		.app = &program->app,
		.address = &options->listen,
		.tls_cert = program->tls_cert,
		.tls_key = program->tls_key,
		.max_body = options->max_body,
		.max_connections = connection_limit(options, n_descriptors),
	};
	return http_server_new(&config, &program->server, error);
}

/* Last: from here on nothing new is opened for writing, bound or run. */
static enum gp_status confine(const struct program *program, struct gp_error *error)
{
	const struct gateway_options *options = &program->options;
	const struct gateway_sandbox sandbox = {
		.mode = (enum gateway_sandbox_mode)options->sandbox,
		.imap_port = options->endpoint.port,
		.socket_path = options->listen.is_unix ? options->listen.path : NULL,
	};

	return gateway_sandbox_enter(&sandbox, error);
}

static int run(struct program *program)
{
	struct gp_error error = {.status = GP_OK};
	uint64_t n_descriptors = gateway_process_harden();

	mail_init();
	api_json_init();
	int rc = gateway_loop_init(&program->loop);
	if (rc != 0) {
		fprintf(stderr, "gatepost: no event loop: %s\n", uv_strerror(rc));
		return EXIT_FAILURE;
	}
	gp_timer_init(&program->logout_deadline, &program->loop.timers, logout_deadline_passed, program);
	/* Before it listens: who reads that it does may stop it at once. */
	rc = gateway_loop_watch_signals(&program->loop, signalled, program);
	if (rc != 0) {
		gp_error_set(&error, GP_IO, "signals cannot be watched: %s", uv_strerror(rc));
	}
	bool is_good = rc == 0 && start(program, n_descriptors, &error) == GP_OK && confine(program, &error) == GP_OK;
	if (is_good) {
		gateway_loop_run(&program->loop);
	} else {
		fprintf(stderr, "gatepost: %s\n", error.text);
	}
	http_server_free(&program->server);
	api_hubs_free(&program->hubs);
	if (program->pool) {
		imap_pool_free(&program->pool);
	}
	api_idempotency_free(&program->idempotency);
	api_throttle_free(&program->throttle);
	/* The network's transports finish their close in here, and workers what they do. */
	gateway_loop_deinit(&program->loop);
	if (program->network) {
		imap_tcp_network_free(&program->network);
	}
	if (is_good) {
		gp_log(GP_LOG_INFO, "program", "stopped");
	}
	return is_good ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* What can be wrong with files that options name. */
static enum gp_status load_files(struct program *program, struct gp_error *error)
{
	const struct gateway_options *options = &program->options;
	struct gp_error why = {.status = GP_OK};

	if (options->tls_cert) {
		enum gp_status status = gateway_tls_files_read(options->tls_cert, options->tls_key, &program->tls_cert,
							       &program->tls_key, error);
		if (status != GP_OK) {
			return status;
		}
	}
	if (options->endpoint.security == IMAP_SECURITY_NONE) {
		return GP_OK;
	}
	program->tls = imap_tls_context_new(options->imap_ca_file, &why);
	if (!program->tls) {
		return gp_error_set(error, GP_INVALID, "%s%s", options->imap_ca_file ? "--imap-ca-file: " : "",
				    why.text);
	}
	return GP_OK;
}

static void print_version(void)
{
	printf("gatepost %s (libmicrohttpd %s, libuv %s, jansson %s)\n", GATEPOST_VERSION,
	       http_server_library_version(), uv_version_string(), jansson_version_str());
}

static int act(struct program *program)
{
	struct gp_error error = {.status = GP_OK};
	const struct gateway_options *options = &program->options;

	switch (options->action) {
	case GATEWAY_HELP:
		gateway_options_print_help(stdout);
		return EXIT_SUCCESS;
	case GATEWAY_VERSION:
		print_version();
		return EXIT_SUCCESS;
	case GATEWAY_HEALTHCHECK:
		if (gateway_healthcheck(&options->listen, options->tls_cert != NULL, &error) != GP_OK) {
			fprintf(stderr, "gatepost: unhealthy: %s\n", error.text);
			return EXIT_FAILURE;
		}
		return EXIT_SUCCESS;
	case GATEWAY_CHECK_CONFIG:
	case GATEWAY_RUN:
		break;
	}
	if (load_files(program, &error) != GP_OK) {
		fprintf(stderr, "gatepost: %s\n", error.text);
		return EXIT_BAD_OPTION;
	}
	if (options->action == GATEWAY_CHECK_CONFIG) {
		puts("gatepost: the configuration is good");
		return EXIT_SUCCESS;
	}
	gp_log_setup((enum gp_log_level)options->log_level, (enum gp_log_format)options->log_format);
	return run(program);
}

int main(int argc, char **argv)
{
	struct program program = {.is_draining = false};
	struct gp_error error = {.status = GP_OK};
	int rc = EXIT_BAD_OPTION;

	if (gateway_options_read(&program.options, argc, (const char *const *)argv, (const char *const *)environ,
				 &error) == GP_OK) {
		rc = act(&program);
	} else {
		fprintf(stderr, "gatepost: %s\n", error.text);
	}
	imap_tls_context_free(&program.tls);
	free(program.tls_cert);
	free(program.tls_key);
	gateway_options_deinit(&program.options);
	return rc;
}
