#include "api/append_trace.h"

void api_trace_begin(struct api_append_trace *trace)
{
	trace->size = 0;
	trace->n_bare_lf = 0;
	trace->n_head = 0;
	trace->ends_in_cr = false;
}

void api_trace_note(struct api_append_trace *trace, struct span octets)
{
	size_t room = sizeof trace->head - trace->n_head;
	size_t n = octets.len < room ? octets.len : room;
	bool was_cr = trace->ends_in_cr;

	if (octets.len == 0) {
		return;
	}
	memcpy(trace->head + trace->n_head, octets.ptr, n);
	trace->n_head += n;
	trace->size += octets.len;
	for (const char *at = octets.ptr, *end = octets.ptr + octets.len; (at = memchr(at, '\n', (size_t)(end - at)));
	     at++) {
		bool has_cr = at > octets.ptr ? at[-1] == '\r' : was_cr;
		trace->n_bare_lf += !has_cr;
	}
	trace->ends_in_cr = octets.ptr[octets.len - 1] == '\r';
}

/* The same octets but for CRs, as far as both reach, and that is not nowhere. */
static bool begins_alike(struct span a, struct span b)
{
	size_t i = 0, k = 0, n_same = 0;

	for (;;) {
		while (i < a.len && a.ptr[i] == '\r') {
			i++;
		}
		while (k < b.len && b.ptr[k] == '\r') {
			k++;
		}
		if (i == a.len || k == b.len) {
			return n_same > 0;
		}
		if (a.ptr[i] != b.ptr[k]) {
			return false;
		}
		i++;
		k++;
		n_same++;
	}
}

static struct span next_line(struct span *rest)
{
	ptrdiff_t end = span_find_char(*rest, '\n');
	struct span line = end < 0 ? *rest : span_slice(*rest, 0, (size_t)end);

	*rest = end < 0 ? SPAN_NIL : span_from(*rest, (size_t)end + 1);
	if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
		line.len--;
	}
	return line;
}

/* The id with its angle brackets; NIL when the header, as far as it is there, has none. */
static struct span message_id(struct span head)
{
	static const struct span name = {"Message-ID:", 11};

	while (head.len > 0) {
		struct span line = next_line(&head);
		if (line.len == 0) {
			break;
		}
		if (!span_starts_with_nocase(line, "Message-ID:")) {
			continue;
		}
		struct span value = span_trim(span_from(line, name.len));
		if (value.len == 0) {
			value = span_trim(next_line(&head)); /* folded right behind the colon */
		}
		bool is_id = value.len > 2 && value.ptr[0] == '<' && value.ptr[value.len - 1] == '>';
		return is_id ? value : SPAN_NIL;
	}
	return SPAN_NIL;
}

enum api_trace_match api_trace_compare(const struct api_append_trace *trace, uint64_t size, struct span head)
{
	struct span own = span_make(trace->head, trace->n_head);
	bool is_size = size == trace->size || size == trace->size + trace->n_bare_lf;

	if (is_size && begins_alike(own, head)) {
		return API_TRACE_SAME;
	}
	struct span own_id = message_id(own);
	return own_id.len > 0 && span_equal(own_id, message_id(head)) ? API_TRACE_LIKELY : API_TRACE_OTHER;
}
