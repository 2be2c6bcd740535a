#include "api/cursor.h"

#include "api/filter.h"

/* Whether the parameter decides which messages the list holds, and in what order. */
static bool shapes_result(struct span name, struct span value)
{
	static const char *const others[] = {"cursor", "limit", "fields", "pretty", "preview", "maxBodyValueBytes"};
	bool text, html;

	if (span_equal_text(name, "body") && api_filter_is_body_choice(value, &text, &html)) {
		return false;
	}
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		if (span_equal_text(name, others[i])) {
			return false;
		}
	}
	return true;
}

/* FNV-1a with a separator, so that ("a","bc") differs from ("ab","c"). */
static uint32_t hash_add(uint32_t hash, struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		hash = (hash ^ (unsigned char)text.ptr[i]) * 16777619u;
	}
	return (hash ^ 0xFFu) * 16777619u;
}

uint32_t api_cursor_query_hash(const struct api_target *target)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < target->n_params; i++) {
		if (shapes_result(target->params[i].name, target->params[i].value)) {
			/* a sum: the order of parameters does not matter */
			sum += hash_add(hash_add(2166136261u, target->params[i].name), target->params[i].value);
		}
	}
	return sum;
}

/* "<uidvalidity>.<uid>.<position>.<query>" and up to API_CURSOR_EARLIER more UIDs. */
bool api_cursor_parse(struct span text, struct api_cursor *cursor_out)
{
	uint32_t numbers[4 + API_CURSOR_EARLIER];
	size_t n = 0;
	bool is_last = false;

	while (!is_last) {
		ptrdiff_t dot = span_find_char(text, '.');
		is_last = dot < 0;
		if (n == sizeof numbers / sizeof *numbers ||
		    !span_to_u32(is_last ? text : span_slice(text, 0, (size_t)dot), &numbers[n])) {
			return false;
		}
		n++;
		text = is_last ? text : span_from(text, (size_t)dot + 1);
	}
	if (n < 4 || numbers[1] == 0) {
		return false;
	}
	*cursor_out = (struct api_cursor){.uidvalidity = numbers[0],
					  .uid = numbers[1],
					  .position = numbers[2],
					  .query = numbers[3],
					  .n_earlier = n - 4};
	memcpy(cursor_out->earlier, numbers + 4, (n - 4) * sizeof *numbers);
	return true;
}

/* As it came: "@" and "%40" are not the same. What may not stand in an address is escaped. */
static enum gp_status append_raw(struct gp_buffer *out, struct span raw)
{
	enum gp_status status = GP_OK;

	for (size_t i = 0; i < raw.len && status == GP_OK; i++) {
		unsigned char c = (unsigned char)raw.ptr[i];
		bool is_plain = c > ' ' && c < 0x7f && !strchr("\"<>\\^`{|}", c);
		status = is_plain ? gp_buffer_append_char(out, (char)c) : gp_buffer_printf(out, "%%%02X", c);
	}
	return status;
}

char *api_cursor_next(struct gp_arena *arena, struct span request_target, const struct api_target *target,
		      const struct api_cursor *cursor)
{
	ptrdiff_t question = span_find_char(request_target, '?');
	struct span path = question < 0 ? request_target : span_slice(request_target, 0, (size_t)question);
	struct gp_buffer out;
	char *next = NULL;

	gp_buffer_init(&out, 4 * GP_MAX_TARGET);
	enum gp_status status = append_raw(&out, path);
	char separator = '?';
	for (size_t i = 0; i < target->n_params && status == GP_OK; i++) {
		const struct api_param *param = &target->params[i];
		if (span_equal_text(param->name, "cursor")) {
			continue;
		}
		char *name = api_percent_encode(arena, param->name);
		status = name ? gp_buffer_printf(&out, "%c%s=", separator, name) : GP_NO_MEMORY;
		if (status == GP_OK) {
			status = append_raw(&out, param->raw_value);
		}
		separator = '&';
	}
	if (status == GP_OK) {
		status = gp_buffer_printf(&out, "%ccursor=%u.%u.%u.%u", separator, cursor->uidvalidity, cursor->uid,
					  cursor->position, cursor->query);
	}
	for (size_t i = 0; i < cursor->n_earlier && status == GP_OK; i++) {
		status = gp_buffer_printf(&out, ".%u", cursor->earlier[i]);
	}
	if (status == GP_OK) {
		next = gp_arena_strdup(arena, gp_buffer_span(&out));
	}
	gp_buffer_deinit(&out);
	return next;
}
