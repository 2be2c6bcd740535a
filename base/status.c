#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/utf8.h"

static const char *const names[] = {
#define X(name, text) #name,
	GP_STATUS_MAP(X)
#undef X
};

static const char *const texts[] = {
#define X(name, text) text,
	GP_STATUS_MAP(X)
#undef X
};

const char *gp_status_name(enum gp_status status)
{
	return names[status];
}

const char *gp_status_text(enum gp_status status)
{
	return texts[status];
}

void gp_error_clear(struct gp_error *error)
{
	*error = (struct gp_error){.status = GP_OK};
}

/* In place: valid UTF-8 in one line, "?" for what is not. A character that was cut in two goes. */
static size_t clean(char *text, size_t len, bool is_cut)
{
	size_t at = 0;

	while ((at += utf8_valid_prefix(span_make(text + at, len - at))) < len) {
		size_t n_bad = utf8_bad_run(span_make(text + at, len - at));
		if (is_cut && at + n_bad == len) {
			break;
		}
		memset(text + at, '?', n_bad);
	}
	for (size_t i = 0; i < at; i++) {
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F) {
			text[i] = '?';
		}
	}
	return at;
}

enum gp_status gp_error_set(struct gp_error *error, enum gp_status status, const char *format, ...)
{
	if (!error || error->status != GP_OK) {
		return status;
	}
	error->status = status;

	va_list args;
	va_start(args, format);
	int len = vsnprintf(error->text, sizeof error->text, format, args);
	va_end(args);

	size_t end = len < 0 ? 0 : strlen(error->text);
	bool is_cut = len >= (int)sizeof error->text;
	error->text[clean(error->text, end, is_cut)] = '\0';
	return status;
}
