#include "imap/parse.h"

static struct span next_word(struct imap_lexer *lexer)
{
	struct imap_token token;

	imap_lexer_next(lexer, &token);
	return token.text;
}

/* "(MODSEQ 917)" inside or behind the numbers; anything else in parentheses is
 * passed over. */
static void parse_search_list(struct imap_parse *parse)
{
	const char *start = parse->lexer.at;

	if (imap_lexer_take(&parse->lexer, '(') && imap_lexer_peek(&parse->lexer) == IMAP_TOKEN_ATOM &&
	    span_equal_text_nocase(next_word(&parse->lexer), "MODSEQ")) {
		(void)imap_lexer_number(&parse->lexer, &parse->response.modseq);
	}
	parse->lexer.at = start;
	(void)imap_lexer_skip_value(&parse->lexer);
}

void imap_parse_search(struct imap_parse *parse)
{
	struct imap_response *response = &parse->response;
	struct imap_lexer *lexer = &parse->lexer;
	uint32_t *numbers = NULL;
	size_t n_numbers = 0;
	size_t size = 0;

	for (;;) {
		enum imap_token_kind kind = imap_lexer_peek(lexer);
		if (kind == IMAP_TOKEN_END) {
			break;
		}
		if (kind == IMAP_TOKEN_OPEN) {
			parse_search_list(parse);
			continue;
		}
		struct imap_token token;
		uint32_t number;
		imap_lexer_next(lexer, &token);
		if (!span_to_u32(token.text, &number) || number == 0) {
			continue;
		}
		if (n_numbers == size) {
			/* a number and its space take two bytes at least: at most as many follow */
			size_t most = n_numbers + (size_t)(lexer->end - lexer->at) / 2 + 1;
			size_t wanted = size ? size * 4 : 64;
			size = wanted < most ? wanted : most;
			uint32_t *grown = imap_lexer_alloc(lexer, size, sizeof *numbers);
			if (!grown) {
				/* a whole line of them fits; a part would be a wrong answer */
				lexer->is_out_of_memory = true;
				break;
			}
			if (n_numbers > 0) {
				memcpy(grown, numbers, n_numbers * sizeof *numbers);
			}
			numbers = grown;
		}
		numbers[n_numbers++] = number;
	}
	response->numbers = numbers;
	response->n_numbers = n_numbers;
}

static bool read_number(struct imap_lexer *lexer, uint32_t *number_out)
{
	return span_to_u32(imap_lexer_nstring(lexer), number_out);
}

/* A set, quoted or not; false when it is empty or cannot be read. */
static bool read_set(struct imap_parse *parse, struct imap_uidset *set)
{
	set->n_ranges = 0;
	enum gp_status status = imap_uidset_parse(set, imap_lexer_nstring(&parse->lexer));
	parse->lexer.is_out_of_memory |= status == GP_NO_MEMORY;
	return status == GP_OK && !imap_uidset_is_empty(set);
}

/* (TAG "A5") */
static void parse_correlator(struct imap_parse *parse)
{
	struct imap_lexer *lexer = &parse->lexer;

	if (!imap_lexer_take(lexer, '(')) {
		return;
	}
	while (!imap_lexer_take(lexer, ')') && imap_lexer_peek(lexer) != IMAP_TOKEN_END) {
		struct span name = imap_lexer_nstring(lexer);
		struct span value = imap_lexer_nstring(lexer);
		if (span_equal_text_nocase(name, "TAG")) {
			parse->response.esearch.tag = value;
		}
	}
}

static void parse_esearch_item(struct imap_parse *parse, struct span name)
{
	struct imap_esearch *esearch = &parse->response.esearch;
	struct imap_lexer *lexer = &parse->lexer;

	if (span_equal_text_nocase(name, "UID")) {
		esearch->is_uid = true;
	} else if (span_equal_text_nocase(name, "ALL")) {
		esearch->has_all = read_set(parse, &parse->esearch_all);
	} else if (span_equal_text_nocase(name, "COUNT")) {
		esearch->has_count = read_number(lexer, &esearch->count);
	} else if (span_equal_text_nocase(name, "MIN")) {
		esearch->has_min = read_number(lexer, &esearch->min);
	} else if (span_equal_text_nocase(name, "MAX")) {
		esearch->has_max = read_number(lexer, &esearch->max);
	} else if (span_equal_text_nocase(name, "MODSEQ")) {
		(void)imap_lexer_number(lexer, &esearch->modseq);
	} else {
		(void)imap_lexer_skip_value(lexer);
	}
}

void imap_parse_esearch(struct imap_parse *parse)
{
	struct imap_lexer *lexer = &parse->lexer;

	imap_lexer_skip_spaces(lexer);
	parse_correlator(parse);
	for (enum imap_token_kind kind = imap_lexer_peek(lexer); kind != IMAP_TOKEN_END;
	     kind = imap_lexer_peek(lexer)) {
		if (kind == IMAP_TOKEN_ATOM) {
			parse_esearch_item(parse, next_word(lexer));
		} else if (!imap_lexer_take(lexer, ')')) {
			(void)imap_lexer_skip_value(lexer);
		}
	}
	if (parse->response.esearch.has_all) {
		parse->response.esearch.all = parse->esearch_all;
	}
}

bool imap_parse_vanished(struct imap_parse *parse)
{
	struct imap_lexer *lexer = &parse->lexer;

	if (imap_lexer_take(lexer, '(')) {
		parse->response.is_earlier = span_equal_text_nocase(next_word(lexer), "EARLIER");
		(void)imap_lexer_take(lexer, ')');
	}
	if (!read_set(parse, &parse->uids)) {
		return false;
	}
	parse->response.uids = parse->uids;
	return true;
}
