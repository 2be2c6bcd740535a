/* What is composed is read again by GMime, which had no part in it, and by this room. */
#include "unit/mail/support.h"

#include <gmime/gmime.h>
#include <stdlib.h>

#include "mail/compose.h"
#include "mail/header.h"

#define MAX_SIZE (4 * GP_MIB)

static const unsigned char seed[MAIL_COMPOSE_SEED] = "0123456789abcdefghijklm";

/* The whole message, read in pieces of `step` bytes. */
static struct gp_buffer read_all(struct mail_composed *composed, size_t step)
{
	struct gp_buffer whole;
	char *piece = malloc(step);
	size_t n;

	assert_non_null(piece);
	gp_buffer_init(&whole, 64 * GP_MIB);
	while ((n = mail_composed_read(composed, piece, step)) > 0) {
		assert_true(n <= step);
		assert_int_equal(gp_buffer_append(&whole, span_make(piece, n)), GP_OK);
	}
	free(piece);
	return whole;
}

static bool has_bad_line_end(struct span text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] == '\r' ? i + 1 == text.len || text.ptr[i + 1] != '\n'
					: text.ptr[i] == '\n' && (i == 0 || text.ptr[i - 1] != '\r')) {
			return true;
		}
	}
	return false;
}

/* And those of quoted-printable as its own law has it: 76 characters, no blank at the end. */
static void expect_short_lines(struct span text)
{
	ptrdiff_t qp = span_find(text, S("quoted-printable\r\n\r\n"));
	struct span body = qp < 0 ? S("") : span_from(text, (size_t)qp + strlen("quoted-printable\r\n\r\n"));

	while (body.len > 0 && span_find(text, S("multipart/")) < 0) {
		ptrdiff_t end = span_find(body, S("\r\n"));
		size_t len = end < 0 ? body.len : (size_t)end;
		bool is_blank_last = len > 0 && (body.ptr[len - 1] == ' ' || body.ptr[len - 1] == '\t');
		if (len > 76 || is_blank_last) {
			fail_msg("not quoted-printable: %.*s", (int)len, body.ptr);
		}
		body = span_from(body, len + 2);
	}
	while (text.len > 0) {
		ptrdiff_t end = span_find(text, S("\r\n"));
		size_t len = end < 0 ? text.len : (size_t)end;
		if (len > 998) {
			fail_msg("a line of %zu bytes: %.*s", len, 80, text.ptr);
		}
		text = span_from(text, len + 2);
	}
}

/* Composes; the same bytes must come however they are read. */
static struct gp_buffer compose(const struct mail_draft *draft)
{
	struct mail_composed *composed = NULL;
	struct gp_error error = {.status = GP_OK};
	static const size_t steps[] = {1, 7, 77, 78, 79, 4096};

	if (mail_compose(draft, MAX_SIZE, &composed, &error) != GP_OK) {
		fail_msg("not composed: %s", error.text);
	}
	struct gp_buffer whole = read_all(composed, 64 * GP_KIB);
	assert_int_equal(whole.len, mail_composed_size(composed));
	for (size_t i = 0; i < N_OF(steps); i++) {
		mail_composed_rewind(composed);
		struct gp_buffer again = read_all(composed, steps[i]);
		assert_true(span_equal(gp_buffer_span(&again), gp_buffer_span(&whole)));
		gp_buffer_deinit(&again);
	}
	assert_true(span_find(gp_buffer_span(&whole), mail_composed_id(composed)) > 0);
	mail_composed_free(&composed);
	assert_false(has_bad_line_end(gp_buffer_span(&whole)));
	expect_short_lines(gp_buffer_span(&whole));
	return whole;
}

static GMimeMessage *parse(const struct gp_buffer *whole)
{
	GMimeStream *stream = g_mime_stream_mem_new_with_buffer(whole->data, whole->len);
	GMimeParser *parser = g_mime_parser_new_with_stream(stream);
	GMimeMessage *message = g_mime_parser_construct_message(parser, NULL);

	g_object_unref(parser);
	g_object_unref(stream);
	assert_non_null(message);
	return message;
}

