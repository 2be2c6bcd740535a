/*
 * The IMAP server of fuzz_session: it takes the gateway's commands apart, and answers one
 * well when the input says so. Everything else that the input holds goes to the gateway as
 * it is. One file includes it.
 *
 * It is fed what was written, knows the commands that wait for an answer, and keeps a log
 * of both directions, from which it says later which commands were ever told OK.
 */
#ifndef GP_TESTS_FUZZ_MODEL_SERVER_H
#define GP_TESTS_FUZZ_MODEL_SERVER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buffer.h"
#include "base/limits.h"

#define MODEL_MAX_COMMANDS 64
#define MODEL_MAX_LINE 512

/* Commands that change something, as bits, and two that only look. */
enum model_verb {
	MODEL_STORE = 1 << 0,
	MODEL_COPY = 1 << 1,
	MODEL_MOVE = 1 << 2,
	MODEL_EXPUNGE = 1 << 3,
	MODEL_APPEND = 1 << 4,
	MODEL_REPLACE = 1 << 5,
	MODEL_CREATE = 1 << 6,
	MODEL_RENAME = 1 << 7,
	MODEL_DELETE = 1 << 8,
	MODEL_SUBSCRIBE = 1 << 9,
	MODEL_UNSUBSCRIBE = 1 << 10,
	MODEL_LOOK = 1 << 11,
};

struct model_command {
	char tag[24];
	char line[MODEL_MAX_LINE]; /* without the tag; literals are left out */
};

struct model_connection {
	struct gp_buffer unread;                           /* written by the gateway, not taken apart yet */
	struct gp_buffer written;                          /* all that was */
	struct gp_buffer sent;                             /* all that the gateway was fed, without NULs */
	struct model_command commands[MODEL_MAX_COMMANDS]; /* those that wait for an answer */
	size_t n_commands;
	struct model_command growing; /* its literals are not all there */
	bool is_growing, awaits_plus;
	size_t n_literal; /* octets of a literal that are still to come */
	const char *capabilities;
};

static inline void model_must(enum gp_status status)
{
	if (status != GP_OK) {
		abort();
	}
}

static inline void model_init(struct model_connection *self, const char *capabilities)
{
	memset(self, 0, sizeof *self);
	gp_buffer_init(&self->unread, 64 * GP_MIB);
	gp_buffer_init(&self->written, 64 * GP_MIB);
	gp_buffer_init(&self->sent, 64 * GP_MIB);
	self->capabilities = capabilities;
}

static inline void model_deinit(struct model_connection *self)
{
	gp_buffer_deinit(&self->unread);
	gp_buffer_deinit(&self->written);
	gp_buffer_deinit(&self->sent);
}

/* ---- what the gateway sends ---- */

static inline bool model_is_command(struct span line)
{
	size_t n = 1;

	while (n < line.len && line.ptr[n] >= '0' && line.ptr[n] <= '9') {
		n++;
	}
	return line.len > 2 && line.ptr[0] == 'A' && n > 1 && n < line.len && line.ptr[n] == ' ';
}

static inline void model_end_command(struct model_connection *self)
{
	if (self->n_commands < MODEL_MAX_COMMANDS) {
		self->commands[self->n_commands++] = self->growing;
	}
	self->is_growing = self->awaits_plus = false;
}

/* One line, without its end; of a command, or behind one of its literals. */
static inline void model_take_line(struct model_connection *self, struct span line)
{
	struct model_command *command = &self->growing;

	if (!self->is_growing && model_is_command(line)) {
		size_t n = (size_t)span_find_char(line, ' ');
		snprintf(command->tag, sizeof command->tag, "%.*s", SPAN_ARGS(span_slice(line, 0, n)));
		command->line[0] = '\0';
		line = span_from(line, n + 1);
	} else if (!self->is_growing) {
		/* DONE, an answer to "+": nothing waits for it but what waits already */
		return;
	}
	size_t used = strlen(command->line);
	snprintf(command->line + used, sizeof command->line - used, "%.*s", SPAN_ARGS(line));
	self->is_growing = true;
	if (line.len > 2 && line.ptr[line.len - 1] == '}') {
		size_t open = line.len;
		while (open > 0 && line.ptr[open - 1] != '{') {
			open--;
		}
		uint64_t n = 0;
		bool is_plus = line.ptr[line.len - 2] == '+';
		if (open > 0 && span_to_u64(span_slice(line, open, line.len - 1 - open - is_plus), &n)) {
			self->n_literal = (size_t)n;
			self->awaits_plus = !is_plus;
			return;
		}
	}
	model_end_command(self);
}

