#include "imap/dial.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_ADDRESSES 8 /* of one name, hence attempts at the same time */
#define STAGGER_MS 250  /* RFC 8305 section 5 */

/* One socket on its way to one address. The first to arrive is handed over. */
struct attempt {
	uv_tcp_t tcp; /* first: the receiver frees the attempt by its tcp */
	uv_connect_t connecting;
	struct imap_dial *dial; /* borrow; outlives it, but for the one handed over */
	struct attempt *next;   /* link */
};

static_assert(offsetof(struct attempt, tcp) == 0, "freed by its tcp");

struct imap_dial {
	uv_loop_t *loop;                      /* borrow */
	const struct imap_endpoint *endpoint; /* borrow; not touched when over */
	imap_dial_done_fn done;
	void *ctx; /* borrow, for done */
	bool is_over;
	size_t n_pending; /* `later`, the resolution, the attempts that are not closed */
	uv_idle_t later;  /* tells a failure on the next turn of the loop */
	uv_getaddrinfo_t resolving;
	bool is_resolving;
	struct sockaddr_storage addresses[MAX_ADDRESSES]; /* in the order of their attempts */
	size_t n_addresses, next_address;
	struct attempt *attempts; /* own until closed */
	struct gp_timer stagger;
	int connect_error; /* the most telling of the attempts' */
	struct gp_error error;
};

/* ---- the end ---- */

static void release(struct imap_dial *dial)
{
	if (--dial->n_pending == 0) {
		free(dial);
	}
}

static void on_attempt_closed(uv_handle_t *handle)
{
	struct attempt *attempt = handle->data;
	struct imap_dial *dial = attempt->dial;

	free(attempt);
	release(dial);
}

static void on_later_closed(uv_handle_t *handle)
{
	release(handle->data);
}

static void unlink_attempt(struct attempt *attempt)
{
	for (struct attempt **link = &attempt->dial->attempts; *link; link = &(*link)->next) {
		if (*link == attempt) {
			*link = attempt->next;
			return;
		}
	}
}

static void close_attempt(struct attempt *attempt)
{
	unlink_attempt(attempt);
	uv_close((uv_handle_t *)&attempt->tcp, on_attempt_closed);
}

static void finish(struct imap_dial *dial)
{
	dial->is_over = true;
	gp_timer_stop(&dial->stagger);
	if (dial->is_resolving) {
		uv_cancel((uv_req_t *)&dial->resolving);
	}
	while (dial->attempts) {
		close_attempt(dial->attempts);
	}
	uv_close((uv_handle_t *)&dial->later, on_later_closed);
}

static void on_later(uv_idle_t *handle)
{
	struct imap_dial *dial = handle->data;

	finish(dial);
	dial->done(dial->ctx, NULL, &dial->error); /* freed by the loop, not before this returns */
}

static void fail(struct imap_dial *dial, enum gp_status status, int error)
{
	gp_error_set(&dial->error, status, "%s port %u: %s", dial->endpoint->host, (unsigned)dial->endpoint->port,
		     uv_strerror(error));
	uv_idle_start(&dial->later, on_later);
}

/* ---- the attempts ---- */

static void try_next(struct imap_dial *dial);

/* A server that answered "no" says more than a network without a way. */
static void note_connect_error(struct imap_dial *dial, int error)
{
	if (dial->connect_error == 0 || error == UV_ECONNREFUSED) {
		dial->connect_error = error;
	}
}

static void on_connected(uv_connect_t *request, int status)
{
	struct attempt *attempt = request->data;
	struct imap_dial *dial = attempt->dial;

	if (dial->is_over || uv_is_closing((uv_handle_t *)&attempt->tcp)) {
		return;
	}
	gp_timers_set_now(dial->stagger.set, uv_now(dial->loop));
	if (status < 0) {
		note_connect_error(dial, status);
		close_attempt(attempt);
		try_next(dial);
		return;
	}
	unlink_attempt(attempt);
	dial->n_pending--;
	finish(dial);
	dial->done(dial->ctx, &attempt->tcp, NULL);
}

static int start_attempt(struct imap_dial *dial, const struct sockaddr_storage *address)
{
	struct attempt *attempt = calloc(1, sizeof *attempt);

	if (!attempt) {
		return UV_ENOMEM;
	}
	int error = uv_tcp_init(dial->loop, &attempt->tcp);
	if (error < 0) {
		free(attempt);
		return error;
	}
	attempt->dial = dial;
	attempt->tcp.data = attempt;
	attempt->connecting.data = attempt;
	attempt->next = dial->attempts;
	dial->attempts = attempt;
	dial->n_pending++;
	error = uv_tcp_connect(&attempt->connecting, &attempt->tcp, (const struct sockaddr *)address, on_connected);
	if (error < 0) {
		close_attempt(attempt);
	}
	return error;
}

