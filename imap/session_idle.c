/*
 * IDLE (RFC 2177) in the queue's terms (session_command.c): a barrier whose last piece,
 * "DONE", is *held* after the server's "+" until another command is queued behind it or it
 * is cancelled. While it is held the server owes nothing, and its silence means nothing;
 * from DONE on its silence counts again.
 */
#include "imap/session_internal.h"

void imap_idle_began(struct imap_session *session, struct imap_command *command)
{
	if (command->is_held) {
		gp_timer_stop(&session->silence_timer);
	}
}

void imap_idle_release(struct imap_session *session, struct imap_command *command)
{
	if (!command->is_held) {
		return;
	}
	command->is_held = false;
	session->silent_since_ms = session->timers->now_ms;
	gp_timer_start(&session->silence_timer, session->silence_timeout_ms);
	imap_session_start_turn(session);
}
