#include "mail/mbox.h"

#include <time.h>

#define MAX_SENDER 320 /* RFC 5321: 64 @ 255 */

static const char from[] = "From ";
#define FROM_LEN (sizeof from - 1)

/* Without blanks and control characters, which would make another line of it. */
static bool is_fit(struct span sender)
{
	for (size_t i = 0; i < sender.len; i++) {
		if ((unsigned char)sender.ptr[i] <= 0x20 || sender.ptr[i] == 0x7F) {
			return false;
		}
	}
	return sender.len > 0 && sender.len <= MAX_SENDER;
}

enum gp_status mail_mbox_begin(struct mail_mbox *mbox, struct span sender, int64_t received, struct gp_buffer *out)
{
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	time_t seconds = (time_t)received;
	struct tm at;

	*mbox = (struct mail_mbox){.is_at_start = true};
	if (!gmtime_r(&seconds, &at) || at.tm_year < -1900 || at.tm_year > 9999 - 1900) {
		seconds = 0;
		(void)gmtime_r(&seconds, &at);
	}
	return gp_buffer_printf(out, "From %.*s %s %s %2d %02d:%02d:%02d %04d\n",
				SPAN_ARGS(is_fit(sender) ? sender : SPAN_LIT("MAILER-DAEMON")), days[at.tm_wday],
				months[at.tm_mon], at.tm_mday, at.tm_hour, at.tm_min, at.tm_sec, at.tm_year + 1900);
}

/* What was held back turned out to be something else. */
static char *release(struct mail_mbox *mbox, char *at)
{
	memcpy(at, from, mbox->n_matched);
	at += mbox->n_matched;
	mbox->n_matched = 0;
	return at;
}

static char *put(struct mail_mbox *mbox, char *at, char c)
{
	if (mbox->is_at_start) {
		if (c == from[mbox->n_matched]) {
			if (++mbox->n_matched == FROM_LEN) {
				*at++ = '>';
				at = release(mbox, at);
				mbox->is_at_start = false;
			}
			return at;
		}
		mbox->is_at_start = c == '>' && mbox->n_matched == 0;
		at = release(mbox, at);
	}
	*at++ = c;
	if (c == '\n') {
		mbox->is_at_start = true;
	}
	return at;
}

/* Where the next byte stands that is more than itself; most lines are passed in one go. */
static const char *plain_end(const struct mail_mbox *mbox, const char *at, const char *end)
{
	if (mbox->is_at_start || mbox->has_cr) {
		return at;
	}
	const char *cr = memchr(at, '\r', (size_t)(end - at));
	const char *stop = cr ? cr : end;
	const char *lf = memchr(at, '\n', (size_t)(stop - at));
	return lf ? lf : stop;
}

static char *feed_byte(struct mail_mbox *mbox, char *at, char c)
{
	if (mbox->has_cr) {
		mbox->has_cr = false;
		if (c != '\n') {
			at = put(mbox, at, '\r');
		}
	}
	if (c == '\r') {
		mbox->has_cr = true;
		return at;
	}
	return put(mbox, at, c);
}

enum gp_status mail_mbox_feed(struct mail_mbox *mbox, struct span bytes, struct gp_buffer *out)
{
	char *room;
	/* each ">" that is added stands for five bytes of input; some were held back */
	enum gp_status status = gp_buffer_reserve(out, bytes.len + bytes.len / FROM_LEN + 2 * FROM_LEN + 2, &room);

	if (status != GP_OK || bytes.len == 0) {
		return status;
	}
	char *at = room;
	const char *next = bytes.ptr;
	const char *end = bytes.ptr + bytes.len;
	while (next < end) {
		const char *plain = plain_end(mbox, next, end);
		if (plain > next) {
			memcpy(at, next, (size_t)(plain - next));
			at += plain - next;
			next = plain;
		} else {
			at = feed_byte(mbox, at, *next++);
		}
	}
	if (at > room) {
		mbox->ends_in_line = at[-1] != '\n';
	}
	gp_buffer_commit(out, (size_t)(at - room));
	return GP_OK;
}

enum gp_status mail_mbox_end(struct mail_mbox *mbox, struct gp_buffer *out)
{
	char held[2 * FROM_LEN];
	char *at = held;

	if (mbox->has_cr) {
		mbox->has_cr = false;
		at = put(mbox, at, '\r');
	}
	at = release(mbox, at);
	if (at > held) {
		mbox->ends_in_line = true;
	}
	enum gp_status status = gp_buffer_append(out, span_make(held, (size_t)(at - held)));
	if (status == GP_OK) {
		status = gp_buffer_append(out, mbox->ends_in_line ? SPAN_LIT("\n\n") : SPAN_LIT("\n"));
	}
	return status;
}
