#include "base/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/utf8.h"

#define LINE_MAX_BYTES 1024

static enum gp_log_level max_level = GP_LOG_INFO;
static enum gp_log_format line_format = GP_LOG_TEXT;
static size_t n_dropped; /* lines since the last that was written */
static const char *const level_names[] = {"error", "warn", "info", "debug"};

void gp_log_setup(enum gp_log_level level, enum gp_log_format format)
{
	max_level = level;
	line_format = format;
}

bool gp_log_enabled(enum gp_log_level level)
{
	return level <= max_level;
}

/* What ends a line, or makes a terminal do something: control characters, those of two bytes
 * in UTF-8 (C1) among them, and the two separators of Unicode. */
static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029;
}

static size_t escape_control(char *out, size_t size, uint32_t c)
{
	int len = snprintf(out, size, line_format == GP_LOG_JSON ? "\\u%04x" : "\\x%02x", (unsigned)c);

	return (size_t)len;
}

/* Escapes control characters, and for JSON quotes and backslashes; bytes above 0x7F pass
 * when they are UTF-8, else become '?'. */
static size_t escape(char *out, size_t size, const char *text)
{
	size_t at = 0;
	size_t len = strlen(text);
	size_t valid = 0;

	for (size_t i = 0; i < len && at + 7 < size; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c < 0x80 && is_control(c)) {
			at += escape_control(out + at, size - at, c);
		} else if (line_format == GP_LOG_JSON && (c == '"' || c == '\\')) {
			out[at++] = '\\';
			out[at++] = (char)c;
		} else if (c >= 0x80 && i >= valid) {
			uint32_t code_point;
			size_t n = utf8_decode(span_make(text + i, len - i), &code_point);
			if (n > 0 && is_control(code_point)) {
				at += escape_control(out + at, size - at, code_point);
				i += n - 1;
				continue;
			}
			valid = i + n;
			out[at++] = n ? (char)c : '?';
		} else {
			out[at++] = (char)c;
		}
	}
	out[at] = '\0';
	return at;
}

/* A pipe that is writable takes PIPE_BUF bytes without waiting, and no line is longer. */
static bool can_write(void)
{
	struct pollfd log = {.fd = STDERR_FILENO, .events = POLLOUT};

	return poll(&log, 1, 0) == 1 && (log.revents & POLLOUT) != 0 && (log.revents & (POLLERR | POLLNVAL)) == 0;
}

static bool put(const char *line, size_t len)
{
	return can_write() && write(STDERR_FILENO, line, len) == (ssize_t)len;
}

/* The line with its end; its length. */
static size_t write_line(char *out, size_t size, enum gp_log_level level, const char *category, const char *message)
{
	struct timespec now;
	struct tm utc;
	char when[32];
	int len;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &utc);
	if (line_format == GP_LOG_JSON) {
		len = snprintf(out, size,
			       "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"category\":\"%s\",\"message\":\"%s\"}\n",
			       when, now.tv_nsec / 1000000, level_names[level], category, message);
	} else {
		len = snprintf(out, size, "%s.%03ldZ %-5s %s: %s\n", when, now.tv_nsec / 1000000, level_names[level],
			       category, message);
	}
	return len <= 0 ? 0 : (size_t)len < size ? (size_t)len : size - 1;
}

void gp_log(enum gp_log_level level, const char *category, const char *format, ...)
{
	if (!gp_log_enabled(level)) {
		return;
	}
	char message[LINE_MAX_BYTES];
	va_list args;
	va_start(args, format);
	vsnprintf(message, sizeof message, format, args);
	va_end(args);

	char safe[LINE_MAX_BYTES + 64];
	escape(safe, sizeof safe, message);

	char line[LINE_MAX_BYTES + 256];
	if (n_dropped > 0) {
		char text[64];
		snprintf(text, sizeof text, "%zu lines were dropped", n_dropped);
		n_dropped = put(line, write_line(line, sizeof line, GP_LOG_WARN, "log", text)) ? 0 : n_dropped;
	}
	if (n_dropped > 0 || !put(line, write_line(line, sizeof line, level, category, safe))) {
		n_dropped++;
	}
}
