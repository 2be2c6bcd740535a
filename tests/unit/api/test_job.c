#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/job.h"
#include "support/fake_exchange.h"
#include "unit/api/fake_pool.h"

static struct gp_timers timers;
static struct api_app app = {.now_us = fake_now_us, .timers = &timers, .request_timeout_ms = 60000};

/* A handler that lists and replies; the test steers it by these. */
struct probe_job {
	struct api_job job;
	char *heap; /* own */
	bool commits, streams;
};

static unsigned n_runs, n_resets, n_frees;

static void on_listed(void *ctx, const struct gp_error *error, const struct imap_mailbox *mailboxes, size_t n_mailboxes)
{
	struct probe_job *self = ctx;

	(void)mailboxes;
	(void)n_mailboxes;
	if (!api_job_check(&self->job, error)) {
		return;
	}
	struct api_exchange *exchange = api_job_finish(&self->job);
	json_t *object = json_object();
	api_json_set(object, "mailbox", api_json_text(self->job.mailbox_name));
	api_reply_json(exchange, 200, object);
}

static void run(struct api_job *job)
{
	struct probe_job *self = (struct probe_job *)job;
	const struct imap_list_spec list = {.pattern = SPAN_LIT("run")};

	n_runs++;
	self->heap = malloc(1);
	job->is_committed = self->commits;
	if (self->streams) {
		api_stream_begin(job->exchange, 200, -1, NULL, NULL);
	}
	job->call = imap_list_start(api_job_session(job), &list, on_listed, self);
	(void)api_job_started(job, job->call);
}

static void release(struct api_job *job)
{
	struct probe_job *self = (struct probe_job *)job;

	free(self->heap);
	self->heap = NULL;
}

static void on_reset(struct api_job *job)
{
	n_resets++;
	release(job);
}

static void on_free(struct api_job *job)
{
	n_frees++;
	release(job);
}

static const struct api_job_handler handler = {.run = run, .reset = on_reset, .free = on_free};

static struct probe_job *begin(struct fake_exchange *fake)
{
	static const struct api_target no_target;
	struct imap_credential *credential = NULL;

	n_runs = n_resets = n_frees = 0;
	fake_pool_reset();
	gp_timers_init(&timers);
	fake_pool.selected.uidvalidity = 5;
	fake_exchange_init(fake, "GET", "/messages/7");
	fake_exchange_login(fake);
	fake->exchange.app = &app;
	assert_int_equal(imap_credential_new(SPAN_LIT("demo"), SPAN_LIT("demo"), &credential), GP_OK);
	struct probe_job *self = api_job_new(&app, &fake->exchange, &no_target, credential, sizeof *self, &handler);
	assert_non_null(self);
	return self;
}

/* The caller's reference goes when the handler returns, as in the router. */
static void start(struct probe_job *self, const struct api_job_spec *spec)
{
	struct imap_credential *credential = self->job.credential;

	api_job_start(&self->job, spec);
	imap_credential_unref(&credential);
}

static void end(struct fake_exchange *fake, unsigned status)
{
	assert_int_equal(fake->status, status);
	assert_int_equal(n_frees, 1);
	assert_true(fake_pool_is_quiet());
	assert_null(fake->exchange.gone);
	uint64_t at;
	assert_false(gp_timers_next(&timers, &at));
	gp_timers_deinit(&timers);
	fake_exchange_deinit(fake);
}

static const struct imap_mailbox mailboxes[] = {
	{.name = SPAN_LIT("INBOX"), .delimiter = '/'},
	{.name = SPAN_LIT("Gesendet"), .delimiter = '/'},
};
static const struct api_job_spec by_name = {.mailbox = {.name = SPAN_LIT("Work")}};

