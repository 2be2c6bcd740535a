/*
 * Untagged answers: to the commands in flight that they concern, and into what the
 * session knows about the mailbox.
 *
 * While a SELECT is in flight it is alone (a barrier), so what comes is either the
 * new mailbox's or, before "[CLOSED]", still the old one's. It is gathered in
 * `selecting`, begun anew at [CLOSED], and becomes `selected` with the tagged OK.
 */
#include <stdlib.h>

#include "imap/session_internal.h"

/* ---- the selected mailbox ---- */

static bool is_selecting(const struct imap_session *session)
{
	return session->in_flight.first && session->in_flight.first->spec.kind == IMAP_COMMAND_SELECT;
}

/* NULL when nothing is selected. */
static struct imap_selected *current(struct imap_session *session)
{
	if (is_selecting(session)) {
		return &session->selecting;
	}
	return session->selected.mailbox ? &session->selected : NULL;
}

void imap_session_deselect(struct imap_session *session)
{
	free(session->selected.mailbox);
	imap_uidset_deinit(&session->selected.vanished);
	session->selected = (struct imap_selected){.mailbox = NULL};
}

static void begin_selecting(struct imap_session *session, bool is_examine)
{
	imap_uidset_deinit(&session->selecting.vanished);
	session->selecting = (struct imap_selected){
		.is_examine = is_examine, .is_read_only = is_examine, .can_create_keywords = true};
}

void imap_session_select_sent(struct imap_session *session, const struct imap_command *command)
{
	imap_session_deselect(session);
	begin_selecting(session, command->spec.is_examine);
}

void imap_session_select_ended(struct imap_session *session, struct imap_command *command, bool is_ok)
{
	imap_session_deselect(session);
	if (is_ok) {
		session->selected = session->selecting;
		imap_uidset_init(&session->selecting.vanished); /* moved */
		session->selected.mailbox = command->mailbox;
		session->selected.has_arrivals = false;
		command->mailbox = NULL;
	}
	begin_selecting(session, false);
}

/* RFC 7162 section 7: 63 bits. */
static bool is_modseq(uint64_t number)
{
	return number > 0 && number <= INT64_MAX;
}

static void raise_modseq(struct imap_selected *selected, uint64_t modseq)
{
	if (is_modseq(modseq) && modseq > selected->highestmodseq) {
		selected->highestmodseq = modseq;
	}
}

/* Commands are under way in what is another mailbox now, or none: whatever comes, it is not
 * about what they asked. */
static void lose_mailbox(struct imap_session *session, const char *text)
{
	imap_session_fail(session, GP_LOST, text);
}

static void on_closed_code(struct imap_session *session)
{
	if (is_selecting(session)) {
		begin_selecting(session, session->in_flight.first->spec.is_examine);
	} else {
		lose_mailbox(session, "the IMAP server has closed the mailbox");
	}
}

static void on_uidvalidity(struct imap_session *session, struct imap_selected *selected, uint32_t uidvalidity)
{
	if (!is_selecting(session) && selected->uidvalidity != 0 && uidvalidity != selected->uidvalidity) {
		lose_mailbox(session, "the mailbox has another UIDVALIDITY now");
		return;
	}
	selected->n_changes += selected->uidvalidity != uidvalidity;
	selected->uidvalidity = uidvalidity;
}

static uint32_t to_u32(uint64_t number)
{
	return number > UINT32_MAX ? 0 : (uint32_t)number;
}

