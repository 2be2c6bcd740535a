#include "api/etag.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "base/limits.h"

#define DIGEST_BYTES 32
#define MAX_FLAGS ((size_t)4096)

static enum gp_status digest(struct span bytes, size_t n_bytes_wanted, char *hex_out)
{
	unsigned char hash[DIGEST_BYTES];

	if (EVP_Digest(bytes.ptr ? bytes.ptr : "", bytes.len, hash, NULL, EVP_sha256(), NULL) != 1) {
		return GP_NO_MEMORY;
	}
	for (size_t i = 0; i < n_bytes_wanted; i++) {
		snprintf(hex_out + 2 * i, 3, "%02x", hash[i]);
	}
	return GP_OK;
}

enum gp_status api_etag_of_bytes(struct span bytes, char etag_out[API_ETAG_SIZE])
{
	char hex[33];
	enum gp_status status = digest(bytes, 16, hex);

	if (status == GP_OK) {
		snprintf(etag_out, API_ETAG_SIZE, "W/\"%s\"", hex);
	}
	return status;
}

static unsigned char lower(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

static int compare_flags(const void *a, const void *b)
{
	const struct span *left = a, *right = b;
	size_t len = left->len < right->len ? left->len : right->len;

	for (size_t i = 0; i < len; i++) {
		int order = lower(left->ptr[i]) - lower(right->ptr[i]);
		if (order != 0) {
			return order;
		}
	}
	return (left->len > right->len) - (left->len < right->len);
}

/* \Recent says whether another session has looked already, nothing about the message. */
static bool is_counted(struct span flag)
{
	return flag.len > 0 && !span_equal_text_nocase(flag, "\\Recent");
}

/* One text for one set of flags: sorted, in lower case, each once. */
static enum gp_status write_flags(const struct span *flags, size_t n_flags, struct gp_buffer *out)
{
	enum gp_status status = GP_OK;
	size_t n = 0;

	if (n_flags > MAX_FLAGS) {
		n_flags = MAX_FLAGS;
	}
	struct span *sorted = calloc(n_flags + 1, sizeof *sorted);
	if (!sorted) {
		return GP_NO_MEMORY;
	}
	for (size_t i = 0; i < n_flags; i++) {
		if (is_counted(flags[i])) {
			sorted[n++] = flags[i];
		}
	}
	qsort(sorted, n, sizeof *sorted, compare_flags);
	for (size_t i = 0; i < n && status == GP_OK; i++) {
		if (i > 0 && span_equal_nocase(sorted[i], sorted[i - 1])) {
			continue;
		}
		for (size_t j = 0; j < sorted[i].len && status == GP_OK; j++) {
			status = gp_buffer_append_char(out, (char)lower(sorted[i].ptr[j]));
		}
		if (status == GP_OK) {
			status = gp_buffer_append_char(out, ' ');
		}
	}
	free(sorted);
	return status;
}

enum gp_status api_etag_of_message(const struct api_message_version *version, char etag_out[API_ETAG_SIZE])
{
	if (version->modseq != 0) {
		snprintf(etag_out, API_ETAG_SIZE, "W/\"%" PRIu32 ".%" PRIu32 ".%" PRIu64 "\"", version->uidvalidity,
			 version->uid, version->modseq);
		return GP_OK;
	}

	struct gp_buffer flags;
	char hex[17];
	gp_buffer_init(&flags, GP_MAX_IMAP_LITERAL);
	enum gp_status status = write_flags(version->flags, version->n_flags, &flags);
	if (status == GP_OK) {
		status = digest(gp_buffer_span(&flags), 8, hex);
	}
	gp_buffer_deinit(&flags);
	if (status == GP_OK) {
		snprintf(etag_out, API_ETAG_SIZE, "W/\"%" PRIu32 ".%" PRIu32 ".f%s\"", version->uidvalidity,
			 version->uid, hex);
	}
	return status;
}

enum gp_status api_etag_of_content(uint32_t uidvalidity, uint32_t uid, const char *part, char etag_out[API_ETAG_SIZE])
{
	char hex[33];
	enum gp_status status = GP_OK;

	if (!part || part[0] == '\0') {
		snprintf(etag_out, API_ETAG_SIZE, "\"%" PRIu32 ".%" PRIu32 "\"", uidvalidity, uid);
	} else if (strlen(part) <= 32 && !strpbrk(part, "\"\\ \r\n\t")) {
		snprintf(etag_out, API_ETAG_SIZE, "\"%" PRIu32 ".%" PRIu32 ".%s\"", uidvalidity, uid, part);
	} else {
		status = digest(span_of(part), 16, hex);
		if (status == GP_OK) {
			snprintf(etag_out, API_ETAG_SIZE, "\"%" PRIu32 ".%" PRIu32 ".%s\"", uidvalidity, uid, hex);
		}
	}
	return status;
}

bool api_etag_modseq(struct span if_match, uint32_t uidvalidity, uint32_t uid, uint64_t *modseq_out)
{
	char prefix[32];
	struct span tag = span_trim(if_match);

	if (span_starts_with(tag, "W/")) {
		tag = span_from(tag, 2);
	}
	snprintf(prefix, sizeof prefix, "\"%" PRIu32 ".%" PRIu32 ".", uidvalidity, uid);
	if (!span_starts_with(tag, prefix) || tag.ptr[tag.len - 1] != '"') {
		return false;
	}
	tag = span_from(tag, strlen(prefix));
	tag.len--;
	return span_to_u64(tag, modseq_out);
}
