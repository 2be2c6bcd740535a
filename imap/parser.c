#include "imap/parser.h"

#include <stdlib.h>

#include "imap/framing.h"
#include "imap/parse.h"

struct imap_parser {
	struct imap_framing framing;
	struct imap_parse parse;
};

struct imap_parser *imap_parser_new(void)
{
	struct imap_parser *parser = malloc(sizeof *parser);

	if (parser) {
		imap_framing_init(&parser->framing);
		imap_parse_init(&parser->parse);
	}
	return parser;
}

void imap_parser_free(struct imap_parser **parser)
{
	if (*parser) {
		imap_framing_deinit(&(*parser)->framing);
		imap_parse_deinit(&(*parser)->parse);
		free(*parser);
		*parser = NULL;
	}
}

enum imap_parser_result imap_parser_next(struct imap_parser *parser, struct span *input,
					 const struct imap_response **response_out, struct gp_error *error)
{
	struct span text;
	enum imap_parser_result result = imap_framing_next(&parser->framing, input, &text, error);

	if (result != IMAP_PARSER_RESPONSE) {
		return result;
	}
	if (imap_parse_response(&parser->parse, text) != GP_OK) {
		parser->framing.state = IMAP_FRAMING_FAILED;
		gp_error_set(error, GP_NO_MEMORY, "no memory for a response of the IMAP server");
		return IMAP_PARSER_ERROR;
	}
	*response_out = &parser->parse.response;
	return IMAP_PARSER_RESPONSE;
}

bool imap_parser_is_at_boundary(const struct imap_parser *parser)
{
	return imap_framing_is_at_boundary(&parser->framing);
}

void imap_parser_trim(struct imap_parser *parser)
{
	if (imap_framing_is_at_boundary(&parser->framing)) {
		imap_framing_trim(&parser->framing);
		imap_parse_trim(&parser->parse);
	}
}

void imap_parser_release(struct imap_parser *parser)
{
	if (imap_framing_is_at_boundary(&parser->framing)) {
		imap_framing_trim(&parser->framing);
		gp_buffer_reset(&parser->framing.bytes, 0);
		imap_parse_deinit(&parser->parse);
		imap_parse_init(&parser->parse);
	}
}