void imap_session_apply_code(struct imap_session *session, const struct imap_code *code)
{
	struct imap_selected *selected = current(session);
	struct span name = code->name;

	if (!selected || span_is_nil(name)) {
		return;
	}
	if (span_equal_text_nocase(name, "CLOSED")) {
		on_closed_code(session);
	} else if (span_equal_text_nocase(name, "UIDVALIDITY")) {
		on_uidvalidity(session, selected, to_u32(code->number));
	} else if (span_equal_text_nocase(name, "UIDNEXT")) {
		selected->uidnext = to_u32(code->number);
	} else if (span_equal_text_nocase(name, "HIGHESTMODSEQ")) {
		raise_modseq(selected, code->number);
		selected->has_modseq |= is_modseq(code->number);
	} else if (span_equal_text_nocase(name, "NOMODSEQ")) {
		selected->has_modseq = false;
		selected->highestmodseq = 0;
	} else if (span_equal_text_nocase(name, "PERMANENTFLAGS")) {
		selected->can_create_keywords = span_find(code->value, SPAN_LIT("\\*")) >= 0;
	} else if (span_equal_text_nocase(name, "READ-ONLY")) {
		selected->is_read_only = true;
	} else if (span_equal_text_nocase(name, "READ-WRITE")) {
		selected->is_read_only = selected->is_examine;
	}
}

static void on_exists(struct imap_selected *selected, uint32_t exists)
{
	if (exists < selected->exists) {
		/* Only EXPUNGE may lower it; from a server that forgets that, positions
		 * have moved all the same. */
		selected->n_expunged += selected->exists - exists;
		selected->is_doubtful = true;
	}
	selected->has_arrivals |= exists > selected->exists;
	selected->n_changes += exists != selected->exists;
	selected->exists = exists;
}

static void on_expunge(struct imap_selected *selected, uint32_t seq)
{
	if (seq == 0 || seq > selected->exists) {
		return;
	}
	selected->exists--;
	selected->n_expunged++;
	selected->n_changes++;
}

static void on_vanished(struct imap_selected *selected, const struct imap_uidset *uids)
{
	uint64_t n = imap_uidset_count(uids);

	if (selected->vanished.n_ranges + uids->n_ranges <= IMAP_MAX_VANISHED) {
		/* without memory the set is short, as one that is full is */
		(void)!imap_uidset_add_all(&selected->vanished, uids);
	}
	/* A set may be clipped to what "*" stands for, and name more than there are or ever were. */
	uint32_t highest = uids->n_ranges > 0 ? uids->ranges[uids->n_ranges - 1].last : 0;
	bool was_never = selected->uidnext > 0 && highest >= selected->uidnext && !selected->has_arrivals;
	selected->is_doubtful |= was_never || highest == IMAP_UID_STAR || n > selected->exists;
	if (n > selected->exists) {
		n = selected->exists;
	}
	selected->exists -= (uint32_t)n;
	selected->n_expunged += n;
	selected->n_changes += n > 0;
}

/* RFC 3501 section 7.2.6 */
static void on_flags(struct imap_selected *selected, const struct span *words, size_t n_words)
{
	selected->is_without_keywords = true;
	for (size_t i = 0; i < n_words; i++) {
		if (!span_starts_with(words[i], "\\")) {
			selected->is_without_keywords = false;
		}
	}
}

static void note_fetch(struct imap_selected *selected, const struct imap_fetch *fetch)
{
	selected->n_changes += (fetch->items & IMAP_ITEM_FLAGS) != 0;
	if (selected->has_modseq && (fetch->items & IMAP_ITEM_MODSEQ)) {
		raise_modseq(selected, fetch->modseq);
	}
}

/* ---- to the commands ---- */

/* A callback may close the session; its commands then stay where they are until the
 * next turn, so that the walk can go on, but they are told nothing more. */
static void deliver(struct imap_session *session, struct imap_command *command, const struct imap_response *response)
{
	session->is_taken = true; /* also by one that was cancelled: it had asked */
	if (imap_session_is_open(session) && command->spec.untagged) {
		command->spec.untagged(command->spec.ctx, response);
	}
}

static bool wants_row(const struct imap_command *command, const struct imap_fetch *fetch)
{
	if (command->spec.kind != IMAP_COMMAND_FETCH || command->is_cancelled) {
		return false;
	}
	if (command->spec.is_by_position) {
		return fetch->seq > 0 && fetch->seq >= command->spec.first_position &&
		       fetch->seq <= command->spec.last_position;
	}
	return command->spec.uids && fetch->uid > 0 && imap_uidset_contains(command->spec.uids, fetch->uid);
}

