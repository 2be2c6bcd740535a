/*
 * What the parser's tests share: a response as one line of text, and a stream fed in
 * every way, each of which must give the same lines.
 *
 * In the text, NIL is "~", a byte that is not printable ASCII is "\xHH".
 */
#ifndef GP_TESTS_PARSER_SUPPORT_H
#define GP_TESTS_PARSER_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/limits.h"
#include "imap/framing.h"
#include "imap/parse.h"
#include "imap/parser.h"
#include "unit/guard_page.h"

#define DUMP(out, ...) assert_int_equal(gp_buffer_printf((out), __VA_ARGS__), GP_OK)

static inline void dump_span(struct gp_buffer *out, struct span s)
{
	if (span_is_nil(s)) {
		DUMP(out, "~");
	}
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		if (c < 0x20 || c >= 0x7F) {
			DUMP(out, "\\x%02X", c);
		} else {
			DUMP(out, "%c", c);
		}
	}
}

static inline void dump_named(struct gp_buffer *out, const char *name, struct span s)
{
	DUMP(out, " %s=", name);
	dump_span(out, s);
}

static inline void dump_words(struct gp_buffer *out, const char *name, const struct span *words, size_t n_words)
{
	DUMP(out, " %s=[", name);
	for (size_t i = 0; i < n_words; i++) {
		DUMP(out, "%s", i ? "|" : "");
		dump_span(out, words[i]);
	}
	DUMP(out, "]");
}

static inline void dump_set(struct gp_buffer *out, const char *name, const struct imap_uidset *set)
{
	size_t at = 0;

	DUMP(out, " %s=", name);
	assert_int_equal(imap_uidset_write(set, &at, GP_MIB, out), GP_OK);
}

static inline void dump_addresses(struct gp_buffer *out, const char *name, struct imap_addresses addresses)
{
	if (addresses.n_items == 0) {
		return;
	}
	DUMP(out, " %s=", name);
	for (size_t i = 0; i < addresses.n_items; i++) {
		DUMP(out, "<");
		dump_span(out, addresses.items[i].name);
		DUMP(out, "|");
		dump_span(out, addresses.items[i].mailbox);
		DUMP(out, "|");
		dump_span(out, addresses.items[i].host);
		DUMP(out, ">");
	}
}

static inline void dump_envelope(struct gp_buffer *out, const struct imap_envelope *envelope)
{
	DUMP(out, "{");
	dump_named(out, "date", envelope->date);
	dump_named(out, "subject", envelope->subject);
	dump_addresses(out, "from", envelope->from);
	dump_addresses(out, "sender", envelope->sender);
	dump_addresses(out, "reply-to", envelope->reply_to);
	dump_addresses(out, "to", envelope->to);
	dump_addresses(out, "cc", envelope->cc);
	dump_addresses(out, "bcc", envelope->bcc);
	dump_named(out, "irt", envelope->in_reply_to);
	dump_named(out, "id", envelope->message_id);
	DUMP(out, " }");
}

static inline void dump_params(struct gp_buffer *out, struct imap_params params)
{
	for (size_t i = 0; i < params.n_items; i++) {
		DUMP(out, ";");
		dump_span(out, params.items[i].name);
		DUMP(out, "=");
		dump_span(out, params.items[i].value);
	}
}

static inline void dump_part(struct gp_buffer *out, const struct imap_body *body)
{
	DUMP(out, "[%s] ", body->section);
	dump_span(out, body->type);
	DUMP(out, "/");
	dump_span(out, body->subtype);
	dump_params(out, body->params);
	const struct {
		const char *name;
		struct span value;
	} fields[] = {
		{"id", body->id},        {"desc", body->description}, {"enc", body->encoding},
		{"md5", body->md5},      {"disp", body->disposition}, {"lang", body->language},
		{"loc", body->location},
	};
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
		if (!span_is_nil(fields[i].value)) {
			dump_named(out, fields[i].name, fields[i].value);
			if (fields[i].value.ptr == body->disposition.ptr) {
				dump_params(out, body->disposition_params);
			}
		}
	}
	if (body->has_octets) {
		DUMP(out, " octets=%llu", (unsigned long long)body->octets);
	}
	if (body->lines) {
		DUMP(out, " lines=%llu", (unsigned long long)body->lines);
	}
	DUMP(out, "%s%s", body->is_multipart ? " multipart" : "", body->is_message ? " message" : "");
	if (body->envelope) {
		DUMP(out, " envelope=");
		dump_envelope(out, body->envelope);
	}
}

