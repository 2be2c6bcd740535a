/*
 * Filters of a message list: query parameters to an IMAP search, and what IMAP cannot
 * search for to a test of single rows ("post filter"): a time within a day, whether
 * there is an attachment, and keywords where no message can have one.
 */
#ifndef GP_API_FILTER_H
#define GP_API_FILTER_H

#include "api/query.h"
#include "imap/calls.h"
#include "mail/parts.h"

#define API_MAX_FILTER_TERMS 64

struct api_filter {
	struct imap_search_term terms[API_MAX_FILTER_TERMS];
	size_t n_terms;                    /* 0: everything */
	struct imap_uidset uids;           /* own: `uid=` */
	bool needs_modseq, needs_threadid; /* 422 where the server cannot */

	/* post filter */
	bool has_after, has_before, has_sent_after, has_sent_before;
	int64_t after, before, sent_after, sent_before; /* seconds since 1970: >= and < */
	int has_attachment;                             /* -1: not asked */
	bool tests_keywords;                            /* as api_filter_fit() found */
};

/* `body` has two meanings: `body=text`, `body=html` and `body=text,html` ask for body
 * values in a list; any other value is a substring to search for. */
bool api_filter_is_body_choice(struct span value, bool *text_out, bool *html_out);

/* Reads every filter parameter; a bad value marks the query. `arena` holds the texts. */
void api_filter_read(struct api_query *query, struct api_filter *filter_out);
void api_filter_deinit(struct api_filter *filter);

/* For the selected mailbox. Returns the parameter that this server cannot search by there; NULL: it can. */
const char *api_filter_fit(struct api_filter *filter, const struct imap_session *session);

/* Adds to `picked` what SEARCH found, as far as it was asked for: a server may answer more, and
 * "5:*" is to it the last message too when that has a UID below 5, which nobody means who
 * deletes. "*" alone is the last message, whatever its UID. A list shows what a change changes. */
enum gp_status api_filter_pick(const struct api_filter *filter, const struct imap_uidset *found,
			       struct imap_uidset *picked) GP_MUST_USE;
/* The same of what SORT found, in its order and in place; returns how many are left. */
size_t api_filter_pick_order(const struct api_filter *filter, uint32_t *uids, size_t n_uids);

/* Whether rows must be tested one by one, and what FETCH items that needs. */
bool api_filter_tests_rows(const struct api_filter *filter);
unsigned api_filter_items(const struct api_filter *filter);
bool api_filter_accepts(const struct api_filter *filter, const struct imap_fetch *row,
			const struct mail_choice *choice);

static inline struct imap_search api_filter_search(const struct api_filter *filter)
{
	return (struct imap_search){.terms = filter->terms, .n_terms = filter->n_terms};
}

#endif
