/*
 * A search as an argument of SEARCH. IMAP's own notation is prefix too, so terms are
 * written as they come; what is kept on a stack is only how many operands are still
 * due, to close the parentheses of AND and to refuse a search that is not whole.
 */
#include "base/limits.h"
#include "imap/writer.h"

struct pending {
	uint64_t n_due;
	bool is_group; /* ")" goes behind the last operand */
};

struct search_writer {
	struct imap_writer *writer; /* borrow */
	struct pending stack[GP_MAX_IMAP_NESTING];
	size_t depth;
};

static void fail(struct imap_writer *writer, enum gp_status status)
{
	if (writer->status == GP_OK) {
		writer->status = status;
	}
}

bool imap_search_needs_charset(const struct imap_search *search)
{
	for (size_t i = 0; i < search->n_terms; i++) {
		struct span text = search->terms[i].text;
		for (size_t k = 0; k < text.len; k++) {
			if ((unsigned char)text.ptr[k] >= 0x80) {
				return true;
			}
		}
	}
	return false;
}

/* "1-Jan-2024" (RFC 3501: date-text), by the civil calendar. */
static void write_date(struct imap_writer *writer, int64_t day)
{
	static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	const int64_t first = -719162; /* 1-Jan-0001 */
	const int64_t last = 2932896;  /* 31-Dec-9999 */

	if (day < first || day > last) {
		fail(writer, GP_INVALID);
		return;
	}
	/* years that begin in March, in eras of 400: the leap day is the last one of a year */
	int64_t days = day - first + 306;
	int64_t era = days / 146097;
	int64_t of_era = days % 146097;
	int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
	int64_t month = (5 * of_year + 2) / 153;
	int64_t day_of_month = of_year - (153 * month + 2) / 5 + 1;
	int64_t year = era * 400 + year_of_era + (month >= 10);
	char text[12];
	char *at = text;

	month = month >= 10 ? month - 10 : month + 2;
	if (day_of_month >= 10) {
		*at++ = (char)('0' + day_of_month / 10);
	}
	*at++ = (char)('0' + day_of_month % 10);
	*at++ = '-';
	memcpy(at, months[month], 3);
	at += 3;
	*at++ = '-';
	for (int64_t unit = 1000; unit > 0; unit /= 10) {
		*at++ = (char)('0' + year / unit % 10);
	}
	*at = '\0';
	imap_writer_word(writer, text);
}

static void write_text(struct imap_writer *writer, struct span text)
{
	for (size_t i = 0; i < text.len && !writer->needs_charset; i++) {
		writer->needs_charset = (unsigned char)text.ptr[i] >= 0x80;
	}
	imap_writer_string(writer, text);
}

static void write_header(struct imap_writer *writer, const struct imap_search_term *term)
{
	if (term->name.len == 0) {
		fail(writer, GP_INVALID);
	}
	for (size_t i = 0; i < term->name.len; i++) {
		char c = term->name.ptr[i];
		if (c <= 0x20 || c >= 0x7F || c == ':') {
			fail(writer, GP_INVALID);
		}
	}
	imap_writer_word(writer, "HEADER");
	imap_writer_astring(writer, term->name);
	write_text(writer, term->text);
}

static void write_keyword(struct imap_writer *writer, bool is_negated, struct span keyword)
{
	if (!imap_is_keyword(keyword) || keyword.ptr[0] == '\\') {
		fail(writer, GP_INVALID);
		return;
	}
	imap_writer_word(writer, is_negated ? "UNKEYWORD" : "KEYWORD");
	imap_writer_flag(writer, keyword);
}

static void write_uids(struct imap_writer *writer, const struct imap_uidset *uids)
{
	size_t at = 0;

	imap_writer_word(writer, "UID");
	imap_writer_uidset(writer, uids, &at);
	if (at < uids->n_ranges) {
		fail(writer, GP_LIMIT);
	}
}

