/*
 * What an IMAP server says, as typed values (RFC 3501 section 7, RFC 9051,
 * RFC 4731 ESEARCH, RFC 7162 CONDSTORE/QRESYNC, RFC 5819 LIST-STATUS, RFC 8474
 * OBJECTID, RFC 8970 PREVIEW).
 *
 * A struct imap_response and everything it points to belongs to the parser and is
 * valid until the parser is asked for the next one. Spans are the server's bytes:
 * quoted strings are unescaped, literals taken whole, nothing is decoded further:
 * they may hold any byte and any charset. A span with a NULL pointer is NIL or
 * absent.
 */
#ifndef GP_IMAP_RESPONSE_H
#define GP_IMAP_RESPONSE_H

#include "base/span.h"
#include "imap/uidset.h"

/* ---- status and response codes ---- */

enum imap_condition { IMAP_OK, IMAP_NO, IMAP_BAD, IMAP_PREAUTH, IMAP_BYE };

struct imap_code {
	struct span name;  /* "UIDNEXT", as sent; NIL when there was no [code] */
	struct span value; /* what follows the name, unparsed, without the bracket */
	/* parsed where the name calls for it, else 0: UIDNEXT UIDVALIDITY UNSEEN
	 * HIGHESTMODSEQ APPENDLIMIT, APPENDUID and COPYUID (uidvalidity) */
	uint64_t number;
	/* MODIFIED; APPENDUID and COPYUID: the destination; NULL otherwise */
	const struct imap_uidset *uids;
	/* COPYUID: the source */
	const struct imap_uidset *source_uids;
};

/* ---- FETCH ---- */

struct imap_address {
	struct span name;    /* phrase, maybe RFC 2047 encoded */
	struct span mailbox; /* local part; a group's name when host is NIL */
	struct span host;    /* NIL with a mailbox: start of a group; both NIL: its end */
};

struct imap_addresses {
	const struct imap_address *items;
	size_t n_items;
};

struct imap_envelope {
	struct span date, subject, in_reply_to, message_id; /* unfolded as the server gives them */
	struct imap_addresses from, sender, reply_to, to, cc, bcc;
};

struct imap_param {
	struct span name, value;
};

struct imap_params {
	const struct imap_param *items;
	size_t n_items;
};

/* One node of a BODYSTRUCTURE; the tree is walked by its links, without recursion. */
struct imap_body {
	struct imap_body *parent, *first_child, *next; /* link, all in the same arena */
	/* The section number of RFC 3501 section 6.4.5 ("1", "2.1"); "" for the root
	 * multipart and for the multipart directly inside a message/rfc822, which have
	 * none of their own. */
	const char *section;
	struct span type, subtype; /* as sent: fold case before comparing; "multipart" is filled in */
	struct imap_params params; /* Content-Type's */
	struct span id, description, encoding, md5;
	uint64_t octets; /* of the encoded body */
	bool has_octets;
	uint64_t lines;
	struct span disposition; /* "attachment"; NIL if none */
	struct imap_params disposition_params;
	struct span language; /* the first tag */
	struct span location;
	const struct imap_envelope *envelope; /* message/rfc822 only */
	bool is_multipart;
	bool is_message; /* message/rfc822 or message/global with a structure: first_child is its body */
};

/* Which FETCH items a row holds, and which a command asks for. */
enum imap_item {
	IMAP_ITEM_UID = 1 << 0,
	IMAP_ITEM_FLAGS = 1 << 1,
	IMAP_ITEM_INTERNALDATE = 1 << 2,
	IMAP_ITEM_SIZE = 1 << 3, /* RFC822.SIZE */
	IMAP_ITEM_ENVELOPE = 1 << 4,
	IMAP_ITEM_BODYSTRUCTURE = 1 << 5,
	IMAP_ITEM_MODSEQ = 1 << 6,
	IMAP_ITEM_EMAILID = 1 << 7,  /* RFC 8474, or X-GM-MSGID in decimal */
	IMAP_ITEM_THREADID = 1 << 8, /* RFC 8474, or X-GM-THRID in decimal */
	IMAP_ITEM_PREVIEW = 1 << 9,  /* RFC 8970 */
	IMAP_ITEM_SECTION = 1 << 10, /* at least one BODY[…] or BINARY[…] */
};

/* One BODY[section]<origin> and its bytes. */
struct imap_section {
	struct span spec; /* between the brackets, as sent: "1.2.MIME", "HEADER.FIELDS (REFERENCES)" */
	uint64_t origin;
	bool has_origin;
	bool is_too_long;  /* the literal was over the cap and was passed over: value is NIL */
	struct span value; /* NIL when the server said NIL */
};