/* "mixed(text/plain image/png)" */
static void write_structure(GMimeObject *part, struct gp_buffer *out)
{
	GMimeContentType *type = g_mime_object_get_content_type(part);
	char *name = g_mime_content_type_get_mime_type(type);

	if (out->len > 0 && out->data[out->len - 1] != '(') {
		assert_int_equal(gp_buffer_append_char(out, ' '), GP_OK);
	}
	if (GMIME_IS_MULTIPART(part)) {
		assert_int_equal(gp_buffer_printf(out, "%s(", name + strlen("multipart/")), GP_OK);
		for (int i = 0; i < g_mime_multipart_get_count(GMIME_MULTIPART(part)); i++) {
			write_structure(g_mime_multipart_get_part(GMIME_MULTIPART(part), i), out);
		}
		assert_int_equal(gp_buffer_append_char(out, ')'), GP_OK);
	} else {
		assert_int_equal(gp_buffer_append(out, span_of(name)), GP_OK);
	}
	g_free(name);
}

static void expect_structure(GMimeMessage *message, const char *want)
{
	struct gp_buffer out;

	gp_buffer_init(&out, GP_MIB);
	write_structure(g_mime_message_get_mime_part(message), &out);
	expect_bytes("structure", gp_buffer_span(&out), span_of(want));
	gp_buffer_deinit(&out);
}

/* The n-th leaf, depth first. */
static GMimeObject *find_leaf(GMimeObject *part, int *n)
{
	if (!GMIME_IS_MULTIPART(part)) {
		return (*n)-- == 0 ? part : NULL;
	}
	for (int i = 0; i < g_mime_multipart_get_count(GMIME_MULTIPART(part)); i++) {
		GMimeObject *found = find_leaf(g_mime_multipart_get_part(GMIME_MULTIPART(part), i), n);
		if (found) {
			return found;
		}
	}
	return NULL;
}

static GMimeObject *leaf(GMimeMessage *message, int n)
{
	GMimeObject *found = find_leaf(g_mime_message_get_mime_part(message), &n);

	assert_non_null(found);
	return found;
}

static void expect_content(GMimeObject *part, struct span want)
{
	GMimeStream *stream = g_mime_stream_mem_new();

	assert_true(GMIME_IS_PART(part));
	g_mime_data_wrapper_write_to_stream(g_mime_part_get_content(GMIME_PART(part)), stream);
	GByteArray *bytes = g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(stream));
	expect_bytes("content", span_make((const char *)bytes->data, bytes->len), want);
	g_object_unref(stream);
}

static struct mail_draft small_draft(void)
{
	static struct mail_address from[] = {{.name = SPAN_LIT("Ann"), .email = SPAN_LIT("ann@x.example")}};
	struct mail_draft draft = {.from = {from, 1},
				   .subject = SPAN_LIT("Hello"),
				   .text = SPAN_LIT("One\nTwo\n"),
				   .date = 1767225600,
				   .date_offset = 90};

	memcpy(draft.seed, seed, sizeof draft.seed);
	return draft;
}

/* ---- as bytes ---- */

static void small(void **state)
{
	struct mail_draft draft = small_draft();
	struct gp_buffer whole = compose(&draft);
	(void)state;

	expect_bytes("message", gp_buffer_span(&whole),
		     S("Date: Thu, 01 Jan 2026 01:30:00 +0130\r\n"
		       "From: Ann <ann@x.example>\r\n"
		       "Subject: Hello\r\n"
		       "Message-ID: <303132333435363738396162@x.example>\r\n"
		       "MIME-Version: 1.0\r\n"
		       "Content-Type: text/plain; charset=utf-8\r\n"
		       "Content-Transfer-Encoding: 7bit\r\n"
		       "\r\n"
		       "One\r\nTwo\r\n"));
	gp_buffer_deinit(&whole);
}

static void nothing(void **state)
{
	struct mail_draft draft = {.date = 0, .date_offset = -330};
	struct gp_buffer whole = compose(&draft);
	(void)state;

	expect_bytes("message", gp_buffer_span(&whole),
		     S("Date: Wed, 31 Dec 1969 18:30:00 -0530\r\n"
		       "Message-ID: <000000000000000000000000@localhost.invalid>\r\n"
		       "MIME-Version: 1.0\r\n"
		       "Content-Type: text/plain; charset=utf-8\r\n"
		       "Content-Transfer-Encoding: 7bit\r\n"
		       "\r\n"));
	gp_buffer_deinit(&whole);
}

/* ---- text there and back ---- */

