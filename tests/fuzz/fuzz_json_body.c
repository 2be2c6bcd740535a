/* Any bytes as a JSON body: an object that can be written again, or an error that
 * says why. Also the Authorization header, entity tags and ranges: the first byte
 * chooses. */
#include <stdlib.h>

#include "api/auth.h"
#include "api/body.h"
#include "api/conditional.h"
#include "api/json.h"
#include "base/limits.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition) {
		abort();
	}
}

static void try_body(struct span bytes)
{
	static const char *const names[] = {"keywords", "mailbox"};
	struct gp_error error = {0};
	json_t *object = NULL;
	enum gp_status status = api_body_parse(bytes, &object, &error);

	require(status == error.status && (status == GP_OK) == (object != NULL));
	require(utf8_is_valid(span_of(error.text)));
	if (object) {
		struct gp_buffer text;
		require(json_is_object(object));
		(void)!api_body_check_members(object, "in 'x'", names, 2, &error);
		require(utf8_is_valid(span_of(error.text)));
		gp_buffer_init(&text, GP_MAX_JSON_REPLY);
		require(api_json_write(object, false, &text) == GP_OK);
		require(utf8_is_valid(gp_buffer_span(&text)));
		gp_buffer_deinit(&text);
	}
	json_decref(object);
}

static void try_authorization(struct span value)
{
	char buffer[API_AUTH_MAX];
	struct span username, password;
	struct gp_error error = {0};

	if (api_auth_parse_basic(value, buffer, &username, &password, &error) == GP_OK) {
		require(username.len > 0 && password.len > 0);
		require(utf8_is_valid(username) && utf8_is_valid(password));
		require(span_find_char(username, ':') < 0);
	} else {
		require(error.status == GP_AUTH);
	}
}

static void try_conditions(struct span value)
{
	struct api_range range;

	(void)api_none_match_hits(value, "\"a\"");
	(void)api_match_allows(value, "W/\"a\"");
	(void)api_if_range_holds(value, "\"a\"");
	if (api_range_parse(value, 1000, &range) == API_RANGE_OK) {
		require(range.first <= range.last && range.last < 1000);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0) {
		return 0;
	}
	struct span rest = span_make((const char *)data + 1, size - 1);
	switch (data[0]) {
	case 'A':
		try_authorization(rest);
		break;
	case 'C':
		try_conditions(rest);
		break;
	default:
		try_body(rest);
		break;
	}
	return 0;
}
