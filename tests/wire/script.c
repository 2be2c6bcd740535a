#include "tests/wire/script.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_ARGUMENTS 9
#define MAX_DEPTH 8 /* blocks that call blocks */

/* `def NAME TEXT`, or a block of lines. */
struct script_definition {
	char *name, *text;         /* own; text NULL: a block */
	struct script_line *lines; /* own */
	size_t n_lines;
};

struct arguments {
	struct span items[MAX_ARGUMENTS]; /* borrow */
	size_t n_items;
};

/* ---- small things ---- */

void script_die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(2);
}

void *script_grow(void *array, size_t n, size_t item_size)
{
	void *grown = realloc(array, (n + 1) * item_size);

	if (!grown) {
		script_die("out of memory");
	}
	return grown;
}

char *script_copy(struct span text)
{
	char *copy = strndup(text.ptr ? text.ptr : "", text.len);

	if (!copy) {
		script_die("out of memory");
	}
	return copy;
}

struct span script_word(const char **text)
{
	struct span word = {*text, strcspn(*text, " ")};

	*text += word.len;
	*text += strspn(*text, " ");
	return word;
}

static int hex_value(char c)
{
	const char *digits = "0123456789abcdef0123456789ABCDEF";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)((at - digits) % 16) : -1;
}

char *script_unescape(const char *text, size_t *len_out)
{
	char *out = script_copy(span_of(text));
	size_t len = 0;

	while (*text) {
		if (text[0] == '\\' && text[1] == 'x' && hex_value(text[2]) >= 0 && hex_value(text[3]) >= 0) {
			out[len++] = (char)(hex_value(text[2]) * 16 + hex_value(text[3]));
			text += 4;
		} else {
			out[len++] = *text++;
		}
	}
	out[len] = '\0';
	*len_out = len;
	return out;
}

/* ---- definitions ---- */

static struct script_definition *find_definition(const struct script *script, struct span name)
{
	for (size_t i = 0; i < script->n_definitions; i++) {
		if (span_equal_text(name, script->definitions[i].name)) {
			return &script->definitions[i];
		}
	}
	return NULL;
}

static struct script_definition *add_definition(struct script *script, struct span name)
{
	if (name.len == 0 || find_definition(script, name)) {
		script_die("the definition '%.*s' has no name, or is there already", SPAN_ARGS(name));
	}
	script->definitions = script_grow(script->definitions, script->n_definitions, sizeof *script->definitions);
	struct script_definition *definition = &script->definitions[script->n_definitions++];
	*definition = (struct script_definition){.name = script_copy(name)};
	return definition;
}

/* ${1} is an argument, ${NAME} a definition; what is neither is left for the run. */
static struct span value_of(const struct script *script, const struct arguments *arguments, struct span name)
{
	if (name.len == 1 && name.ptr[0] >= '1' && name.ptr[0] <= '9') {
		size_t i = (size_t)(name.ptr[0] - '1');
		return arguments && i < arguments->n_items ? arguments->items[i] : SPAN_NIL;
	}
	const struct script_definition *definition = find_definition(script, name);
	return definition && definition->text ? span_of(definition->text) : SPAN_NIL;
}

static char *expand(const struct script *script, const struct arguments *arguments, const char *text)
{
	char *out = NULL;
	size_t len = 0;
	FILE *stream = open_memstream(&out, &len);

	if (!stream) {
		script_die("out of memory");
	}
	while (*text) {
		const char *end = text[0] == '$' && text[1] == '{' ? strchr(text, '}') : NULL;
		struct span name = end ? span_make(text + 2, (size_t)(end - text) - 2) : SPAN_NIL;
		struct span value = end ? value_of(script, arguments, name) : SPAN_NIL;
		if (span_is_nil(value)) {
			fputc(*text++, stream);
		} else {
			fprintf(stream, "%.*s", (int)value.len, value.ptr);
			text = end + 1;
		}
	}
	fclose(stream);
	return out;
}

/* ---- lines ---- */

static void push(struct script_line **lines, size_t *n_lines, struct script_line line)
{
	*lines = script_grow(*lines, *n_lines, sizeof **lines);
	(*lines)[(*n_lines)++] = line;
}

static void read_arguments(const char *text, struct arguments *arguments)
{
	*arguments = (struct arguments){.n_items = 0};
	while (*text) {
		char end[] = {*text == '"' || *text == '`' ? *text : ' ', '\0'};
		bool is_quoted = *end != ' ';
		text += is_quoted;
		size_t len = strcspn(text, end);
		if (arguments->n_items == MAX_ARGUMENTS) {
			script_die("more than %d arguments", MAX_ARGUMENTS);
		}
		arguments->items[arguments->n_items++] = span_make(text, len);
		text += len;
		text += is_quoted && *text == *end;
		text += strspn(text, " ");
	}
}

