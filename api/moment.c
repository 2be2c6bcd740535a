#include "api/moment.h"

#define DAY_SECONDS 86400

/* Days since 1970-01-01 in the proleptic Gregorian calendar (Howard Hinnant's
 * days_from_civil). */
static int64_t days_from_civil(int64_t year, unsigned month, unsigned day)
{
	year -= month <= 2;
	int64_t era = year / 400;
	unsigned year_of_era = (unsigned)(year - era * 400);
	unsigned day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
	unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

	return era * 146097 + (int64_t)day_of_era - 719468;
}

static bool digits(struct span *text, size_t n, uint32_t *value_out)
{
	if (text->len < n || !span_to_u32(span_slice(*text, 0, n), value_out)) {
		return false;
	}
	*text = span_from(*text, n);
	return true;
}

static bool literal(struct span *text, char a, char b)
{
	if (text->len == 0 || (text->ptr[0] != a && text->ptr[0] != b)) {
		return false;
	}
	*text = span_from(*text, 1);
	return true;
}

static bool parse_date(struct span *text, int64_t *days_out)
{
	static const unsigned lengths[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	uint32_t year, month, day;

	if (!digits(text, 4, &year) || !literal(text, '-', '-') || !digits(text, 2, &month) ||
	    !literal(text, '-', '-') || !digits(text, 2, &day)) {
		return false;
	}
	bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	if (year < 1 || month < 1 || month > 12 || day < 1 || day > lengths[month - 1] ||
	    (month == 2 && day == 29 && !is_leap)) {
		return false;
	}
	*days_out = days_from_civil(year, month, day);
	return true;
}

static bool parse_time(struct span *text, int64_t *seconds_out, bool *is_between_out)
{
	uint32_t hour, minute, second, fraction;

	if (!digits(text, 2, &hour) || !literal(text, ':', ':') || !digits(text, 2, &minute) ||
	    !literal(text, ':', ':') || !digits(text, 2, &second) || hour > 23 || minute > 59 || second > 60) {
		return false;
	}
	if (literal(text, '.', '.')) {
		size_t n = 0;
		while (digits(text, 1, &fraction)) {
			*is_between_out |= fraction > 0;
			n++;
		}
		if (n == 0) {
			return false;
		}
	}
	*seconds_out = hour * 3600 + minute * 60 + second;
	return true;
}

static bool parse_offset(struct span *text, int64_t *seconds_out)
{
	uint32_t hour, minute;
	int sign;

	if (literal(text, 'Z', 'z')) {
		*seconds_out = 0;
		return true;
	}
	if (literal(text, '+', ' ')) {
		sign = 1;
	} else if (literal(text, '-', '-')) {
		sign = -1;
	} else {
		return false;
	}
	if (!digits(text, 2, &hour) || !literal(text, ':', ':') || !digits(text, 2, &minute) || hour > 23 ||
	    minute > 59) {
		return false;
	}
	*seconds_out = sign * (int64_t)(hour * 3600 + minute * 60);
	return true;
}

bool api_moment_parse(struct span text, struct api_moment *moment_out)
{
	int64_t days, time = 0, offset = 0;
	bool is_between = false;

	if (!parse_date(&text, &days)) {
		return false;
	}
	bool is_date = text.len == 0;
	if (!is_date && (!literal(&text, 'T', 't') || !parse_time(&text, &time, &is_between) ||
			 !parse_offset(&text, &offset) || text.len > 0)) {
		return false;
	}
	*moment_out = (struct api_moment){.seconds = days * DAY_SECONDS + time - offset,
					  .is_date = is_date,
					  .is_between = is_between,
					  .offset = (int)(offset / 60)};
	return true;
}

bool api_moment_can_arrive(int64_t seconds)
{
	return seconds >= 0 && seconds <= UINT32_MAX;
}

int64_t api_moment_day(int64_t seconds)
{
	int64_t day = seconds / DAY_SECONDS;

	return seconds % DAY_SECONDS < 0 ? day - 1 : day;
}
