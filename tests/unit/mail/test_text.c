#include "unit/mail/support.h"

#include <stdlib.h>

#include "mail/text.h"

struct preview_case {
	const char *name;
	const char *in, *want;
};

static void run_previews(const struct preview_case *cases, size_t n_cases, bool is_html)
{
	for (size_t i = 0; i < n_cases; i++) {
		struct gp_buffer out;
		size_t len = strlen(cases[i].in);
		char *copy = malloc(len ? len : 1);
		assert_non_null(copy);
		memcpy(copy, cases[i].in, len);
		gp_buffer_init(&out, GP_MIB);
		assert_int_equal(mail_preview(span_make(copy, len), is_html, &out), GP_OK);
		expect_bytes(cases[i].name, gp_buffer_span(&out), span_of(cases[i].want));
		expect_text(cases[i].name, gp_buffer_span(&out));
		gp_buffer_deinit(&out);
		free(copy);
	}
}

static void test_preview_plain(void **state)
{
	static const struct preview_case cases[] = {
		{"nothing", "", ""},
		{"blank", " \r\n\t\r\n", ""},
		{"folded", "  Hello,\r\n\r\n  world\t!  \r\n", "Hello, world !"},
		{"no-break and ideographic space",
		 "a\xC2\xA0\xC2\xA0"
		 "b\xE3\x80\x80"
		 "c",
		 "a b c"},
		{"controls",
		 "a\x01"
		 "b\x7F"
		 "c",
		 "a b c"},
		{"without width",
		 "a\xE2\x80\x8B"
		 "b \xE2\x80\x8C c \xEF\xBB\xBF",
		 "ab c"},
		{"joiner between letters stays", "\xD9\x85\xE2\x80\x8C\xD9\x85", "\xD9\x85\xE2\x80\x8C\xD9\x85"},
		{"quote", "Yes.\n> Really?\n>> Or not?\nNo.", "Yes. No."},
		{"attribution", "Yes.\n\nOn Mon, 23 Nov 2026, Ann wrote:\n> Really?\n", "Yes."},
		{"attribution, blank before the quote", "On Monday Ann wrote:\r\n\r\n> Really?\r\nYes.\r\n", "Yes."},
		{"attribution on two lines", "On Mon, 23 Nov 2026 Ann Example\n<ann@example.org> wrote:\n> x\nYes.",
		 "Yes."},
		{"attribution in German", "Am 23.11.2026 schrieb Ann:\n> x\nJa.", "Ja."},
		{"no attribution: no quote", "On Monday Ann wrote:\nmany lines", "On Monday Ann wrote: many lines"},
		{"no attribution: not wrote", "On Monday\n> x\nYes.", "On Monday Yes."},
		{"begins with On", "On it goes.\nAnd on.", "On it goes. And on."},
		{"On at the end", "Yes.\nOn", "Yes. On"},
		{"signature", "Hello\n-- \nAnn Example", "Hello"},
		{"signature, CR LF", "Hello\r\n-- \r\nAnn Example", "Hello"},
		{"no signature", "Hello\n--\nAnn\n--  \nBob", "Hello -- Ann -- Bob"},
		{"held text before a signature", "On it goes\n-- \nAnn", "On it goes"},
		{"only a quote", "> Really?\n> Yes.", "> Really? > Yes."},
		{"only an attribution and a quote", "On Monday Ann wrote:\n> x", "On Monday Ann wrote: > x"},
		{"only a signature", "-- \nAnn", "-- Ann"},
	};

	(void)state;
	run_previews(cases, N_OF(cases), false);
}

