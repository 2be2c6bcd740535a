#include "base/span.h"

#include <stdlib.h>

static unsigned char fold(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

static bool equal_nocase(const char *a, const char *b, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (fold(a[i]) != fold(b[i])) {
			return false;
		}
	}
	return true;
}

bool span_equal(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool span_equal_text(struct span a, const char *b)
{
	return span_equal(a, span_of(b));
}

int span_compare(struct span a, struct span b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	int order = len > 0 ? memcmp(a.ptr, b.ptr, len) : 0;

	return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

int span_compare_items(const void *a, const void *b)
{
	return span_compare(*(const struct span *)a, *(const struct span *)b);
}

bool span_equal_nocase(struct span a, struct span b)
{
	return a.len == b.len && equal_nocase(a.ptr, b.ptr, a.len);
}

/* The length of the text is not reckoned first: most comparisons end at the first byte. */
bool span_equal_text_nocase(struct span a, const char *b)
{
	size_t i = 0;

	while (i < a.len && b[i] != '\0' && fold(a.ptr[i]) == fold(b[i])) {
		i++;
	}
	return i == a.len && b[i] == '\0';
}

bool span_starts_with(struct span s, const char *prefix)
{
	size_t len = strlen(prefix);

	return s.len >= len && (len == 0 || memcmp(s.ptr, prefix, len) == 0);
}

bool span_starts_with_nocase(struct span s, const char *prefix)
{
	size_t i = 0;

	while (i < s.len && prefix[i] != '\0' && fold(s.ptr[i]) == fold(prefix[i])) {
		i++;
	}
	return prefix[i] == '\0';
}

ptrdiff_t span_find(struct span s, struct span needle)
{
	if (needle.len == 0) {
		return 0;
	}
	if (s.len < needle.len) {
		return -1;
	}
	const char *hit = memmem(s.ptr, s.len, needle.ptr, needle.len);
	return hit ? hit - s.ptr : -1;
}

ptrdiff_t span_find_nocase(struct span s, struct span needle)
{
	for (size_t i = 0; i + needle.len <= s.len; i++) {
		if (equal_nocase(s.ptr + i, needle.ptr, needle.len)) {
			return (ptrdiff_t)i;
		}
	}
	return -1;
}

ptrdiff_t span_find_char(struct span s, char c)
{
	const char *hit = s.len ? memchr(s.ptr, c, s.len) : NULL;

	return hit ? hit - s.ptr : -1;
}

struct span span_from(struct span s, size_t offset)
{
	if (offset > s.len) {
		offset = s.len;
	}
	return (struct span){s.ptr ? s.ptr + offset : NULL, s.len - offset};
}

struct span span_slice(struct span s, size_t offset, size_t len)
{
	struct span rest = span_from(s, offset);

	if (rest.len > len) {
		rest.len = len;
	}
	return rest;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct span span_trim(struct span s)
{
	while (s.len > 0 && is_blank(s.ptr[0])) {
		s.ptr++;
		s.len--;
	}
	while (s.len > 0 && is_blank(s.ptr[s.len - 1])) {
		s.len--;
	}
	return s;
}

bool span_to_u64(struct span s, uint64_t *value_out)
{
	uint64_t value = 0;

	if (s.len == 0) {
		return false;
	}
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] < '0' || s.ptr[i] > '9') {
			return false;
		}
		uint64_t digit = (uint64_t)(s.ptr[i] - '0');
		if (value > (UINT64_MAX - digit) / 10) {
			return false;
		}
		value = value * 10 + digit;
	}
	*value_out = value;
	return true;
}

bool span_to_u32(struct span s, uint32_t *value_out)
{
	uint64_t value;

	if (!span_to_u64(s, &value) || value > UINT32_MAX) {
		return false;
	}
	*value_out = (uint32_t)value;
	return true;
}

bool span_hex_to_u64(struct span s, uint64_t *value_out)
{
	uint64_t value = 0;

	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		bool is_digit = c >= '0' && c <= '9';
		if (!is_digit && (c < 'a' || c > 'f')) {
			return false;
		}
		value = value << 4 | (uint64_t)(is_digit ? c - '0' : c - 'a' + 10);
	}
	if (s.len == 16) {
		*value_out = value;
	}
	return s.len == 16;
}

char *span_dup(struct span text)
{
	char *copy = malloc(text.len + 1);

	if (copy) {
		if (text.len > 0) {
			memcpy(copy, text.ptr, text.len);
		}
		copy[text.len] = '\0';
	}
	return copy;
}
