#include "unit/mail/support.h"

#include <stdlib.h>

#include "mail/parts.h"

/* A tree is written as RFC 8621 draws it, one part a line, one blank for each level:
 *   type [disposition=…] [name=…] [cid=…] = letter
 * and the wanted lists are the letters. */
struct choose_case {
	const char *name;
	const char *tree;
	const char *text, *html, *attachments;
	bool has_attachment;
};

enum { MAX_PARTS = 40, MAX_DEPTH = 20 };

static char *copy_word(struct gp_arena *arena, const char *from)
{
	char *copy = gp_arena_strdup(arena, span_make(from, strcspn(from, " \n")));

	assert_non_null(copy);
	return copy;
}

static struct mail_part *parse_line(struct gp_arena *arena, const char *line)
{
	struct mail_part *part = gp_arena_new(arena, struct mail_part);
	assert_non_null(part);
	part->type = copy_word(arena, line);
	part->is_multipart = strncmp(part->type, "multipart/", 10) == 0;
	part->is_message = strcmp(part->type, "message/rfc822") == 0;
	for (const char *p = line; *p && *p != '\n'; p++) {
		if (strncmp(p, " name=", 6) == 0) {
			part->name = copy_word(arena, p + 6);
		} else if (strncmp(p, " cid=", 5) == 0) {
			part->cid = copy_word(arena, p + 5);
		} else if (strncmp(p, " disposition=", 13) == 0) {
			part->disposition = copy_word(arena, p + 13);
		} else if (strncmp(p, " = ", 3) == 0) {
			part->part_id = copy_word(arena, p + 3);
		}
	}
	return part;
}

static struct mail_part *parse_tree(struct gp_arena *arena, const char *tree)
{
	struct mail_part *last[MAX_DEPTH] = {NULL}; /* of each level */

	for (const char *line = tree; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		size_t level = strspn(line, " ");
		assert_true(level < MAX_DEPTH);
		struct mail_part *part = parse_line(arena, line + level);
		if (level > 0) {
			struct mail_part *parent = last[level - 1];
			part->parent = parent;
			struct mail_part **link = &parent->first_child;
			while (*link) {
				link = &(*link)->next;
			}
			*link = part;
		}
		last[level] = part;
	}
	return last[0];
}

static void expect_list(const char *name, const char *which, const struct mail_part_list *list, const char *want)
{
	char got[MAX_PARTS + 1] = "";

	assert_true(list->n_items <= MAX_PARTS);
	for (size_t i = 0; i < list->n_items; i++) {
		got[i] = list->items[i]->part_id[0];
	}
	if (strcmp(got, want) != 0) {
		fail_msg("%s, %s: got %s, want %s", name, which, got, want);
	}
}