static inline void model_take(struct model_connection *self, const char *bytes)
{
	model_must(gp_buffer_append(&self->unread, span_of(bytes)));
	model_must(gp_buffer_append(&self->written, span_of(bytes)));
	for (;;) {
		struct span unread = gp_buffer_span(&self->unread);
		ptrdiff_t end = span_find(unread, SPAN_LIT("\r\n"));
		if (self->awaits_plus && unread.len > 0) {
			/* refused, and then the next command; or told to go on */
			bool is_next = end >= 0 && model_is_command(span_slice(unread, 0, (size_t)end));
			self->awaits_plus = false;
			self->is_growing = !is_next;
			self->n_literal = is_next ? 0 : self->n_literal;
		}
		if (self->n_literal > 0) {
			size_t n = unread.len < self->n_literal ? unread.len : self->n_literal;
			gp_buffer_consume(&self->unread, n);
			self->n_literal -= n;
			if (self->n_literal > 0) {
				return;
			}
			continue;
		}
		if (end < 0) {
			return;
		}
		model_take_line(self, span_slice(unread, 0, (size_t)end));
		gp_buffer_consume(&self->unread, (size_t)end + 2);
	}
}

/* ---- a good answer ---- */

#define MODEL_TEXT "Subject: a\r\nMessage-ID: <a@b>\r\n\r\nHello, this is the text of a message.\r\n"

static inline bool model_has(const char *line, const char *word)
{
	return strstr(line, word) != NULL;
}

/* The window of a BODY.PEEK[…]<origin.length>. */
static inline void model_write_section(const char *line, struct gp_buffer *out)
{
	const char *section = strstr(line, "BODY.PEEK[");

	while (section) {
		const char *end = strchr(section, ']');
		unsigned long origin = 0, length = sizeof MODEL_TEXT - 1;
		if (!end) {
			return;
		}
		model_must(gp_buffer_printf(out, " BODY%.*s]", (int)(end - section - 9), section + 9));
		if (end[1] == '<' && sscanf(end + 1, "<%lu.%lu>", &origin, &length) == 2) {
			model_must(gp_buffer_printf(out, "<%lu>", origin));
		}
		struct span piece = span_slice(span_from(SPAN_LIT(MODEL_TEXT), origin), 0, length);
		model_must(gp_buffer_printf(out, " {%zu}\r\n%.*s", piece.len, SPAN_ARGS(piece)));
		section = strstr(end, "BODY.PEEK[");
	}
}

static inline void model_write_rows(const char *line, struct gp_buffer *out)
{
	for (unsigned i = 1; i <= 3; i++) {
		model_must(gp_buffer_printf(out, "* %u FETCH (UID %u", i, 6 + i));
		if (model_has(line, "FLAGS")) {
			model_must(gp_buffer_append(out, SPAN_LIT(" FLAGS (\\Seen $x)")));
		}
		if (model_has(line, "MODSEQ")) {
			model_must(gp_buffer_append(out, SPAN_LIT(" MODSEQ (60)")));
		}
		if (model_has(line, "RFC822.SIZE")) {
			model_must(gp_buffer_printf(out, " RFC822.SIZE %zu", sizeof MODEL_TEXT - 1));
		}
		if (model_has(line, "INTERNALDATE")) {
			model_must(gp_buffer_append(out, SPAN_LIT(" INTERNALDATE \"23-Nov-2026 10:11:12 +0100\"")));
		}
		if (model_has(line, "ENVELOPE")) {
			model_must(
				gp_buffer_append(out, SPAN_LIT(" ENVELOPE (\"Mon, 23 Nov 2026 10:11:12 +0100\" \"a\" "
							       "((\"Ann\" NIL \"ann\" \"a.test\")) NIL NIL NIL NIL "
							       "NIL NIL \"<a@b>\")")));
		}
		if (model_has(line, "BODYSTRUCTURE")) {
			model_must(gp_buffer_append(
				out, SPAN_LIT(" BODYSTRUCTURE ((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"utf-8\") NIL NIL "
					      "\"7BIT\" 40 "
					      "1 NIL NIL NIL NIL)(\"APPLICATION\" \"PDF\" (\"NAME\" \"a.pdf\") NIL NIL "
					      "\"BASE64\" 40 NIL (\"ATTACHMENT\" (\"FILENAME\" \"a.pdf\")) NIL NIL) "
					      "\"MIXED\" NIL NIL NIL NIL)")));
		}
		model_write_section(line, out);
		model_must(gp_buffer_append(out, SPAN_LIT(")\r\n")));
	}
}

