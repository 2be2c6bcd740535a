/*
 * Reads every byte that a response points to, so that a span which leads astray is
 * seen by the sanitizers, and folds it into one number: two ways of feeding the same
 * bytes must give the same number.
 */
#ifndef GP_TESTS_DIGEST_H
#define GP_TESTS_DIGEST_H

#include <stdlib.h>

#include "imap/response.h"

static inline void digest_number(uint64_t *digest, uint64_t number)
{
	*digest = (*digest ^ number) * 0x100000001b3u;
}

static inline void digest_span(uint64_t *digest, struct span text)
{
	digest_number(digest, span_is_nil(text) ? UINT64_MAX : text.len);
	for (size_t i = 0; i < text.len; i++) {
		digest_number(digest, (unsigned char)text.ptr[i]);
	}
}

static inline void digest_spans(uint64_t *digest, const struct span *items, size_t n_items)
{
	digest_number(digest, n_items);
	for (size_t i = 0; i < n_items; i++) {
		digest_span(digest, items[i]);
	}
}

static inline void digest_set(uint64_t *digest, const struct imap_uidset *set)
{
	for (size_t i = 0; i < set->n_ranges; i++) {
		if (set->ranges[i].first == 0 || set->ranges[i].first > set->ranges[i].last ||
		    (i > 0 && set->ranges[i].first <= (uint64_t)set->ranges[i - 1].last + 1)) {
			abort();
		}
		digest_number(digest, (uint64_t)set->ranges[i].first << 32 | set->ranges[i].last);
	}
}

static inline void digest_addresses(uint64_t *digest, struct imap_addresses addresses)
{
	digest_number(digest, addresses.n_items);
	for (size_t i = 0; i < addresses.n_items; i++) {
		digest_span(digest, addresses.items[i].name);
		digest_span(digest, addresses.items[i].mailbox);
		digest_span(digest, addresses.items[i].host);
	}
}

static inline void digest_envelope(uint64_t *digest, const struct imap_envelope *envelope)
{
	digest_span(digest, envelope->date);
	digest_span(digest, envelope->subject);
	digest_span(digest, envelope->in_reply_to);
	digest_span(digest, envelope->message_id);
	digest_addresses(digest, envelope->from);
	digest_addresses(digest, envelope->sender);
	digest_addresses(digest, envelope->reply_to);
	digest_addresses(digest, envelope->to);
	digest_addresses(digest, envelope->cc);
	digest_addresses(digest, envelope->bcc);
}

static inline void digest_params(uint64_t *digest, struct imap_params params)
{
	for (size_t i = 0; i < params.n_items; i++) {
		digest_span(digest, params.items[i].name);
		digest_span(digest, params.items[i].value);
	}
}

static inline void digest_part(uint64_t *digest, const struct imap_body *body)
{
	digest_span(digest, span_of(body->section));
	digest_span(digest, body->type);
	digest_span(digest, body->subtype);
	digest_params(digest, body->params);
	digest_span(digest, body->id);
	digest_span(digest, body->description);
	digest_span(digest, body->encoding);
	digest_span(digest, body->md5);
	digest_number(digest, body->octets + body->lines + body->has_octets);
	digest_span(digest, body->disposition);
	digest_params(digest, body->disposition_params);
	digest_span(digest, body->language);
	digest_span(digest, body->location);
	if (body->envelope) {
		digest_envelope(digest, body->envelope);
	}
	/* a message has one body; a part that is neither has nothing in it */
	if ((body->is_message && (!body->first_child || body->first_child->next)) ||
	    (!body->is_message && !body->is_multipart && body->first_child) ||
	    (body->section[0] == '\0' && !body->is_multipart)) {
		abort();
	}
}

static inline void digest_body(uint64_t *digest, const struct imap_body *root)
{
	const struct imap_body *body = root;

	for (;;) {
		digest_part(digest, body);
		if (body->first_child) {
			if (body->first_child->parent != body) {
				abort();
			}
			body = body->first_child;
			continue;
		}
		while (body != root && !body->next) {
			body = body->parent;
		}
		if (body == root) {
			return;
		}
		body = body->next;
	}
}

static inline void digest_fetch(uint64_t *digest, const struct imap_fetch *row)
{
	digest_number(digest, row->seq);
	digest_number(digest, row->uid);
	digest_number(digest, row->items);
	digest_spans(digest, row->flags, row->n_flags);
	digest_number(digest, row->modseq ^ row->size ^ (uint64_t)row->internal_date);
	if (!(row->items & IMAP_ITEM_ENVELOPE) != !row->envelope ||
	    !(row->items & IMAP_ITEM_BODYSTRUCTURE) != !row->body ||
	    !(row->items & IMAP_ITEM_SECTION) != !row->n_sections || !(row->items & IMAP_ITEM_UID) != !row->uid) {
		abort();
	}
	if (row->envelope) {
		digest_envelope(digest, row->envelope);
	}
	if (row->body) {
		digest_body(digest, row->body);
	}
	digest_span(digest, row->email_id);
	digest_span(digest, row->thread_id);
	digest_span(digest, row->preview);
	for (size_t i = 0; i < row->n_sections; i++) {
		digest_span(digest, row->sections[i].spec);
		digest_span(digest, row->sections[i].value);
		digest_number(digest, row->sections[i].origin + row->sections[i].is_too_long);
	}
}

static inline void digest_response(uint64_t *digest, const struct imap_response *response)
{
	digest_number(digest, response->type);
	digest_number(digest, response->condition);
	digest_span(digest, response->tag);
	digest_span(digest, response->text);
	digest_span(digest, response->code.name);
	digest_span(digest, response->code.value);
	digest_number(digest, response->code.number);
	if (response->code.uids) {
		digest_set(digest, response->code.uids);
	}
	if (response->code.source_uids) {
		digest_set(digest, response->code.source_uids);
	}
	digest_number(digest, response->number);
	digest_spans(digest, response->words, response->n_words);
	for (size_t i = 0; i < response->n_numbers; i++) {
		digest_number(digest, response->numbers[i]);
	}
	digest_number(digest, response->modseq);
	digest_span(digest, response->list.mailbox);
	digest_spans(digest, response->list.attributes, response->list.n_attributes);
	digest_span(digest, response->status.mailbox);
	digest_span(digest, response->status.mailbox_id);
	digest_span(digest, response->esearch.tag);
	digest_set(digest, &response->esearch.all);
	digest_set(digest, &response->uids);
	for (size_t i = 0; i < response->n_namespaces; i++) {
		digest_span(digest, response->namespaces[i].prefix);
	}
	digest_fetch(digest, &response->fetch);
}

#endif