static const struct span texts[] = {
	SPAN_LIT("plain"),
	SPAN_LIT(""),
	SPAN_LIT("two  blanks   between"),
	SPAN_LIT(" one before"),
	SPAN_LIT("one behind "),
	SPAN_LIT("=?utf-8?q?not_encoded?="),
	SPAN_LIT("a =?utf-8?q?b?= c"),
	SPAN_LIT("=?"),
	SPAN_LIT("Gr\xC3\xBC\xC3\x9F"
		 "e aus K\xC3\xB6ln, und noch viele andere sch\xC3\xB6ne Dinge, die lang sind"),
	SPAN_LIT("\xC3\xA9  \xC3\xA9"),
	SPAN_LIT("\xE6\xBC\xA2\xE5\xAD\x97 \xE6\xBC\xA2 a \xE5\xAD\x97"),
	SPAN_LIT("\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80"
		 "\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80"
		 "\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80"),
	SPAN_LIT("\xC2\x85 next line, \xE2\x80\xA8 line separator, \xE2\x80\xAE right to left"),
	SPAN_LIT("\"quoted\" \\ <a@x>, (comment); x: y"),
	SPAN_LIT("J. Doe"),
	SPAN_LIT("O'Neil & Co. <sales>"),
	SPAN_LIT("Re: one subject that is longer than a line of a message ought to be, by some words at the least"),
	SPAN_LIT(
		"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"),
};

static void long_text(struct gp_buffer *out, const char *unit, size_t len)
{
	gp_buffer_init(out, GP_MIB);
	while (out->len + strlen(unit) <= len) {
		assert_int_equal(gp_buffer_append(out, span_of(unit)), GP_OK);
	}
}

static void expect_own(const char *what, struct span raw, struct span want)
{
	struct gp_buffer text;
	bool has_problem = false;

	gp_buffer_init(&text, GP_MIB);
	assert_int_equal(mail_decode_text(raw, &text, &has_problem), GP_OK);
	assert_false(has_problem);
	expect_bytes(what, gp_buffer_span(&text), want);
	gp_buffer_deinit(&text);
}

/* The raw value of a field in the message's head. */
static struct span raw_field(const struct gp_buffer *whole, const char *name, struct gp_arena *arena)
{
	struct mail_field *fields;
	size_t n_fields;
	struct span all = gp_buffer_span(whole);
	ptrdiff_t end = span_find(all, S("\r\n\r\n"));
	struct span found = SPAN_NIL;

	assert_true(end > 0);
	assert_int_equal(mail_parse_fields(span_slice(all, 0, (size_t)end + 2), arena, &fields, &n_fields), GP_OK);
	for (size_t i = 0; i < n_fields; i++) {
		if (span_equal_text_nocase(fields[i].name, name)) {
			assert_true(span_is_nil(found));
			found = fields[i].raw;
		}
	}
	assert_false(span_is_nil(found));
	return found;
}

/* The lines of a field with encoded words have 76 characters at most. */
static void expect_short_words(struct span raw, size_t name_len)
{
	size_t column = name_len + 1;

	if (span_find(raw, S("=?utf-8?")) < 0) {
		return;
	}
	for (size_t i = 0; i < raw.len; i++) {
		if (raw.ptr[i] == '\n') {
			column = 0;
		} else if (raw.ptr[i] != '\r' && ++column > 76) {
			fail_msg("a line of more than 76: %.*s", SPAN_ARGS(raw));
		}
	}
}

static void there_and_back(struct span text)
{
	struct mail_draft draft = small_draft();
	struct mail_address to[] = {{.name = text, .email = S("to@y.example")}, {.name = text, .email = S("too@y")}};
	struct mail_extra_header headers[] = {{.name = S("X-Text"), .value = text},
					      {.name = S("Comments"), .value = text}};
	struct gp_arena arena;

	draft.subject = text;
	draft.to = (struct mail_addresses){to, text.len <= MAIL_MAX_DISPLAY_NAME ? 2 : 0};
	draft.headers = headers;
	draft.n_headers = 2;
	struct gp_buffer whole = compose(&draft);
	gp_arena_init(&arena, GP_MIB);
	expect_own("subject", raw_field(&whole, "Subject", &arena), span_trim(text)); /* readers of text trim */
	expect_own("x-text", raw_field(&whole, "X-Text", &arena), span_trim(text));
	expect_short_words(raw_field(&whole, "Subject", &arena), strlen("Subject"));

	GMimeMessage *message = parse(&whole);
	expect_bytes("subject by GMime", span_of(g_mime_message_get_subject(message)), text);
	for (size_t i = 0; i < draft.to.n_items; i++) {
		InternetAddressList *list = g_mime_message_get_to(message);
		assert_int_equal(internet_address_list_length(list), 2);
		InternetAddress *address = internet_address_list_get_address(list, (int)i);
		const char *name = internet_address_get_name(address);
		expect_bytes("name by GMime", span_of(name ? name : ""), span_trim(text));
		expect_bytes("email by GMime",
			     span_of(internet_address_mailbox_get_addr(INTERNET_ADDRESS_MAILBOX(address))),
			     to[i].email);
	}
	if (draft.to.n_items > 0) {
		expect_short_words(raw_field(&whole, "To", &arena), strlen("To"));
	}
	g_object_unref(message);
	gp_arena_deinit(&arena);
	gp_buffer_deinit(&whole);
}