static void route_fetch(struct imap_session *session, const struct imap_response *response)
{
	bool is_wanted = false;

	for (struct imap_command *command = session->in_flight.first; command; command = command->next) {
		if (wants_row(command, &response->fetch)) {
			is_wanted = true;
			deliver(session, command, response);
		}
	}
	session->n_rows_dropped += !is_wanted;
}

/* VANISHED (EARLIER) is an answer; without the word it is news, and about the mailbox. */
static void route_vanished(struct imap_session *session, const struct imap_response *response)
{
	struct imap_command *command = response->is_earlier ? session->in_flight.first : NULL;

	while (command && !command->spec.takes_vanished) {
		command = command->next;
	}
	if (command) {
		deliver(session, command, response);
	}
}

/* The oldest of a kind has the answer; a cancelled one too: its answer is dropped. */
static struct imap_command *oldest(const struct imap_session *session, enum imap_command_kind kind)
{
	for (struct imap_command *command = session->in_flight.first; command; command = command->next) {
		if (command->spec.kind == kind) {
			return command;
		}
	}
	return NULL;
}

static void route_to_oldest(struct imap_session *session, enum imap_command_kind kind,
			    const struct imap_response *response)
{
	struct imap_command *command = oldest(session, kind);

	if (command) {
		deliver(session, command, response);
	}
}

static bool is_mailbox(const struct imap_command *command, struct span raw)
{
	if (!command->raw_mailbox) {
		return false;
	}
	return span_equal_text(raw, command->raw_mailbox) ||
	       (span_equal_text_nocase(raw, "INBOX") && span_equal_text_nocase(raw, command->raw_mailbox));
}

/* The oldest of this kind that asks for this mailbox and has no answer yet, else the
 * oldest that asks for it. */
static struct imap_command *oldest_for(const struct imap_session *session, enum imap_command_kind kind, struct span raw)
{
	struct imap_command *answered = NULL;

	for (struct imap_command *command = session->in_flight.first; command; command = command->next) {
		if (command->spec.kind != kind || !is_mailbox(command, raw)) {
			continue;
		}
		if (!command->has_row) {
			return command;
		}
		if (!answered) {
			answered = command;
		}
	}
	return answered;
}

static void route_by_mailbox(struct imap_session *session, enum imap_command_kind kind, struct span raw,
			     const struct imap_response *response)
{
	struct imap_command *command = oldest_for(session, kind, raw);

	if (command) {
		command->has_row = true;
		deliver(session, command, response);
	}
}

static void route_my_rights(struct imap_session *session, const struct imap_response *response)
{
	struct imap_command *command = oldest(session, IMAP_COMMAND_MYRIGHTS);

	if (command && !command->raw_mailbox) {
		deliver(session, command, response);
		return;
	}
	route_by_mailbox(session, IMAP_COMMAND_MYRIGHTS, response->list.mailbox, response);
	/* LIST RETURN (MYRIGHTS), RFC 8440 */
	route_to_oldest(session, IMAP_COMMAND_LIST, response);
}

static void route_esearch(struct imap_session *session, const struct imap_response *response)
{
	struct span tag = response->esearch.tag;

	for (struct imap_command *command = session->in_flight.first; command; command = command->next) {
		bool is_search = command->spec.kind == IMAP_COMMAND_SEARCH || command->spec.kind == IMAP_COMMAND_SORT;
		if (is_search && (span_is_nil(tag) || span_equal_text(tag, command->tag))) {
			deliver(session, command, response);
			return;
		}
	}
}