static void write_id(struct imap_writer *writer, const char *word, const char *gmail_word, struct span id)
{
	bool is_valid = id.len > 0 && id.len <= 255;

	for (size_t i = 0; i < id.len && is_valid; i++) {
		char c = id.ptr[i];
		bool is_digit = c >= '0' && c <= '9';
		is_valid = is_digit || (!writer->is_gmail &&
					((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-'));
	}
	if (!is_valid) {
		fail(writer, GP_INVALID);
		return;
	}
	imap_writer_word(writer, writer->is_gmail ? gmail_word : word);
	imap_writer_astring(writer, id);
}

static void write_word_and_text(struct imap_writer *writer, const char *word, struct span text)
{
	imap_writer_word(writer, word);
	write_text(writer, text);
}

static void write_word_and_date(struct imap_writer *writer, const char *word, int64_t day)
{
	imap_writer_word(writer, word);
	write_date(writer, day);
}

static void write_word_and_number(struct imap_writer *writer, const char *word, uint64_t number)
{
	imap_writer_word(writer, word);
	imap_writer_number(writer, number);
}

/* The word for a flag, which has its own negation; NULL for every other kind. */
static const char *flag_word(enum imap_search_kind kind, bool is_negated)
{
	static const struct {
		enum imap_search_kind kind;
		const char *set, *unset;
	} flags[] = {
		{IMAP_SEARCH_SEEN, "SEEN", "UNSEEN"},
		{IMAP_SEARCH_FLAGGED, "FLAGGED", "UNFLAGGED"},
		{IMAP_SEARCH_ANSWERED, "ANSWERED", "UNANSWERED"},
		{IMAP_SEARCH_DRAFT, "DRAFT", "UNDRAFT"},
		{IMAP_SEARCH_DELETED, "DELETED", "UNDELETED"},
	};

	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
		if (flags[i].kind == kind) {
			return is_negated ? flags[i].unset : flags[i].set;
		}
	}
	return NULL;
}

static void push(struct search_writer *search, uint64_t n_due, bool is_group)
{
	if (search->depth == GP_MAX_IMAP_NESTING) {
		fail(search->writer, GP_LIMIT);
		return;
	}
	search->stack[search->depth++] = (struct pending){n_due, is_group};
}

/* Behind a whole operand: what it completes is whole as well, and so on. */
static void complete(struct search_writer *search)
{
	while (search->depth > 0) {
		struct pending *top = &search->stack[search->depth - 1];
		if (--top->n_due > 0) {
			return;
		}
		if (top->is_group) {
			imap_writer_close(search->writer);
		}
		search->depth--;
	}
}

/* NOT, OR, AND, ALL, UID: false when operands are to come. */
static bool write_structure(struct search_writer *search, const struct imap_search_term *term)
{
	struct imap_writer *writer = search->writer;

	if (term->kind == IMAP_SEARCH_NOT) {
		imap_writer_word(writer, "NOT");
		push(search, 1, false);
		return false;
	}
	if (term->kind == IMAP_SEARCH_OR) {
		imap_writer_word(writer, "OR");
		push(search, 2, false);
		return false;
	}
	if (term->kind == IMAP_SEARCH_AND) {
		if (term->number == 0) {
			fail(writer, GP_INVALID);
		}
		imap_writer_open(writer);
		push(search, term->number, true);
		return false;
	}
	imap_writer_word(writer, "ALL");
	return true;
}

/* One term; false when it is an operator whose operands are to come. */
static bool write_term(struct search_writer *search, const struct imap_search_term *term)
{
	struct imap_writer *writer = search->writer;

	switch (term->kind) {
	case IMAP_SEARCH_FROM:
		write_word_and_text(writer, "FROM", term->text);
		break;
	case IMAP_SEARCH_TO:
		write_word_and_text(writer, "TO", term->text);
		break;
	case IMAP_SEARCH_CC:
		write_word_and_text(writer, "CC", term->text);
		break;
	case IMAP_SEARCH_BCC:
		write_word_and_text(writer, "BCC", term->text);
		break;
	case IMAP_SEARCH_SUBJECT:
		write_word_and_text(writer, "SUBJECT", term->text);
		break;
	case IMAP_SEARCH_BODY:
		write_word_and_text(writer, "BODY", term->text);
		break;
	case IMAP_SEARCH_TEXT:
		write_word_and_text(writer, "TEXT", term->text);
		break;
	case IMAP_SEARCH_HEADER:
		write_header(writer, term);
		break;
	case IMAP_SEARCH_BEFORE:
		write_word_and_date(writer, "BEFORE", term->day);
		break;
	case IMAP_SEARCH_ON:
		write_word_and_date(writer, "ON", term->day);
		break;
	case IMAP_SEARCH_SINCE:
		write_word_and_date(writer, "SINCE", term->day);
		break;
	case IMAP_SEARCH_SENTBEFORE:
		write_word_and_date(writer, "SENTBEFORE", term->day);
		break;
	case IMAP_SEARCH_SENTON:
		write_word_and_date(writer, "SENTON", term->day);
		break;
	case IMAP_SEARCH_SENTSINCE:
		write_word_and_date(writer, "SENTSINCE", term->day);
		break;
	case IMAP_SEARCH_LARGER:
		write_word_and_number(writer, "LARGER", term->number);
		break;
	case IMAP_SEARCH_SMALLER:
		write_word_and_number(writer, "SMALLER", term->number);
		break;
	case IMAP_SEARCH_MODSEQ:
		write_word_and_number(writer, "MODSEQ", term->number);
		break;
	case IMAP_SEARCH_SEEN:
	case IMAP_SEARCH_FLAGGED:
	case IMAP_SEARCH_ANSWERED:
	case IMAP_SEARCH_DRAFT:
	case IMAP_SEARCH_DELETED:
		imap_writer_word(writer, flag_word(term->kind, false));
		break;
	case IMAP_SEARCH_KEYWORD:
		write_keyword(writer, false, term->text);
		break;
	case IMAP_SEARCH_UID:
		write_uids(writer, term->uids);
		break;
	case IMAP_SEARCH_EMAILID:
		write_id(writer, "EMAILID", "X-GM-MSGID", term->text);
		break;
	case IMAP_SEARCH_THREADID:
		write_id(writer, "THREADID", "X-GM-THRID", term->text);
		break;
	case IMAP_SEARCH_ALL:
	case IMAP_SEARCH_NOT:
	case IMAP_SEARCH_OR:
	case IMAP_SEARCH_AND:
		return write_structure(search, term);
	}
	return true;
}

/* UNSEEN for NOT SEEN, which servers answer from their index; false when the terms are
 * no such pair. */
static bool write_negated_flag(struct imap_writer *writer, const struct imap_search_term *terms, size_t n_terms)
{
	if (n_terms < 2 || terms[0].kind != IMAP_SEARCH_NOT) {
		return false;
	}
	if (terms[1].kind == IMAP_SEARCH_KEYWORD) {
		write_keyword(writer, true, terms[1].text);
		return true;
	}
	const char *word = flag_word(terms[1].kind, true);
	if (word) {
		imap_writer_word(writer, word);
	}
	return word != NULL;
}

void imap_writer_search(struct imap_writer *writer, const struct imap_search *search)
{
	struct search_writer state = {.writer = writer};

	if (search->n_terms == 0) {
		imap_writer_word(writer, "ALL");
	}
	for (size_t i = 0; i < search->n_terms && writer->status == GP_OK; i++) {
		if (write_negated_flag(writer, search->terms + i, search->n_terms - i)) {
			i++;
			complete(&state);
		} else if (write_term(&state, &search->terms[i])) {
			complete(&state);
		}
	}
	if (state.depth > 0) {
		fail(writer, GP_INVALID);
	}
}
