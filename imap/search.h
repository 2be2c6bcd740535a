/*
 * A search as a value: a flat list of terms that must all hold (RFC 3501 section
 * 6.4.4). Strings are UTF-8 and borrowed from whoever built it. A tree of OR and
 * NOT is written as terms in prefix order: IMAP_SEARCH_NOT applies to the next
 * term, IMAP_SEARCH_OR to the next two, IMAP_SEARCH_AND (with `number` = how many)
 * groups the next terms into one.
 */
#ifndef GP_IMAP_SEARCH_H
#define GP_IMAP_SEARCH_H

#include "imap/uidset.h"

enum imap_search_kind {
	/* text: substring */
	IMAP_SEARCH_FROM,
	IMAP_SEARCH_TO,
	IMAP_SEARCH_CC,
	IMAP_SEARCH_BCC,
	IMAP_SEARCH_SUBJECT,
	IMAP_SEARCH_BODY,
	IMAP_SEARCH_TEXT,
	IMAP_SEARCH_HEADER, /* name, text */
	/* date: days since 1970-01-01 */
	IMAP_SEARCH_BEFORE,
	IMAP_SEARCH_ON,
	IMAP_SEARCH_SINCE,
	IMAP_SEARCH_SENTBEFORE,
	IMAP_SEARCH_SENTON,
	IMAP_SEARCH_SENTSINCE,
	/* number */
	IMAP_SEARCH_LARGER,
	IMAP_SEARCH_SMALLER,
	IMAP_SEARCH_MODSEQ,
	/* flags: text = keyword for the last two */
	IMAP_SEARCH_SEEN,
	IMAP_SEARCH_FLAGGED,
	IMAP_SEARCH_ANSWERED,
	IMAP_SEARCH_DRAFT,
	IMAP_SEARCH_DELETED,
	IMAP_SEARCH_KEYWORD,
	/* set */
	IMAP_SEARCH_UID,
	/* RFC 8474: text = the id (X-GM-THRID with X-GM-EXT-1) */
	IMAP_SEARCH_EMAILID,
	IMAP_SEARCH_THREADID,
	IMAP_SEARCH_ALL,
	/* structure */
	IMAP_SEARCH_NOT,
	IMAP_SEARCH_OR,
	IMAP_SEARCH_AND,
};

struct imap_search_term {
	enum imap_search_kind kind;
	struct span name; /* borrow: HEADER's field name */
	struct span text; /* borrow: UTF-8 */
	int64_t day;
	uint64_t number;
	const struct imap_uidset *uids; /* borrow */
};

struct imap_search {
	const struct imap_search_term *terms; /* borrow */
	size_t n_terms;
};

#endif