static void texts_round_trip(void **state)
{
	static const char *const units[] = {"x", "word ", "\xC3\xA9", "\xF0\x9F\x98\x80", "a\xE2\x82\xAC ", "  y"};
	static const size_t lens[] = {50, 61, 64, 77, 900, 901, 1024, 5000};
	(void)state;

	for (size_t i = 0; i < N_OF(texts); i++) {
		print_message("%.*s\n", SPAN_ARGS(texts[i]));
		there_and_back(texts[i]);
	}
	for (size_t i = 0; i < N_OF(units); i++) {
		for (size_t j = 0; j < N_OF(lens); j++) {
			struct gp_buffer text;
			long_text(&text, units[i], lens[j]);
			there_and_back(gp_buffer_span(&text));
			gp_buffer_deinit(&text);
		}
	}
}

static void bodies(void **state)
{
	static const struct {
		struct span text, crlf;
		bool is_plain;
	} cases[] = {
		{S(""), S(""), true},
		{S("Hi"), S("Hi"), true},
		{S("Hi\n"), S("Hi\r\n"), true},
		{S("a\rb\nc\r\nd\n\n\r"), S("a\r\nb\r\nc\r\nd\r\n\r\n\r\n"), true},
		{S("\xC3\xA9\n"), S("\xC3\xA9\r\n"), false},
		{S("blank behind \n"), S("blank behind \r\n"), false},
		{S("tab behind\t"), S("tab behind\t"), false},
		{S("From here\n.\n..\n"), S("From here\r\n.\r\n..\r\n"), false},
		{S("a\x1B[31mb"), S("a\x1B[31mb"), false},
		{S("=20 =\n"), S("=20 =\r\n"), true},
		{S("=\xC3\xA9=20\n"), S("=\xC3\xA9=20\r\n"), false},
		{S("--=_6d6e\n\n--\n"), S("--=_6d6e\r\n\r\n--\r\n"), true},
	};
	(void)state;

	for (size_t i = 0; i < N_OF(cases); i++) {
		struct mail_draft draft = small_draft();
		draft.text = cases[i].text;
		struct gp_buffer whole = compose(&draft);
		bool is_plain = span_find(gp_buffer_span(&whole), S("Encoding: 7bit")) > 0;
		GMimeMessage *message = parse(&whole);
		expect_content(leaf(message, 0), cases[i].crlf);
		if (is_plain != cases[i].is_plain) {
			fail_msg("%.*s", SPAN_ARGS(whole.data ? gp_buffer_span(&whole) : S("")));
		}
		g_object_unref(message);
		gp_buffer_deinit(&whole);
	}
}

/* Lines of every length around where quoted-printable breaks them. */
static void long_lines(void **state)
{
	static const char *const units[] = {"x", "\xC3\xA9", " ", "=", "x\xE2\x82\xAC"};
	(void)state;

	for (size_t i = 0; i < N_OF(units); i++) {
		for (size_t len = 70; len < 240; len++) {
			struct mail_draft draft = small_draft();
			struct gp_buffer text;
			long_text(&text, units[i], len);
			draft.text = gp_buffer_span(&text);
			struct gp_buffer whole = compose(&draft);
			GMimeMessage *message = parse(&whole);
			expect_content(leaf(message, 0), gp_buffer_span(&text));
			g_object_unref(message);
			struct span rest = gp_buffer_span(&whole);
			while (rest.len > 0) {
				ptrdiff_t end = span_find(rest, S("\r\n"));
				size_t line = end < 0 ? rest.len : (size_t)end;
				assert_true(line <= 78);
				rest = span_from(rest, line + 2);
			}
			gp_buffer_deinit(&whole);
			gp_buffer_deinit(&text);
		}
	}
}

/* ---- structure ---- */

