/* Entity tags (RFC 9110 section 8.8.3), quoted and ready for the header. */
#ifndef GP_API_ETAG_H
#define GP_API_ETAG_H

#include "base/span.h"
#include "base/status.h"

#define API_ETAG_SIZE 80 /* with the NUL */

/* W/"<32 hex digits>": SHA-256 of the bytes, truncated. Equal bytes, equal tag; weak
 * because the same answer may be written in other bytes (?pretty=1, compression). */
enum gp_status api_etag_of_bytes(struct span bytes, char etag_out[API_ETAG_SIZE]) GP_MUST_USE;

/* What a message's representation depends on: it is immutable but for its flags. */
struct api_message_version {
	uint32_t uidvalidity, uid;
	uint64_t modseq;          /* 0: no CONDSTORE, and the flags count */
	const struct span *flags; /* borrow: as the server sent them, in any order and case */
	size_t n_flags;
};

/* W/"<uidvalidity>.<uid>.<modseq>", or "….f<16 hex digits>" from the flags. Weak: the
 * same version has several representations (fields=, pretty=). */
enum gp_status api_etag_of_message(const struct api_message_version *version, char etag_out[API_ETAG_SIZE]) GP_MUST_USE;

/* "\"<uidvalidity>.<uid>[.<part>]\"", strong: stored bytes never change. `part` may be
 * NULL; what is too long is hashed. Empty without a UIDVALIDITY (0): the UID may be
 * another message's tomorrow (RFC 3501 section 2.3.1.1). */
enum gp_status api_etag_of_content(uint32_t uidvalidity, uint32_t uid, const char *part,
				   char etag_out[API_ETAG_SIZE]) GP_MUST_USE;

/* The MODSEQ inside a message's tag (an If-Match value with exactly one tag), for
 * UNCHANGEDSINCE. False when the value is no such tag, or names another message. */
bool api_etag_modseq(struct span if_match, uint32_t uidvalidity, uint32_t uid, uint64_t *modseq_out);

#endif
