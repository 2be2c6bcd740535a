/*
 * A script as lines: read, cut into cases, definitions and blocks put in their places.
 * Knows nothing of what the lines mean. See README.md for the format.
 *
 * A script that cannot be read ends the program with a message: it is the test's
 * author who is wrong.
 */
#ifndef GP_TESTS_WIRE_SCRIPT_H
#define GP_TESTS_WIRE_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/span.h"

struct script_line {
	char *text; /* own: without the indentation */
	int number; /* in the file; of a block's lines: where the block was called */
	size_t indent;
};

struct script_case {
	char *name;                /* own */
	struct script_line *lines; /* own */
	size_t n_lines;
	int number;
};

struct script {
	struct script_case *cases; /* own */
	size_t n_cases;
	struct script_definition *definitions; /* own */
	size_t n_definitions;
};

/* Reads the definitions of `common` (NULL: none), then the script. */
void script_read(struct script *script, const char *common, const char *path);
void script_free(struct script *script);

/* ---- words ---- */

/* The first word of `text`, which moves behind it and the spaces that follow. */
struct span script_word(const char **text);
/* "\x0D" and the like become bytes; new memory, its length in `len_out`. */
char *script_unescape(const char *text, size_t *len_out);

/* For all of this folder: the message, and exit 2. */
void script_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void *script_grow(void *array, size_t n, size_t item_size);
char *script_copy(struct span text);

#endif
