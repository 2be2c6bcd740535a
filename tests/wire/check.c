#include "tests/wire/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/wire/script.h"

#define CONTEXT_LINES 2
#define MAX_SHOWN 4000

/* ---- failing, with a diff ---- */

static struct span take_line(struct span *rest)
{
	ptrdiff_t end = span_find_char(*rest, '\n');
	struct span line = end < 0 ? *rest : span_slice(*rest, 0, (size_t)end);

	*rest = span_from(*rest, end < 0 ? rest->len : (size_t)end + 1);
	return line;
}

static void print_line(char mark, struct span line)
{
	printf("    %c ", mark);
	for (size_t i = 0; i < line.len && i < MAX_SHOWN; i++) {
		unsigned char c = (unsigned char)line.ptr[i];
		if (c < 0x20 || c == 0x7F) {
			printf("\\x%02X", c);
		} else {
			putchar(c);
		}
	}
	printf("%s\n", line.len > MAX_SHOWN ? "…" : "");
}

struct text_lines {
	struct span *items; /* own */
	size_t n_items;
};

static struct text_lines split(struct span text)
{
	struct text_lines lines = {.n_items = 0};

	while (text.len > 0) {
		lines.items = script_grow(lines.items, lines.n_items, sizeof *lines.items);
		lines.items[lines.n_items++] = take_line(&text);
	}
	return lines;
}

/* What is alike at both ends is left out but for a little. */
static void print_diff(struct span expected, struct span actual)
{
	struct text_lines a = split(expected), b = split(actual);
	size_t least = a.n_items < b.n_items ? a.n_items : b.n_items, head = 0, tail = 0;

	while (head < least && span_equal(a.items[head], b.items[head])) {
		head++;
	}
	while (tail < least - head && span_equal(a.items[a.n_items - 1 - tail], b.items[b.n_items - 1 - tail])) {
		tail++;
	}
	for (size_t i = head > CONTEXT_LINES ? head - CONTEXT_LINES : 0; i < head; i++) {
		print_line(' ', a.items[i]);
	}
	for (size_t i = head; i < a.n_items - tail; i++) {
		print_line('-', a.items[i]);
	}
	for (size_t i = head; i < b.n_items - tail; i++) {
		print_line('+', b.items[i]);
	}
	for (size_t i = a.n_items - tail; i < a.n_items && i < a.n_items - tail + CONTEXT_LINES; i++) {
		print_line(' ', a.items[i]);
	}
	free(a.items);
	free(b.items);
}

static bool (*excuse)(void);
static jmp_buf *refuge;

void check_set_excuse(bool (*is_excused)(void), jmp_buf *there)
{
	excuse = is_excused;
	refuge = there;
}

void check_fail(struct span expected, struct span actual, const char *format, ...)
{
	va_list args;

	if (excuse && excuse()) {
		longjmp(*refuge, 1);
	}
	printf("    ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	if (!span_is_nil(expected) || !span_is_nil(actual)) {
		print_diff(expected, actual);
	}
	fflush(stdout);
	_Exit(1); /* what the case holds is of no interest to the leak checker */
}

void check_bytes(const char *what, struct span expected, struct span actual)
{
	if (!span_equal(expected, actual)) {
		check_fail(expected, actual, "%s: %zu bytes expected, %zu came, or others", what, expected.len,
			   actual.len);
	}
}

/* ---- JSON ---- */

static void fail_json(const char *path, json_t *expected, json_t *actual, const char *why)
{
	const size_t flags = JSON_INDENT(2) | JSON_SORT_KEYS | JSON_ENCODE_ANY;
	char *a = expected ? json_dumps(expected, flags) : NULL;
	char *b = actual ? json_dumps(actual, flags) : NULL;

	check_fail(span_of(a), span_of(b), "json %s: %s", path, why);
}

/* One step of a path: ".name", "[3]" or "[\"any name\"]". NULL when there is nothing. */
static json_t *step(json_t *at, const char **path)
{
	const char *p = *path;
	json_t *next;

	if (p[0] == '[' && p[1] != '"') {
		char *end;
		next = json_array_get(at, strtoul(p + 1, &end, 10));
		*path = *end == ']' ? end + 1 : end;
		return next;
	}
	bool is_quoted = p[0] == '[';
	p += is_quoted ? 2 : 1;
	size_t len = strcspn(p, is_quoted ? "\"" : ".[");
	char *name = script_copy(span_make(p, len));
	next = json_object_get(at, name);
	free(name);
	*path = p + len + (is_quoted ? strspn(p + len, "\"]") : 0);
	return next;
}

