#include "imap/call_internal.h"

#include <assert.h>
#include <stdlib.h>

/* ---- life ---- */

static void fire(struct gp_timer *timer);

void imap_call_init(struct imap_call *call, struct imap_session *session, const struct imap_call_ops *ops)
{
	call->session = session;
	call->ops = ops;
	gp_arena_init(&call->arena, IMAP_CALL_MAX_ARENA);
	gp_timer_init(&call->timer, imap_session_timers(session), fire, call);
}

void imap_call_drop_steps(struct imap_call *call)
{
	while (call->steps) {
		struct imap_call_step *step = call->steps;
		call->steps = step->next;
		imap_command_cancel(&step->command);
		free(step);
	}
	call->n_steps = 0;
}

void imap_call_discard(struct imap_call *call)
{
	assert(call->n_entered == 0);
	gp_timer_stop(&call->timer);
	imap_call_drop_steps(call);
	if (call->ops->deinit) {
		call->ops->deinit(call);
	}
	gp_arena_deinit(&call->arena);
	free(call);
}

static void finish(struct imap_call *call)
{
	assert(!call->is_ended && !call->is_cancelled);
	call->is_ended = true;
	gp_timer_stop(&call->timer);
	imap_call_drop_steps(call);
	call->ops->end(call, call->error.status == GP_OK ? NULL : &call->error);
	/* The user's memory may be gone; ours is not, as what done() was given is in it. */
	imap_call_discard(call);
}

/* Sends what can be sent; true when the call has come to its end. */
static bool advance(struct imap_call *call)
{
	if (call->error.status == GP_OK && !call->is_complete) {
		enum gp_status status = call->ops->advance(call);
		if (status != GP_OK) {
			imap_call_fail_with(call, status, gp_status_text(status));
		}
	}
	return call->n_steps == 0 && (call->is_complete || call->error.status != GP_OK);
}

static void fire(struct gp_timer *timer)
{
	finish(timer->ctx);
}

struct imap_call *imap_call_begin(struct imap_call *call)
{
	bool is_over = advance(call);

	if (call->error.status == GP_NO_MEMORY) {
		imap_call_discard(call);
		return NULL;
	}
	if (is_over) {
		gp_timer_start(&call->timer, 0);
	}
	return call;
}

void imap_call_poke(struct imap_call *call)
{
	if (call->n_entered > 0 || call->is_ended || call->is_cancelled) {
		return; /* leave() looks again */
	}
	if (advance(call) && !gp_timer_is_running(&call->timer)) {
		gp_timer_start(&call->timer, 0);
	}
}

void imap_call_cancel(struct imap_call **call_pointer)
{
	struct imap_call *call = *call_pointer;

	*call_pointer = NULL;
	if (!call || call->is_ended || call->is_cancelled) {
		return;
	}
	if (call->n_entered == 0) {
		imap_call_discard(call);
		return;
	}
	call->is_cancelled = true;
	gp_timer_stop(&call->timer);
	imap_call_drop_steps(call);
}

static void leave(struct imap_call *call)
{
	if (--call->n_entered > 0) {
		return;
	}
	if (call->is_cancelled) {
		imap_call_discard(call);
	} else if (!gp_timer_is_running(&call->timer) && advance(call)) {
		finish(call);
	}
}

/* ---- failures ---- */

void imap_call_fail(struct imap_call *call, const struct gp_error *error)
{
	if (call->error.status == GP_OK) {
		call->error = *error;
	}
}

void imap_call_fail_with(struct imap_call *call, enum gp_status status, const char *text)
{
	(void)gp_error_set(&call->error, status, "%s", text);
}

void imap_call_fail_arena(struct imap_call *call, size_t len)
{
	enum gp_status status = len > call->arena.cap - call->arena.used ? GP_LIMIT : GP_NO_MEMORY;

	imap_call_fail_with(call, status, gp_status_text(status));
}

bool imap_error_has_code(const struct gp_error *error, const char *code)
{
	return span_equal_text_nocase(span_of(error->code), code);
}