static inline void model_write_data(struct model_connection *self, const struct model_command *command,
				    struct gp_buffer *out)
{
	const char *line = command->line;

	if (model_has(line, "SELECT ") || model_has(line, "EXAMINE ")) {
		model_must(gp_buffer_append(
			out,
			SPAN_LIT("* 3 EXISTS\r\n* OK [PERMANENTFLAGS (\\Seen \\Flagged \\Answered \\Draft \\Deleted "
				 "\\*)] x\r\n"
				 "* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 10] x\r\n* OK [HIGHESTMODSEQ 60] x\r\n")));
	} else if (model_has(line, "FETCH ")) {
		model_write_rows(line, out);
	} else if (model_has(line, "STORE ")) {
		model_write_rows("FLAGS MODSEQ", out);
	} else if (model_has(line, "SEARCH RETURN") || model_has(line, "SORT RETURN")) {
		model_must(gp_buffer_printf(out, "* ESEARCH (TAG \"%s\") UID MIN 7 MAX 9 COUNT 3 ALL 7:9\r\n",
					    command->tag));
	} else if (model_has(line, "SEARCH ")) {
		model_must(gp_buffer_append(out, SPAN_LIT("* SEARCH 7 8 9\r\n")));
	} else if (model_has(line, "SORT ")) {
		model_must(gp_buffer_append(out, SPAN_LIT("* SORT 9 7 8\r\n")));
	} else if (model_has(line, "STATUS ") && !model_has(line, "LIST ")) {
		struct span name = span_from(span_of(line), 7);
		ptrdiff_t space = span_find_char(name, ' ');
		model_must(gp_buffer_printf(out,
					    "* STATUS %.*s (MESSAGES 3 UNSEEN 1 UIDNEXT 10 UIDVALIDITY 7 "
					    "HIGHESTMODSEQ 60 SIZE 300)\r\n",
					    SPAN_ARGS(span_slice(name, 0, space < 0 ? name.len : (size_t)space))));
	} else if (model_has(line, "LIST ") || model_has(line, "LSUB ")) {
		model_must(gp_buffer_append(
			out, SPAN_LIT("* LIST () \"/\" INBOX\r\n* LIST (\\Sent) \"/\" Sent\r\n"
				      "* LIST (\\Trash) \"/\" Trash\r\n* LIST (\\HasNoChildren) \"/\" Archive\r\n")));
	} else if (model_has(line, "CAPABILITY")) {
		model_must(gp_buffer_printf(out, "* CAPABILITY %s\r\n", self->capabilities));
	} else if (model_has(line, "EXPUNGE") || model_has(line, "MOVE ")) {
		model_must(gp_buffer_append(out, SPAN_LIT("* OK [COPYUID 7 7 11] x\r\n* 1 EXPUNGE\r\n")));
	} else if (model_has(line, "LOGOUT")) {
		model_must(gp_buffer_append(out, SPAN_LIT("* BYE x\r\n")));
	}
}

static inline void model_write_code(struct model_connection *self, const char *line, struct gp_buffer *out)
{
	if (model_has(line, "AUTHENTICATE ") || model_has(line, "LOGIN ")) {
		model_must(gp_buffer_printf(out, "[CAPABILITY %s] ", self->capabilities));
	} else if (model_has(line, "APPEND ")) {
		model_must(gp_buffer_append(out, SPAN_LIT("[APPENDUID 7 11] ")));
	} else if (model_has(line, "COPY ")) {
		model_must(gp_buffer_append(out, SPAN_LIT("[COPYUID 7 7 11] ")));
	} else if (model_has(line, "SELECT ")) {
		model_must(gp_buffer_append(out, SPAN_LIT("[READ-WRITE] ")));
	}
}

static inline void model_forget(struct model_connection *self, size_t index)
{
	memmove(&self->commands[index], &self->commands[index + 1],
		(self->n_commands - index - 1) * sizeof self->commands[0]);
	self->n_commands--;
}

