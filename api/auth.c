#include "api/auth.h"

#include "api/etag.h"
#include "base/utf8.h"

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z') {
		return c - 'A';
	}
	if (c >= 'a' && c <= 'z') {
		return c - 'a' + 26;
	}
	if (c >= '0' && c <= '9') {
		return c - '0' + 52;
	}
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 4648 section 4 to the letter: padded, no other bytes, no stray bits. */
static bool decode_base64(struct span text, char buffer[API_AUTH_MAX], size_t *len_out)
{
	size_t len = 0;
	uint32_t bits = 0;
	unsigned n_bits = 0;

	if (text.len == 0 || text.len % 4 != 0 || text.len / 4 * 3 > API_AUTH_MAX) {
		return false;
	}
	size_t n_padding = text.ptr[text.len - 1] != '=' ? 0 : text.ptr[text.len - 2] != '=' ? 1 : 2;
	for (size_t i = 0; i < text.len - n_padding; i++) {
		int value = base64_value(text.ptr[i]);
		if (value < 0) {
			return false;
		}
		bits = bits << 6 | (uint32_t)value;
		n_bits += 6;
		if (n_bits >= 8) {
			n_bits -= 8;
			buffer[len++] = (char)(bits >> n_bits & 0xFF);
		}
	}
	*len_out = len;
	return (bits & ((1u << n_bits) - 1)) == 0;
}

static bool has_control_character(struct span s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		if (c < 0x20 || c == 0x7F) {
			return true;
		}
	}
	return false;
}

enum gp_status api_auth_parse_basic(struct span authorization, char buffer[API_AUTH_MAX], struct span *username_out,
				    struct span *password_out, struct gp_error *error)
{
	size_t len;

	authorization = span_trim(authorization);
	ptrdiff_t space = span_find_char(authorization, ' ');
	struct span scheme = space < 0 ? authorization : span_slice(authorization, 0, (size_t)space);
	if (!span_equal_text_nocase(scheme, "Basic")) {
		return gp_error_set(error, GP_AUTH, "this Authorization scheme is not known here: use Basic");
	}
	struct span token = span_trim(span_from(authorization, scheme.len));
	if (!decode_base64(token, buffer, &len)) {
		return gp_error_set(error, GP_AUTH, "the Basic credential is not base64, or is too long");
	}
	struct span pair = span_make(buffer, len);
	ptrdiff_t colon = span_find_char(pair, ':');
	if (colon < 0) {
		return gp_error_set(error, GP_AUTH, "the Basic credential has no ':' in it");
	}
	/* RFC 7617 section 2: neither may hold control characters. */
	if (!utf8_is_valid(pair) || has_control_character(pair)) {
		return gp_error_set(error, GP_AUTH, "the Basic credential is not UTF-8 text");
	}
	struct span username = span_slice(pair, 0, (size_t)colon), password = span_from(pair, (size_t)colon + 1);
	if (username.len == 0 || password.len == 0) {
		return gp_error_set(error, GP_AUTH, "the Basic credential has an empty user name or password");
	}
	*username_out = username;
	*password_out = password;
	return GP_OK;
}

static enum gp_status make_credential(struct api_exchange *exchange, struct span username, struct span password,
				      struct imap_credential **credential_out, struct gp_error *error)
{
	enum gp_status status = api_etag_account(username, exchange->account);

	if (status == GP_OK) {
		status = imap_credential_new(username, password, credential_out);
	}
	if (status == GP_INVALID) {
		return gp_error_set(error, GP_AUTH, "the user name or password is too long");
	}
	return status == GP_OK ? GP_OK : gp_error_set(error, status, "%s", gp_status_text(status));
}

enum gp_status api_auth_credential(struct api_exchange *exchange, struct imap_credential **credential_out,
				   struct gp_error *error)
{
	struct span authorization = exchange->ops->header(exchange, "Authorization");
	struct span username = SPAN_NIL;
	struct span password = SPAN_NIL;
	char buffer[API_AUTH_MAX];

	if (span_is_nil(authorization)) {
		return gp_error_set(error, GP_AUTH, "this resource needs an Authorization header");
	}
	enum gp_status status = api_auth_parse_basic(authorization, buffer, &username, &password, error);
	if (status == GP_OK) {
		status = make_credential(exchange, username, password, credential_out, error);
	}
	explicit_bzero(buffer, sizeof buffer);
	return status;
}

void api_auth_check_owner(struct api_exchange *exchange, const struct imap_credential *credential)
{
	struct span authorization = exchange->ops->header(exchange, "Authorization");
	struct span username = SPAN_NIL;
	struct span password = SPAN_NIL;
	struct gp_error error = {.status = GP_OK};
	char buffer[API_AUTH_MAX];

	bool is_owner = api_auth_parse_basic(authorization, buffer, &username, &password, &error) == GP_OK &&
			imap_credential_is_owner(credential, username, password);
	explicit_bzero(buffer, sizeof buffer);
	if (!is_owner) {
		imap_credential_violated("an answer is of another account than its request");
	}
}
