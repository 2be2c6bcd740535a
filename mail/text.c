/* The rewriter of cid: URLs; previews are preview.c. */
#include "mail/text.h"

#include <stdlib.h>

#include "mail/transfer.h"

/* A longer one is no Content-ID (RFC 5322 lines end at 998). */
#define MAX_CID 1024
/* The longest way to write a quote: "&quot;" */
#define MAX_BEFORE 6

struct mail_cid_rewriter {
	mail_cid_fn resolve;
	void *ctx;               /* borrow: the caller's, for resolve */
	char before[MAX_BEFORE]; /* the bytes in front of `held`, oldest first */
	char held[4 + MAX_CID];  /* "cid:" or its beginning, then the id so far */
	size_t held_len;
	bool is_after_reference; /* the quote was a character reference: "&" ends the id */
};

struct mail_cid_rewriter *mail_cid_rewriter_new(mail_cid_fn resolve, void *ctx)
{
	struct mail_cid_rewriter *rewriter = calloc(1, sizeof *rewriter);

	if (rewriter) {
		rewriter->resolve = resolve;
		rewriter->ctx = ctx;
		rewriter->before[MAX_BEFORE - 1] = ' ';
	}
	return rewriter;
}

void mail_cid_rewriter_free(struct mail_cid_rewriter **rewriter)
{
	free(*rewriter);
	*rewriter = NULL;
}

static void remember(struct mail_cid_rewriter *r, struct span passed)
{
	if (passed.len >= MAX_BEFORE) {
		memcpy(r->before, passed.ptr + passed.len - MAX_BEFORE, MAX_BEFORE);
	} else if (passed.len > 0) {
		memmove(r->before, r->before + passed.len, MAX_BEFORE - passed.len);
		memcpy(r->before + MAX_BEFORE - passed.len, passed.ptr, passed.len);
	}
}

static bool ends_with(const struct mail_cid_rewriter *r, const char *text)
{
	size_t len = strlen(text);

	return memcmp(r->before + MAX_BEFORE - len, text, len) == 0;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f';
}

/* Whether a URL may begin behind what has passed. */
static bool may_begin(struct mail_cid_rewriter *r)
{
	char last = r->before[MAX_BEFORE - 1];

	r->is_after_reference =
		last == ';' && (ends_with(r, "&quot;") || ends_with(r, "&apos;") || ends_with(r, "&#34;") ||
				ends_with(r, "&#39;") || ends_with(r, "&#x22;") || ends_with(r, "&#x27;"));
	return r->is_after_reference || last == '"' || last == '\'' || last == '=' || last == '(' || is_blank(last);
}

static bool ends_id(const struct mail_cid_rewriter *r, char c)
{
	return c == '"' || c == '\'' || c == ')' || c == '>' || c == '<' || c == '\0' || is_blank(c) ||
	       (c == '&' && r->is_after_reference);
}

/* What is held goes out: replaced if it is a whole URL that is known, else as it is. */
static enum gp_status release(struct mail_cid_rewriter *r, bool is_whole, struct gp_buffer *out)
{
	struct span held = span_make(r->held, r->held_len);
	struct span answer = SPAN_NIL;
	char id[MAX_CID];
	size_t len = 0;

	for (size_t i = 4; is_whole && i < held.len; i++) {
		int high = held.ptr[i] == '%' && i + 2 < held.len ? mail_hex_value(held.ptr[i + 1]) : -1;
		int low = high >= 0 ? mail_hex_value(held.ptr[i + 2]) : -1;
		if (low >= 0) {
			id[len++] = (char)(high << 4 | low);
			i += 2;
		} else {
			id[len++] = held.ptr[i];
		}
	}
	if (len > 0) {
		answer = r->resolve(r->ctx, span_make(id, len));
	}
	enum gp_status status = gp_buffer_append(out, span_is_nil(answer) ? held : answer);
	remember(r, held);
	r->held_len = 0;
	return status;
}

/* The bytes before the next that may be the "c" of "cid:". */
static size_t plain_prefix(struct mail_cid_rewriter *r, struct span bytes)
{
	size_t from = 0;

	for (size_t i = 0; i < bytes.len; i++) {
		if ((bytes.ptr[i] | 0x20) == 'c') {
			remember(r, span_slice(bytes, from, i - from));
			from = i;
			if (may_begin(r)) {
				return i;
			}
		}
	}
	remember(r, span_from(bytes, from));
	return bytes.len;
}

enum gp_status mail_cid_rewriter_feed(struct mail_cid_rewriter *r, struct span bytes, struct gp_buffer *out)
{
	enum gp_status status = GP_OK;

	while (status == GP_OK && bytes.len > 0) {
		if (r->held_len == 0) {
			size_t plain = plain_prefix(r, bytes);
			status = gp_buffer_append(out, span_slice(bytes, 0, plain));
			bytes = span_from(bytes, plain);
			if (status == GP_OK && bytes.len > 0) {
				r->held[r->held_len++] = bytes.ptr[0];
				bytes = span_from(bytes, 1);
			}
			continue;
		}
		char c = bytes.ptr[0];
		if (r->held_len < 4) {
			/* A byte that does not fit is looked at anew, in its new place. */
			bool fits = c == "cid:"[r->held_len] || c == "CID:"[r->held_len];
			if (!fits) {
				status = release(r, false, out);
				continue;
			}
		} else if (ends_id(r, c)) {
			status = release(r, true, out);
			continue;
		} else if (r->held_len == sizeof r->held) {
			status = release(r, false, out);
			continue;
		}
		r->held[r->held_len++] = c;
		bytes = span_from(bytes, 1);
	}
	return status;
}

enum gp_status mail_cid_rewriter_finish(struct mail_cid_rewriter *r, struct gp_buffer *out)
{
	return release(r, r->held_len > 4, out);
}
