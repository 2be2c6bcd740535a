#include "mail/parts.h"

#include "base/limits.h"

/* One call of RFC 8621's parseStructure(). A list that is "null" there is one that
 * no longer takes parts here, for this multipart and what is inside it. */
struct frame {
	struct mail_part *part; /* borrow: the next one to look at */
	bool is_first;
	bool is_alternative;
	bool is_related;
	bool in_alternative;
	bool takes_text, takes_html;
	size_t n_text, n_html; /* when it began */
};

struct mail_part *mail_part_next(struct mail_part *part, const struct mail_part *root, bool into_messages)
{
	if (part->first_child && (into_messages || !part->is_message)) {
		return part->first_child;
	}
	while (part != root) {
		if (part->next) {
			return part->next;
		}
		part = part->parent;
		if (!part) {
			return NULL;
		}
	}
	return NULL;
}

struct mail_part *mail_part_find(struct mail_part *root, struct span part_id)
{
	struct mail_part *part = root;
	size_t n_seen = 0;

	while (part && n_seen++ < GP_MAX_IMAP_PARTS) {
		if (part->part_id && span_equal_text(part_id, part->part_id)) {
			return part;
		}
		part = mail_part_next(part, root, true);
	}
	return NULL;
}

uint64_t mail_decoded_size(enum mail_encoding encoding, uint64_t encoded_size, bool *is_estimate_out)
{
	*is_estimate_out = encoding != MAIL_ENCODING_IDENTITY;
	switch (encoding) {
	case MAIL_ENCODING_BASE64: /* lines of 76 and CRLF hold 57 bytes */
		return encoded_size / 78 * 57 + encoded_size % 78 * 57 / 78;
	case MAIL_ENCODING_UUENCODE: /* lines of 61 and CRLF hold 45 bytes */
		return encoded_size / 63 * 45 + encoded_size % 63 * 45 / 63;
	case MAIL_ENCODING_QUOTED_PRINTABLE: /* mostly plain text: what it is at most */
	case MAIL_ENCODING_IDENTITY:
		break;
	}
	return encoded_size;
}

static bool type_is(const struct mail_part *part, const char *type)
{
	return part->type && strcmp(part->type, type) == 0;
}

static bool type_starts_with(const struct mail_part *part, const char *prefix)
{
	return part->type && strncmp(part->type, prefix, strlen(prefix)) == 0;
}

static bool is_inline_media(const struct mail_part *part)
{
	return type_starts_with(part, "image/") || type_starts_with(part, "audio/") || type_starts_with(part, "video/");
}

static bool is_multipart(const struct mail_part *part)
{
	return part->is_multipart || type_starts_with(part, "multipart/");
}

/* Is this a body part rather than an attachment? In multipart/related only the
 * first can be; a text part with a name that is not the first is an attachment. */
static bool is_inline(const struct frame *frame, const struct mail_part *part)
{
	if (part->disposition && strcmp(part->disposition, "attachment") == 0) {
		return false;
	}
	if (!type_is(part, "text/plain") && !type_is(part, "text/html") && !is_inline_media(part)) {
		return false;
	}
	return frame->is_first || (!frame->is_related && (is_inline_media(part) || !part->name));
}

static void push(struct mail_part_list *list, struct mail_part *part)
{
	list->items[list->n_items++] = part;
}

static void place_leaf(struct frame *frame, struct mail_part *part, struct mail_choice *choice)
{
	if (!is_inline(frame, part)) {
		push(&choice->attachments, part);
		return;
	}
	if (frame->is_alternative) {
		if (type_is(part, "text/plain")) {
			if (frame->takes_text) {
				push(&choice->text_body, part);
			}
		} else if (type_is(part, "text/html")) {
			if (frame->takes_html) {
				push(&choice->html_body, part);
			}
		} else {
			push(&choice->attachments, part);
		}
		return;
	}
	if (frame->in_alternative) {
		frame->takes_html = frame->takes_html && !type_is(part, "text/plain");
		frame->takes_text = frame->takes_text && !type_is(part, "text/html");
	}
	if (frame->takes_text) {
		push(&choice->text_body, part);
	}
	if (frame->takes_html) {
		push(&choice->html_body, part);
	}
	if ((!frame->takes_text || !frame->takes_html) && is_inline_media(part)) {
		push(&choice->attachments, part);
	}
}

