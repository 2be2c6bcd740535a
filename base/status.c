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
	end = utf8_valid_prefix(span_make(error->text, end));
	error->text[end] = '\0';
	for (size_t i = 0; i < end; i++) {
		if ((unsigned char)error->text[i] < 0x20 || error->text[i] == 0x7F) {
			error->text[i] = '?';
		}
	}
	return status;
}