/* Walks the tree by its links, as callers do, and checks them. */
static inline void dump_body(struct gp_buffer *out, const struct imap_body *root)
{
	const struct imap_body *body = root;

	assert_null(root->parent);
	for (;;) {
		dump_part(out, body);
		if (body->first_child) {
			assert_ptr_equal(body->first_child->parent, body);
			DUMP(out, " (");
			body = body->first_child;
			continue;
		}
		while (body != root && !body->next) {
			body = body->parent;
			DUMP(out, ")");
		}
		if (body == root) {
			return;
		}
		assert_ptr_equal(body->next->parent, body->parent);
		body = body->next;
		DUMP(out, ", ");
	}
}

static inline void dump_fetch(struct gp_buffer *out, const struct imap_fetch *row)
{
	static const char *const names[] = {"UID",    "FLAGS",   "INTERNALDATE", "SIZE",    "ENVELOPE", "BODYSTRUCTURE",
					    "MODSEQ", "EMAILID", "THREADID",     "PREVIEW", "SECTION"};

	DUMP(out, "FETCH %u uid=%u", row->seq, row->uid);
	for (unsigned i = 0; i < 11; i++) {
		DUMP(out, "%s%s", row->items & 1u << i ? " " : "", row->items & 1u << i ? names[i] : "");
	}
	if (row->items & IMAP_ITEM_FLAGS) {
		dump_words(out, "flags", row->flags, row->n_flags);
	}
	if (row->items & IMAP_ITEM_INTERNALDATE) {
		DUMP(out, " date=%lld", (long long)row->internal_date);
	}
	if (row->items & IMAP_ITEM_SIZE) {
		DUMP(out, " size=%llu", (unsigned long long)row->size);
	}
	if (row->items & IMAP_ITEM_MODSEQ) {
		DUMP(out, " modseq=%llu", (unsigned long long)row->modseq);
	}
	if (row->items & IMAP_ITEM_EMAILID) {
		dump_named(out, "email", row->email_id);
	}
	if (row->items & IMAP_ITEM_THREADID) {
		dump_named(out, "thread", row->thread_id);
	}
	if (row->items & IMAP_ITEM_PREVIEW) {
		dump_named(out, "preview", row->preview);
	}
	if (row->items & IMAP_ITEM_ENVELOPE) {
		DUMP(out, " ");
		dump_envelope(out, row->envelope);
	}
	if (row->items & IMAP_ITEM_BODYSTRUCTURE) {
		DUMP(out, " ");
		dump_body(out, row->body);
	}
	for (size_t i = 0; i < row->n_sections; i++) {
		const struct imap_section *section = &row->sections[i];
		DUMP(out, " BODY[");
		dump_span(out, section->spec);
		DUMP(out, "]");
		if (section->has_origin) {
			DUMP(out, "<%llu>", (unsigned long long)section->origin);
		}
		DUMP(out, "=%s", section->is_too_long ? "(too long)" : "");
		dump_span(out, section->value);
	}
}

static inline void dump_code(struct gp_buffer *out, const struct imap_code *code)
{
	if (span_is_nil(code->name)) {
		return;
	}
	dump_named(out, "code", code->name);
	dump_named(out, "value", code->value);
	if (code->number) {
		DUMP(out, " n=%llu", (unsigned long long)code->number);
	}
	if (code->source_uids) {
		dump_set(out, "source", code->source_uids);
	}
	if (code->uids) {
		dump_set(out, "uids", code->uids);
	}
}

static inline void dump_condition(struct gp_buffer *out, const struct imap_response *response)
{
	static const char *const conditions[] = {"OK", "NO", "BAD", "PREAUTH", "BYE"};

	DUMP(out, "%s", conditions[response->condition]);
	dump_code(out, &response->code);
	if (response->n_words) {
		dump_words(out, "words", response->words, response->n_words);
	}
	dump_named(out, "text", response->text);
}

static inline void dump_status(struct gp_buffer *out, const struct imap_status *status)
{
	dump_named(out, "mailbox", status->mailbox);
	const struct {
		unsigned item;
		const char *name;
		uint64_t value;
	} items[] = {
		{IMAP_STATUS_MESSAGES, "messages", status->messages},
		{IMAP_STATUS_UNSEEN, "unseen", status->unseen},
		{IMAP_STATUS_UIDNEXT, "uidnext", status->uidnext},
		{IMAP_STATUS_UIDVALIDITY, "uidvalidity", status->uidvalidity},
		{IMAP_STATUS_HIGHESTMODSEQ, "highestmodseq", status->highestmodseq},
		{IMAP_STATUS_SIZE, "size", status->size},
	};
	for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
		if (status->items & items[i].item) {
			DUMP(out, " %s=%llu", items[i].name, (unsigned long long)items[i].value);
		}
	}
	if (status->items & IMAP_STATUS_MAILBOXID) {
		dump_named(out, "id", status->mailbox_id);
	}
}

