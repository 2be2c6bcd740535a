/*
 * A job: one exchange that needs IMAP. It resolves the mailbox (a name, or a role by
 * LIST), leases a session, brings its mailbox up to date (NOOP), runs the handler's steps on it, and sees to what they
 * have in common: the deadline (504), the client that leaves, one retry on a fresh session when the connection was lost
 * and nothing has been passed on, UIDVALIDITY (410), timings, and that calls end before the lease does.
 *
 *   job = api_job_new(app, exchange, sizeof *self, &handler)   in the exchange's arena, zeroed
 *   … validate everything; api_reply_*() and return on bad input (a job that was never
 *     started needs no end) …
 *   api_job_start(job, &spec)
 *     → handler->run(job): start a call with job->call, or a stream with job->stream
 *         → its done: api_job_check(job, error) … next step … api_job_finish(job) and reply
 *
 * run() may be called a second time (retry): it starts from nothing but what was
 * validated; reset() frees what the first run gathered. free() is called exactly once.
 */
#ifndef GP_API_JOB_H
#define GP_API_JOB_H

#include "api/app.h"
#include "api/reply.h"
#include "api/target.h"

struct api_job;

struct api_job_handler {
	void (*run)(struct api_job *job);
	void (*reset)(struct api_job *job); /* may be NULL */
	/* Before the lease ends: cancels what the handler has started on the session beside
	 * the calls in struct api_job; may be NULL, may come when nothing runs. */
	void (*stop)(struct api_job *job);
	void (*free)(struct api_job *job); /* frees heap memory of the handler; may be NULL */
};

/* A mailbox as the caller names it. */
struct api_mailbox_ref {
	const char *role; /* static: "inbox", …; NULL: by name */
	struct span name; /* UTF-8; in the arena */
};

struct api_job_spec {
	struct api_mailbox_ref mailbox; /* both empty: none is selected */
	bool is_write;                  /* SELECT; the handler sets job->is_committed before it sends the write */
	bool is_bulk;
	bool is_alone;        /* a bulk lease that nobody joins */
	bool is_named_only;   /* the mailbox is named, but not selected */
	bool is_fresh_view;   /* as in struct imap_lease_spec */
	bool has_uidvalidity; /* 410 when the mailbox has another */
	uint32_t uidvalidity;
};

/* Where a job of several steps goes on. */
struct api_job_place {
	struct span mailbox; /* UTF-8, lives as long as the job; NIL: none is selected */
	bool is_write, is_bulk, is_alone;
};

/* Embedded as the first member of a handler's own struct. */
struct api_job {
	struct api_app *app;                   /* borrow */
	struct api_exchange *exchange;         /* link: NULL once replied or gone */
	const struct api_job_handler *handler; /* borrow */
	struct api_target target;              /* parsed, set by the router before the handler runs */
	struct imap_credential *credential;    /* own (a reference) */
	struct api_job_spec spec;
	struct imap_lease *lease; /* own */
	/* Calls that run beside `call`, in the same round trip: the handler sets its slot NULL
	 * first in its done; what is left is cancelled with the job. */
	struct imap_call *beside[2]; /* own while they run */
	struct imap_call *call;      /* own while it runs: set it from …_start(), the job cancels it */
	struct imap_stream *stream;  /* own while it runs, likewise */
	struct imap_append *append;  /* own while it runs, likewise */
	struct gp_timer deadline;
	struct span mailbox_name; /* UTF-8, resolved; in the arena */
	struct span also_written; /* borrow, in the arena: where a copy or move puts it; NIL: nowhere else */
	bool is_told;             /* app->written was called */
	bool is_writing;          /* what is committed is a write: false in a read, and once it is reported from */
	bool is_committed;        /* something was passed on, or a write was sent: no retry */
	bool is_unconfirmed;      /* a look is under way that tells whether a write to which OK was said was done */
	bool is_used_up;          /* what the client sends once has begun to come: no retry */
	bool has_run;             /* handler->run() was called since the last reset */
	unsigned n_retries;
	uint64_t n_rows_due; /* of a command whose rows are progress */
	uint64_t leased_us, wait_started_us;
	/* borrow, in the arena: what a write in several steps has done already, NULL: nothing.
	 * A problem of a later step tells it. */
	const char *so_far;
	/* borrow, in the arena: what it is at, NULL: what the request asks for. A problem begins
	 * with it: "attachments[2].source". */
	const char *doing;
	struct api_job_place place;        /* where it was moved to */
	void (*next)(struct api_job *job); /* what goes on there; NULL: it was not moved, or has arrived */
	bool is_moved;
	/* A write that was sent (is_committed) may be looked for when its answer is lost: called
	 * once, on another session that has the mailbox open for reading. What shows that it was
	 * done is replied to as usual; what does not, by report_less(): the outcome stays
	 * unknown, as the server may still be at it. NULL: there is nothing to look for. */
	void (*probe)(struct api_job *job);
	struct gp_error lost; /* what became of the answer, while the probe runs */
	/* set by api_job_report_from() */
	void (*report)(struct api_job *job);
	void (*report_less)(struct api_job *job);
};

