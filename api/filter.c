#include "api/filter.h"

#include "api/message_json.h"
#include "api/moment.h"
#include "mail/header.h"

static struct imap_search_term *add(struct api_query *query, struct api_filter *filter, enum imap_search_kind kind)
{
	static struct imap_search_term spare; /* written to and forgotten once the query has failed */

	if (filter->n_terms == API_MAX_FILTER_TERMS) {
		api_query_fail(query, "more than %d filters", API_MAX_FILTER_TERMS);
		return &spare;
	}
	struct imap_search_term *term = &filter->terms[filter->n_terms++];
	*term = (struct imap_search_term){.kind = kind};
	return term;
}

static bool is_empty(struct api_query *query, const char *name, struct span value)
{
	if (value.len == 0) {
		api_query_fail(query, "'%s' is empty", name);
		return true;
	}
	return false;
}

/* ---- substrings ---- */

bool api_filter_is_body_choice(struct span value, bool *text_out, bool *html_out)
{
	bool is_both = span_equal_text(value, "text,html") || span_equal_text(value, "html,text");

	*text_out = is_both || span_equal_text(value, "text");
	*html_out = is_both || span_equal_text(value, "html");
	return *text_out || *html_out;
}

static void read_texts(struct api_query *query, struct api_filter *filter)
{
	static const struct {
		const char *name;
		enum imap_search_kind kind;
	} texts[] = {
		{"from", IMAP_SEARCH_FROM}, {"to", IMAP_SEARCH_TO},           {"cc", IMAP_SEARCH_CC},
		{"bcc", IMAP_SEARCH_BCC},   {"subject", IMAP_SEARCH_SUBJECT}, {"body", IMAP_SEARCH_BODY},
		{"text", IMAP_SEARCH_TEXT},
	};

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct span value;
		bool text, html;
		for (size_t n = 0; api_query_nth(query, texts[i].name, n, &value); n++) {
			if (texts[i].kind == IMAP_SEARCH_BODY && api_filter_is_body_choice(value, &text, &html)) {
				continue;
			}
			if (!is_empty(query, texts[i].name, value)) {
				add(query, filter, texts[i].kind)->text = value;
			}
		}
	}
}

static bool is_field_name(struct span name)
{
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] <= 0x20 || name.ptr[i] >= 0x7F || name.ptr[i] == ':') {
			return false;
		}
	}
	return name.len > 0;
}

static void read_headers(struct api_query *query, struct api_filter *filter)
{
	struct span value;

	for (size_t n = 0; api_query_nth(query, "header", n, &value); n++) {
		ptrdiff_t colon = span_find_char(value, ':');
		struct span name = colon < 0 ? value : span_slice(value, 0, (size_t)colon);
		if (!is_field_name(name)) {
			api_query_fail(query, "'header' must be a field name, or name:value");
			return;
		}
		struct imap_search_term *term = add(query, filter, IMAP_SEARCH_HEADER);
		term->name = name;
		term->text = colon < 0 ? SPAN_LIT("") : span_trim(span_from(value, (size_t)colon + 1));
	}
	for (size_t n = 0; api_query_nth(query, "messageId", n, &value); n++) {
		if (!is_empty(query, "messageId", value)) {
			struct imap_search_term *term = add(query, filter, IMAP_SEARCH_HEADER);
			term->name = SPAN_LIT("Message-ID");
			term->text = value;
		}
	}
}

/* ---- dates ---- */

/*
 * IMAP compares days, in the zone of each message's own date. A date is passed on as
 * it is. A time widens the search by two days, so that no zone can hide a message,
 * and the rows are compared to the second.
 */
static void read_moment(struct api_query *query, struct api_filter *filter, const char *name,
			enum imap_search_kind kind, bool is_lower, bool *has_out, int64_t *bound_out)
{
	struct span text = api_query_text(query, name);
	struct api_moment moment;

	if (span_is_nil(text)) {
		return;
	}
	if (!api_moment_parse(text, &moment)) {
		api_query_fail(query, "'%s' must be a date (2026-01-31) or a time (2026-01-31T12:00:00Z)", name);
		return;
	}
	int64_t day = api_moment_day(moment.seconds);
	if (!moment.is_date) {
		*has_out = true;
		/* messages have whole seconds: what is at half past is there from the next one on */
		*bound_out = moment.seconds + moment.is_between;
		day += is_lower ? -1 : 2;
	}
	add(query, filter, kind)->day = day;
}

static void read_moments(struct api_query *query, struct api_filter *filter)
{
	read_moment(query, filter, "after", IMAP_SEARCH_SINCE, true, &filter->has_after, &filter->after);
	read_moment(query, filter, "before", IMAP_SEARCH_BEFORE, false, &filter->has_before, &filter->before);
	read_moment(query, filter, "sentAfter", IMAP_SEARCH_SENTSINCE, true, &filter->has_sent_after,
		    &filter->sent_after);
	read_moment(query, filter, "sentBefore", IMAP_SEARCH_SENTBEFORE, false, &filter->has_sent_before,
		    &filter->sent_before);
}