static inline void dump_list(struct gp_buffer *out, const struct imap_list *list)
{
	dump_named(out, "mailbox", list->mailbox);
	DUMP(out, " delimiter=%c", list->delimiter ? list->delimiter : '~');
	dump_words(out, "attributes", list->attributes, list->n_attributes);
}

static inline void dump_esearch(struct gp_buffer *out, const struct imap_esearch *esearch)
{
	dump_named(out, "tag", esearch->tag);
	DUMP(out, "%s", esearch->is_uid ? " uid" : "");
	if (esearch->has_all) {
		dump_set(out, "all", &esearch->all);
	}
	if (esearch->has_count) {
		DUMP(out, " count=%u", esearch->count);
	}
	if (esearch->has_min) {
		DUMP(out, " min=%u", esearch->min);
	}
	if (esearch->has_max) {
		DUMP(out, " max=%u", esearch->max);
	}
	if (esearch->modseq) {
		DUMP(out, " modseq=%llu", (unsigned long long)esearch->modseq);
	}
}

static inline void dump_numbers(struct gp_buffer *out, const struct imap_response *response)
{
	for (size_t i = 0; i < response->n_numbers; i++) {
		DUMP(out, " %u", response->numbers[i]);
	}
	if (response->modseq) {
		DUMP(out, " modseq=%llu", (unsigned long long)response->modseq);
	}
}

static inline void dump_namespaces(struct gp_buffer *out, const struct imap_response *response)
{
	for (size_t i = 0; i < response->n_namespaces; i++) {
		const struct imap_namespace *space = &response->namespaces[i];
		DUMP(out, " %s:",
		     space->kind == IMAP_NS_PERSONAL ? "personal"
		     : space->kind == IMAP_NS_OTHER  ? "other"
						     : "shared");
		dump_span(out, space->prefix);
		DUMP(out, ":%c", space->delimiter ? space->delimiter : '~');
	}
}

static inline void dump_response(struct gp_buffer *out, const struct imap_response *response)
{
	static const char *const names[] = {"+",        "TAGGED", "*",       "CAPABILITY", "ENABLED", "FLAGS",
					    "LIST",     "LSUB",   "STATUS",  "SEARCH",     "SORT",    "ESEARCH",
					    "EXISTS",   "RECENT", "EXPUNGE", "VANISHED",   "",        "NAMESPACE",
					    "MYRIGHTS", "ID",     "OTHER"};

	DUMP(out, "%s", names[response->type]);
	switch (response->type) {
	case IMAP_RESPONSE_CONTINUATION:
	case IMAP_RESPONSE_OTHER:
		dump_named(out, "text", response->text);
		break;
	case IMAP_RESPONSE_TAGGED:
		dump_named(out, "tag", response->tag);
		DUMP(out, " ");
		dump_condition(out, response);
		break;
	case IMAP_RESPONSE_CONDITION:
		DUMP(out, " ");
		dump_condition(out, response);
		break;
	case IMAP_RESPONSE_CAPABILITY:
	case IMAP_RESPONSE_ENABLED:
	case IMAP_RESPONSE_FLAGS:
		dump_words(out, "words", response->words, response->n_words);
		break;
	case IMAP_RESPONSE_LIST:
	case IMAP_RESPONSE_LSUB:
		dump_list(out, &response->list);
		break;
	case IMAP_RESPONSE_STATUS:
		dump_status(out, &response->status);
		break;
	case IMAP_RESPONSE_SEARCH:
	case IMAP_RESPONSE_SORT:
		dump_numbers(out, response);
		break;
	case IMAP_RESPONSE_ESEARCH:
		dump_esearch(out, &response->esearch);
		break;
	case IMAP_RESPONSE_EXISTS:
	case IMAP_RESPONSE_RECENT:
	case IMAP_RESPONSE_EXPUNGE:
		DUMP(out, " %u", response->number);
		break;
	case IMAP_RESPONSE_VANISHED:
		dump_set(out, "uids", &response->uids);
		DUMP(out, "%s", response->is_earlier ? " earlier" : "");
		break;
	case IMAP_RESPONSE_FETCH:
		dump_fetch(out, &response->fetch);
		break;
	case IMAP_RESPONSE_NAMESPACE:
		dump_namespaces(out, response);
		break;
	case IMAP_RESPONSE_MYRIGHTS:
		dump_named(out, "mailbox", response->list.mailbox);
		dump_named(out, "rights", response->text);
		break;
	case IMAP_RESPONSE_ID:
		break;
	}
	DUMP(out, "\n");
}

/* ---- feeding ---- */

struct feeder {
	struct imap_parser *parser; /* own */
	struct guard_page page;
	struct gp_buffer lines; /* a line for each response, "ERROR …" for a failure */
};