static void route(struct imap_session *session, const struct imap_response *response)
{
	switch (response->type) {
	case IMAP_RESPONSE_FETCH:
		route_fetch(session, response);
		break;
	case IMAP_RESPONSE_SEARCH:
		route_to_oldest(session, IMAP_COMMAND_SEARCH, response);
		break;
	case IMAP_RESPONSE_SORT:
		route_to_oldest(session, IMAP_COMMAND_SORT, response);
		break;
	case IMAP_RESPONSE_ESEARCH:
		route_esearch(session, response);
		break;
	case IMAP_RESPONSE_LIST:
		route_to_oldest(session, IMAP_COMMAND_LIST, response);
		break;
	case IMAP_RESPONSE_LSUB:
		route_to_oldest(session, IMAP_COMMAND_LSUB, response);
		break;
	case IMAP_RESPONSE_STATUS:
		route_by_mailbox(session, IMAP_COMMAND_STATUS, response->status.mailbox, response);
		/* LIST-STATUS, RFC 5819 */
		route_to_oldest(session, IMAP_COMMAND_LIST, response);
		break;
	case IMAP_RESPONSE_NAMESPACE:
		route_to_oldest(session, IMAP_COMMAND_NAMESPACE, response);
		break;
	case IMAP_RESPONSE_ENABLED:
		route_to_oldest(session, IMAP_COMMAND_ENABLE, response);
		break;
	case IMAP_RESPONSE_MYRIGHTS:
		route_my_rights(session, response);
		break;
	case IMAP_RESPONSE_VANISHED:
		route_vanished(session, response);
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
		break;
	}
}

/* ---- all of them ---- */

static void on_bye(struct imap_session *session, const struct imap_response *response)
{
	struct gp_error error;

	if (session->state == IMAP_SESSION_LOGOUT) {
		return;
	}
	if (session->state < IMAP_SESSION_READY) {
		imap_login_on_bye(session, response);
		return;
	}
	imap_session_error_from(&error, GP_LOST, response);
	imap_session_close(session, &error);
}

static void on_condition(struct imap_session *session, const struct imap_response *response)
{
	if (response->condition == IMAP_BYE) {
		on_bye(session, response);
	} else if (span_equal_text_nocase(response->code.name, "CAPABILITY")) {
		imap_session_learn_capability_text(session, response->code.value);
	} else if (response->condition == IMAP_OK) {
		imap_session_apply_code(session, &response->code);
		if (span_equal_text_nocase(response->code.name, "COPYUID")) {
			/* of a MOVE, RFC 6851 section 4.3; of a COPY it is in the tagged OK */
			route_to_oldest(session, IMAP_COMMAND_COPY, response);
		}
	}
}

static void note(struct imap_session *session, const struct imap_response *response)
{
	struct imap_selected *selected = current(session);

	if (!selected) {
		return;
	}
	if (response->type == IMAP_RESPONSE_EXISTS) {
		on_exists(selected, response->number);
	} else if (response->type == IMAP_RESPONSE_EXPUNGE) {
		on_expunge(selected, response->number);
	} else if (response->type == IMAP_RESPONSE_VANISHED && !response->is_earlier) {
		on_vanished(selected, &response->uids);
	} else if (response->type == IMAP_RESPONSE_FETCH) {
		note_fetch(selected, &response->fetch);
	} else if (response->type == IMAP_RESPONSE_FLAGS) {
		on_flags(selected, response->words, response->n_words);
	}
}

static void tell(struct imap_session *session, const struct imap_response *response)
{
	if (session->state == IMAP_SESSION_READY && session->events->untagged) {
		session->events->untagged(session->ctx, response);
	}
}

void imap_session_on_untagged(struct imap_session *session, const struct imap_response *response)
{
	session->is_taken = false;
	if (response->type == IMAP_RESPONSE_CONDITION) {
		on_condition(session, response);
	} else if (response->type == IMAP_RESPONSE_CAPABILITY) {
		imap_session_learn_capabilities(session, response->words, response->n_words);
	} else {
		/* The state first: a callback sees it as it is after this answer. */
		note(session, response);
		route(session, response);
	}
	if (!session->is_taken) {
		tell(session, response);
	}
}