/* ---- sizes, flags, ids ---- */

static void read_sizes(struct api_query *query, struct api_filter *filter)
{
	uint64_t least = api_query_number(query, "minSize", 0, UINT32_MAX - 1, 0);
	uint64_t most = api_query_number(query, "maxSize", 0, UINT32_MAX - 1, UINT32_MAX);

	if (least > 0) {
		add(query, filter, IMAP_SEARCH_LARGER)->number = least - 1;
	}
	if (most < UINT32_MAX) {
		add(query, filter, IMAP_SEARCH_SMALLER)->number = most + 1;
	}
}

static void add_flag(struct api_query *query, struct api_filter *filter, enum imap_search_kind kind,
		     struct span keyword, bool is_set)
{
	if (!is_set) {
		add(query, filter, IMAP_SEARCH_NOT);
	}
	add(query, filter, kind)->text = keyword;
}

static void read_keyword(struct api_query *query, struct api_filter *filter, const char *name, struct span value,
			 bool is_set)
{
	static const struct {
		const char *flag;
		enum imap_search_kind kind;
	} system_flags[] = {
		{"\\Seen", IMAP_SEARCH_SEEN},         {"\\Flagged", IMAP_SEARCH_FLAGGED},
		{"\\Answered", IMAP_SEARCH_ANSWERED}, {"\\Draft", IMAP_SEARCH_DRAFT},
		{"\\Deleted", IMAP_SEARCH_DELETED},
	};
	struct span flag = api_keyword_flag(query->arena, value);

	if (span_is_nil(flag)) {
		api_query_fail(query, "'%s' is no keyword: '%.*s'", name, SPAN_ARGS(span_slice(value, 0, 80)));
		return;
	}
	for (size_t i = 0; i < sizeof system_flags / sizeof system_flags[0]; i++) {
		if (span_equal_text(flag, system_flags[i].flag)) {
			add_flag(query, filter, system_flags[i].kind, SPAN_NIL, is_set);
			return;
		}
	}
	add_flag(query, filter, IMAP_SEARCH_KEYWORD, flag, is_set);
}

static void read_flags(struct api_query *query, struct api_filter *filter)
{
	static const struct {
		const char *name;
		enum imap_search_kind kind;
	} flags[] = {
		{"seen", IMAP_SEARCH_SEEN},
		{"flagged", IMAP_SEARCH_FLAGGED},
		{"answered", IMAP_SEARCH_ANSWERED},
		{"draft", IMAP_SEARCH_DRAFT},
	};
	struct span value;

	for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
		int state = api_query_tristate(query, flags[i].name);
		if (state >= 0) {
			add_flag(query, filter, flags[i].kind, SPAN_NIL, state == 1);
		}
	}
	for (size_t n = 0; api_query_nth(query, "keyword", n, &value); n++) {
		read_keyword(query, filter, "keyword", value, true);
	}
	for (size_t n = 0; api_query_nth(query, "notKeyword", n, &value); n++) {
		read_keyword(query, filter, "notKeyword", value, false);
	}
}

static void read_ids(struct api_query *query, struct api_filter *filter)
{
	struct span thread = api_query_text(query, "threadId");
	struct span uids = api_query_text(query, "uid");
	uint64_t since = api_query_number(query, "changedSince", 0, INT64_MAX - 1, UINT64_MAX);

	if (!span_is_nil(thread)) {
		if (!is_empty(query, "threadId", thread)) {
			add(query, filter, IMAP_SEARCH_THREADID)->text = thread;
			filter->needs_threadid = true;
		}
	}
	if (since != UINT64_MAX) {
		add(query, filter, IMAP_SEARCH_MODSEQ)->number = since + 1;
		filter->needs_modseq = true;
	}
	if (!span_is_nil(uids)) {
		/* "*" is that number to a set (imap/uidset.h), and no message has it that one could mean */
		if (span_find(uids, SPAN_LIT("4294967295")) >= 0) {
			api_query_fail(query, "a UID in 'uid' is at most 4294967294; the last message is '*'");
			return;
		}
		enum gp_status status = imap_uidset_parse(&filter->uids, uids);
		query->arena->is_short |= status == GP_NO_MEMORY;
		if (status != GP_OK) {
			api_query_fail(query, "'uid' must be a set of UIDs such as 1,5:9,12:*");
			return;
		}
		add(query, filter, IMAP_SEARCH_UID)->uids = &filter->uids;
	}
}

void api_filter_read(struct api_query *query, struct api_filter *filter_out)
{
	*filter_out = (struct api_filter){.has_attachment = -1};
	imap_uidset_init(&filter_out->uids);
	read_texts(query, filter_out);
	read_headers(query, filter_out);
	read_moments(query, filter_out);
	read_sizes(query, filter_out);
	read_flags(query, filter_out);
	read_ids(query, filter_out);
	filter_out->has_attachment = api_query_tristate(query, "hasAttachment");
}

