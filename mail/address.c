#include "mail/address.h"

#include <glib.h>

#include "base/utf8.h"
#include "mail/header.h"

#define MAX_LOCAL ((size_t)64)
#define MAX_DOMAIN ((size_t)255)
#define MAX_LABEL ((size_t)63)

static bool is_ascii(struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		if ((unsigned char)text.ptr[i] >= 0x80) {
			return false;
		}
	}
	return true;
}

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* atext of RFC 5322 */
static bool is_atext(char c)
{
	return is_alnum(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* ---- addr-spec ---- */

static bool is_dot_atom(struct span text)
{
	bool is_at_start = true;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (c == '.' ? is_at_start : !is_atext(c)) {
			return false;
		}
		is_at_start = c == '.';
	}
	return !is_at_start;
}

static bool is_quoted_local(struct span text)
{
	if (text.len < 2 || text.ptr[0] != '"' || text.ptr[text.len - 1] != '"') {
		return false;
	}
	for (size_t i = 1; i < text.len - 1; i++) {
		char c = text.ptr[i];
		if (c == '\\' && ++i == text.len - 1) {
			return false;
		}
		if (text.ptr[i] < 0x20 || text.ptr[i] > 0x7E || c == '"') {
			return false;
		}
	}
	return true;
}

static bool is_domain_literal(struct span text)
{
	if (text.len < 3 || text.ptr[0] != '[' || text.ptr[text.len - 1] != ']') {
		return false;
	}
	for (size_t i = 1; i < text.len - 1; i++) {
		if (!is_alnum(text.ptr[i]) && text.ptr[i] != '.' && text.ptr[i] != ':' && text.ptr[i] != '-') {
			return false;
		}
	}
	return true;
}

static bool is_domain(struct span text)
{
	size_t label_len = 0;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		if (c == '.' ? label_len == 0 : !is_alnum(c) && c != '-' && c != '_') {
			return false;
		}
		label_len = c == '.' ? 0 : label_len + 1;
		if (label_len > MAX_LABEL) {
			return false;
		}
	}
	return label_len > 0;
}

/* Why the ASCII address will not do; NULL: it will. */
static const char *fault_of(struct span local, struct span domain)
{
	if (local.len == 0) {
		return "there is nothing before the '@'";
	}
	if (domain.len == 0) {
		return "there is nothing behind the '@'";
	}
	if (local.len > MAX_LOCAL || domain.len > MAX_DOMAIN || local.len + 1 + domain.len > MAIL_MAX_EMAIL) {
		return "the address is too long";
	}
	if (!is_dot_atom(local) && !is_quoted_local(local)) {
		return "what is before the '@' is not allowed there";
	}
	if (!is_domain(domain) && !is_domain_literal(domain)) {
		return "what is behind the '@' is no domain";
	}
	return NULL;
}

/* At the last "@", for a quoted local part may hold one. */
static bool split(struct span email, struct span *local_out, struct span *domain_out)
{
	for (size_t i = email.len; i > 0; i--) {
		if (email.ptr[i - 1] == '@') {
			*local_out = span_slice(email, 0, i - 1);
			*domain_out = span_from(email, i);
			return true;
		}
	}
	return false;
}

bool mail_address_is_ascii(struct span email)
{
	struct span local, domain;

	return is_ascii(email) && split(email, &local, &domain) && !fault_of(local, domain);
}

/* GLib's IDNA. What it is given is short: it cannot fail for memory, but would abort. */
static enum gp_status domain_to_ascii(struct span domain, struct gp_arena *arena, struct span *ascii_out)
{
	if (domain.len > MAX_DOMAIN || !utf8_is_valid(domain) || memchr(domain.ptr, '\0', domain.len)) {
		return GP_INVALID;
	}
	char *unicode = gp_arena_strdup(arena, domain);
	if (!unicode) {
		return GP_NO_MEMORY;
	}
	char *made = g_hostname_to_ascii(unicode);
	if (!made) {
		return GP_INVALID;
	}
	bool is_copied = gp_arena_copy(arena, span_of(made), ascii_out);
	g_free(made);
	return is_copied ? GP_OK : GP_NO_MEMORY;
}

enum gp_status mail_address_check(struct span email, struct gp_arena *arena, struct span *ascii_out,
				  struct gp_error *error)
{
	struct span local, domain;
	enum gp_status status = GP_OK;

	if (!split(email, &local, &domain)) {
		return gp_error_set(error, GP_INVALID, "there is no '@'");
	}
	if (!is_ascii(local)) {
		return gp_error_set(error, GP_INVALID, "what is before the '@' must be ASCII");
	}
	if (!is_ascii(domain)) {
		status = domain_to_ascii(domain, arena, &domain);
	}
	if (status == GP_INVALID) {
		return gp_error_set(error, GP_INVALID, "what is behind the '@' is no domain");
	}
	const char *fault = status == GP_OK ? fault_of(local, domain) : NULL;
	if (fault) {
		return gp_error_set(error, GP_INVALID, "%s", fault);
	}
	const char *whole =
		status == GP_OK ? gp_arena_printf(arena, "%.*s@%.*s", SPAN_ARGS(local), SPAN_ARGS(domain)) : NULL;
	if (!whole) {
		return gp_error_set(error, GP_NO_MEMORY, "%s", gp_status_text(GP_NO_MEMORY));
	}
	*ascii_out = span_of(whole);
	return GP_OK;
}

/* ---- lists ---- */