static void test_choose(void **state)
{
	static const struct choose_case cases[] = {
		{"RFC 8621, section 4.1.4",
		 "multipart/mixed\n"
		 " text/plain disposition=inline = A\n"
		 " multipart/mixed\n"
		 "  multipart/alternative\n"
		 "   multipart/mixed\n"
		 "    text/plain disposition=inline = B\n"
		 "    image/jpeg disposition=inline = C\n"
		 "    text/plain disposition=inline = D\n"
		 "   multipart/related\n"
		 "    text/html = E\n"
		 "    image/jpeg = F\n"
		 "  image/jpeg disposition=attachment = G\n"
		 "  application/x-excel = H\n"
		 "  message/rfc822 = J\n"
		 " text/plain disposition=inline = K\n",
		 "ABCDK", "AEK", "CFGHJ", true},
		{"plain", "text/plain = A\n", "A", "A", "", false},
		{"html", "text/html = A\n", "A", "A", "", false},
		{"image alone", "image/png = A\n", "A", "A", "", false},
		{"pdf alone", "application/pdf = A\n", "", "", "A", true},
		{"attached text alone", "text/plain disposition=attachment = A\n", "", "", "A", true},
		{"text alone with a name", "text/plain name=a.txt = A\n", "A", "A", "", false},
		{"other text", "text/calendar = A\n", "", "", "A", true},
		{"message alone", "message/rfc822 = A\n multipart/mixed\n  text/plain = B\n", "", "", "A", true},
		{"empty multipart", "multipart/mixed\n", "", "", "", false},
		{"alternative", "multipart/alternative\n text/plain = A\n text/html = B\n", "A", "B", "", false},
		{"alternative, html only", "multipart/alternative\n text/html = A\n", "A", "A", "", false},
		{"alternative, text only", "multipart/alternative\n text/plain = A\n", "A", "A", "", false},
		{"alternative, calendar",
		 "multipart/alternative\n text/plain = A\n text/html = B\n text/calendar = C\n", "A", "B", "C", true},
		{"alternative, image", "multipart/alternative\n text/plain = A\n image/png = B\n", "A", "A", "B", true},
		{"alternative, image with an id and no html",
		 "multipart/alternative\n text/plain = A\n image/png cid=x = B\n", "A", "A", "B", true},
		{"alternative, two of each",
		 "multipart/alternative\n text/plain = A\n text/plain = B\n text/html = C\n text/html = D\n", "AB",
		 "CD", "", false},
		{"alternative, named text is not first",
		 "multipart/alternative\n text/plain = A\n text/html name=a.html = B\n", "A", "A", "B", true},
		{"mixed", "multipart/mixed\n text/plain = A\n application/pdf = B\n", "A", "A", "B", true},
		{"mixed, inline image", "multipart/mixed\n text/plain = A\n image/png = B\n text/plain = C\n", "ABC",
		 "ABC", "", false},
		{"mixed, inline image with a name",
		 "multipart/mixed\n text/plain = A\n image/png disposition=inline name=a.png = B\n", "AB", "AB", "",
		 false},
		{"mixed, second text with a name",
		 "multipart/mixed\n text/plain name=a.txt = A\n text/plain name=b.txt = B\n", "A", "A", "B", true},
		{"mixed, text then html", "multipart/mixed\n text/plain = A\n text/html = B\n", "AB", "AB", "", false},
		{"related", "multipart/related\n text/html = A\n image/png cid=x = B\n", "A", "A", "B", false},
		{"related, image without an id", "multipart/related\n text/html = A\n image/png = B\n", "A", "A", "B",
		 true},
		{"related, image for downloading",
		 "multipart/related\n text/html = A\n image/png cid=x disposition=attachment = B\n", "A", "A", "B",
		 true},
		{"related, pdf with an id", "multipart/related\n text/html = A\n application/pdf cid=x = B\n", "A", "A",
		 "B", true},
		{"related in alternative",
		 "multipart/alternative\n"
		 " text/plain = A\n"
		 " multipart/related\n"
		 "  text/html = B\n"
		 "  image/png cid=x disposition=inline = C\n",
		 "A", "B", "C", false},
		{"alternative in related",
		 "multipart/related\n"
		 " multipart/alternative\n"
		 "  text/plain = A\n"
		 "  text/html = B\n"
		 " image/png cid=x = C\n",
		 "A", "B", "C", false},
		{"Apple Mail: html and images mixed in alternative",
		 "multipart/alternative\n"
		 " text/plain = A\n"
		 " multipart/mixed\n"
		 "  text/html = B\n"
		 "  image/png = C\n"
		 "  text/html = D\n",
		 "A", "BCD", "C", true},
		{"outer list taken away is given back outside",
		 "multipart/mixed\n"
		 " multipart/alternative\n"
		 "  multipart/mixed\n"
		 "   text/html = A\n"
		 "  text/plain = B\n"
		 " text/plain = C\n",
		 "BC", "AC", "", false},
		{"alternative in a mixed that has left text behind",
		 "multipart/alternative\n"
		 " multipart/mixed\n"
		 "  text/html = A\n"
		 "  multipart/alternative\n"
		 "   text/plain = B\n"
		 "   text/html = C\n",
		 "AC", "AC", "", false},
		{"alternatives in alternatives, one text",
		 "multipart/alternative\n multipart/alternative\n  multipart/alternative\n   text/plain = A\n", "A",
		 "A", "", false},
		{"signed",
		 "multipart/signed\n"
		 " multipart/alternative\n"
		 "  text/plain = A\n"
		 "  text/html = B\n"
		 " application/pgp-signature name=signature.asc = C\n",
		 "A", "B", "C", true},
		{"encrypted", "multipart/encrypted\n application/pgp-encrypted = A\n application/octet-stream = B\n",
		 "", "", "AB", true},
		{"report",
		 "multipart/report\n text/plain = A\n message/delivery-status = B\n message/rfc822 = C\n  text/plain = "
		 "D\n",
		 "A", "A", "BC", true},
		{"digest",
		 "multipart/mixed\n text/plain = A\n multipart/digest\n  message/rfc822 = B\n   text/plain = C\n"
		 "  message/rfc822 = D\n",
		 "A", "A", "BD", true},
		{"multipart that is not first in related",
		 "multipart/related\n text/html = A\n multipart/mixed\n  text/plain = B\n  image/png = C\n", "ABC",
		 "ABC", "", false},
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		struct gp_arena arena;
		struct mail_choice choice;
		gp_arena_init(&arena, GP_MIB);
		struct mail_part *root = parse_tree(&arena, cases[i].tree);
		assert_int_equal(mail_choose(root, &arena, &choice), GP_OK);
		expect_list(cases[i].name, "text", &choice.text_body, cases[i].text);
		expect_list(cases[i].name, "html", &choice.html_body, cases[i].html);
		expect_list(cases[i].name, "attachments", &choice.attachments, cases[i].attachments);
		if (choice.has_attachment != cases[i].has_attachment) {
			fail_msg("%s: has_attachment is %d", cases[i].name, choice.has_attachment);
		}
		gp_arena_deinit(&arena);
	}
}