void api_filter_deinit(struct api_filter *filter)
{
	imap_uidset_deinit(&filter->uids);
}

/* The i-th term asks for a keyword of one's own that is to be there. */
static bool wants_keyword(const struct api_filter *filter, size_t i)
{
	return filter->terms[i].kind == IMAP_SEARCH_KEYWORD && (i == 0 || filter->terms[i - 1].kind != IMAP_SEARCH_NOT);
}

const char *api_filter_fit(struct api_filter *filter, const struct imap_session *session)
{
	const struct imap_selected *selected = imap_session_selected(session);

	filter->tests_keywords = false;
	for (size_t i = 0; i < filter->n_terms && selected->is_without_keywords; i++) {
		/* No message can be found. Mailutils finds every one. */
		filter->tests_keywords |= wants_keyword(filter, i);
	}
	if (filter->needs_modseq && !selected->has_modseq) {
		return "changedSince";
	}
	if (filter->needs_threadid && !imap_session_can(session, IMAP_CAP_OBJECTID) &&
	    !imap_session_can(session, IMAP_CAP_GMAIL)) {
		return "threadId";
	}
	return NULL;
}

/* ---- what was found ---- */

static bool names_last(const struct imap_uidset *asked)
{
	return asked->n_ranges > 0 && asked->ranges[asked->n_ranges - 1].first == IMAP_UID_STAR;
}

enum gp_status api_filter_pick(const struct api_filter *filter, const struct imap_uidset *found,
			       struct imap_uidset *picked)
{
	static struct imap_uid_range possible_range = {1, IMAP_UID_STAR - 1};
	const struct imap_uidset possible = {.ranges = &possible_range, .n_ranges = 1};
	struct imap_uidset real;
	size_t n_last;

	if (imap_uidset_is_empty(&filter->uids)) {
		return imap_uidset_add_common(picked, found, &possible);
	}
	imap_uidset_init(&real);
	enum gp_status status = imap_uidset_add_common(&real, found, &possible);
	if (status == GP_OK) {
		status = imap_uidset_add_common(picked, &real, &filter->uids);
	}
	if (status == GP_OK && names_last(&filter->uids)) {
		status = imap_uidset_highest(&real, (uint64_t)UINT32_MAX + 1, 1, picked, &n_last);
	}
	imap_uidset_deinit(&real);
	return status;
}

size_t api_filter_pick_order(const struct api_filter *filter, uint32_t *uids, size_t n_uids)
{
	const struct imap_uidset *asked = &filter->uids;
	uint32_t last = 0;
	size_t n = 0;

	for (size_t i = 0; i < n_uids && names_last(asked); i++) {
		last = uids[i] > last && uids[i] != IMAP_UID_STAR ? uids[i] : last;
	}
	for (size_t i = 0; i < n_uids; i++) {
		bool is_asked = imap_uidset_is_empty(asked) || imap_uidset_contains(asked, uids[i]) || uids[i] == last;
		if (is_asked && uids[i] != IMAP_UID_STAR) {
			uids[n++] = uids[i];
		}
	}
	return n;
}

/* ---- rows ---- */

bool api_filter_tests_rows(const struct api_filter *filter)
{
	return api_filter_items(filter) != 0;
}

unsigned api_filter_items(const struct api_filter *filter)
{
	unsigned items = 0;

	if (filter->has_after || filter->has_before) {
		items |= IMAP_ITEM_INTERNALDATE;
	}
	if (filter->has_sent_after || filter->has_sent_before) {
		items |= IMAP_ITEM_ENVELOPE;
	}
	if (filter->has_attachment >= 0) {
		items |= IMAP_ITEM_BODYSTRUCTURE;
	}
	if (filter->tests_keywords) {
		items |= IMAP_ITEM_FLAGS;
	}
	return items;
}

static bool has_keywords(const struct api_filter *filter, const struct imap_fetch *row)
{
	bool has_all = true;

	for (size_t i = 0; i < filter->n_terms; i++) {
		bool is_there = !wants_keyword(filter, i);
		for (size_t k = 0; k < row->n_flags && !is_there; k++) {
			is_there = span_equal_nocase(row->flags[k], filter->terms[i].text);
		}
		has_all &= is_there;
	}
	return has_all;
}

bool api_filter_accepts(const struct api_filter *filter, const struct imap_fetch *row, const struct mail_choice *choice)
{
	if ((filter->has_after && row->internal_date < filter->after) ||
	    (filter->has_before && row->internal_date >= filter->before) ||
	    (filter->tests_keywords && !has_keywords(filter, row))) {
		return false;
	}
	if (filter->has_sent_after || filter->has_sent_before) {
		int64_t sent;
		int offset_minutes;
		if (!row->envelope || !mail_parse_date(row->envelope->date, &sent, &offset_minutes) ||
		    (filter->has_sent_after && sent < filter->sent_after) ||
		    (filter->has_sent_before && sent >= filter->sent_before)) {
			return false;
		}
	}
	return filter->has_attachment < 0 || choice->has_attachment == (filter->has_attachment == 1);
}