static inline void feeder_init(struct feeder *feeder, size_t longest)
{
	feeder->parser = imap_parser_new();
	assert_non_null(feeder->parser);
	guard_page_init(&feeder->page, longest);
	gp_buffer_init(&feeder->lines, 64 * GP_MIB);
}

static inline void feeder_deinit(struct feeder *feeder)
{
	imap_parser_free(&feeder->parser);
	guard_page_deinit(&feeder->page);
	gp_buffer_deinit(&feeder->lines);
}

static inline void feeder_feed(struct feeder *feeder, struct span piece)
{
	struct span input = guard_page_put(&feeder->page, piece);

	for (;;) {
		const struct imap_response *response = NULL;
		struct gp_error error = {.status = GP_OK};
		switch (imap_parser_next(feeder->parser, &input, &response, &error)) {
		case IMAP_PARSER_NEED_MORE:
			assert_int_equal(input.len, 0);
			return;
		case IMAP_PARSER_RESPONSE:
			dump_response(&feeder->lines, response);
			break;
		case IMAP_PARSER_ERROR:
			DUMP(&feeder->lines, "ERROR %s\n", gp_status_name(error.status));
			return;
		}
	}
}

/* The sizes of pieces from a generator of its own, so that a failure can be repeated. */
static inline void feed_at_random(struct feeder *feeder, struct span stream, uint32_t seed)
{
	while (stream.len > 0) {
		seed = seed * 1664525u + 1013904223u;
		size_t len = 1 + (seed >> 16) % 17;
		struct span piece = span_slice(stream, 0, len);
		feeder_feed(feeder, piece);
		stream = span_from(stream, piece.len);
	}
}

/* One whole response at the guard page, without framing's buffer around it. */
static inline void parse_bare(struct span stream, struct gp_buffer *lines)
{
	struct imap_framing framing;
	struct imap_parse parse;
	struct guard_page page;
	struct span text;

	imap_framing_init(&framing);
	imap_parse_init(&parse);
	guard_page_init(&page, stream.len);
	while (imap_framing_next(&framing, &stream, &text, NULL) == IMAP_PARSER_RESPONSE) {
		assert_int_equal(imap_parse_response(&parse, guard_page_put(&page, text)), GP_OK);
		dump_response(lines, &parse.response);
	}
	guard_page_deinit(&page);
	imap_parse_deinit(&parse);
	imap_framing_deinit(&framing);
}

static inline bool is_same(const char *what, const char *how, struct gp_buffer *lines, const char *expected)
{
	bool is_equal = span_equal_text(gp_buffer_span(lines), expected);

	if (!is_equal) {
		print_error("%s, %s:\n  got      %s  expected %s", what, how, lines->data ? lines->data : "\n",
			    expected);
	}
	gp_buffer_deinit(lines);
	return is_equal;
}

/* Feeds `stream` whole, a byte at a time, in random pieces and without framing's buffer:
 * all must give `expected`, the lines of its responses. */
static inline bool gives_lines(const char *what, struct span stream, const char *expected)
{
	struct feeder feeder;
	bool is_error = strstr(expected, "ERROR") != NULL;
	bool is_good;

	feeder_init(&feeder, stream.len);
	feeder_feed(&feeder, stream);
	is_good = is_same(what, "whole", &feeder.lines, expected);
	feeder_deinit(&feeder);

	feeder_init(&feeder, 1);
	for (size_t i = 0; i < stream.len && !(is_error && feeder.lines.len > 0); i++) {
		feeder_feed(&feeder, span_slice(stream, i, 1));
	}
	is_good &= is_same(what, "bytewise", &feeder.lines, expected);
	feeder_deinit(&feeder);

	for (uint32_t seed = 1; seed <= 8 && !is_error; seed++) {
		feeder_init(&feeder, 32);
		feed_at_random(&feeder, stream, seed);
		is_good &= is_same(what, "in random pieces", &feeder.lines, expected);
		feeder_deinit(&feeder);
	}
	if (!is_error) {
		struct gp_buffer bare;
		gp_buffer_init(&bare, 64 * GP_MIB);
		parse_bare(stream, &bare);
		is_good &= is_same(what, "bare", &bare, expected);
	}
	return is_good;
}

struct parser_case {
	const char *quirk;
	struct span stream;
	const char *expected; /* lines, each with its end */
};

#define CASE(quirk, stream, expected)                                                                                  \
	{                                                                                                              \
		quirk, {"" stream, sizeof(stream) - 1}, expected                                                       \
	}

static inline void run_cases(const struct parser_case *cases, size_t n_cases)
{
	bool is_good = true;

	for (size_t i = 0; i < n_cases; i++) {
		is_good &= gives_lines(cases[i].quirk, cases[i].stream, cases[i].expected);
	}
	assert_true(is_good);
}

#define RUN_CASES(cases) run_cases((cases), sizeof(cases) / sizeof *(cases))

#endif