static struct mail_part *chain(struct mail_part *parts, size_t n, bool is_deep)
{
	for (size_t i = 0; i < n; i++) {
		parts[i] = (struct mail_part){.type = is_deep ? "multipart/alternative" : "text/plain",
					      .is_multipart = is_deep};
		if (i > 0 && is_deep) {
			parts[i - 1].first_child = &parts[i];
			parts[i].parent = &parts[i - 1];
		} else if (i > 0) {
			parts[i].parent = &parts[0];
			*(i == 1 ? &parts[0].first_child : &parts[i - 1].next) = &parts[i];
		}
	}
	if (is_deep) {
		parts[n - 1].is_multipart = false;
		parts[n - 1].type = "text/plain";
	} else {
		parts[0].type = "multipart/alternative";
		parts[0].is_multipart = true;
	}
	return &parts[0];
}

static void test_choose_limits(void **state)
{
	struct mail_part *parts = calloc(GP_MAX_IMAP_PARTS + 1, sizeof *parts);

	(void)state;
	assert_non_null(parts);
	for (int is_deep = 0; is_deep < 2; is_deep++) {
		struct gp_arena arena;
		struct mail_choice choice;
		struct mail_part *root = chain(parts, GP_MAX_IMAP_PARTS, is_deep);
		gp_arena_init(&arena, 4 * GP_MIB);
		assert_int_equal(mail_choose(root, &arena, &choice), GP_OK);
		assert_int_equal(choice.text_body.n_items, is_deep ? 1 : GP_MAX_IMAP_PARTS - 1);
		assert_int_equal(choice.html_body.n_items, choice.text_body.n_items);
		gp_arena_deinit(&arena);
		gp_arena_init(&arena, 100);
		assert_int_equal(mail_choose(root, &arena, &choice), GP_NO_MEMORY);
		gp_arena_deinit(&arena);
		gp_arena_init(&arena, 4 * GP_MIB);
		root = chain(parts, GP_MAX_IMAP_PARTS + 1, is_deep);
		assert_int_equal(mail_choose(root, &arena, &choice), GP_LIMIT);
		gp_arena_deinit(&arena);
	}
	free(parts);
}

static void test_no_type(void **state)
{
	struct gp_arena arena;
	struct mail_choice choice;
	struct mail_part part = {.type = NULL};

	(void)state;
	gp_arena_init(&arena, GP_MIB);
	assert_int_equal(mail_choose(&part, &arena, &choice), GP_OK);
	assert_int_equal(choice.attachments.n_items, 1);
	assert_true(choice.has_attachment);
	gp_arena_deinit(&arena);
}

/* The first letters of the part ids, as a walk meets them. */
static void expect_walk(struct mail_part *root, bool into_messages, const char *want)
{
	char got[MAX_PARTS + 1] = "";
	size_t len = 0;

	for (struct mail_part *part = root; part; part = mail_part_next(part, root, into_messages)) {
		assert_true(len < MAX_PARTS);
		got[len++] = part->part_id[0];
	}
	assert_string_equal(got, want);
}

static void test_walk(void **state)
{
	static const char tree[] = "multipart/mixed = r\n"
				   " text/plain = 1\n"
				   " message/rfc822 = 2\n"
				   "  multipart/mixed = m\n"
				   "   text/plain = 3\n"
				   "   text/html = 4\n"
				   " multipart/mixed = n\n"
				   " text/plain = 5\n";
	struct gp_arena arena;

	(void)state;
	gp_arena_init(&arena, GP_MIB);
	struct mail_part *root = parse_tree(&arena, tree);
	expect_walk(root, true, "r12m34n5");
	expect_walk(root, false, "r12n5");
	/* A walk of a part ends with it. */
	struct mail_part *message = mail_part_find(root, S("2"));
	assert_non_null(message);
	expect_walk(message, true, "2m34");
	assert_string_equal(mail_part_find(root, S("4"))->type, "text/html");
	assert_null(mail_part_find(root, S("9")));
	assert_null(mail_part_find(root, S("")));
	assert_null(mail_part_find(root, SPAN_NIL));
	gp_arena_deinit(&arena);
}

static void test_size(void **state)
{
	static const struct {
		enum mail_encoding encoding;
		uint64_t encoded, want;
		bool is_estimate;
	} cases[] = {
		{MAIL_ENCODING_IDENTITY, 1234, 1234, false},
		{MAIL_ENCODING_BASE64, 0, 0, true},
		{MAIL_ENCODING_BASE64, 78, 57, true},
		{MAIL_ENCODING_BASE64, 7800078, 5700057, true},
		{MAIL_ENCODING_BASE64, UINT64_MAX, UINT64_C(13480312976941595410), true},
		{MAIL_ENCODING_QUOTED_PRINTABLE, 1000, 1000, true},
		{MAIL_ENCODING_UUENCODE, 63, 45, true},
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		bool is_estimate = !cases[i].is_estimate;
		assert_int_equal(mail_decoded_size(cases[i].encoding, cases[i].encoded, &is_estimate), cases[i].want);
		assert_int_equal(is_estimate, cases[i].is_estimate);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_choose), cmocka_unit_test(test_choose_limits), cmocka_unit_test(test_no_type),
		cmocka_unit_test(test_walk),   cmocka_unit_test(test_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
