/*
 * A span is a borrowed run of bytes: text from the wire, a header's value, a
 * piece of a buffer. It is not NUL-terminated and may hold NULs. A span whose
 * `ptr` is NULL stands for "absent" (IMAP's NIL); an empty span with a pointer
 * is an empty string. Whoever hands out a span says how long it lives.
 */
#ifndef GP_BASE_SPAN_H
#define GP_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
	const char *ptr; /* borrow */
	size_t len;      /* bytes */
};

#define SPAN_NIL ((struct span){NULL, 0})
#define SPAN_LIT(s) ((struct span){"" s, sizeof(s) - 1})
/* For printf: "%.*s", SPAN_ARGS(span) */
#define SPAN_ARGS(s) (int)((s).len > 4096 ? 4096 : (s).len), (s).ptr ? (s).ptr : ""

static inline struct span span_of(const char *text)
{
	return (struct span){text, text ? strlen(text) : 0};
}

static inline struct span span_make(const char *ptr, size_t len)
{
	return (struct span){ptr, len};
}

static inline bool span_is_nil(struct span s)
{
	return s.ptr == NULL;
}

/* Byte for byte. NIL equals only NIL and, as text, the empty span. */
bool span_equal(struct span a, struct span b);
bool span_equal_text(struct span a, const char *b);
/* Below, at or above 0: the order of the bytes, as unsigned; a prefix stands first. */
int span_compare(struct span a, struct span b);
/* The same of two spans in an array, for qsort(). */
int span_compare_items(const void *a, const void *b);
/* ASCII case is folded; other bytes must match. */
bool span_equal_nocase(struct span a, struct span b);
bool span_equal_text_nocase(struct span a, const char *b);
bool span_starts_with(struct span s, const char *prefix);
bool span_starts_with_nocase(struct span s, const char *prefix);
/* The offset of `needle`, or -1. */
ptrdiff_t span_find(struct span s, struct span needle);
ptrdiff_t span_find_nocase(struct span s, struct span needle);
ptrdiff_t span_find_char(struct span s, char c);
/* From `offset` on; past the end gives an empty span. */
struct span span_from(struct span s, size_t offset);
struct span span_slice(struct span s, size_t offset, size_t len);
/* Without SP, HTAB, CR and LF at both ends. */
struct span span_trim(struct span s);

/* Decimal digits only, the whole span, no sign; false on anything else and on
 * overflow. Leading zeros are fine. */
bool span_to_u64(struct span s, uint64_t *value_out);
bool span_to_u32(struct span s, uint32_t *value_out);
/* Sixteen hex digits, lower case. */
bool span_hex_to_u64(struct span s, uint64_t *value_out);

/* A copy with a NUL behind it, own; NULL when memory ends. NIL and "" are "". (strndup()
 * may look behind the end for the NUL that a span has not.) */
char *span_dup(struct span text);

#endif
