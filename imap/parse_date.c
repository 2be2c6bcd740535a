#include "imap/parser.h"

static bool read_digits(struct span *text, size_t least, size_t most, int *number_out)
{
	size_t len = 0;
	int number = 0;

	while (len < text->len && len < most && text->ptr[len] >= '0' && text->ptr[len] <= '9') {
		number = number * 10 + (text->ptr[len] - '0');
		len++;
	}
	if (len < least) {
		return false;
	}
	*text = span_from(*text, len);
	*number_out = number;
	return true;
}

static bool read_char(struct span *text, char c)
{
	if (text->len == 0 || text->ptr[0] != c) {
		return false;
	}
	*text = span_from(*text, 1);
	return true;
}

static bool read_month(struct span *text, int *month_out)
{
	static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

	for (int i = 0; i < 12; i++) {
		if (span_starts_with_nocase(*text, months[i])) {
			*text = span_from(*text, 3);
			*month_out = i + 1;
			return true;
		}
	}
	return false;
}

/* Days since 1970-01-01 of a proleptic Gregorian date, or false if there is no such day. */
static bool days_of(int year, int month, int day, int64_t *days_out)
{
	static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
	bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	if (year < 1 || day < 1 || day > lengths[month - 1] + (month == 2 && is_leap)) {
		return false;
	}
	int64_t y = year - 1;
	*days_out = y * 365 + y / 4 - y / 100 + y / 400 + before[month - 1] + (month > 2 && is_leap) + day - 1 - 719162;
	return true;
}

/* "+0200"; nothing means UTC. */
static bool read_zone(struct span text, int *seconds_out)
{
	int hours;
	int minutes;

	text = span_trim(text);
	if (text.len == 0) {
		*seconds_out = 0;
		return true;
	}
	bool is_west = text.ptr[0] == '-';
	if ((!is_west && text.ptr[0] != '+') || text.len != 5) {
		return false;
	}
	text = span_from(text, 1);
	if (!read_digits(&text, 2, 2, &hours) || !read_digits(&text, 2, 2, &minutes) || minutes > 59) {
		return false;
	}
	*seconds_out = (hours * 60 + minutes) * (is_west ? -60 : 60);
	return true;
}

bool imap_parse_date_time(struct span text, int64_t *seconds_out)
{
	int day, month, year, hour, minute, second, zone;
	int64_t days;

	text = span_trim(text);
	if (!read_digits(&text, 1, 2, &day) || !read_char(&text, '-') || !read_month(&text, &month) ||
	    !read_char(&text, '-') || !read_digits(&text, 4, 4, &year) || !read_char(&text, ' ') ||
	    !read_digits(&text, 2, 2, &hour) || !read_char(&text, ':') || !read_digits(&text, 2, 2, &minute) ||
	    !read_char(&text, ':') || !read_digits(&text, 2, 2, &second) || !read_zone(text, &zone)) {
		return false;
	}
	if (hour > 23 || minute > 59 || second > 60 || !days_of(year, month, day, &days)) {
		return false;
	}
	*seconds_out = days * 86400 + hour * 3600 + minute * 60 + second - zone;
	return true;
}