/* Answers what has waited longest. False: nothing does. */
static inline bool model_answer(struct model_connection *self, struct gp_buffer *out)
{
	if (self->n_commands == 0) {
		if (self->awaits_plus) {
			model_must(gp_buffer_append(out, SPAN_LIT("+ go on\r\n")));
		}
		return self->awaits_plus;
	}
	struct model_command *command = &self->commands[0];
	if (strcmp(command->line, "IDLE") == 0) {
		snprintf(command->line, sizeof command->line, "DONE");
		model_must(gp_buffer_append(out, SPAN_LIT("+ idling\r\n")));
		return true;
	}
	model_write_data(self, command, out);
	model_must(gp_buffer_printf(out, "%s OK ", command->tag));
	model_write_code(self, command->line, out);
	model_must(gp_buffer_append(out, SPAN_LIT("done\r\n")));
	model_forget(self, 0);
	return true;
}

/* ---- what was told ---- */

/* What the gateway is fed. Numbers and cases are left to the gateway's parser: this
 * looks for "TAG OK" in any place, so that it never claims that an OK was not there. */
static inline void model_note_sent(struct model_connection *self, struct span bytes)
{
	for (size_t i = self->n_commands; i-- > 0;) {
		ptrdiff_t at = span_find(bytes, span_of(self->commands[i].tag));
		size_t end = at < 0 ? 0 : (size_t)at + strlen(self->commands[i].tag);
		if (at >= 0 && (at == 0 || bytes.ptr[at - 1] == '\n') && end < bytes.len && bytes.ptr[end] == ' ') {
			model_forget(self, i);
		}
	}
	for (size_t i = 0; i < bytes.len; i++) {
		if (bytes.ptr[i] != '\0') {
			model_must(gp_buffer_append_char(&self->sent, bytes.ptr[i]));
		}
	}
}

static inline bool model_was_told_ok(const struct model_connection *self, struct span tag)
{
	struct span rest = gp_buffer_span(&self->sent);
	ptrdiff_t at;

	while ((at = span_find(rest, tag)) >= 0) {
		rest = span_from(rest, (size_t)at + tag.len);
		size_t n = 0;
		while (n < rest.len && (rest.ptr[n] == ' ' || rest.ptr[n] == '\t')) {
			n++;
		}
		if (span_equal_text_nocase(span_slice(rest, n, 2), "OK")) {
			return true;
		}
	}
	return false;
}

static inline unsigned model_verb_of(struct span line)
{
	static const struct {
		const char *name;
		unsigned verb;
	} verbs[] = {
		{"UID STORE ", MODEL_STORE},
		{"UID COPY ", MODEL_COPY},
		{"UID MOVE ", MODEL_MOVE},
		{"UID EXPUNGE ", MODEL_EXPUNGE},
		{"APPEND ", MODEL_APPEND},
		{"UID REPLACE ", MODEL_REPLACE},
		{"CREATE ", MODEL_CREATE},
		{"RENAME ", MODEL_RENAME},
		{"DELETE ", MODEL_DELETE},
		{"SUBSCRIBE ", MODEL_SUBSCRIBE},
		{"UNSUBSCRIBE ", MODEL_UNSUBSCRIBE},
		{"FETCH ", MODEL_LOOK},
		{"UID FETCH ", MODEL_LOOK},
		{"UID SEARCH ", MODEL_LOOK},
		{"STATUS ", MODEL_LOOK},
		{"LIST ", MODEL_LOOK},
		{"SELECT ", MODEL_LOOK},
		{"EXAMINE ", MODEL_LOOK},
		{"LSUB ", MODEL_LOOK},
	};

	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
		if (span_starts_with(line, verbs[i].name)) {
			return verbs[i].verb;
		}
	}
	return 0;
}

/* Every command that was written, and those of them that were told OK. */
static inline void model_verbs(const struct model_connection *self, unsigned *written_out, unsigned *confirmed_out)
{
	struct span rest = gp_buffer_span(&self->written);

	*written_out = *confirmed_out = 0;
	while (rest.len > 0) {
		ptrdiff_t end = span_find(rest, SPAN_LIT("\r\n"));
		struct span line = span_slice(rest, 0, end < 0 ? rest.len : (size_t)end);
		if (model_is_command(line)) {
			size_t space = (size_t)span_find_char(line, ' ');
			unsigned verb = model_verb_of(span_from(line, space + 1));
			*written_out |= verb;
			if (verb && !(*confirmed_out & verb) && model_was_told_ok(self, span_slice(line, 0, space))) {
				*confirmed_out |= verb;
			}
		}
		rest = span_from(rest, line.len + 2);
	}
}

#endif
