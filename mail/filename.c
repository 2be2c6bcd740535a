#include "mail/filename.h"

#include <glib.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"

#define MAX_EXTENSION 16
#define MAX_RAW ((size_t)4096) /* bytes of a name that are looked at */

/* Invisible marks: those that change the direction of text among them. */
static bool is_invisible(uint32_t c)
{
	return c == 0xAD || c == 0x61C || (c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) ||
	       (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFB) ||
	       (c >= 0xE0000 && c <= 0xE007F);
}

static bool is_unfit(uint32_t c)
{
	return c < 0x20 || (c >= 0x7F && c < 0xA0) || (c < 0x80 && strchr("/\\:*?\"<>|", (int)c));
}

/* CON, NUL.txt and the like are devices to some systems. */
static bool is_device(struct span name)
{
	static const char *const devices[] = {"CON", "PRN", "AUX", "NUL"};
	ptrdiff_t dot = span_find_char(name, '.');
	struct span stem = span_trim(dot < 0 ? name : span_slice(name, 0, (size_t)dot));

	for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
		if (span_equal_text_nocase(stem, devices[i])) {
			return true;
		}
	}
	bool is_port = span_starts_with_nocase(stem, "COM") || span_starts_with_nocase(stem, "LPT");
	return is_port && stem.len == 4 && stem.ptr[3] >= '0' && stem.ptr[3] <= '9';
}

static enum gp_status append_fit(struct span name, struct gp_buffer *out)
{
	enum gp_status status = GP_OK;

	while (name.len > 0 && status == GP_OK) {
		uint32_t c;
		size_t len = utf8_decode(name, &c);
		struct span bytes = span_slice(name, 0, len > 0 ? len : utf8_bad_run(name));
		name = span_from(name, bytes.len);
		if (len > 0 && is_invisible(c)) {
			continue;
		}
		status = gp_buffer_append(out, len == 0 || is_unfit(c) ? SPAN_LIT("_") : bytes);
	}
	return status;
}

/* Where the extension begins, with its dot; the end when there is none. */
static size_t extension_of(struct span name)
{
	size_t dot = name.len;

	while (dot > 0 && name.len - dot < MAX_EXTENSION && name.ptr[dot - 1] != '.') {
		dot--;
	}
	return dot > 1 && name.ptr[dot - 1] == '.' ? dot - 1 : name.len;
}

/* The name with `mark` before its extension, in at most `max` bytes. */
static enum gp_status append_cut(struct span name, const char *mark, size_t max, struct gp_buffer *out)
{
	size_t at = extension_of(name);
	struct span extension = span_from(name, at);
	size_t room = max - extension.len - strlen(mark);
	struct span stem = span_slice(name, 0, at < room ? at : room);

	stem.len = utf8_valid_prefix(stem);
	while (stem.len > 0 && (at > stem.len || mark[0] != '\0') && stem.ptr[stem.len - 1] == ' ') {
		stem.len--;
	}
	enum gp_status status = gp_buffer_append(out, stem);
	if (status == GP_OK) {
		status = gp_buffer_append(out, span_of(mark));
	}
	return status == GP_OK ? gp_buffer_append(out, extension) : status;
}

/* Appends what is fit of it, whole. */
static enum gp_status append_clean(struct span name, struct gp_buffer *out)
{
	struct gp_buffer fit;
	enum gp_status status;

	gp_buffer_init(&fit, 4 * MAX_RAW);
	status = append_fit(span_slice(name, 0, MAX_RAW), &fit);
	/* hidden, or a folder; and some systems drop dots and blanks at the end */
	struct span text = span_trim(gp_buffer_span(&fit));
	while (text.len > 0 && (text.ptr[text.len - 1] == '.' || text.ptr[text.len - 1] == ' ')) {
		text.len--;
	}
	bool is_hidden = text.len > 0 && text.ptr[0] == '.';
	if (status == GP_OK && (is_hidden || is_device(text))) {
		status = gp_buffer_append_char(out, '_');
	}
	if (status == GP_OK) {
		status = gp_buffer_append(out, text.len > 0 ? span_from(text, is_hidden ? 1 : 0) : SPAN_LIT("unnamed"));
	}
	gp_buffer_deinit(&fit);
	return status;
}

static enum gp_status append_marked(struct span name, const char *mark, size_t max, struct gp_buffer *out)
{
	struct gp_buffer clean;

	gp_buffer_init(&clean, 5 * MAX_RAW);
	enum gp_status status = append_clean(name, &clean);
	if (status == GP_OK) {
		status = append_cut(gp_buffer_span(&clean), mark, max, out);
	}
	gp_buffer_deinit(&clean);
	return status;
}

enum gp_status mail_filename_append(struct span name, size_t max, struct gp_buffer *out)
{
	return append_marked(name, "", max, out);
}

/* ---- unique ones ---- */

struct mail_filenames {
	GHashTable *taken; /* own: folded names, as a set */
	unsigned n_marks;  /* it only rises: no search through what is taken begins anew */
};

struct mail_filenames *mail_filenames_new(void)
{
	struct mail_filenames *names = calloc(1, sizeof *names);

	if (names) {
		names->taken = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
		names->n_marks = 1;
	}
	return names;
}

void mail_filenames_free(struct mail_filenames **names)
{
	if (*names) {
		g_hash_table_destroy((*names)->taken);
		free(*names);
		*names = NULL;
	}
}

/* Whether nobody had it before. */
static bool take(struct mail_filenames *names, struct span name)
{
	char *normal = g_utf8_normalize(name.ptr, (gssize)name.len, G_NORMALIZE_ALL);
	char *folded = g_utf8_casefold(normal ? normal : name.ptr, normal ? -1 : (gssize)name.len);

	g_free(normal);
	return g_hash_table_add(names->taken, folded);
}

enum gp_status mail_filenames_add(struct mail_filenames *names, struct span name, size_t max, struct gp_buffer *out)
{
	char mark[16] = "";

	for (;;) {
		gp_buffer_truncate(out, 0);
		enum gp_status status = append_marked(name, mark, max, out);
		if (status != GP_OK || take(names, gp_buffer_span(out))) {
			return status;
		}
		snprintf(mark, sizeof mark, " (%u)", ++names->n_marks);
	}
}