static void structures(void **state)
{
	static const struct {
		bool has_text, has_html;
		unsigned n_inline, n_attached;
		const char *structure;
	} cases[] = {
		{true, false, 0, 0, "text/plain"},
		{false, true, 0, 0, "text/html"},
		{false, false, 0, 0, "text/plain"},
		{true, true, 0, 0, "alternative(text/plain text/html)"},
		{true, false, 0, 1, "mixed(text/plain application/pdf)"},
		{false, false, 0, 2, "mixed(application/pdf application/pdf)"},
		{false, true, 1, 0, "related(text/html image/png)"},
		{true, true, 2, 0, "alternative(text/plain related(text/html image/png image/png))"},
		{true, true, 1, 1, "mixed(alternative(text/plain related(text/html image/png)) application/pdf)"},
		{false, true, 1, 1, "mixed(related(text/html image/png) application/pdf)"},
		{false, true, 0, 1, "mixed(text/html application/pdf)"},
		/* no HTML that could show it */
		{true, false, 1, 0, "mixed(text/plain image/png)"},
	};
	(void)state;

	for (size_t i = 0; i < N_OF(cases); i++) {
		struct mail_attachment attachments[4] = {{.cid = SPAN_NIL}};
		struct mail_draft draft = small_draft();
		draft.text = cases[i].has_text ? S("text") : SPAN_NIL;
		draft.html = cases[i].has_html ? S("<p>html</p>") : SPAN_NIL;
		draft.attachments = attachments;
		for (unsigned j = 0; j < cases[i].n_inline; j++) {
			attachments[draft.n_attachments++] = (struct mail_attachment){.type = S("image/png"),
										      .disposition = MAIL_INLINE,
										      .cid = S("pic@x"),
										      .content = S("\x89PNG")};
		}
		for (unsigned j = 0; j < cases[i].n_attached; j++) {
			attachments[draft.n_attachments++] =
				(struct mail_attachment){.type = S("application/pdf"), .content = S("%PDF")};
		}
		struct gp_buffer whole = compose(&draft);
		GMimeMessage *message = parse(&whole);
		expect_structure(message, cases[i].structure);
		if (cases[i].n_inline > 0 && cases[i].has_html) {
			GMimeObject *picture = leaf(message, cases[i].has_text ? 2 : 1);
			expect_content(picture, S("\x89PNG"));
			assert_string_equal(g_mime_object_get_content_id(picture), "pic@x");
			assert_string_equal(g_mime_object_get_disposition(picture), "inline");
		}
		g_object_unref(message);
		gp_buffer_deinit(&whole);
	}
}

/* ---- attachments ---- */

static void names(void **state)
{
	static const struct span more[] = {
		SPAN_LIT("report.pdf"),
		SPAN_LIT("a b.txt"),
		SPAN_LIT("it's 100%.txt"),
		SPAN_LIT("utf-8''x"),
		SPAN_LIT("\xE6\xBC\xA2\xE5\xAD\x97.txt"),
		SPAN_LIT("a; filename=evil.exe"),
		SPAN_LIT("\";\\"),
	};
	(void)state;

	for (size_t i = 0; i < N_OF(texts) + N_OF(more); i++) {
		struct span name = i < N_OF(texts) ? texts[i] : more[i - N_OF(texts)];
		struct mail_attachment attachment = {.name = name, .content = S("x")};
		struct mail_draft draft = small_draft();
		draft.attachments = &attachment;
		draft.n_attachments = 1;
		struct gp_buffer whole = compose(&draft);
		GMimeMessage *message = parse(&whole);
		const char *got = g_mime_object_get_content_disposition_parameter(leaf(message, 1), "filename");
		expect_bytes("file name", span_of(got ? got : ""), name);
		g_object_unref(message);
		gp_buffer_deinit(&whole);
	}
}

static void contents(void **state)
{
	static const char bytes[] = "\0\r\n\n\r--=_\xFF\xFE.\n.\r\nFrom x";
	char *big = malloc(300);
	struct mail_draft draft = small_draft();
	(void)state;

	assert_non_null(big);
	for (size_t i = 0; i < 300; i++) {
		big[i] = bytes[i % sizeof bytes];
	}
	for (size_t len = 0; len <= 300; len++) {
		struct mail_attachment attachments[] = {{.content = span_make(big, len)}, {.content = S("last")}};
		draft.attachments = attachments;
		draft.n_attachments = 2;
		struct gp_buffer whole = compose(&draft);
		GMimeMessage *message = parse(&whole);
		expect_structure(message, "mixed(text/plain application/octet-stream application/octet-stream)");
		expect_content(leaf(message, 0), S("One\r\nTwo\r\n"));
		expect_content(leaf(message, 1), span_make(big, len));
		expect_content(leaf(message, 2), S("last"));
		g_object_unref(message);
		gp_buffer_deinit(&whole);
	}
	free(big);
}