/* A job of `size` bytes (>= sizeof(struct api_job)) in the exchange's arena; NULL
 * (and 503 replied) when memory ends. */
void *api_job_new(struct api_app *app, struct api_exchange *exchange, const struct api_target *target,
		  struct imap_credential *credential, size_t size, const struct api_job_handler *handler);
/* From here on the job owns the reply: it may have been given (and the job be gone)
 * when this returns. */
void api_job_start(struct api_job *job, const struct api_job_spec *spec);
struct imap_session *api_job_session(const struct api_job *job);
const struct imap_selected *api_job_selected(const struct api_job *job);
/* Checks what a start() returned: NULL means no memory, and ends the job with 503. */
bool api_job_started(struct api_job *job, const void *call_or_stream);
/* A call, stream or append has ended, and nothing more is to be said of it: all that
 * api_job_check() does when there is no error. */
void api_job_ended(struct api_job *job);
/* Call first in each done: forgets job->call, job->stream and job->append, of which only
 * one runs at a time. True: go on. False: the error has been
 * dealt with (retried, or replied as a problem), and the job is gone: return. */
bool api_job_check(struct api_job *job, const struct gp_error *error);
/* The server may have done what it was asked all the same; any other error is its answer. */
bool api_job_is_answer_lost(const struct gp_error *error);
/* Ends the job with a problem; a stream that has begun breaks off instead. */
void api_job_fail(struct api_job *job, enum api_problem problem, const struct gp_error *error, const char *detail, ...)
	GP_PRINTF(4, 5);
/* 404: no row came for this UID. */
void api_job_fail_no_message(struct api_job *job, uint32_t uid);
/* All IMAP work is done: ends the lease, stops the deadline, notes the timings, calls
 * handler->free, and returns the exchange, to be replied to at once. The job's memory
 * stays valid as long as the exchange does. */
struct api_exchange *api_job_finish(struct api_job *job);
/* True: the request's own preconditions settle it (api_precondition()), and it has been
 * finished and replied to, with the tag. What else a 304 carries is among the headers
 * already. */
bool api_job_is_settled(struct api_job *job, const char *etag);
/*
 * The next step needs another mailbox, or a session of another kind: ends the lease, takes
 * one for `place`, and calls next(). What fails on the way fails as everywhere; a retry
 * starts from the beginning.
 */
void api_job_move_to(struct api_job *job, const struct api_job_place *place, void (*next)(struct api_job *job));
/*
 * The work is done, and the reply wants to tell of another mailbox: ends the lease, takes
 * one of `mailbox` (UTF-8; lives as long as the job) for reading, and calls report().
 * What fails from here on is no failure of the work: report_less() is called in place of
 * a problem, also from within api_job_check() and at the deadline; it finishes the job
 * and replies with what is known.
 */
void api_job_report_from(struct api_job *job, struct span mailbox, void (*report)(struct api_job *job),
			 void (*report_less)(struct api_job *job));
/* The client is waited for, not the server: api_job_touch() starts the deadline again. */
void api_job_pause(struct api_job *job);
/*
 * Waiting for something that is not an answer: the lease ends, and with it all calls; no
 * deadline runs, and nothing happens until the handler ends the job or resumes it. Then a
 * lease is taken as at first, under a deadline of its own, and run() comes again.
 */
void api_job_park(struct api_job *job);
void api_job_resume(struct api_job *job);
/* For streams: the deadline from now on counts from the last progress. Also brings
 * Server-Timing up to date: call it before api_stream_begin(). */
void api_job_touch(struct api_job *job);
/* The same by the rows of one command, which are so many: who repeats one makes no progress. */
void api_job_expect_rows(struct api_job *job, const struct imap_uidset *uids);
void api_job_row_came(struct api_job *job);

#endif