static void test_preview_html(void **state)
{
	static const struct preview_case cases[] = {
		{"nothing", "", ""},
		{"tags", "<p>Hello,</p><p>w<b>or</b>ld<br>!</p>", "Hello, world !"},
		{"source line ends", "a\nb\r\n  c", "a b c"},
		{"head", "<html><head><title>T</title><meta charset=x><style>p{}</style>x</head><body>Hi</body></html>",
		 "Hi"},
		{"head without an end", "<head><title>T</title><p>Hi", "Hi"},
		{"style and script", "a<style>b{c:d}</style>e<SCRIPT>if (a<b) f('</p>')</ScRiPt >g", "aeg"},
		{"style without an end", "a<style>b", "a"},
		{"comment", "a<!-- b > c -- d -->e<!---->f<!-->g", "aefg"},
		{"comment without an end", "a<!-- b", "a"},
		{"conditional comment", "<!--[if mso]><p>x</p><![endif]-->a<![if !mso]>b<![endif]>", "ab"},
		{"doctype", "<!DOCTYPE html><?xml version='1.0'?>a", "a"},
		{"sign in an attribute", "<a title=\"1 > 0\" href='x>y'>a</a>b", "ab"},
		{"quote outside an attribute", "<a it's>a</a>b", "ab"},
		{"tag without an end", "a<p class=", "a"},
		{"less-than sign", "1 < 2 <3 </ 4 <", "1 < 2 <3 </ 4 <"},
		{"table cells", "<td>a</td><td>b</td>", "a b"},
		{"named", "&lt;a&gt;&amp;&quot;&apos;&eacute;&euro;&hellip;&nbsp;&copy;",
		 "<a>&\"'\xC3\xA9\xE2\x82\xAC\xE2\x80\xA6 \xC2\xA9"},
		{"named, no semicolon", "a &amp b &ampc &eacute d", "a & b &c &eacute d"},
		{"not named", "&bogus; &eacut; &zet; &; & &Eacutes; &thetasymx; &averyverylongname;",
		 "&bogus; &eacut; &zet; &; & &Eacutes; &thetasymx; &averyverylongname;"},
		{"case matters", "&Eacute;&eacute;&Prime;&prime;", "\xC3\x89\xC3\xA9\xE2\x80\xB3\xE2\x80\xB2"},
		{"first and last", "&AElig;&zwnj;x&zeta;", "\xC3\x86\xE2\x80\x8Cx\xCE\xB6"},
		{"numbers", "&#233;&#xE9;&#XE9;&#128231;&#233", "\xC3\xA9\xC3\xA9\xC3\xA9\xF0\x9F\x93\xA7\xC3\xA9"},
		{"numbers of windows-1252", "&#128;&#150;", "\xE2\x82\xAC\xE2\x80\x93"},
		{"no numbers", "&#; &#x; &#xg; &#", "&#; &#x; &#xg; &#"},
		{"numbers of nothing", "&#0;&#xD800;&#x110000;&#99999999999999999999;", FFFD FFFD FFFD FFFD},
		{"quote", "<p>Yes.</p><blockquote><p>Really?</p></blockquote><p>No.</p>", "Yes. No."},
		{"quote in a quote", "a<blockquote>b<blockquote>c</blockquote>d</blockquote></blockquote>e", "a e"},
		{"attribution",
		 "<div>Yes.</div><div>On Monday Ann &lt;a@b&gt; wrote:<br></div><blockquote>x</blockquote>", "Yes."},
		{"quoted lines", "Yes.<br>&gt; Really?<br>No.", "Yes. No."},
		{"preformatted", "<pre>Yes.\n&gt; Really?\n-- \nAnn</pre>", "Yes."},
		{"signature", "Yes.<br>-- <br>Ann", "Yes."},
		{"only a quote", "<blockquote>Really?</blockquote>", "Really?"},
		{"utf-8", "\xD0\x9F\xD1\x80\xD0\xB8<b>\xD0\xB2</b>", "\xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2"},
	};

	(void)state;
	run_previews(cases, N_OF(cases), true);
}

/* A preview of repeated text is MAIL_PREVIEW_CHARS characters, never half of one. */
static void test_preview_length(void **state)
{
	static const struct {
		const char *unit;
		size_t n_bytes; /* of the preview */
	} cases[] = {
		{"a", 256},  {"\xC3\xA9", 512},     {"\xF0\x9F\x93\xA7", 1024},
		{"a ", 255}, {" \xC3\xA9 \n", 383}, {"\xC3\xA9\n", 383},
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		for (int is_html = 0; is_html < 2; is_html++) {
			struct gp_buffer in;
			struct gp_buffer out;
			gp_buffer_init(&in, 4 * GP_MIB);
			gp_buffer_init(&out, GP_MIB);
			while (in.len < 3 * GP_MIB) {
				assert_int_equal(gp_buffer_append(&in, span_of(cases[i].unit)), GP_OK);
			}
			assert_int_equal(mail_preview(gp_buffer_span(&in), is_html, &out), GP_OK);
			assert_int_equal(out.len, cases[i].n_bytes);
			expect_text("length", gp_buffer_span(&out));
			gp_buffer_deinit(&in);
			gp_buffer_deinit(&out);
		}
	}
}

/* Megabytes of one thing end soon, and in no more than a preview. */
static void test_preview_large(void **state)
{
	static const char *const units[] = {
		"<",      "<!--",         "<style>", "</",     "<a b='",        "&",       "&#", "&#1", "> a\n",
		"On a\n", "<blockquote>", "</style", "<head>", "a\xE2\x80\x8B", "<pre>\n",
	};

	(void)state;
	for (size_t i = 0; i < N_OF(units); i++) {
		for (int is_html = 0; is_html < 2; is_html++) {
			struct gp_buffer in;
			struct gp_buffer out;
			gp_buffer_init(&in, 4 * GP_MIB);
			gp_buffer_init(&out, 4 * MAIL_PREVIEW_CHARS);
			while (in.len < 2 * GP_MIB) {
				assert_int_equal(gp_buffer_append(&in, span_of(units[i])), GP_OK);
			}
			assert_int_equal(mail_preview(gp_buffer_span(&in), is_html, &out), GP_OK);
			expect_text(units[i], gp_buffer_span(&out));
			gp_buffer_deinit(&in);
			gp_buffer_deinit(&out);
		}
	}
}

static struct span resolve(void *ctx, struct span cid)
{
	size_t *n_calls = ctx;