/* One item of a list, up to a comma that is neither quoted nor inside "<>". */
struct item {
	struct span phrase; /* what is before "<", NIL: there is no "<" */
	struct span email;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The offset of the first `stop` from `at` on that is not in a quoted string, the length
 * when there is none. False: a quoted string does not end. */
static bool find_unquoted(struct span text, size_t at, const char *stop, size_t *at_out)
{
	bool is_quoted = false;

	for (; at < text.len; at++) {
		char c = text.ptr[at];
		if (is_quoted && c == '\\') {
			at++;
		} else if (c == '"') {
			is_quoted = !is_quoted;
		} else if (!is_quoted && c != '\0' && strchr(stop, c)) {
			break;
		}
	}
	*at_out = at < text.len ? at : text.len;
	return !is_quoted;
}

/* Takes the first item off `rest`. NULL, or what is wrong with it. */
static const char *take_item(struct span *rest, struct item *item)
{
	struct span text = *rest;
	size_t at, end;

	if (!find_unquoted(text, 0, ",<>;:", &at)) {
		return "a quoted name does not end";
	}
	if (at < text.len && text.ptr[at] == ';') {
		return "addresses are separated by ',', not by ';'";
	}
	if (at < text.len && text.ptr[at] == ':') {
		return "groups of addresses are not allowed";
	}
	if (at < text.len && text.ptr[at] == '>') {
		return "there is a '>' without a '<'";
	}
	if (at == text.len || text.ptr[at] == ',') {
		*item = (struct item){.phrase = SPAN_NIL, .email = span_trim(span_slice(text, 0, at))};
		*rest = span_from(text, at + 1);
		return NULL;
	}
	item->phrase = span_trim(span_slice(text, 0, at));
	if (!find_unquoted(text, at + 1, "<>", &end) || end == text.len || text.ptr[end] != '>') {
		return "there is a '<' without a '>'";
	}
	item->email = span_slice(text, at + 1, end - at - 1);
	for (at = end + 1; at < text.len && is_blank(text.ptr[at]);) {
		at++;
	}
	if (at < text.len && text.ptr[at] != ',') {
		return "there is no ',' behind the '>'";
	}
	*rest = span_from(text, at + 1);
	return NULL;
}

/* A phrase as text: quotes off; encoded words outside them decoded. */
static enum gp_status decode_phrase(struct span phrase, struct gp_buffer *out)
{
	enum gp_status status = GP_OK;

	while (phrase.len > 0 && status == GP_OK) {
		size_t end;
		if (phrase.ptr[0] != '"') {
			ptrdiff_t quote = span_find_char(phrase, '"');
			end = quote < 0 ? phrase.len : (size_t)quote;
			struct span plain = span_slice(phrase, 0, end);
			status = span_find(plain, SPAN_LIT("=?")) < 0 ? gp_buffer_append(out, plain)
								      : mail_decode_text(plain, out, NULL);
			phrase = span_from(phrase, end);
			continue;
		}
		for (end = 1; phrase.ptr[end] != '"' && status == GP_OK; end++) {
			end += phrase.ptr[end] == '\\';
			status = gp_buffer_append_char(out, phrase.ptr[end]);
		}
		phrase = span_from(phrase, end + 1);
	}
	return status;
}

static enum gp_status read_item(const struct item *item, struct gp_arena *arena, struct mail_address *address,
				struct gp_error *error)
{
	struct gp_buffer name;
	struct gp_error why = {.status = GP_OK};
	enum gp_status status = mail_address_check(item->email, arena, &address->email, &why);

	if (status != GP_OK) {
		return gp_error_set(error, status, "'%.*s': %s", (int)(item->email.len > 60 ? 60 : item->email.len),
				    item->email.ptr, why.text);
	}
	gp_buffer_init(&name, MAIL_MAX_DISPLAY_NAME);
	status = decode_phrase(item->phrase, &name);
	if (status == GP_OK && !gp_arena_copy(arena, gp_buffer_span(&name), &address->name)) {
		status = GP_NO_MEMORY;
	}
	gp_buffer_deinit(&name);
	if (status == GP_LIMIT) {
		return gp_error_set(error, GP_INVALID, "a name has more than %zu bytes", MAIL_MAX_DISPLAY_NAME);
	}
	return status == GP_OK ? GP_OK : gp_error_set(error, status, "%s", gp_status_text(status));
}

enum gp_status mail_address_parse(struct span text, size_t max, struct gp_arena *arena,
				  struct mail_address **addresses_out, size_t *n_addresses_out, struct gp_error *error)
{
	struct mail_address *addresses = NULL;
	size_t n = 0, size = 0;

	while (text.len > 0) {
		struct item item;
		const char *fault = take_item(&text, &item);
		if (fault) {
			return gp_error_set(error, GP_INVALID, "%s", fault);
		}
		if (span_is_nil(item.phrase) && item.email.len == 0) {
			continue; /* a comma too many */
		}
		if (n == max) {
			return gp_error_set(error, GP_INVALID, "there are more than %zu addresses", max);
		}
		if (n == size) {
			size_t grown = size == 0 ? 4 : 2 * size;
			struct mail_address *more = gp_arena_array(arena, grown, sizeof *more);
			if (!more) {
				return gp_error_set(error, GP_NO_MEMORY, "%s", gp_status_text(GP_NO_MEMORY));
			}
			if (n > 0) {
				memcpy(more, addresses, n * sizeof *more);
			}
			addresses = more;
			size = grown;
		}
		enum gp_status status = read_item(&item, arena, &addresses[n], error);
		if (status != GP_OK) {
			return status;
		}
		n++;
	}
	*addresses_out = addresses;
	*n_addresses_out = n;
	return GP_OK;
}
