/* What the tests of this room share. */
#ifndef GP_TESTS_MAIL_SUPPORT_H
#define GP_TESTS_MAIL_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/utf8.h"

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))
#define S(text) SPAN_LIT(text)
#define FFFD "\xEF\xBF\xBD"

/* `what` names the case in the message. */
static inline void expect_bytes(const char *what, struct span got, struct span want)
{
	if (!span_equal(got, want)) {
		fail_msg("%s:\n  got  [%.*s] (%zu)\n  want [%.*s] (%zu)", what, SPAN_ARGS(got), got.len,
			 SPAN_ARGS(want), want.len);
	}
}

static inline void expect_text(const char *what, struct span got)
{
	if (!utf8_is_valid(got)) {
		fail_msg("%s: not UTF-8: [%.*s]", what, SPAN_ARGS(got));
	}
}

#endif
