/*
 * What the fields of a request say: as libmicrohttpd has them, line by line, but for those
 * that came in several lines, and for the host of a target in absolute-form.
 */
#include <stdio.h>
#include <string.h>

#include "gateway/http_internal.h"

static struct http_field *find_field(const struct http_exchange *exchange, struct span name)
{
	struct http_field *field = exchange->fields;

	while (field && !span_equal_nocase(field->name, name)) {
		field = field->next;
	}
	return field;
}

struct span http_fields_value(const struct http_exchange *exchange, const char *name)
{
	const struct http_field *field = find_field(exchange, span_of(name));
	const char *value = NULL;
	size_t len = 0;

	if (field) {
		return field->value;
	}
	if (MHD_lookup_connection_value_n(exchange->connection->mhd, MHD_HEADER_KIND, name, strlen(name), &value,
					  &len) != MHD_YES) {
		return SPAN_NIL;
	}
	return value ? span_make(value, len) : SPAN_LIT("");
}

static enum MHD_Result collect_header(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len,
				      const char *value, size_t value_len)
{
	struct http_header_list *list = cls;

	(void)kind;
	list->items[list->n] = (struct http_guard_header){
		.name = span_make(name, name_len),
		.value = value ? span_make(value, value_len) : SPAN_LIT(""),
	};
	list->n++;
	return list->n < HTTP_GUARD_ALL_HEADERS ? MHD_YES : MHD_NO;
}

void http_fields_collect(const struct http_exchange *exchange, struct http_header_list *list)
{
	list->n = 0;
	MHD_get_connection_values_n(exchange->connection->mhd, MHD_HEADER_KIND, collect_header, list);
}

static bool is_first_line(const struct http_header_list *headers, size_t at)
{
	size_t i = 0;

	while (!span_equal_nocase(headers->items[i].name, headers->items[at].name)) {
		i++;
	}
	return i == at;
}

/* The values of all lines of that name, in their order; NIL when memory ends. */
static struct span join(struct http_exchange *exchange, const struct http_header_list *headers, struct span name)
{
	size_t size = 0;

	for (size_t i = 0; i < headers->n; i++) {
		bool is_one = span_equal_nocase(headers->items[i].name, name);
		size += is_one ? headers->items[i].value.len + 2 : 0;
	}
	char *text = gp_arena_alloc(&exchange->api.arena, size);
	char *end = text;
	for (size_t i = 0; text && i < headers->n; i++) {
		const struct http_guard_header *header = &headers->items[i];
		if (span_equal_nocase(header->name, name)) {
			end += snprintf(end, size - (size_t)(end - text), "%s%.*s", end > text ? ", " : "",
					(int)header->value.len, header->value.ptr);
		}
	}
	return span_make(text, (size_t)(end - text));
}

static bool add_field(struct http_exchange *exchange, struct span name, struct span value)
{
	struct http_field *field = gp_arena_new(&exchange->api.arena, struct http_field);

	if (!field) {
		return false;
	}
	*field = (struct http_field){.name = name, .value = value, .next = exchange->fields};
	exchange->fields = field;
	return true;
}

bool http_fields_gather(struct http_exchange *exchange, const struct http_header_list *headers)
{
	for (size_t i = 0; i < headers->n; i++) {
		struct span name = headers->items[i].name;
		if (is_first_line(headers, i) || find_field(exchange, name)) {
			continue;
		}
		struct span value = join(exchange, headers, name);
		if (span_is_nil(value) || !add_field(exchange, name, value)) {
			return false;
		}
	}
	return true;
}

bool http_fields_take_authority(struct http_exchange *exchange)
{
	struct gp_arena *arena = &exchange->api.arena;
	struct http_guard_target target = http_guard_split(exchange->api.target);

	if (span_is_nil(target.authority)) {
		return true;
	}
	if (span_starts_with(target.rest, "/")) {
		exchange->api.target = target.rest;
	} else {
		char *text = gp_arena_alloc(arena, target.rest.len + 1);
		if (!text) {
			return false;
		}
		text[0] = '/';
		memcpy(text + 1, target.rest.ptr, target.rest.len);
		exchange->api.target = span_make(text, target.rest.len + 1);
	}
	return add_field(exchange, SPAN_LIT("Host"), target.authority);
}