/* The end of a multipart/alternative: where it had only one of HTML and plain text,
 * that stands for the other. Each part comes to be in a list at most once, for a
 * list that got something here does not get it again further out. */
static void close_frame(const struct frame *frame, struct mail_choice *choice)
{
	struct mail_part_list *text = &choice->text_body;
	struct mail_part_list *html = &choice->html_body;

	if (!frame->is_alternative || !frame->takes_text || !frame->takes_html) {
		return;
	}
	if (text->n_items == frame->n_text && html->n_items != frame->n_html) {
		for (size_t i = frame->n_html; i < html->n_items; i++) {
			push(text, html->items[i]);
		}
	} else if (html->n_items == frame->n_html && text->n_items != frame->n_text) {
		for (size_t i = frame->n_text; i < text->n_items; i++) {
			push(html, text->items[i]);
		}
	}
}

static struct frame open_frame(const struct frame *outer, struct mail_part *part, const struct mail_choice *choice)
{
	bool is_alternative = type_is(part, "multipart/alternative");

	return (struct frame){
		.part = part->first_child,
		.is_first = true,
		.is_alternative = is_alternative,
		.is_related = type_is(part, "multipart/related"),
		.in_alternative = outer->in_alternative || is_alternative,
		.takes_text = outer->takes_text,
		.takes_html = outer->takes_html,
		.n_text = choice->text_body.n_items,
		.n_html = choice->html_body.n_items,
	};
}

static void choose(struct mail_part *root, struct frame *stack, struct mail_choice *choice)
{
	size_t depth = 1;

	/* RFC 8621 begins with a list of one part, as if in a multipart/mixed. */
	stack[0] = (struct frame){.part = root, .is_first = true, .takes_text = true, .takes_html = true};
	while (depth > 0) {
		struct frame *frame = &stack[depth - 1];
		struct mail_part *part = frame->part;
		if (!part) {
			close_frame(frame, choice);
			depth--;
			continue;
		}
		frame->part = part == root ? NULL : part->next;
		if (is_multipart(part)) {
			stack[depth] = open_frame(frame, part, choice);
			depth++;
		} else {
			place_leaf(frame, part, choice);
		}
		frame->is_first = false;
	}
}

/* An image that the HTML shows is not one to offer for downloading. */
static bool has_attachment(const struct mail_choice *choice)
{
	bool has_html = false;

	for (size_t i = 0; i < choice->html_body.n_items; i++) {
		has_html = has_html || type_is(choice->html_body.items[i], "text/html");
	}
	for (size_t i = 0; i < choice->attachments.n_items; i++) {
		const struct mail_part *part = choice->attachments.items[i];
		bool is_shown = has_html && type_starts_with(part, "image/") && part->cid &&
				!(part->disposition && strcmp(part->disposition, "attachment") == 0);
		if (!is_shown) {
			return true;
		}
	}
	return false;
}

enum gp_status mail_choose(struct mail_part *root, struct gp_arena *arena, struct mail_choice *choice_out)
{
	struct mail_choice choice = {.has_attachment = false};
	size_t n_leaves = 0;
	size_t n_parts = 0;
	size_t n_multiparts = 0;

	for (struct mail_part *part = root; part; part = mail_part_next(part, root, false)) {
		if (++n_parts > GP_MAX_IMAP_PARTS) {
			return GP_LIMIT;
		}
		n_multiparts += is_multipart(part);
		n_leaves += !is_multipart(part);
	}
	struct mail_part_list *lists[] = {&choice.text_body, &choice.html_body, &choice.attachments};
	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		lists[i]->items = gp_arena_array(arena, n_leaves, sizeof *lists[i]->items);
		if (!lists[i]->items) {
			return GP_NO_MEMORY;
		}
	}
	/* No deeper than there are multiparts. */
	struct frame *stack = gp_arena_array(arena, n_multiparts + 1, sizeof *stack);
	if (!stack) {
		return GP_NO_MEMORY;
	}
	choose(root, stack, &choice);
	choice.has_attachment = has_attachment(&choice);
	*choice_out = choice;
	return GP_OK;
}
