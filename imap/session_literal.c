/*
 * A literal that is longer than a command may be, and sent while it arrives: APPEND.
 *
 * Always a synchronising one, whatever the server offers: it can refuse after the head of
 * the command, and then nothing of the message has been read. From the "+" to the last
 * octet the command is the one the session awaits, so that nothing else is sent.
 */
#include <assert.h>

#include "base/limits.h"
#include "imap/session_internal.h"

void imap_session_begin_literal(struct imap_session *session, struct imap_command *command)
{
	assert(!command->is_cancelled); /* that closes the session */
	command->is_streaming = true;
	session->awaiting = command;
	session->silent_since_ms = session->timers->now_ms;
	command->spec.room(command->spec.room_ctx);
}

size_t imap_command_literal_room(const struct imap_command *command)
{
	const struct imap_session *session = command->session;

	if (!command->is_streaming || !imap_session_is_open(session)) {
		return 0;
	}
	size_t unsent = imap_transport_unsent(session->transport);
	size_t room = unsent < GP_MAX_IMAP_UNSENT ? GP_MAX_IMAP_UNSENT - unsent : 0;
	return room < command->n_literal_left ? room : (size_t)command->n_literal_left;
}

void imap_command_write_literal(struct imap_command *command, struct span octets)
{
	struct imap_session *session = command->session;

	assert(command->is_streaming && octets.len <= command->n_literal_left);
	if (!command->is_streaming || octets.len > command->n_literal_left || !imap_session_is_open(session)) {
		return; /* its end is on the way */
	}
	session->silent_since_ms = session->timers->now_ms;
	imap_transport_write(session->transport, octets);
	command->n_literal_left -= octets.len;
	if (command->n_literal_left == 0) {
		command->is_streaming = false;
		imap_session_send_rest(session, command);
	}
}

void imap_session_on_drained(struct imap_session *session)
{
	struct imap_command *command = session->awaiting;

	session->silent_since_ms = session->timers->now_ms;
	if (command && command->is_streaming && command->spec.room) {
		command->spec.room(command->spec.room_ctx);
	}
}

bool imap_session_is_fed(const struct imap_session *session)
{
	const struct imap_command *command = session->awaiting;

	return command && command->is_streaming && imap_transport_unsent(session->transport) == 0;
}