static void types(void **state)
{
	static const struct {
		struct span type, content;
		const char *line; /* NULL: refused */
	} cases[] = {
		{SPAN_NIL, S("x"), "Content-Type: application/octet-stream\r\n"},
		{S("image/png"), S("x"), "Content-Type: image/png\r\n"},
		{S("text/plain"), S("x"), "Content-Type: text/plain\r\n"},
		{S("text/plain"), S("\xC3\xA9"), "Content-Type: text/plain; charset=utf-8\r\n"},
		{S("text/plain"), S("\xE9"), "Content-Type: text/plain\r\n"},
		{S("text/plain; charset=iso-8859-1"), S("\xC3\xA9"),
		 "Content-Type: text/plain; charset=iso-8859-1\r\n"},
		{S("text/calendar ; method=REQUEST;x=\"a \\\"b\";"), S("x"),
		 "Content-Type: text/calendar; method=REQUEST; x=\"a \\\"b\"\r\n"},
		{S(""), S("x"), NULL},
		{S("image"), S("x"), NULL},
		{S("image/"), S("x"), NULL},
		{S("/png"), S("x"), NULL},
		{S("a/b/c"), S("x"), NULL},
		{S("image/png\r\nX: y"), S("x"), NULL},
		{S("image/png; a"), S("x"), NULL},
		{S("image/png; a="), S("x"), NULL},
		{S("image/png; a=b c"), S("x"), NULL},
		{S("image/png; a=\"b"), S("x"), NULL},
		{S("image/png; a=\"b\\"), S("x"), NULL},
		{S("image/png; a=\"b\r\n\""), S("x"), NULL},
		{S("image/png; a=b; A=c"), S("x"), NULL},
		{S("image/png; name=x.png"), S("x"), NULL},
		{S("image/png; name*=utf-8''x"), S("x"), NULL},
		{S("multipart/mixed; boundary=x"), S("x"), NULL},
		{S("Multipart/Form-Data"), S("x"), NULL},
	};
	(void)state;

	for (size_t i = 0; i < N_OF(cases); i++) {
		struct mail_attachment attachment = {.type = cases[i].type, .content = cases[i].content};
		struct mail_draft draft = small_draft();
		struct gp_error error = {.status = GP_OK};
		draft.attachments = &attachment;
		draft.n_attachments = 1;
		print_message("%.*s\n", SPAN_ARGS(cases[i].type));
		if (!cases[i].line) {
			assert_int_equal(mail_draft_check(&draft, &error), GP_INVALID);
			assert_non_null(strstr(error.text, "attachments[0].type: "));
			continue;
		}
		struct gp_buffer whole = compose(&draft);
		if (span_find(gp_buffer_span(&whole), span_of(cases[i].line)) < 0) {
			fail_msg("%.*s", SPAN_ARGS(gp_buffer_span(&whole)));
		}
		gp_buffer_deinit(&whole);
	}
}

/* A message is attached as it is. */
static void messages(void **state)
{
	static const struct {
		struct span content, stored;
		const char *encoding;
	} cases[] = {
		{S("Subject: a\r\n\r\nb\r\n"), S("Subject: a\r\n\r\nb\r\n"), "7bit"},
		{S("Subject: a\n\nb"), S("Subject: a\r\n\r\nb"), "7bit"},
		{S("Subject: a\r\n\r\n\xC3\xA9\r\n"), S("Subject: a\r\n\r\n\xC3\xA9\r\n"), "8bit"},
		{S("Subject: a\r\n\r\n\xFF\r"), S("Subject: a\r\n\r\n\xFF\r\n"), "8bit"},
	};
	(void)state;

	for (size_t i = 0; i < N_OF(cases); i++) {
		struct mail_attachment attachment = {.type = S("message/rfc822"), .content = cases[i].content};
		struct mail_draft draft = small_draft();
		struct gp_buffer want;
		draft.attachments = &attachment;
		draft.n_attachments = 1;
		struct gp_buffer whole = compose(&draft);
		gp_buffer_init(&want, GP_MIB);
		assert_int_equal(gp_buffer_printf(&want, "Content-Transfer-Encoding: %s\r\n\r\n%.*s\r\n--=_",
						  cases[i].encoding, SPAN_ARGS(cases[i].stored)),
				 GP_OK);
		if (span_find(gp_buffer_span(&whole), gp_buffer_span(&want)) < 0) {
			fail_msg("%.*s", SPAN_ARGS(gp_buffer_span(&whole)));
		}
		/* what is around it says so too */
		bool is_8bit = strcmp(cases[i].encoding, "8bit") == 0;
		ptrdiff_t head = span_find(gp_buffer_span(&whole), S("\r\n\r\n"));
		assert_true((span_find(span_slice(gp_buffer_span(&whole), 0, (size_t)head), S("8bit")) > 0) == is_8bit);
		gp_buffer_deinit(&want);
		gp_buffer_deinit(&whole);
	}

	struct mail_attachment bad = {.type = S("message/rfc822"), .content = S("Subject: a\0\r\n")};
	struct mail_composed *composed;
	struct gp_error error = {.status = GP_OK};
	struct mail_draft draft = small_draft();
	draft.attachments = &bad;
	draft.n_attachments = 1;
	assert_int_equal(mail_compose(&draft, MAX_SIZE, &composed, &error), GP_INVALID);
	assert_non_null(strstr(error.text, "attachments[0]: the message holds the character NUL"));
}

