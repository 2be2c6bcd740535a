#include "gateway/http_server.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/http_internal.h"

/* Of each connection, for the line, the fields and their index, and the reply's head. */
#define CONNECTION_MEMORY (16 * GP_KIB)
/* After those left were given up, for their connections to end. */
#define GIVE_UP_MS 500

static char tls_priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"; /* GnuTLS' words */

/* The daemon's epoll descriptor in the loop; outlives the server by its close. */
struct http_epoll {
	uv_poll_t poll;
	struct http_server *server; /* link */
};

static void epoll_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void epoll_readable(uv_poll_t *poll, int status, int events)
{
	struct http_epoll *epoll = poll->data;

	(void)status;
	(void)events;
	epoll->server->is_needed = true;
}

static void GP_PRINTF(2, 0) log_daemon(void *cls, const char *format, va_list args)
{
	char line[512];

	(void)cls;
	vsnprintf(line, sizeof line, format, args);
	size_t len = strlen(line);
	while (len > 0 && line[len - 1] == '\n') {
		line[--len] = '\0';
	}
	gp_log(GP_LOG_DEBUG, "http", "libmicrohttpd: %s", line);
}

/* The raw target is parsed in api/; nothing is decoded here. */
static size_t unescape_nothing(void *cls, struct MHD_Connection *mhd, char *text)
{
	(void)cls;
	(void)mhd;
	return strlen(text);
}

/* ---- the pump ---- */

static void wake(struct gp_timer *timer)
{
	struct http_server *server = timer->ctx;

	server->is_needed = true;
}

static void look_at_timeout(struct http_server *server)
{
#if MHD_VERSION >= 0x00097701
	uint64_t timeout_ms;
	bool has_timeout = MHD_get_timeout64(server->daemon, &timeout_ms) == MHD_YES;
#else
	MHD_UNSIGNED_LONG_LONG timeout_ms;
	bool has_timeout = MHD_get_timeout(server->daemon, &timeout_ms) == MHD_YES;
#endif

	if (!has_timeout) {
		gp_timer_stop(&server->wake);
	} else if (timeout_ms == 0) {
		server->is_needed = true;
	} else {
		uint64_t at_ms = server->loop->timers.now_ms + timeout_ms;
		/* It moves with each request; an earlier wake-up is only early. */
		if (!gp_timer_is_running(&server->wake) || server->wake.at_ms > at_ms) {
			gp_timer_start_at(&server->wake, at_ms);
		}
	}
}

static void tell_drained(struct http_server *server)
{
	bool is_empty = server->n_exchanges == 0;

	if (!server->drained || !(is_empty || (server->is_giving_up && server->n_suspended == 0 &&
					       !gp_timer_is_running(&server->drain_deadline)))) {
		return;
	}
	void (*drained)(void *ctx) = server->drained;
	server->drained = NULL;
	gp_timer_stop(&server->drain_deadline);
	drained(server->drained_ctx);
}

static bool turn(void *ctx)
{
	struct http_server *server = ctx;

	if (server->is_needed) {
		server->is_needed = false;
		MHD_run(server->daemon);
		http_exchange_tell_rooms(server);
		look_at_timeout(server);
	}
	if (server->drained) {
		tell_drained(server);
	}
	return server->is_needed;
}

/* ---- start ---- */

static struct MHD_Daemon *start_daemon(struct http_server *server, unsigned max_connections, int fd)
{
	unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
	struct MHD_OptionItem tls[] = {
		{MHD_OPTION_HTTPS_MEM_CERT, 0, server->tls_cert},
		{MHD_OPTION_HTTPS_MEM_KEY, 0, server->tls_key},
		{MHD_OPTION_HTTPS_PRIORITIES, 0, tls_priorities},
		{MHD_OPTION_END, 0, NULL},
	};

	if (server->tls_cert) {
		flags |= MHD_USE_TLS;
	} else {
		tls[0].option = MHD_OPTION_END;
	}
	return MHD_start_daemon(flags, 0, NULL, NULL, http_exchange_handle, server,
				/* the logger first: it is used while the others are read */
				MHD_OPTION_EXTERNAL_LOGGER, log_daemon, server, MHD_OPTION_LISTEN_SOCKET, fd,
				MHD_OPTION_CONNECTION_LIMIT, max_connections, MHD_OPTION_CONNECTION_TIMEOUT,
				(unsigned)(server->idle_timeout_ms / 1000), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
				CONNECTION_MEMORY, MHD_OPTION_STRICT_FOR_CLIENT, 1,
#if MHD_VERSION >= 0x00097701
				MHD_OPTION_CLIENT_DISCIPLINE_LVL, 1,
#endif
				MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_URI_LOG_CALLBACK,
				http_connection_target_seen, server, MHD_OPTION_UNESCAPE_CALLBACK, unescape_nothing,
				server, MHD_OPTION_NOTIFY_COMPLETED, http_exchange_completed, server,
				MHD_OPTION_NOTIFY_CONNECTION, http_connection_notify, server, MHD_OPTION_ARRAY, tls,
				MHD_OPTION_END);
}

static bool watch_epoll(struct http_server *server)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	struct http_epoll *epoll = calloc(1, sizeof *epoll);

	if (!info || !epoll || uv_poll_init(&server->loop->uv, &epoll->poll, info->epoll_fd) != 0) {
		free(epoll);
		return false;
	}
	epoll->poll.data = epoll;
	epoll->server = server;
	server->epoll = epoll;
	return uv_poll_start(&epoll->poll, UV_READABLE, epoll_readable) == 0;
}

static void drain_deadline_passed(struct gp_timer *timer);

