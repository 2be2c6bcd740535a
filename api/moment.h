/* Dates and times in requests: RFC 3339, or a date alone. */
#ifndef GP_API_MOMENT_H
#define GP_API_MOMENT_H

#include "base/span.h"

struct api_moment {
	int64_t seconds; /* since 1970 UTC; midnight UTC for a date */
	bool is_date;    /* no time was given */
	bool is_between; /* a fraction of a second behind it */
	int offset;      /* minutes east of UTC, as it was given; 0 for a date */
};

/* "2026-01-31", "2026-01-31T12:00:00Z", "…T12:00:00.5+01:00"; a space (a "+" that was
 * not encoded) counts as "+". Years 1 to 9999. */
bool api_moment_parse(struct span text, struct api_moment *moment_out);
/* Whether a message can be said to have arrived then: 1970 to 2106. Many mail stores keep it in 32
 * bits, and make another moment of any other. */
bool api_moment_can_arrive(int64_t seconds);
/* Days since 1970-01-01 of the UTC day. */
int64_t api_moment_day(int64_t seconds);

#endif