bool imap_error_has_text(const struct gp_error *error, const char *needle)
{
	return span_find_nocase(span_of(error->text), span_of(needle)) >= 0;
}

bool imap_error_is_expunged(const struct gp_error *error)
{
	if (error->status != GP_NO) {
		return false;
	}
	return imap_error_has_code(error, "EXPUNGEISSUED") || imap_error_has_text(error, "no longer exist");
}

bool imap_error_says_no_mailbox(const struct gp_error *error)
{
	/* The last is Mailutils': a code behind the command's name. */
	static const char *const phrases[] = {"doesn't exist", "does not exist", "no such mailbox", "unknown mailbox",
					      "[trycreate]"};
	bool is_said = false;

	for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++) {
		is_said |= imap_error_has_text(error, phrases[i]);
	}
	/* A permission that is wanting is said so, even where the text hides it. */
	return is_said && !imap_error_has_code(error, "NOPERM");
}

struct gp_error imap_error_for_mailbox(const struct gp_error *error)
{
	struct gp_error found = *error;

	if (error->status != GP_NO) {
		return found;
	}
	if (error->code[0] == '\0' || imap_error_has_code(error, "NONEXISTENT") || imap_error_says_no_mailbox(error)) {
		found.status = GP_NOT_FOUND;
	}
	if (found.status == GP_NOT_FOUND && imap_error_has_text(error, "throttled")) {
		found.status = GP_THROTTLED;
	}
	return found;
}

/* ---- steps ---- */

static void remove_step(struct imap_call_step *step)
{
	struct imap_call *call = step->call;

	if (step->prev) {
		step->prev->next = step->next;
	} else {
		call->steps = step->next;
	}
	if (step->next) {
		step->next->prev = step->prev;
	}
	call->n_steps--;
}

static void on_untagged(void *ctx, const struct imap_response *response)
{
	struct imap_call_step *step = ctx;
	struct imap_call *call = step->call;

	call->n_entered++;
	call->ops->untagged(step, response);
	leave(call);
}

static void on_done(void *ctx, const struct imap_result *result)
{
	struct imap_call_step *step = ctx;
	struct imap_call *call = step->call;

	step->command = NULL; /* the session's from here on */
	remove_step(step);
	call->n_entered++;
	call->ops->step_done(step, result);
	free(step);
	leave(call);
}

struct imap_call_step *imap_call_step_new(struct imap_call *call, const char *name,
					  const struct imap_command_spec *spec)
{
	struct imap_call_step *step = calloc(1, sizeof *step);
	struct imap_command_spec full = *spec;

	if (!step) {
		return NULL;
	}
	step->call = call;
	if (spec->uids) {
		step->uids = *spec->uids;
		full.uids = &step->uids;
	}
	full.untagged = call->ops->untagged ? on_untagged : NULL;
	full.done = on_done;
	full.ctx = step;
	step->command = imap_command_new(call->session, name, &full);
	if (!step->command) {
		free(step);
		return NULL;
	}
	step->next = call->steps;
	if (step->next) {
		step->next->prev = step;
	}
	call->steps = step;
	call->n_steps++;
	return step;
}

struct imap_writer *imap_call_step_writer(struct imap_call_step *step)
{
	return imap_command_writer(step->command);
}

void imap_call_step_submit(struct imap_call_step *step)
{
	step->n_expunged = imap_session_selected(step->call->session)->n_expunged;
	imap_command_submit(step->command);
}

struct imap_uidset imap_call_uidset_part(const struct imap_uidset *set, size_t from, size_t to)
{
	return (struct imap_uidset){.ranges = set->ranges + from, .n_ranges = to - from};
}

void imap_call_step_uids(struct imap_call_step *step, const struct imap_uidset *set, size_t *at)
{
	size_t from = *at;

	imap_writer_uidset(imap_call_step_writer(step), set, at);
	if (*at == from) {
		*at = set->n_ranges; /* the command has failed already */
	}
	step->uids = imap_call_uidset_part(set, from, *at);
}
