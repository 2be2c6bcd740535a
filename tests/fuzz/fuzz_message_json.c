/* Anything that a server may say of a message, as the API's JSON: it is valid, every
 * member stands there once, and it does not grow beyond what was said. */
#include <jansson.h>
#include <stdlib.h>

#include "api/message_json.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "imap/parser.h"
#include "mail/header.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
	if (!condition) {
		abort();
	}
}

static void check_json(struct span text)
{
	require(utf8_is_valid(text));
	json_t *value = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	require(value != NULL);
	json_decref(value);
}

static void write_row(const struct imap_fetch *row)
{
	struct gp_arena arena;
	struct gp_buffer out;
	struct api_message_view view;
	struct api_message_parts parts;
	struct api_json_writer writer;

	gp_arena_init(&arena, GP_MAX_REQUEST_ARENA);
	gp_buffer_init(&out, GP_MAX_JSON_REPLY);
	require(api_message_view_init(&view, API_MEMBERS_ALL, &arena, SPAN_LIT("A/\xC3\xA9"), 7) == GP_OK);
	if (api_message_parts(row, &arena, &parts) == GP_OK) {
		api_json_writer_init(&writer, &out, false, 0);
		api_json_writer_object(&writer);
		api_message_write_facts(&writer, &view, row);
		api_message_write_content(&writer, &view, row, &parts);
		api_json_writer_object_end(&writer);
		if (api_json_writer_status(&writer) == GP_OK) {
			check_json(gp_buffer_span(&out));
		}
	}
	gp_buffer_deinit(&out);
	gp_arena_deinit(&arena);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	mail_init();
	return 0;
}

/* The stream is one of FETCH answers. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct imap_parser *parser = imap_parser_new();
	struct span input = span_make((const char *)data, size);
	const struct imap_response *response;

	require(parser != NULL);
	while (imap_parser_next(parser, &input, &response, NULL) == IMAP_PARSER_RESPONSE) {
		if (response->type == IMAP_RESPONSE_FETCH) {
			write_row(&response->fetch);
		}
	}
	imap_parser_free(&parser);
	return 0;
}