static void by_name_and_role(void **state)
{
	static const struct {
		struct api_mailbox_ref ref;
		bool needs_list;
		const char *mailbox; /* NULL: 404 */
	} cases[] = {
		{{.name = SPAN_LIT("Work")}, false, "Work"},
		{{.name = SPAN_LIT("inbox")}, false, "INBOX"},
		{{.role = "inbox"}, false, "INBOX"},
		{{.role = "sent"}, true, "Gesendet"},
		{{.role = "trash"}, true, NULL},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct fake_exchange fake;
		struct probe_job *self = begin(&fake);
		start(self, &(struct api_job_spec){.mailbox = cases[i].ref});
		if (cases[i].needs_list) {
			assert_string_equal(fake_pool.lease_mailbox, "");
			fake_pool_grant();
			assert_string_equal(fake_pool.list_pattern, "*");
			assert_int_equal(n_runs, 0);
			fake_pool_list(mailboxes, 2);
		}
		if (!cases[i].mailbox) {
			assert_non_null(strstr(fake_exchange_member(&fake, "detail"), "trash"));
			end(&fake, 404);
			continue;
		}
		assert_string_equal(fake_pool.lease_mailbox, cases[i].mailbox);
		fake_pool_grant();
		assert_int_equal(n_runs, 1);
		fake_pool_list(NULL, 0);
		assert_string_equal(fake_exchange_member(&fake, "mailbox"), cases[i].mailbox);
		end(&fake, 200);
	}
}

static void timings(void **state)
{
	struct fake_exchange fake;
	struct probe_job *self = begin(&fake);
	uint64_t at = fake_now_us();
	(void)state;

	start(self, &by_name);
	fake_set_now_us(at += 10000); /* 3 ms of it in the queue, says the pool */
	fake_pool_grant();
	fake_set_now_us(at += 5000);
	fake_pool_list(NULL, 0);
	assert_string_equal(fake_exchange_reply_header(&fake, "Server-Timing"),
			    "queue;dur=3.000, imap;dur=12.000, total;dur=15.000");
	end(&fake, 200);
}

static void errors(void **state)
{
	static const struct {
		enum gp_status status;
		const char *code;
		bool is_of_lease;
		unsigned http;
		const char *says;
	} cases[] = {
		{GP_AUTH, "", true, 401, ""},
		{GP_NOT_FOUND, "", true, 404, "there is no mailbox 'Work'"},
		{GP_REFUSED, "", true, 503, ""},
		{GP_DEADLINE, "", true, 504, ""},
		{GP_QUEUE_FULL, "", true, 429, ""},
		{GP_NO, "NOPERM", false, 403, ""},
		{GP_NOT_FOUND, "", false, 404, "so it is"},
		{GP_PROTOCOL, "", false, 502, ""},
	};
	(void)state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct fake_exchange fake;
		struct probe_job *self = begin(&fake);
		start(self, &by_name);
		if (cases[i].is_of_lease) {
			fake_pool_refuse(cases[i].status, cases[i].code, "why");
		} else {
			fake_pool_grant();
			fake_pool_fail_list(cases[i].status, cases[i].code);
		}
		assert_non_null(strstr(fake_exchange_member(&fake, "detail"), cases[i].says));
		end(&fake, cases[i].http);
	}
}

