#include <stdio.h>
#include <time.h>

#include "imap/writer.h"

#define FIRST_SECOND (-62135596800) /* 1-Jan-0001 */
#define LAST_SECOND 253402300799    /* 31-Dec-9999 */

void imap_writer_date_time(struct imap_writer *writer, int64_t seconds)
{
	static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t moment = (time_t)seconds;
	struct tm tm;
	char text[64];

	if (seconds < FIRST_SECOND || seconds > LAST_SECOND || !gmtime_r(&moment, &tm)) {
		writer->status = writer->status == GP_OK ? GP_INVALID : writer->status;
		return;
	}
	snprintf(text, sizeof text, "%02d-%s-%04d %02d:%02d:%02d +0000", tm.tm_mday, months[tm.tm_mon],
		 tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
	imap_writer_string(writer, span_of(text));
}