static bool copy_config(struct http_server *server, const struct http_server_config *config)
{
	server->loop = config->loop;
	server->app = config->app;
	server->address = *config->address;
	server->max_body = config->max_body;
	server->header_deadline_ms = config->header_deadline_ms ? config->header_deadline_ms : GP_HEADER_DEADLINE_MS;
	server->body_deadline_ms = config->body_deadline_ms ? config->body_deadline_ms : HTTP_BODY_DEADLINE_MS;
	server->idle_timeout_ms =
		1000 * (uint64_t)(config->idle_timeout_s ? config->idle_timeout_s : HTTP_IDLE_TIMEOUT_S);
	gp_timer_init(&server->wake, &config->loop->timers, wake, server);
	gp_timer_init(&server->drain_deadline, &config->loop->timers, drain_deadline_passed, server);
	if (config->tls_cert) {
		server->tls_cert = strdup(config->tls_cert);
		server->tls_key = config->tls_key ? strdup(config->tls_key) : NULL;
	}
	server->out_of_memory = http_reply_out_of_memory();
	return server->out_of_memory && (!config->tls_cert || (server->tls_cert && server->tls_key));
}

enum gp_status http_server_new(const struct http_server_config *config, struct http_server **server_out,
			       struct gp_error *error)
{
	struct http_server *server = calloc(1, sizeof *server);
	char shown[320];
	int fd;

	if (!server) {
		return gp_error_set(error, GP_NO_MEMORY, "no memory for the HTTP server");
	}
	enum gp_status status = GP_NO_MEMORY;
	if (!copy_config(server, config)) {
		gp_error_set(error, status, "no memory for the HTTP server");
		goto fail;
	}
	status = gateway_address_listen(&server->address, &fd, error);
	if (status != GP_OK) {
		goto fail;
	}
	server->is_listening = true;
	server->daemon = start_daemon(server, config->max_connections, fd);
	if (!server->daemon) {
		close(fd);
		status = gp_error_set(error, GP_IO, "libmicrohttpd does not start%s",
				      server->tls_cert ? ": are certificate and key good?" : "");
		goto fail;
	}
	if (!watch_epoll(server)) {
		status = gp_error_set(error, GP_IO, "the HTTP server's descriptor cannot be watched");
		goto fail;
	}
	server->is_needed = true;
	config->loop->turn = turn;
	config->loop->turn_ctx = server;
	gateway_address_print(&server->address, server->tls_cert != NULL, shown, sizeof shown);
	gp_log(GP_LOG_INFO, "program", "listening on %s", shown);
	*server_out = server;
	return GP_OK;
fail:
	http_server_free(&server);
	return status;
}

/* ---- end ---- */

static void stop_listening(struct http_server *server)
{
	if (!server->is_listening) {
		return;
	}
	server->is_listening = false;
	gateway_address_unlink(&server->address);
	if (server->daemon) {
		MHD_socket fd = MHD_quiesce_daemon(server->daemon);
		if (fd != MHD_INVALID_SOCKET) {
			close(fd);
		}
	}
}

static void give_up(struct http_server *server)
{
	server->is_giving_up = true;
	/* Abandoning frees nothing: that is for MHD_run(). */
	for (struct http_exchange *exchange = server->exchanges; exchange; exchange = exchange->next) {
		http_exchange_abandon(exchange);
	}
	server->is_needed = true;
}

static void drain_deadline_passed(struct gp_timer *timer)
{
	struct http_server *server = timer->ctx;

	if (!server->is_giving_up) {
		gp_log(GP_LOG_WARN, "http", "%zu requests did not end in time", server->n_exchanges);
		give_up(server);
		gp_timer_start(&server->drain_deadline, GIVE_UP_MS);
	}
}

void http_server_drain(struct http_server *server, uint64_t timeout_ms, void (*done)(void *ctx), void *ctx)
{
	if (!server->is_draining) {
		server->is_draining = true;
		server->app->is_draining = true;
		stop_listening(server);
		server->drained = done;
		server->drained_ctx = ctx;
		gp_timer_start(&server->drain_deadline, timeout_ms);
	} else if (!server->is_giving_up && server->drained &&
		   server->drain_deadline.at_ms > server->loop->timers.now_ms + timeout_ms) {
		gp_timer_start(&server->drain_deadline, timeout_ms);
	}
}

void http_server_free(struct http_server **server_in)
{
	struct http_server *server = *server_in;

	*server_in = NULL;
	if (!server) {
		return;
	}
	if (server->loop->turn_ctx == server) {
		server->loop->turn = NULL;
		server->loop->turn_ctx = NULL;
	}
	stop_listening(server);
	if (server->daemon) {
		give_up(server);
		/* Takes the resumed ones back; nothing suspends any more. */
		MHD_run(server->daemon);
		assert(server->n_suspended == 0);
		if (server->epoll) {
			uv_close((uv_handle_t *)&server->epoll->poll, epoll_closed);
		}
		MHD_stop_daemon(server->daemon);
	}
	assert(server->n_exchanges == 0 && server->n_connections == 0);
	gp_timer_stop(&server->wake);
	gp_timer_stop(&server->drain_deadline);
	if (server->out_of_memory) {
		MHD_destroy_response(server->out_of_memory);
	}
	free(server->tls_cert);
	free(server->tls_key);
	free(server);
}

const struct gateway_address *http_server_address(const struct http_server *server)
{
	return &server->address;
}

const char *http_server_library_version(void)
{
	return MHD_get_version();
}

struct http_server_stats http_server_stats(const struct http_server *server)
{
	return (struct http_server_stats){
		.n_connections = server->n_connections,
		.n_exchanges = server->n_exchanges,
		.n_suspended = server->n_suspended,
	};
}