static void one_retry(void **state)
{
	struct fake_exchange fake;
	(void)state;

	/* once, and then it works */
	start(begin(&fake), &by_name);
	fake_pool_grant();
	fake_pool_fail_list(GP_LOST, "");
	assert_false(fake.is_replied);
	assert_int_equal(n_resets, 1);
	fake_pool_grant();
	fake_pool_list(NULL, 0);
	assert_int_equal(n_runs, 2);
	end(&fake, 200);

	/* twice lost is lost */
	start(begin(&fake), &by_name);
	fake_pool_grant();
	fake_pool_fail_list(GP_LOST, "");
	fake_pool_grant();
	fake_pool_fail_list(GP_LOST, "");
	assert_int_equal(n_runs, 2);
	assert_string_equal(fake_exchange_member(&fake, "outcome"), "");
	end(&fake, 502);

	/* lost before it ran */
	start(begin(&fake), &by_name);
	fake_pool_refuse(GP_LOST, "", "");
	fake_pool_grant();
	fake_pool_list(NULL, 0);
	assert_int_equal(n_resets, 0);
	end(&fake, 200);

	/* a write that was sent is not sent again */
	struct probe_job *self = begin(&fake);
	self->commits = true;
	start(self, &(struct api_job_spec){.mailbox = {.name = SPAN_LIT("Work")}, .is_write = true});
	assert_true(fake_pool.is_lease_write);
	fake_pool_grant();
	fake_pool_fail_list(GP_LOST, "");
	assert_int_equal(n_runs, 1);
	assert_string_equal(fake_exchange_member(&fake, "outcome"), "unknown");
	end(&fake, 502);

	/* nor is anything once the status line is out: the body breaks off */
	self = begin(&fake);
	self->streams = true;
	start(self, &by_name);
	fake_pool_grant();
	fake_pool_fail_list(GP_LOST, "");
	assert_true(fake.is_stream && fake.is_replied && !fake.is_complete);
	end(&fake, 200);
}

static void deadline(void **state)
{
	struct fake_exchange fake;
	(void)state;

	for (unsigned n_steps = 0; n_steps < 2; n_steps++) {
		start(begin(&fake), &by_name);
		if (n_steps > 0) {
			fake_pool_grant();
		}
		gp_timers_run(&timers, 59999);
		assert_false(fake.is_replied);
		gp_timers_run(&timers, 60000);
		assert_int_equal(fake_pool.is_last_end_suspect, n_steps > 0);
		end(&fake, 504);
	}

	/* progress puts it off */
	struct probe_job *self = begin(&fake);
	start(self, &by_name);
	fake_pool_grant();
	gp_timers_run(&timers, 50000);
	api_job_touch(&self->job);
	gp_timers_run(&timers, 109999);
	assert_false(fake.is_replied);
	gp_timers_run(&timers, 110000);
	end(&fake, 504);
}

static void client_leaves(void **state)
{
	struct fake_exchange fake;
	(void)state;

	for (unsigned n_steps = 0; n_steps < 2; n_steps++) {
		start(begin(&fake), &by_name);
		if (n_steps > 0) {
			fake_pool_grant();
		}
		fake_exchange_leave(&fake);
		assert_false(fake.is_replied);
		assert_false(fake_pool.is_last_end_suspect);
		end(&fake, 0);
	}
}

static void uidvalidity(void **state)
{
	struct fake_exchange fake;
	struct api_job_spec spec = {.mailbox = {.name = SPAN_LIT("Work")}, .has_uidvalidity = true, .uidvalidity = 4};
	(void)state;

	start(begin(&fake), &spec);
	fake_pool_grant();
	assert_int_equal(n_runs, 0);
	end(&fake, 410);

	spec.uidvalidity = 5;
	start(begin(&fake), &spec);
	fake_pool_grant();
	fake_pool_list(NULL, 0);
	end(&fake, 200);
}

static void no_memory(void **state)
{
	struct fake_exchange fake;
	struct probe_job *self = begin(&fake);
	(void)state;

	fake_pool.is_start_failing = true;
	start(self, &by_name);
	end(&fake, 503);
}

/* A job that was never started needs no end. */
static void never_started(void **state)
{
	struct fake_exchange fake;
	struct probe_job *self = begin(&fake);
	struct imap_credential *credential = self->job.credential;
	(void)state;

	api_reply_problem(&fake.exchange, API_PROBLEM_BAD_REQUEST, NULL, "no");
	imap_credential_unref(&credential);
	assert_int_equal(n_frees, 0);
	n_frees = 1;
	end(&fake, 400);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_name_and_role), cmocka_unit_test(timings),   cmocka_unit_test(errors),
		cmocka_unit_test(one_retry),        cmocka_unit_test(deadline),  cmocka_unit_test(client_leaves),
		cmocka_unit_test(uidvalidity),      cmocka_unit_test(no_memory), cmocka_unit_test(never_started),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
