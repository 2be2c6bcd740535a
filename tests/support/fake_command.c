#include "tests/support/fake_command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static size_t n_ended;

void fake_command_reset_order(void)
{
	n_ended = 0;
}

static void describe(const struct imap_response *response, char *out, size_t size)
{
	switch (response->type) {
	case IMAP_RESPONSE_FETCH:
		if (response->fetch.uid > 0) {
			snprintf(out, size, "FETCH %u;", (unsigned)response->fetch.uid);
		} else {
			snprintf(out, size, "FETCH #%u;", (unsigned)response->fetch.seq);
		}
		break;
	case IMAP_RESPONSE_LIST:
		snprintf(out, size, "LIST %.*s;", SPAN_ARGS(response->list.mailbox));
		break;
	case IMAP_RESPONSE_LSUB:
		snprintf(out, size, "LSUB %.*s;", SPAN_ARGS(response->list.mailbox));
		break;
	case IMAP_RESPONSE_MYRIGHTS:
		snprintf(out, size, "MYRIGHTS %.*s;", SPAN_ARGS(response->list.mailbox));
		break;
	case IMAP_RESPONSE_STATUS:
		snprintf(out, size, "STATUS %.*s;", SPAN_ARGS(response->status.mailbox));
		break;
	case IMAP_RESPONSE_SEARCH:
		snprintf(out, size, "SEARCH %zu;", response->n_numbers);
		break;
	case IMAP_RESPONSE_SORT:
		snprintf(out, size, "SORT %zu;", response->n_numbers);
		break;
	case IMAP_RESPONSE_ESEARCH:
		snprintf(out, size, "ESEARCH;");
		break;
	case IMAP_RESPONSE_NAMESPACE:
		snprintf(out, size, "NAMESPACE;");
		break;
	case IMAP_RESPONSE_ENABLED:
		snprintf(out, size, "ENABLED;");
		break;
	case IMAP_RESPONSE_VANISHED:
		snprintf(out, size, "VANISHED;");
		break;
	case IMAP_RESPONSE_CONTINUATION:
	case IMAP_RESPONSE_TAGGED:
	case IMAP_RESPONSE_CONDITION:
	case IMAP_RESPONSE_CAPABILITY:
	case IMAP_RESPONSE_FLAGS:
	case IMAP_RESPONSE_EXISTS:
	case IMAP_RESPONSE_RECENT:
	case IMAP_RESPONSE_EXPUNGE:
	case IMAP_RESPONSE_ID:
	case IMAP_RESPONSE_OTHER:
		fail_msg("a response of type %d was routed to a command", (int)response->type);
	}
}

static void on_untagged(void *ctx, const struct imap_response *response)
{
	struct fake_command *self = ctx;
	size_t len = strlen(self->rows);

	assert_int_equal(self->n_done, 0);
	describe(response, self->rows + len, sizeof self->rows - len);
	if (self->on_row) {
		self->on_row(self);
	}
}

static void on_done(void *ctx, const struct imap_result *result)
{
	struct fake_command *self = ctx;

	self->n_done++;
	self->order = ++n_ended;
	self->has_response = result->response != NULL;
	gp_error_clear(&self->error);
	if (result->error) {
		self->error = *result->error;
		assert_true(self->error.status != GP_OK);
		assert_true(self->error.text[0] != '\0');
	} else {
		assert_int_equal(result->response->condition, IMAP_OK);
	}
	if (self->on_done) {
		self->on_done(self);
	}
	self->command = NULL;
}

void fake_command_new(struct fake_command *self, struct imap_session *session, const char *name,
		      const struct imap_command_spec *spec)
{
	struct imap_command_spec full = *spec;

	*self = (struct fake_command){.session = session};
	full.untagged = on_untagged;
	full.done = on_done;
	full.ctx = self;
	self->command = imap_command_new(session, name, &full);
	assert_non_null(self->command);
}

void fake_command_submit(struct fake_command *self)
{
	size_t before = self->n_done;

	imap_command_submit(self->command);
	assert_int_equal(self->n_done, before);
}

void fake_command_start(struct fake_command *self, struct imap_session *session, const char *name,
			const struct imap_command_spec *spec)
{
	fake_command_new(self, session, name, spec);
	fake_command_submit(self);
}

void fake_command_select(struct fake_command *self, struct imap_session *session, const char *mailbox, bool is_examine)
{
	const struct imap_command_spec spec = {
		.kind = IMAP_COMMAND_SELECT, .mailbox = span_of(mailbox), .is_examine = is_examine};

	fake_command_new(self, session, is_examine ? "EXAMINE" : "SELECT", &spec);
	imap_writer_mailbox(imap_command_writer(self->command), span_of(mailbox));
	fake_command_submit(self);
}

void fake_command_expect(const struct fake_command *self, enum gp_status status)
{
	if (self->n_done != 1 || self->error.status != status) {
		fail_msg("a command ended %zu times, with %s: %s", self->n_done, gp_status_name(self->error.status),
			 self->error.text);
	}
}
