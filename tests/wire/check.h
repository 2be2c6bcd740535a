/*
 * How a case fails: where, why, and a diff. And what is compared as JSON.
 */
#ifndef GP_TESTS_WIRE_CHECK_H
#define GP_TESTS_WIRE_CHECK_H

#include <jansson.h>
#include <setjmp.h>
#include <stdbool.h>

#include "base/span.h"

/* Ends the process of the case: `text` says what was expected, then the two texts as
 * lines with "-" (expected) and "+" (actual); NIL: none. */
void check_fail(struct span expected, struct span actual, const char *format, ...)
	__attribute__((format(printf, 3, 4), noreturn));
/* From now on check_fail() goes there, without a word, when `is_excused` says so. NULL:
 * never. */
void check_set_excuse(bool (*is_excused)(void), jmp_buf *there);
/* The bytes are the same; else fails. */
void check_bytes(const char *what, struct span expected, struct span actual);
/* `PATH OP VALUE` on a JSON text; see README.md. */
void check_json(struct span body, const char *assertion);
/* The value at a path as text (a string as it is); new memory. Fails when there is none. */
char *check_json_text(struct span body, const char *path);
/* Whether the assertion's value is a whole JSON text; an author may break it over lines. */
bool check_json_is_whole(const char *assertion);

#endif
