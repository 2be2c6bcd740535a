#include <stdlib.h>
#include <sys/socket.h>

#include "base/log.h"
#include "gateway/http_internal.h"

/*
 * The watch for a peer that leaves while libmicrohttpd does not look: a uv_poll on the
 * connection's descriptor, for its other end only. It is started the first time that
 * the connection is suspended and stays (waiting costs nothing) until the peer goes
 * or the connection closes.
 */
struct http_watch {
	uv_poll_t poll;
	struct http_connection *connection; /* link: NULL once closed */
};

static void watch_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void watch_close(struct http_connection *connection)
{
	struct http_watch *watch = connection->watch;

	if (watch) {
		connection->watch = NULL;
		watch->connection = NULL;
		uv_close((uv_handle_t *)&watch->poll, watch_closed);
	}
}

/* Whatever is reported, an error as well, means that the peer is gone. A peer that
 * closed only its sending side looks the same; it is treated as gone, as most proxies
 * do. */
static void peer_left(uv_poll_t *poll, int status, int events)
{
	struct http_watch *watch = poll->data;

	(void)status;
	(void)events;
	uv_poll_stop(poll);
	struct http_connection *connection = watch->connection;
	if (!connection) {
		return;
	}
	/* `gone` may start timers, and the wait may have been long. */
	gp_timers_set_now(&connection->server->loop->timers, uv_now(poll->loop));
	connection->is_peer_gone = true;
	if (!connection->exchange) {
		return;
	}
	if (connection->exchange->is_suspended) {
		http_exchange_abandon(connection->exchange);
	} else if (http_upload_is_coming(connection->exchange)) {
		/* libmicrohttpd takes a read that is shorter than its buffer for the last one until
		 * epoll speaks again, and misses an end that stood right behind the data. */
		http_exchange_abandon(connection->exchange);
		shutdown(connection->fd, SHUT_RDWR);
	}
}

void http_connection_watch(struct http_connection *connection)
{
	if (connection->watch) {
		return;
	}
	struct http_watch *watch = calloc(1, sizeof *watch);
	if (!watch) {
		return; /* its leaving is then seen when the reply is sent */
	}
	if (uv_poll_init(&connection->server->loop->uv, &watch->poll, connection->fd) != 0) {
		free(watch);
		return;
	}
	watch->poll.data = watch;
	watch->connection = connection;
	connection->watch = watch;
	if (uv_poll_start(&watch->poll, UV_DISCONNECT, peer_left) != 0) {
		watch_close(connection);
	}
}

/* libmicrohttpd's timeout is one of inactivity: a byte now and then survives it. */
static void deadline_passed(struct gp_timer *timer)
{
	struct http_connection *connection = timer->ctx;

	gp_log(GP_LOG_DEBUG, "http", "fd=%d a request was not complete in time: closing", connection->fd);
	shutdown(connection->fd, SHUT_RDWR);
}

static void opened(struct http_server *server, struct MHD_Connection *mhd, void **socket_context)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct http_connection *connection = calloc(1, sizeof *connection);

	server->n_connections++;
	*socket_context = connection;
	if (!connection) {
		if (info) {
			shutdown(info->connect_fd, SHUT_RDWR);
		}
		return;
	}
	connection->server = server;
	connection->mhd = mhd;
	connection->fd = info ? info->connect_fd : -1;
	gp_timer_init(&connection->deadline, &server->loop->timers, deadline_passed, connection);
	gp_timer_start(&connection->deadline, server->header_deadline_ms);
}

static void closed(struct http_server *server, void **socket_context)
{
	struct http_connection *connection = *socket_context;

	server->n_connections--;
	server->is_needed = true; /* at the limit, libmicrohttpd accepts again in its next run only */
	if (!connection) {
		return;
	}
	*socket_context = NULL;
	if (connection->exchange) {
		connection->exchange->connection = NULL;
	}
	gp_timer_stop(&connection->deadline);
	watch_close(connection);
	free(connection->target);
	free(connection);
}

void http_connection_notify(void *cls, struct MHD_Connection *mhd, void **socket_context,
			    enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		opened(cls, mhd, socket_context);
	} else {
		closed(cls, socket_context);
	}
}

struct http_connection *http_connection_of(struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

/*
 * libmicrohttpd splits the query into a list of its own right after this call, which
 * takes 70 bytes of the connection's memory for each parameter and drops the connection
 * without a word when that ends (0.9.75). Nobody reads that list: the raw target is
 * parsed in api/. So the query is ended here, in the connection's own writable buffer,
 * after the copy was made. The const of the parameter is only the callback's manners.
 */
static void hide_query(const char *target, size_t len)
{
	char *mark = memchr(target, '?', len);

	if (mark) {
		mark[1] = '\0';
	}
}

/* What is allocated for a request before its first call hangs on the connection: a
 * request that ends in between has no completed notification. */
void *http_connection_target_seen(void *cls, const char *target, struct MHD_Connection *mhd)
{
	struct http_connection *connection = http_connection_of(mhd);

	(void)cls;
	if (!connection) {
		return NULL;
	}
	free(connection->target);
	connection->target = NULL;
	connection->target_in_place = target;
	connection->target_len = target ? strlen(target) : 0;
	if (target) {
		connection->target = malloc(connection->target_len + 1);
		if (connection->target) {
			memcpy(connection->target, target, connection->target_len + 1);
		}
		hide_query(target, connection->target_len);
	}
	gp_timer_start(&connection->deadline, connection->server->header_deadline_ms);
	return NULL;
}