/* The depth is bounded: blocks may call blocks. */
static void push_expanded(const struct script *script, struct script_case *to, const struct script_line *line,
			  const struct arguments *arguments, int number, int depth)
{
	char *text = expand(script, arguments, line->text);

	if (!span_starts_with(span_of(text), "do ")) {
		push(&to->lines, &to->n_lines,
		     (struct script_line){.text = text, .number = number, .indent = line->indent});
		return;
	}
	const char *rest = text + 3;
	struct span name = script_word(&rest);
	const struct script_definition *block = find_definition(script, name);
	struct arguments inner;
	if (!block || block->text || depth == MAX_DEPTH) {
		script_die("line %d: there is no block '%.*s', or it calls itself", number, SPAN_ARGS(name));
	}
	read_arguments(rest, &inner);
	for (size_t i = 0; i < block->n_lines; i++) {
		push_expanded(script, to, &block->lines[i], &inner, number, depth + 1);
	}
	free(text);
}

struct reader {
	struct script *script;
	struct script_definition *block; /* borrow: being read; valid until another definition is added */
	const char *path;
};

static void read_line(struct reader *reader, const struct script_line *line)
{
	struct script *script = reader->script;
	struct script_case *current = script->n_cases > 0 ? &script->cases[script->n_cases - 1] : NULL;
	struct span text = span_of(line->text);

	if (reader->block && span_equal_text(text, "end")) {
		reader->block = NULL;
	} else if (reader->block) {
		push(&reader->block->lines, &reader->block->n_lines,
		     (struct script_line){.text = script_copy(text), .indent = line->indent});
	} else if (span_starts_with(text, "def ")) {
		const char *rest = line->text + 4;
		struct script_definition *definition = add_definition(script, script_word(&rest));
		char *value = expand(script, NULL, rest);
		definition->text = value;
	} else if (span_starts_with(text, "block ")) {
		reader->block = add_definition(script, span_from(text, 6));
	} else if (span_starts_with(text, "case ")) {
		script->cases = script_grow(script->cases, script->n_cases, sizeof *script->cases);
		script->cases[script->n_cases++] =
			(struct script_case){.name = script_copy(span_from(text, 5)), .number = line->number};
	} else if (current) {
		push_expanded(script, current, line, NULL, line->number, 0);
	} else {
		script_die("%s:%d: a line before the first case", reader->path, line->number);
	}
}

static void read_file(struct script *script, const char *path)
{
	struct reader reader = {.script = script, .path = path};
	FILE *file = fopen(path, "r");
	char *buffer = NULL;
	size_t size = 0;
	ssize_t len;
	int number = 0;

	if (!file) {
		script_die("%s cannot be read", path);
	}
	while ((len = getline(&buffer, &size, file)) >= 0) {
		if (len > 0 && buffer[len - 1] == '\n') {
			buffer[len - 1] = '\0';
		}
		size_t indent = strspn(buffer, " \t");
		struct script_line line = {.text = buffer + indent, .number = ++number, .indent = indent};
		if (*line.text != '\0' && *line.text != '#') {
			read_line(&reader, &line);
		}
	}
	if (reader.block) {
		script_die("%s: a block without its 'end'", path);
	}
	free(buffer);
	fclose(file);
}

void script_read(struct script *script, const char *common, const char *path)
{
	*script = (struct script){.n_cases = 0};
	if (common) {
		read_file(script, common);
	}
	read_file(script, path);
	if (script->n_cases == 0) {
		script_die("%s: no case", path);
	}
}

static void free_lines(struct script_line *lines, size_t n_lines)
{
	for (size_t i = 0; i < n_lines; i++) {
		free(lines[i].text);
	}
	free(lines);
}

void script_free(struct script *script)
{
	for (size_t i = 0; i < script->n_cases; i++) {
		free_lines(script->cases[i].lines, script->cases[i].n_lines);
		free(script->cases[i].name);
	}
	for (size_t i = 0; i < script->n_definitions; i++) {
		free_lines(script->definitions[i].lines, script->definitions[i].n_lines);
		free(script->definitions[i].name);
		free(script->definitions[i].text);
	}
	free(script->cases);
	free(script->definitions);
	*script = (struct script){.n_cases = 0};
}
