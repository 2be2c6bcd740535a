/*
 * A pool, a session and two calls under the test's control, in place of imap/: a
 * lease is granted and a LIST answered when the test says so. Included by one test
 * file each.
 */
#ifndef TEST_API_FAKE_POOL_H
#define TEST_API_FAKE_POOL_H

#include <assert.h>

#include "imap/pool.h"

struct imap_lease {
	imap_lease_fn done;
	void *ctx;
};

struct imap_call {
	imap_mailboxes_fn done;
	void *ctx;
};

/* One of each at a time. */
static struct {
	struct imap_lease lease;
	bool is_lease_asked, is_lease_held, is_last_end_suspect, is_start_failing;
	const struct imap_credential *credential; /* borrow: the last lease's */
	char lease_mailbox[64];
	bool is_lease_write;
	unsigned n_leases;
	struct imap_call call;
	bool is_call_running;
	char list_pattern[64];
	unsigned list_items;
	unsigned n_lists;
	bool can_acl, with_my_rights;
	struct imap_selected selected;
} fake_pool;

struct imap_lease *imap_lease_start(struct imap_pool *pool, const struct imap_lease_spec *spec, imap_lease_fn done,
				    void *ctx)
{
	(void)pool;
	assert(!fake_pool.is_lease_asked && !fake_pool.is_lease_held && spec->credential);
	if (fake_pool.is_start_failing) {
		return NULL;
	}
	fake_pool.lease = (struct imap_lease){done, ctx};
	fake_pool.is_lease_asked = true;
	fake_pool.credential = spec->credential;
	fake_pool.is_lease_write = spec->is_write;
	fake_pool.n_leases++;
	snprintf(fake_pool.lease_mailbox, sizeof fake_pool.lease_mailbox, "%.*s", SPAN_ARGS(spec->mailbox));
	return &fake_pool.lease;
}

void imap_lease_end(struct imap_lease **lease, bool is_suspect)
{
	if (*lease) {
		assert(!fake_pool.is_call_running);
		fake_pool.is_last_end_suspect = is_suspect;
		fake_pool.is_lease_asked = false;
		fake_pool.is_lease_held = false;
		*lease = NULL;
	}
}

struct imap_session *imap_lease_session(const struct imap_lease *lease)
{
	assert(lease == &fake_pool.lease && fake_pool.is_lease_held);
	return (struct imap_session *)&fake_pool;
}

/* Whose it was asked for. */
const struct imap_credential *imap_lease_credential(const struct imap_lease *lease)
{
	assert(lease == &fake_pool.lease);
	return fake_pool.credential;
}

uint64_t imap_lease_queue_ms(const struct imap_lease *lease)
{
	(void)lease;
	return 3;
}

bool imap_lease_is_fresh(const struct imap_lease *lease)
{
	(void)lease;
	return true;
}

/* Never asked for: every lease is fresh. */
struct imap_call *imap_noop_start(struct imap_session *session, imap_done_fn done, void *ctx)
{
	(void)session;
	(void)done;
	(void)ctx;
	abort();
}

const struct imap_selected *imap_session_selected(const struct imap_session *session)
{
	(void)session;
	return &fake_pool.selected;
}

bool imap_session_can(const struct imap_session *session, enum imap_capability capability)
{
	(void)session;
	return capability == IMAP_CAP_ACL && fake_pool.can_acl;
}

bool imap_session_has_qresync(const struct imap_session *session)
{
	(void)session;
	return true;
}

struct imap_call *imap_list_start(struct imap_session *session, const struct imap_list_spec *spec,
				  imap_mailboxes_fn done, void *ctx)
{
	(void)session;
	assert(!fake_pool.is_call_running && fake_pool.is_lease_held);
	fake_pool.call = (struct imap_call){done, ctx};
	fake_pool.is_call_running = true;
	fake_pool.n_lists++;
	fake_pool.list_items = spec->with_status ? spec->status_items : 0;
	fake_pool.with_my_rights = spec->with_my_rights;
	snprintf(fake_pool.list_pattern, sizeof fake_pool.list_pattern, "%.*s", SPAN_ARGS(spec->pattern));
	return &fake_pool.call;
}

void imap_call_cancel(struct imap_call **call)
{
	if (*call) {
		fake_pool.is_call_running = false;
		*call = NULL;
	}
}

void imap_stream_cancel(struct imap_stream **stream)
{
	assert(!*stream);
}

void imap_append_cancel(struct imap_append **append)
{
	assert(!*append);
}

/* ---- what the test does ---- */

static inline void fake_pool_reset(void)
{
	memset(&fake_pool, 0, sizeof fake_pool);
}

static inline void fake_pool_grant(void)
{
	assert(fake_pool.is_lease_asked);
	fake_pool.is_lease_asked = false;
	fake_pool.is_lease_held = true;
	fake_pool.lease.done(fake_pool.lease.ctx, &fake_pool.lease, NULL);
}

static inline void fake_pool_refuse(enum gp_status status, const char *code, const char *text)
{
	struct gp_error error = {0};

	assert(fake_pool.is_lease_asked);
	fake_pool.is_lease_asked = false;
	gp_error_set(&error, status, "%s", text);
	snprintf(error.code, sizeof error.code, "%s", code);
	fake_pool.lease.done(fake_pool.lease.ctx, NULL, &error);
}

static inline void fake_pool_list(const struct imap_mailbox *mailboxes, size_t n_mailboxes)
{
	assert(fake_pool.is_call_running);
	fake_pool.is_call_running = false;
	fake_pool.call.done(fake_pool.call.ctx, NULL, mailboxes, n_mailboxes);
}

static inline void fake_pool_fail_list(enum gp_status status, const char *code)
{
	struct gp_error error = {0};

	assert(fake_pool.is_call_running);
	fake_pool.is_call_running = false;
	gp_error_set(&error, status, "so it is");
	snprintf(error.code, sizeof error.code, "%s", code);
	fake_pool.call.done(fake_pool.call.ctx, &error, NULL, 0);
}

static inline bool fake_pool_is_quiet(void)
{
	return !fake_pool.is_lease_asked && !fake_pool.is_lease_held && !fake_pool.is_call_running;
}

#endif