/* ---- what must not pass ---- */

static void injections(void **state)
{
	static const struct span bad[] = {
		SPAN_LIT("a\r\nX-Evil: 1"), SPAN_LIT("a\nX-Evil: 1"), SPAN_LIT("a\rX-Evil: 1"),
		SPAN_LIT("a\r\n\r\nbody"),  SPAN_LIT("a\0b"),         SPAN_LIT("a\x1B"),
		SPAN_LIT("a\x7F"),          SPAN_LIT("\xFF"),         SPAN_LIT("\xC0\x8A"),
		SPAN_LIT("a\tb"),
	};
	struct mail_address address[1];
	struct mail_extra_header header;
	struct mail_attachment attachment;
	struct span id;
	(void)state;

	for (size_t i = 0; i < N_OF(bad); i++) {
		struct span text = bad[i];
		const struct {
			const char *says;
			struct mail_draft draft;
		} cases[] = {
			{"subject: ", {.subject = text}},
			{"from[0].name: ", {.from = {address, 1}}},
			{"bcc[0].name: ", {.bcc = {address, 1}}},
			{"headers.X-A: ", {.headers = &header, .n_headers = 1}},
			{"attachments[0].name: ", {.attachments = &attachment, .n_attachments = 1}},
			{"messageId: ", {.message_id = text}},
			{"inReplyTo[0]: ", {.in_reply_to = {&id, 1}}},
			{"references[0]: ", {.references = {&id, 1}}},
		};
		address[0] = (struct mail_address){.name = text, .email = S("a@x")};
		header = (struct mail_extra_header){.name = S("X-A"), .value = text};
		attachment = (struct mail_attachment){.name = text};
		id = text;
		for (size_t j = 0; j < N_OF(cases); j++) {
			struct gp_error error = {.status = GP_OK};
			assert_int_equal(mail_draft_check(&cases[j].draft, &error), GP_INVALID);
			if (strstr(error.text, cases[j].says) != error.text) {
				fail_msg("%s does not say %s", error.text, cases[j].says);
			}
		}
		/* as a name of a field, an address, a cid, a type */
		struct gp_error error = {.status = GP_OK};
		address[0] = (struct mail_address){.email = text};
		header.name = text;
		header.value = S("v");
		attachment = (struct mail_attachment){.cid = text};
		assert_int_equal(mail_draft_check(&cases[1].draft, &error), GP_INVALID);
		assert_int_equal(mail_draft_check(&cases[3].draft, &error), GP_INVALID);
		assert_int_equal(mail_draft_check(&cases[4].draft, &error), GP_INVALID);
		attachment = (struct mail_attachment){.type = text};
		assert_int_equal(mail_draft_check(&cases[4].draft, &error), GP_INVALID);
	}
}

static void ids(void **state)
{
	static const struct span bad[] = {SPAN_LIT(""),     SPAN_LIT("a@x>"),       SPAN_LIT("<a@x"),
					  SPAN_LIT("a @x"), SPAN_LIT("a@\xC3\xA9"), SPAN_LIT("a@x> <b@x")};
	(void)state;

	for (size_t i = 0; i < N_OF(bad); i++) {
		struct span id = bad[i];
		struct mail_attachment attachment = {.cid = id};
		const struct mail_draft drafts[] = {{.message_id = id},
						    {.references = {&id, 1}},
						    {.in_reply_to = {&id, 1}},
						    {.attachments = &attachment, .n_attachments = 1}};
		for (size_t j = 0; j < N_OF(drafts); j++) {
			struct gp_error error = {.status = GP_OK};
			assert_int_equal(mail_draft_check(&drafts[j], &error), GP_INVALID);
		}
	}
	/* the ids of other programs need no "@", a Message-ID of ours does */
	struct span odd = S("0123$abc");
	struct gp_error error = {.status = GP_OK};
	assert_int_equal(mail_draft_check(&(struct mail_draft){.references = {&odd, 1}}, &error), GP_OK);
	assert_int_equal(mail_draft_check(&(struct mail_draft){.message_id = odd}, &error), GP_INVALID);
}

