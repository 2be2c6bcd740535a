/*
 * Entity tags (RFC 9110 section 8.8.3), quoted and ready for the header. Each holds the
 * account of who asks: two accounts may have mailboxes of one name, UIDVALIDITY and
 * MODSEQ, and what a browser kept of one is never "not modified" for the other.
 */
#ifndef GP_API_ETAG_H
#define GP_API_ETAG_H

#include "base/span.h"
#include "base/status.h"
#include "imap/response.h"

#define API_ETAG_SIZE 88 /* with the NUL */
#define API_ETAG_ACCOUNT_SIZE 9

/* 8 hex digits: SHA-256 of the user name, truncated. The same in every process, so that
 * tags outlive them. */
enum gp_status api_etag_account(struct span username, char account_out[API_ETAG_ACCOUNT_SIZE]) GP_MUST_USE;

/* W/"<account>.<32 hex digits>": SHA-256 of the bytes, truncated. Equal bytes, equal tag;
 * weak because the same answer may be written in other bytes (?pretty=1, compression).
 * Without "<account>." where it is "": what is the same for everybody. */
enum gp_status api_etag_of_bytes(const char *account, struct span bytes, char etag_out[API_ETAG_SIZE]) GP_MUST_USE;

/* W/"<account>.<uidvalidity>.<uid>.<modseq>", or "….f<16 hex digits>" from the flags, in
 * any order and case, where the row has no MODSEQ: a message is immutable but for them.
 * Weak: the same version has several representations (fields=, pretty=). */
enum gp_status api_etag_of_message(const char *account, uint32_t uidvalidity, const struct imap_fetch *row,
				   char etag_out[API_ETAG_SIZE]) GP_MUST_USE;

/* "\"<account>.<uidvalidity>.<uid>[.<part>]\"", strong: stored bytes never change. `part`
 * may be NULL; what is too long is hashed. Empty without a UIDVALIDITY (0): the UID may be
 * another message's tomorrow (RFC 3501 section 2.3.1.1). */
enum gp_status api_etag_of_content(const char *account, uint32_t uidvalidity, uint32_t uid, const char *part,
				   char etag_out[API_ETAG_SIZE]) GP_MUST_USE;

/* The MODSEQ inside a message's tag (an If-Match value with exactly one tag), for
 * UNCHANGEDSINCE. False when the value is no such tag, or names another message. */
bool api_etag_modseq(struct span if_match, const char *account, uint32_t uidvalidity, uint32_t uid,
		     uint64_t *modseq_out);

#endif
