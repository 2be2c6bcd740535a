/* Any bytes as the JSON of a message: what can be composed has a head of well-formed
 * fields that are known or were asked for, short lines, and CRLF alone as line ends. */
#include <stdlib.h>

#include "api/draft.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "mail/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static void require(bool condition)
{
	if (!condition) {
		abort();
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	mail_init();
	return 0;
}

static void check_lines(struct span text)
{
	while (text.len > 0) {
		ptrdiff_t end = span_find_char(text, '\n');
		struct span line = end < 0 ? text : span_slice(text, 0, (size_t)end);
		require(end < 0 || (line.len > 0 && line.ptr[line.len - 1] == '\r'));
		line.len -= end < 0 ? 0 : 1;
		require(line.len <= 998 && span_find_char(line, '\r') < 0);
		text = span_from(text, end < 0 ? text.len : (size_t)end + 1);
	}
}

/* Each field once, or among the extra ones. */
static void check_head(const struct api_draft *draft, struct span text)
{
	static const char *const known[] = {"Date",         "From",
					    "Sender",       "Reply-To",
					    "To",           "Cc",
					    "Bcc",          "Subject",
					    "Message-ID",   "In-Reply-To",
					    "References",   "MIME-Version",
					    "Content-Type", "Content-Transfer-Encoding"};
	struct gp_arena arena;
	struct mail_field *fields;
	size_t n_fields, n_extra = 0;
	ptrdiff_t end = span_find(text, SPAN_LIT("\r\n\r\n"));

	require(end > 0);
	gp_arena_init(&arena, 64 * GP_MIB);
	require(mail_parse_fields(span_slice(text, 0, (size_t)end + 2), &arena, &fields, &n_fields) == GP_OK);
	for (size_t i = 0; i < n_fields; i++) {
		size_t j = 0;
		while (j < sizeof known / sizeof known[0] && !span_equal_text(fields[i].name, known[j])) {
			j++;
		}
		n_extra += j == sizeof known / sizeof known[0];
		require(j < sizeof known / sizeof known[0] || n_extra <= draft->mail.n_headers);
		for (size_t k = 0; k < i; k++) {
			require(j == sizeof known / sizeof known[0] || !span_equal(fields[i].name, fields[k].name));
		}
	}
	require(n_extra == draft->mail.n_headers);
	gp_arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct api_draft *draft = api_draft_new();
	struct mail_composed *composed = NULL;
	struct gp_error error = {0};
	bool has_message = false;

	require(draft != NULL);
	enum gp_status status = api_draft_read_json(draft, span_make((const char *)data, size), &error);
	if (status == GP_OK) {
		status = api_draft_finish(draft, &error);
	}
	require(status == error.status && utf8_is_valid(span_of(error.text)));
	if (status == GP_OK && mail_compose(&draft->mail, 16 * GP_MIB, &composed, &error) == GP_OK) {
		size_t len = (size_t)mail_composed_size(composed);
		char *text = malloc(len);
		require(text != NULL && mail_composed_read(composed, text, len) == len);
		require(mail_composed_read(composed, text, 1) == 0 || len == 0);
		mail_composed_rewind(composed);
		require(mail_composed_read(composed, text, len) == len);
		for (size_t i = 0; i < draft->mail.n_attachments; i++) {
			has_message |= span_starts_with_nocase(span_trim(draft->attachments[i].type), "message/");
		}
		check_head(draft, span_make(text, len));
		if (!has_message) {
			check_lines(span_make(text, len));
		}
		free(text);
	}
	mail_composed_free(&composed);
	api_draft_free(&draft);
	return 0;
}
