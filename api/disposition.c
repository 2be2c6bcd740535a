#include "api/disposition.h"

#include "api/target.h"
#include "base/utf8.h"

#define MAX_NAME 200

/* Marks that change the direction of text, and other invisible ones: a name must not
 * look like what it is not. */
static bool is_deceptive(uint32_t c)
{
	return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xAD || c == 0x61C || (c >= 0x200B && c <= 0x200F) ||
	       (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF ||
	       (c >= 0xFFF9 && c <= 0xFFFB) || (c >= 0xE0000 && c <= 0xE007F);
}

static bool is_separator(uint32_t c)
{
	return c == '/' || c == '\\' || c == '"' || c == ':' || c == '*' || c == '?' || c == '<' || c == '>' ||
	       c == '|';
}

/* Keeps the end of a long name's extension. */
static struct span shorten(struct gp_arena *arena, struct span name)
{
	if (name.len <= MAX_NAME) {
		return name;
	}
	size_t dot = name.len;
	while (dot > 0 && name.len - dot < 16 && name.ptr[dot - 1] != '.') {
		dot--;
	}
	bool has_extension = dot > 0 && name.len - dot < 16;
	struct span extension = has_extension ? span_from(name, dot - 1) : SPAN_LIT("");
	struct span stem = span_slice(name, 0, MAX_NAME - extension.len);
	stem.len = utf8_valid_prefix(stem);
	return span_of(gp_arena_printf(arena, "%.*s%.*s", SPAN_ARGS(stem), SPAN_ARGS(extension)));
}

/* The name without what must not be in it, as UTF-8 and as ASCII. */
static enum gp_status clean(struct span name, struct gp_buffer *utf8, struct gp_buffer *ascii)
{
	enum gp_status status = GP_OK;

	while (name.len > 0 && status == GP_OK) {
		uint32_t c;
		size_t len = utf8_decode(name, &c);
		struct span bytes = span_slice(name, 0, len ? len : 1);
		name = span_from(name, bytes.len);
		if (len > 0 && is_deceptive(c) && c >= 0x80) {
			continue;
		}
		bool is_bad = len == 0 || is_deceptive(c) || is_separator(c);
		status = gp_buffer_append(utf8, is_bad ? SPAN_LIT("_") : bytes);
		if (status == GP_OK) {
			status = gp_buffer_append(ascii, is_bad || c >= 0x80 ? SPAN_LIT("_") : bytes);
		}
	}
	return status;
}

char *api_disposition(struct gp_arena *arena, bool is_attachment, const char *name)
{
	const char *kind = is_attachment ? "attachment" : "inline";
	struct gp_buffer utf8, ascii;
	char *header = NULL;

	if (!name || name[0] == '\0') {
		return gp_arena_strdup(arena, span_of(kind));
	}
	gp_buffer_init(&utf8, 4 * MAX_NAME);
	gp_buffer_init(&ascii, 4 * MAX_NAME);
	struct span cut = shorten(arena, span_of(name));
	if (cut.ptr && clean(cut, &utf8, &ascii) == GP_OK) {
		if (span_equal(gp_buffer_span(&utf8), gp_buffer_span(&ascii))) {
			header = gp_arena_printf(arena, "%s; filename=\"%s\"", kind, ascii.data ? ascii.data : "_");
		} else {
			char *encoded = api_percent_encode(arena, gp_buffer_span(&utf8));
			header = encoded ? gp_arena_printf(arena, "%s; filename=\"%s\"; filename*=UTF-8''%s", kind,
							   ascii.data, encoded)
					 : NULL;
		}
	}
	arena->is_short |= !header; /* what is shown instead would be shown in our origin */
	gp_buffer_deinit(&utf8);
	gp_buffer_deinit(&ascii);
	return header;
}

bool api_disposition_is_inline_safe(const char *type)
{
	static const char *const safe[] = {"text/plain", "image/png",  "image/jpeg", "image/gif",
					   "image/webp", "image/avif", "image/bmp"};

	for (size_t i = 0; i < sizeof safe / sizeof safe[0]; i++) {
		if (strcmp(type, safe[i]) == 0) {
			return true;
		}
	}
	return strncmp(type, "audio/", 6) == 0 || strncmp(type, "video/", 6) == 0;
}

static bool is_token(struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		if (c <= 0x20 || c >= 0x7F || strchr("()<>@,;:\\\"/[]?={}", c)) {
			return false;
		}
	}
	return text.len > 0 && text.len <= 100;
}

char *api_content_type(struct gp_arena *arena, const char *type, const char *charset)
{
	struct span text = span_of(type);
	ptrdiff_t slash = span_find_char(text, '/');

	if (slash < 0 || !is_token(span_slice(text, 0, (size_t)slash)) ||
	    !is_token(span_from(text, (size_t)slash + 1))) {
		return gp_arena_strdup(arena, SPAN_LIT("application/octet-stream"));
	}
	if (charset && is_token(span_of(charset))) {
		return gp_arena_printf(arena, "%s; charset=%s", type, charset);
	}
	return gp_arena_strdup(arena, text);
}