static void header_names(void **state)
{
	static const struct {
		struct span name;
		const char *says; /* NULL: good */
	} cases[] = {
		{S("X-Name"), NULL},
		{S("Auto-Submitted"), NULL},
		{S("List-Id"), NULL},
		{S("Fromage"), NULL},
		{S("From"), "'from'"},
		{S("FROM"), "'from'"},
		{S("sender"), "'sender'"},
		{S("Reply-To"), "'replyTo'"},
		{S("To"), "'to'"},
		{S("Cc"), "'cc'"},
		{S("bcc"), "'bcc'"},
		{S("Subject"), "'subject'"},
		{S("Date"), "'sentAt'"},
		{S("Message-Id"), "'messageId'"},
		{S("In-Reply-To"), "'inReplyTo'"},
		{S("References"), "'references'"},
		{S("MIME-Version"), "made by the gateway"},
		{S("Content-Type"), "made by the gateway"},
		{S("content-anything"), "made by the gateway"},
		{S("Resent-From"), "not been sent"},
		{S("Received"), "not been sent"},
		{S(""), "not the name"},
		{S("X Name"), "not the name"},
		{S("X-Name:"), "not the name"},
		{S("X-N\xC3\xA4me"), "not the name"},
		{S("From "), "not the name"},
	};
	(void)state;

	for (size_t i = 0; i < N_OF(cases); i++) {
		struct mail_extra_header header = {.name = cases[i].name, .value = S("v")};
		struct mail_draft draft = {.headers = &header, .n_headers = 1};
		struct gp_error error = {.status = GP_OK};
		print_message("%.*s\n", SPAN_ARGS(cases[i].name));
		assert_int_equal(mail_draft_check(&draft, &error), cases[i].says ? GP_INVALID : GP_OK);
		if (cases[i].says) {
			assert_non_null(strstr(error.text, cases[i].says));
		}
	}
}

static void limits(void **state)
{
	struct mail_draft draft = small_draft();
	struct mail_composed *composed = NULL;
	struct gp_error error = {.status = GP_OK};
	struct mail_attachment attachment = {.content = S("0123456789")};
	(void)state;

	draft.attachments = &attachment;
	draft.n_attachments = 1;
	struct gp_buffer whole = compose(&draft);
	assert_int_equal(mail_compose(&draft, whole.len, &composed, &error), GP_OK);
	mail_composed_free(&composed);
	for (size_t size = 1; size < whole.len; size++) {
		gp_error_clear(&error);
		assert_int_equal(mail_compose(&draft, size, &composed, &error), GP_LIMIT);
		assert_null(composed);
	}
	gp_buffer_deinit(&whole);

	/* many addresses and ids: every line stays short */
	struct mail_address *many = calloc(MAIL_MAX_RECIPIENTS + 1, sizeof *many);
	struct span *ids = calloc(MAIL_MAX_REFERENCES + 1, sizeof *ids);
	assert_non_null(many);
	assert_non_null(ids);
	for (size_t i = 0; i <= MAIL_MAX_RECIPIENTS; i++) {
		many[i] = (struct mail_address){.name = S("Some Body"), .email = S("some.body@example.com")};
		ids[i] = S("0123456789.0123456789@example.com");
	}
	draft.to = (struct mail_addresses){many, MAIL_MAX_RECIPIENTS};
	draft.references = (struct mail_ids){ids, MAIL_MAX_REFERENCES};
	whole = compose(&draft);
	GMimeMessage *message = parse(&whole);
	assert_int_equal(internet_address_list_length(g_mime_message_get_to(message)), MAIL_MAX_RECIPIENTS);
	g_object_unref(message);
	gp_buffer_deinit(&whole);
	draft.to.n_items++;
	assert_int_equal(mail_draft_check(&draft, &error), GP_INVALID);
	draft.to.n_items--;
	draft.references.n_items++;
	assert_int_equal(mail_draft_check(&draft, &error), GP_INVALID);
	free(many);
	free(ids);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small),        cmocka_unit_test(nothing),    cmocka_unit_test(texts_round_trip),
		cmocka_unit_test(bodies),       cmocka_unit_test(long_lines), cmocka_unit_test(structures),
		cmocka_unit_test(names),        cmocka_unit_test(contents),   cmocka_unit_test(types),
		cmocka_unit_test(messages),     cmocka_unit_test(injections), cmocka_unit_test(ids),
		cmocka_unit_test(header_names), cmocka_unit_test(limits),
	};
	mail_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
