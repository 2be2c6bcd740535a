/*
 * A server's view of what a client wrote, as strict as the grammar of RFC 3501: it
 * counts commands and their arguments and refuses everything that a lenient server
 * might read as more than that. Parentheses group; a literal or quoted string is one
 * argument, and so is a word.
 */
#ifndef GP_TESTS_STRICT_COMMAND_H
#define GP_TESTS_STRICT_COMMAND_H

#include "base/span.h"

#define STRICT_MAX_ARGUMENTS 64

struct strict_command {
	bool is_valid;
	size_t n_commands;                           /* lines that end a command */
	size_t n_arguments;                          /* strings and words, all commands */
	struct span arguments[STRICT_MAX_ARGUMENTS]; /* borrow; quoted ones with their escapes */
	size_t n_literals;
};

static inline bool strict_is_word_char(unsigned char c)
{
	return c > 0x20 && c < 0x7F && c != '(' && c != ')' && c != '"' && c != '{';
}

static inline void strict_add(struct strict_command *command, struct span argument)
{
	if (command->n_arguments < STRICT_MAX_ARGUMENTS) {
		command->arguments[command->n_arguments] = argument;
	}
	command->n_arguments++;
}

/* Each takes its argument from the front of `in`. */
static inline bool strict_take_quoted(struct strict_command *command, struct span *in)
{
	size_t at = 1;

	while (at < in->len && in->ptr[at] != '"') {
		unsigned char c = (unsigned char)in->ptr[at];
		if (c < 0x20 || c == 0x7F) {
			return false;
		}
		if (c == '\\') {
			at++;
			if (at >= in->len || (in->ptr[at] != '"' && in->ptr[at] != '\\')) {
				return false;
			}
		}
		at++;
	}
	if (at >= in->len) {
		return false;
	}
	strict_add(command, span_slice(*in, 1, at - 1));
	*in = span_from(*in, at + 1);
	return true;
}

static inline bool strict_take_literal(struct strict_command *command, struct span *in)
{
	size_t at = 1;
	uint64_t len;

	while (at < in->len && in->ptr[at] >= '0' && in->ptr[at] <= '9') {
		at++;
	}
	if (!span_to_u64(span_slice(*in, 1, at - 1), &len)) {
		return false;
	}
	at += at < in->len && in->ptr[at] == '+';
	if (!span_starts_with(span_from(*in, at), "}\r\n")) {
		return false;
	}
	*in = span_from(*in, at + 3);
	if (len > in->len || span_find_char(span_slice(*in, 0, (size_t)len), '\0') >= 0) {
		return false;
	}
	strict_add(command, span_slice(*in, 0, (size_t)len));
	command->n_literals++;
	*in = span_from(*in, (size_t)len);
	return true;
}

static inline bool strict_take_word(struct strict_command *command, struct span *in)
{
	size_t at = 0;

	while (at < in->len && strict_is_word_char((unsigned char)in->ptr[at])) {
		/* BODY.PEEK[HEADER.FIELDS (A B)] is cut at its space and parenthesis: more
		 * arguments, but none that the writer did not mean */
		at++;
	}
	if (at == 0) {
		return false;
	}
	strict_add(command, span_slice(*in, 0, at));
	*in = span_from(*in, at);
	return true;
}

static inline struct strict_command strict_command_parse(struct span in)
{
	struct strict_command command = {.is_valid = false};
	size_t n_open = 0;
	bool is_separated = true; /* at the start, or behind a space or "(" */

	while (in.len > 0) {
		char c = in.ptr[0];
		if (span_starts_with(in, "\r\n")) {
			if (n_open != 0) {
				return command;
			}
			command.n_commands++;
			is_separated = true;
			in = span_from(in, 2);
		} else if (c == ' ' || c == '(' || c == ')') {
			if ((c == ')' && n_open-- == 0) || (c == ' ' && in.len > 1 && in.ptr[1] == ' ')) {
				return command;
			}
			n_open += c == '(';
			is_separated = c != ')';
			in = span_from(in, 1);
		} else if (c == '"' || c == '{') {
			if (!is_separated ||
			    !(c == '"' ? strict_take_quoted(&command, &in) : strict_take_literal(&command, &in))) {
				return command;
			}
			is_separated = false;
		} else {
			if (!strict_take_word(&command, &in)) {
				return command;
			}
			is_separated = false;
		}
	}
	command.is_valid = n_open == 0;
	return command;
}

#endif
