#include "api/etag.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#define DIGEST_BYTES 32
#define MAX_FLAGS ((size_t)4096)
#define FEW_FLAGS 64 /* sorted without memory */

/* Made once and kept: what a version is called must not depend on whether there is memory
 * now. The loop's thread alone comes here. NULL: there never was any. */
static EVP_MD_CTX *begin_digest(void)
{
	static EVP_MD_CTX *kept;

	if (kept) {
		/* by no name: by one, OpenSSL 3 makes the digest's state in new memory */
		return EVP_DigestInit_ex(kept, NULL, NULL) == 1 ? kept : NULL;
	}
	kept = EVP_MD_CTX_new();
	if (kept && EVP_DigestInit_ex(kept, EVP_sha256(), NULL) != 1) {
		EVP_MD_CTX_free(kept);
		kept = NULL;
	}
	return kept;
}

static enum gp_status end_digest(EVP_MD_CTX *context, size_t n_bytes_wanted, char *hex_out)
{
	unsigned char hash[DIGEST_BYTES];

	if (EVP_DigestFinal_ex(context, hash, NULL) != 1) {
		return GP_NO_MEMORY;
	}
	for (size_t i = 0; i < n_bytes_wanted; i++) {
		snprintf(hex_out + 2 * i, 3, "%02x", hash[i]);
	}
	return GP_OK;
}

static enum gp_status digest(struct span bytes, size_t n_bytes_wanted, char *hex_out)
{
	EVP_MD_CTX *context = begin_digest();

	if (!context || EVP_DigestUpdate(context, bytes.ptr ? bytes.ptr : "", bytes.len) != 1) {
		return GP_NO_MEMORY;
	}
	return end_digest(context, n_bytes_wanted, hex_out);
}

enum gp_status api_etag_account(struct span username, char account_out[API_ETAG_ACCOUNT_SIZE])
{
	return digest(username, (API_ETAG_ACCOUNT_SIZE - 1) / 2, account_out);
}

enum gp_status api_etag_of_bytes(const char *account, struct span bytes, char etag_out[API_ETAG_SIZE])
{
	char hex[33];
	enum gp_status status = digest(bytes, 16, hex);

	if (status == GP_OK) {
		snprintf(etag_out, API_ETAG_SIZE, "W/\"%s%s%s\"", account, account[0] != '\0' ? "." : "", hex);
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

static bool put_flag(EVP_MD_CTX *context, struct span flag)
{
	bool is_good = true;

	for (size_t i = 0; i < flag.len && is_good; i++) {
		const unsigned char c = lower(flag.ptr[i]);
		is_good = EVP_DigestUpdate(context, &c, 1) == 1;
	}
	return is_good && EVP_DigestUpdate(context, " ", 1) == 1;
}

/* One text for one set of flags: sorted, in lower case, each once. `sorted` has room. */
static enum gp_status digest_flags(const struct span *flags, size_t n_flags, struct span *sorted, char *hex_out)
{
	EVP_MD_CTX *context = begin_digest();
	bool is_good = context != NULL;
	size_t n = 0;

	for (size_t i = 0; i < n_flags; i++) {
		if (is_counted(flags[i])) {
			sorted[n++] = flags[i];
		}
	}
	qsort(sorted, n, sizeof *sorted, compare_flags);
	for (size_t i = 0; i < n && is_good; i++) {
		if (i == 0 || !span_equal_nocase(sorted[i], sorted[i - 1])) {
			is_good = put_flag(context, sorted[i]);
		}
	}
	return is_good ? end_digest(context, 8, hex_out) : GP_NO_MEMORY;
}

static enum gp_status digest_of_flags(const struct span *flags, size_t n_flags, char *hex_out)
{
	struct span few[FEW_FLAGS], *many = NULL;

	if (n_flags > MAX_FLAGS) {
		n_flags = MAX_FLAGS;
	}
	if (n_flags > FEW_FLAGS) {
		many = calloc(n_flags, sizeof *many);
		if (!many) {
			return GP_NO_MEMORY;
		}
	}
	enum gp_status status = digest_flags(flags, n_flags, many ? many : few, hex_out);
	free(many);
	return status;
}

enum gp_status api_etag_of_message(const char *account, uint32_t uidvalidity, const struct imap_fetch *row,
				   char etag_out[API_ETAG_SIZE])
{
	char hex[17];

	if (row->items & IMAP_ITEM_MODSEQ && row->modseq != 0) {
		snprintf(etag_out, API_ETAG_SIZE, "W/\"%s.%" PRIu32 ".%" PRIu32 ".%" PRIu64 "\"", account, uidvalidity,
			 row->uid, row->modseq);
		return GP_OK;
	}
	enum gp_status status = digest_of_flags(row->flags, row->n_flags, hex);
	if (status == GP_OK) {
		snprintf(etag_out, API_ETAG_SIZE, "W/\"%s.%" PRIu32 ".%" PRIu32 ".f%s\"", account, uidvalidity,
			 row->uid, hex);
	}
	return status;
}

enum gp_status api_etag_of_content(const char *account, uint32_t uidvalidity, uint32_t uid, const char *part,
				   char etag_out[API_ETAG_SIZE])
{
	char hex[33];

	if (uidvalidity == 0) {
		etag_out[0] = '\0';
		return GP_OK;
	}
	if (!part || part[0] == '\0') {
		snprintf(etag_out, API_ETAG_SIZE, "\"%s.%" PRIu32 ".%" PRIu32 "\"", account, uidvalidity, uid);
		return GP_OK;
	}
	if (strlen(part) > 32 || strpbrk(part, "\"\\ \r\n\t")) {
		enum gp_status status = digest(span_of(part), 16, hex);
		if (status != GP_OK) {
			return status;
		}
		part = hex;
	}
	snprintf(etag_out, API_ETAG_SIZE, "\"%s.%" PRIu32 ".%" PRIu32 ".%s\"", account, uidvalidity, uid, part);
	return GP_OK;
}

bool api_etag_modseq(struct span if_match, const char *account, uint32_t uidvalidity, uint32_t uid,
		     uint64_t *modseq_out)
{
	char prefix[48];
	struct span tag = span_trim(if_match);

	if (span_starts_with(tag, "W/")) {
		tag = span_from(tag, 2);
	}
	snprintf(prefix, sizeof prefix, "\"%s.%" PRIu32 ".%" PRIu32 ".", account, uidvalidity, uid);
	if (!span_starts_with(tag, prefix) || tag.ptr[tag.len - 1] != '"') {
		return false;
	}
	tag = span_from(tag, strlen(prefix));
	tag.len--;
	return span_to_u64(tag, modseq_out);
}