/* Borrowed; NULL when there is nothing. */
static json_t *at_path(json_t *root, const char *path)
{
	json_t *at = root;

	if (strcmp(path, ".") == 0) {
		return root;
	}
	while (at && *path) {
		at = step(at, &path);
	}
	return at;
}

/* Each member of `part` is in `whole` with this value; arrays item by item. The depth
 * is what the author of a script wrote. */
static bool is_subset(json_t *part, json_t *whole)
{
	const char *name;
	json_t *value;
	size_t i;

	if (json_is_object(part) && json_is_object(whole)) {
		json_object_foreach(part, name, value)
		{
			json_t *other = json_object_get(whole, name);
			if (!other || !is_subset(value, other)) {
				return false;
			}
		}
		return true;
	}
	if (json_is_array(part) && json_is_array(whole)) {
		if (json_array_size(part) != json_array_size(whole)) {
			return false;
		}
		json_array_foreach(part, i, value)
		{
			if (!is_subset(value, json_array_get(whole, i))) {
				return false;
			}
		}
		return true;
	}
	return json_equal(part, whole);
}

static json_t *load(struct span body)
{
	json_t *root = json_loadb(body.ptr, body.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

	if (!root) {
		check_fail(SPAN_NIL, body, "the body is no JSON");
	}
	return root;
}

static json_t *load_value(const char *text)
{
	return json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

static const char *value_text(const char *assertion)
{
	script_word(&assertion);
	script_word(&assertion);
	return assertion;
}

bool check_json_is_whole(const char *assertion)
{
	const char *text = value_text(assertion);
	json_t *value = *text ? load_value(text) : NULL;
	bool is_whole = value || *text == '\0' || (*text != '{' && *text != '[');

	json_decref(value);
	return is_whole;
}

static void compare(const char *path, struct span op, json_t *expected, json_t *actual)
{
	const char *text = json_string_value(actual);
	size_t n = json_is_array(actual) ? json_array_size(actual) : json_object_size(actual);

	if (!expected) {
		script_die("json %s %.*s: the value is no JSON", path, SPAN_ARGS(op));
	}
	if (span_equal_text(op, "==")) {
		if (!actual || !json_equal(expected, actual)) {
			fail_json(path, expected, actual, "is not equal");
		}
	} else if (span_equal_text(op, "~")) {
		if (!actual || !is_subset(expected, actual)) {
			fail_json(path, expected, actual, "does not hold");
		}
	} else if (span_equal_text(op, "length")) {
		if (!actual || (json_int_t)n != json_integer_value(expected)) {
			fail_json(path, expected, actual, "has not this length");
		}
	} else if (span_equal_text(op, "has")) {
		if (!text || !strstr(text, json_string_value(expected))) {
			fail_json(path, expected, actual, "does not have this text in it");
		}
	} else {
		script_die("json %s: '%.*s' is unknown", path, SPAN_ARGS(op));
	}
}

void check_json(struct span body, const char *assertion)
{
	const char *rest = assertion;
	char *path = script_copy(script_word(&rest));
	struct span op = script_word(&rest);
	json_t *root = load(body);
	json_t *actual = at_path(root, path);

	if (span_equal_text(op, "absent")) {
		if (actual) {
			fail_json(path, NULL, actual, "is there");
		}
	} else {
		json_t *expected = load_value(rest);
		compare(path, op, expected, actual);
		json_decref(expected);
	}
	json_decref(root);
	free(path);
}

char *check_json_text(struct span body, const char *path)
{
	json_t *root = load(body);
	json_t *value = at_path(root, path);

	if (!value) {
		check_fail(SPAN_NIL, body, "json %s: there is nothing", path);
	}
	char *text = json_is_string(value) ? script_copy(span_of(json_string_value(value)))
					   : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
	json_decref(root);
	return text;
}