	(*n_calls)++;
	return span_equal_text(cid, "a@b")     ? SPAN_LIT("/parts/2")
	       : span_equal_text(cid, "a%b c") ? SPAN_LIT("/parts/3")
	       : span_equal_text(cid, "gone")  ? SPAN_LIT("")
					       : SPAN_NIL;
}

static void test_cid(void **state)
{
	static const struct preview_case cases[] = {
		{"nothing", "", ""},
		{"none", "<img src=\"http://x/y\"> c ci cid cid:", "<img src=\"http://x/y\"> c ci cid cid:"},
		{"quoted", "<img src=\"cid:a@b\">", "<img src=\"/parts/2\">"},
		{"quoted singly", "<img src='CID:a@b'>", "<img src='/parts/2'>"},
		{"unquoted", "<img src=cid:a@b><img src=cid:a@b alt>", "<img src=/parts/2><img src=/parts/2 alt>"},
		{"in style", "style=\"background:url(cid:a@b)\"", "style=\"background:url(/parts/2)\""},
		{"in style, quoted by reference", "style=\"background:url(&quot;cid:a@b&quot;)\"",
		 "style=\"background:url(&quot;/parts/2&quot;)\""},
		{"blank before", "src = \n cid:a@b >", "src = \n /parts/2 >"},
		{"percent", "'cid:a%40b' 'cid:a%25b%20c' 'cid:a%4' 'cid:%'", "'/parts/2' '/parts/3' 'cid:a%4' 'cid:%'"},
		{"unknown", "'cid:x@y'", "'cid:x@y'"},
		{"empty answer", "'cid:gone'", "''"},
		{"not at the start of a URL", "acid:a@b ;cid:a@b /cid:a@b xcid:a@b",
		 "acid:a@b ;cid:a@b /cid:a@b xcid:a@b"},
		{"false starts", "'ccid:a@b' =c=ci=cid:a@b (ci'cid:a@b'", "'ccid:a@b' =c=ci=/parts/2 (ci'/parts/2'"},
		{"at the end", "=cid:a@b", "=/parts/2"},
		{"at the start", "cid:a@b", "/parts/2"},
		{"cut", "'ci", "'ci"},
		{"almost a colon",
		 "'cid\x1A"
		 "a@b'",
		 "'cid\x1A"
		 "a@b'"},
		{"in an id", "'cid:cid:a@b'", "'cid:cid:a@b'"},
	};
	static const size_t steps[] = {SIZE_MAX / 2, 1, 2, 3, 5};

	(void)state;
	for (size_t i = 0; i < N_OF(cases) * N_OF(steps); i++) {
		const struct preview_case *c = &cases[i / N_OF(steps)];
		size_t step = steps[i % N_OF(steps)];
		struct span in = span_of(c->in);
		size_t n_calls = 0;
		struct gp_buffer out;
		gp_buffer_init(&out, GP_MIB);
		struct mail_cid_rewriter *rewriter = mail_cid_rewriter_new(resolve, &n_calls);
		assert_non_null(rewriter);
		for (size_t at = 0; at < in.len; at += step) {
			assert_int_equal(mail_cid_rewriter_feed(rewriter, span_slice(in, at, step), &out), GP_OK);
		}
		assert_int_equal(mail_cid_rewriter_finish(rewriter, &out), GP_OK);
		expect_bytes(c->name, gp_buffer_span(&out), span_of(c->want));
		mail_cid_rewriter_free(&rewriter);
		assert_null(rewriter);
		gp_buffer_deinit(&out);
	}
}

/* An id without an end is held no longer than an id can be. */
static void test_cid_large(void **state)
{
	size_t n_calls = 0;
	struct gp_buffer in;
	struct gp_buffer out;

	(void)state;
	gp_buffer_init(&in, GP_MIB);
	gp_buffer_init(&out, GP_MIB);
	assert_int_equal(gp_buffer_append(&in, S("src=\"cid:")), GP_OK);
	while (in.len < 100000) {
		assert_int_equal(gp_buffer_append(&in, S("a@b")), GP_OK);
	}
	assert_int_equal(gp_buffer_append(&in, S("\" 'cid:a@b'")), GP_OK);
	struct mail_cid_rewriter *rewriter = mail_cid_rewriter_new(resolve, &n_calls);
	assert_int_equal(mail_cid_rewriter_feed(rewriter, gp_buffer_span(&in), &out), GP_OK);
	assert_int_equal(mail_cid_rewriter_finish(rewriter, &out), GP_OK);
	assert_int_equal(n_calls, 1);
	struct span head = span_slice(gp_buffer_span(&in), 0, in.len - strlen("cid:a@b'"));
	expect_bytes("head", span_slice(gp_buffer_span(&out), 0, head.len), head);
	expect_bytes("tail", span_from(gp_buffer_span(&out), head.len), S("/parts/2'"));
	mail_cid_rewriter_free(&rewriter);
	gp_buffer_deinit(&in);
	gp_buffer_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_preview_plain),
		cmocka_unit_test(test_preview_html),
		cmocka_unit_test(test_preview_length),
		cmocka_unit_test(test_preview_large),
		cmocka_unit_test(test_cid),
		cmocka_unit_test(test_cid_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