struct imap_fetch {
	uint32_t seq;
	uint32_t uid;             /* 0 when the row has none */
	unsigned items;           /* enum imap_item: what the row holds and could be read */
	const struct span *flags; /* as sent, backslash kept: "\\Seen", "$Forwarded" */
	size_t n_flags;
	uint64_t modseq, size;
	int64_t internal_date; /* seconds since 1970 UTC */
	const struct imap_envelope *envelope;
	const struct imap_body *body; /* root */
	struct span email_id, thread_id, preview;
	const struct imap_section *sections;
	size_t n_sections;
};

/* ---- mailboxes ---- */

enum imap_status_item {
	IMAP_STATUS_MESSAGES = 1 << 0,
	IMAP_STATUS_UNSEEN = 1 << 1,
	IMAP_STATUS_UIDNEXT = 1 << 2,
	IMAP_STATUS_UIDVALIDITY = 1 << 3,
	IMAP_STATUS_HIGHESTMODSEQ = 1 << 4,
	IMAP_STATUS_SIZE = 1 << 5,
	IMAP_STATUS_MAILBOXID = 1 << 6,
};

struct imap_status {
	struct span mailbox; /* raw: modified UTF-7 */
	unsigned items;      /* enum imap_status_item: what it holds */
	uint32_t messages, unseen, uidnext, uidvalidity;
	uint64_t highestmodseq, size;
	struct span mailbox_id;
};

struct imap_list {
	struct span mailbox;           /* raw: modified UTF-7 (UTF-8 where enabled) */
	char delimiter;                /* 0: NIL */
	const struct span *attributes; /* "\\HasChildren", as sent */
	size_t n_attributes;
};

struct imap_namespace {
	enum { IMAP_NS_PERSONAL, IMAP_NS_OTHER, IMAP_NS_SHARED } kind;
	struct span prefix; /* raw */
	char delimiter;
};

/* ---- the rest ---- */

struct imap_esearch {
	struct span tag; /* of the command it answers; NIL if absent */
	bool is_uid;
	bool has_all, has_count, has_min, has_max;
	struct imap_uidset all; /* ascending, merged */
	uint32_t count, min, max;
	uint64_t modseq; /* 0: none */
};

enum imap_response_type {
	IMAP_RESPONSE_CONTINUATION, /* "+": text */
	IMAP_RESPONSE_TAGGED,       /* tag, condition, code, text */
	IMAP_RESPONSE_CONDITION,    /* untagged OK NO BAD PREAUTH BYE: condition, code, text */
	IMAP_RESPONSE_CAPABILITY,   /* words */
	IMAP_RESPONSE_ENABLED,      /* words */
	IMAP_RESPONSE_FLAGS,        /* words */
	IMAP_RESPONSE_LIST,         /* list */
	IMAP_RESPONSE_LSUB,         /* list */
	IMAP_RESPONSE_STATUS,       /* status */
	IMAP_RESPONSE_SEARCH,       /* numbers, modseq (or SORT: order kept) */
	IMAP_RESPONSE_SORT,         /* numbers */
	IMAP_RESPONSE_ESEARCH,      /* esearch */
	IMAP_RESPONSE_EXISTS,       /* number */
	IMAP_RESPONSE_RECENT,       /* number */
	IMAP_RESPONSE_EXPUNGE,      /* number: a sequence number */
	IMAP_RESPONSE_VANISHED,     /* uids, is_earlier */
	IMAP_RESPONSE_FETCH,        /* fetch */
	IMAP_RESPONSE_NAMESPACE,    /* namespaces */
	IMAP_RESPONSE_MYRIGHTS,     /* mailbox in list.mailbox, text = rights */
	IMAP_RESPONSE_ID,           /* nothing kept */
	IMAP_RESPONSE_OTHER,        /* unknown or unreadable: passed over */
};

struct imap_response {
	enum imap_response_type type;
	struct span tag;
	enum imap_condition condition;
	struct imap_code code; /* tagged and condition; also "* COPYUID …" without "OK" becomes a CONDITION */
	struct span text;
	uint32_t number;
	const struct span *words;
	size_t n_words;
	const uint32_t *numbers;
	size_t n_numbers;
	uint64_t modseq;
	struct imap_list list;
	struct imap_status status;
	struct imap_esearch esearch;
	struct imap_uidset uids;
	bool is_earlier;
	struct imap_fetch fetch;
	const struct imap_namespace *namespaces;
	size_t n_namespaces;
};

#endif