static void try_next(struct imap_dial *dial)
{
	while (dial->next_address < dial->n_addresses) {
		int error = start_attempt(dial, &dial->addresses[dial->next_address++]);
		if (error == 0) {
			if (dial->next_address < dial->n_addresses) {
				gp_timer_start(&dial->stagger, STAGGER_MS);
			}
			return;
		}
		note_connect_error(dial, error);
	}
	if (dial->attempts) {
		return; /* the last address failed, an earlier one may still answer */
	}
	if (dial->connect_error == UV_ETIMEDOUT) {
		fail(dial, GP_CONNECT_TIMEOUT, dial->connect_error);
	} else {
		fail(dial, dial->connect_error == UV_ENOMEM ? GP_NO_MEMORY : GP_REFUSED, dial->connect_error);
	}
}

static void on_stagger(struct gp_timer *timer)
{
	try_next(timer->ctx);
}

/* ---- the name ---- */

/* Both families in turn, beginning with the one that the resolver puts first. */
static void take_addresses(struct imap_dial *dial, const struct addrinfo *list)
{
	const struct addrinfo *next[2] = {list, list};
	int family = list->ai_family;

	for (int turn = 0; dial->n_addresses < MAX_ADDRESSES && (next[0] || next[1]); turn = !turn) {
		const struct addrinfo **item = &next[turn];
		while (*item && ((*item)->ai_family == family) != (turn == 0)) {
			*item = (*item)->ai_next;
		}
		if (*item) {
			memcpy(&dial->addresses[dial->n_addresses++], (*item)->ai_addr, (*item)->ai_addrlen);
			*item = (*item)->ai_next;
		}
	}
}

static void resolve_failed(struct imap_dial *dial, int error)
{
	fail(dial, error == UV_EAI_MEMORY || error == UV_ENOMEM ? GP_NO_MEMORY : GP_RESOLVE, error);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
	struct imap_dial *dial = request->data;

	dial->is_resolving = false;
	if (!dial->is_over) {
		gp_timers_set_now(dial->stagger.set, uv_now(dial->loop));
		if (status < 0 || !list) {
			resolve_failed(dial, status < 0 ? status : UV_EAI_NONAME);
		} else {
			take_addresses(dial, list);
			try_next(dial);
		}
	}
	uv_freeaddrinfo(list);
	release(dial);
}

/* An address needs no resolver, and no worker thread that others wait for. */
static bool take_literal(struct imap_dial *dial)
{
	const char *host = dial->endpoint->host;
	struct sockaddr_storage *address = &dial->addresses[0];

	if (uv_ip4_addr(host, dial->endpoint->port, (struct sockaddr_in *)address) < 0 &&
	    uv_ip6_addr(host, dial->endpoint->port, (struct sockaddr_in6 *)address) < 0) {
		return false;
	}
	dial->n_addresses = 1;
	return true;
}

static void start_resolving(struct imap_dial *dial)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	char port[8];

	if (dial->endpoint->host[0] == '\0') {
		resolve_failed(dial, UV_EAI_NONAME);
		return;
	}
	snprintf(port, sizeof port, "%u", (unsigned)dial->endpoint->port);
	dial->resolving.data = dial;
	int error = uv_getaddrinfo(dial->loop, &dial->resolving, on_resolved, dial->endpoint->host, port, &hints);
	if (error < 0) {
		resolve_failed(dial, error);
	} else {
		dial->is_resolving = true;
		dial->n_pending++;
	}
}

struct imap_dial *imap_dial_start(uv_loop_t *loop, struct gp_timers *timers, const struct imap_endpoint *endpoint,
				  imap_dial_done_fn done, void *ctx)
{
	struct imap_dial *dial = calloc(1, sizeof *dial);

	if (!dial || uv_idle_init(loop, &dial->later) < 0) {
		free(dial);
		return NULL;
	}
	dial->loop = loop;
	dial->endpoint = endpoint;
	dial->done = done;
	dial->ctx = ctx;
	dial->later.data = dial;
	dial->n_pending = 1;
	gp_timer_init(&dial->stagger, timers, on_stagger, dial);
	if (take_literal(dial)) {
		try_next(dial);
	} else {
		start_resolving(dial);
	}
	return dial;
}

void imap_dial_cancel(struct imap_dial **dial)
{
	if (*dial) {
		finish(*dial);
		*dial = NULL;
	}
}

bool imap_dial_is_resolving(const struct imap_dial *dial)
{
	return dial->is_resolving;
}
