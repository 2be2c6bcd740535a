#include "imap/parse.h"

#include "base/limits.h"

void imap_parse_init(struct imap_parse *parse)
{
	*parse = (struct imap_parse){.response.type = IMAP_RESPONSE_OTHER};
	gp_arena_init(&parse->arena, GP_MAX_IMAP_PARSE_ARENA);
	imap_uidset_init(&parse->uids);
	imap_uidset_init(&parse->esearch_all);
	imap_uidset_init(&parse->code_uids);
	imap_uidset_init(&parse->code_source);
}

void imap_parse_trim(struct imap_parse *parse)
{
	gp_arena_reset(&parse->arena);
	imap_uidset_deinit(&parse->uids);
	imap_uidset_deinit(&parse->esearch_all);
	imap_uidset_deinit(&parse->code_uids);
	imap_uidset_deinit(&parse->code_source);
	parse->response = (struct imap_response){.type = IMAP_RESPONSE_OTHER};
}

void imap_parse_deinit(struct imap_parse *parse)
{
	imap_parse_trim(parse);
	gp_arena_deinit(&parse->arena);
}

bool imap_parse_words(struct imap_lexer *lexer, const struct span **words_out, size_t *n_words_out)
{
	struct span *words = NULL;
	size_t n_words = 0;
	size_t size = 0;

	if (!imap_lexer_take(lexer, '(')) {
		return false;
	}
	while (!imap_lexer_take(lexer, ')')) {
		if (imap_lexer_peek(lexer) == IMAP_TOKEN_END) {
			return false;
		}
		struct span word = imap_lexer_nstring(lexer);
		if (word.len == 0) {
			continue;
		}
		struct span *grown = imap_lexer_grow(lexer, words, n_words, &size, sizeof *words);
		if (!grown) {
			return false;
		}
		words = grown;
		words[n_words++] = word;
	}
	*words_out = words;
	*n_words_out = n_words;
	return true;
}

/* Words up to the end of the line: CAPABILITY, ENABLED. */
static void parse_capabilities(struct imap_parse *parse, struct imap_lexer *lexer)
{
	struct imap_response *response = &parse->response;
	struct span *words = NULL;
	size_t n_words = 0;
	size_t size = 0;

	for (struct span word = imap_lexer_word(lexer); word.len > 0; word = imap_lexer_word(lexer)) {
		if (n_words > 0 && span_equal_text_nocase(words[n_words - 1], "LITERAL") &&
		    (span_equal_text(word, "+") || span_equal_text(word, "-"))) {
			words[n_words - 1] = word.ptr[0] == '+' ? SPAN_LIT("LITERAL+") : SPAN_LIT("LITERAL-");
			continue;
		}
		struct span *grown = imap_lexer_grow(lexer, words, n_words, &size, sizeof *words);
		if (!grown) {
			break;
		}
		words = grown;
		words[n_words++] = word;
	}
	response->words = words;
	response->n_words = n_words;
}

static bool parse_condition(struct span word, enum imap_condition *condition_out)
{
	static const struct {
		const char *word;
		enum imap_condition condition;
	} conditions[] = {
		{"OK", IMAP_OK}, {"NO", IMAP_NO}, {"BAD", IMAP_BAD}, {"PREAUTH", IMAP_PREAUTH}, {"BYE", IMAP_BYE},
	};

	for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++) {
		if (span_equal_text_nocase(word, conditions[i].word)) {
			*condition_out = conditions[i].condition;
			return true;
		}
	}
	return false;
}

/* "OK", and of "OK[CODE]" too; the lexer is left behind it. */
static struct span condition_word(struct imap_lexer *lexer)
{
	struct span word = imap_lexer_word(lexer);
	ptrdiff_t bracket = span_find_char(word, '[');

	if (bracket > 0) {
		word.len = (size_t)bracket;
		lexer->at = word.ptr + bracket;
	}
	return word;
}

/* "* 5 EXISTS" and the like. */
static enum imap_response_type parse_numbered(struct imap_parse *parse, uint32_t number)
{
	struct imap_response *response = &parse->response;
	struct span word = imap_lexer_word(&parse->lexer);
	ptrdiff_t paren = span_find_char(word, '(');

	if (paren > 0) {
		word.len = (size_t)paren;
		parse->lexer.at = word.ptr + paren;
	}
	response->number = number;
	if (span_equal_text_nocase(word, "FETCH") || span_equal_text_nocase(word, "UIDFETCH")) {
		imap_parse_fetch(parse, number, word.len > 5);
		return IMAP_RESPONSE_FETCH;
	}
	if (span_equal_text_nocase(word, "EXISTS")) {
		return IMAP_RESPONSE_EXISTS;
	}
	if (span_equal_text_nocase(word, "RECENT")) {
		return IMAP_RESPONSE_RECENT;
	}
	if (span_equal_text_nocase(word, "EXPUNGE") && number > 0) {
		return IMAP_RESPONSE_EXPUNGE;
	}
	return IMAP_RESPONSE_OTHER;
}

static enum imap_response_type read_capability(struct imap_parse *parse)
{
	parse_capabilities(parse, &parse->lexer);
	return IMAP_RESPONSE_CAPABILITY;
}

static enum imap_response_type read_enabled(struct imap_parse *parse)
{
	parse_capabilities(parse, &parse->lexer);
	return IMAP_RESPONSE_ENABLED;
}

static enum imap_response_type read_flags(struct imap_parse *parse)
{
	return imap_parse_words(&parse->lexer, &parse->response.words, &parse->response.n_words) ? IMAP_RESPONSE_FLAGS
												 : IMAP_RESPONSE_OTHER;
}

static enum imap_response_type read_list(struct imap_parse *parse)
{
	return imap_parse_list(parse) ? IMAP_RESPONSE_LIST : IMAP_RESPONSE_OTHER;
}

static enum imap_response_type read_lsub(struct imap_parse *parse)
{
	return imap_parse_list(parse) ? IMAP_RESPONSE_LSUB : IMAP_RESPONSE_OTHER;
}

static enum imap_response_type read_status(struct imap_parse *parse)
{
	return imap_parse_status(parse) ? IMAP_RESPONSE_STATUS : IMAP_RESPONSE_OTHER;
}

static enum imap_response_type read_search(struct imap_parse *parse)
{
	imap_parse_search(parse);
	return IMAP_RESPONSE_SEARCH;
}

static enum imap_response_type read_sort(struct imap_parse *parse)
{
	imap_parse_search(parse);
	return IMAP_RESPONSE_SORT;
}

static enum imap_response_type read_esearch(struct imap_parse *parse)
{
	imap_parse_esearch(parse);
	return IMAP_RESPONSE_ESEARCH;
}

static enum imap_response_type read_vanished(struct imap_parse *parse)
{
	return imap_parse_vanished(parse) ? IMAP_RESPONSE_VANISHED : IMAP_RESPONSE_OTHER;
}

static enum imap_response_type read_namespace(struct imap_parse *parse)
{
	imap_parse_namespace(parse);
	return IMAP_RESPONSE_NAMESPACE;
}

static enum imap_response_type read_my_rights(struct imap_parse *parse)
{
	return imap_parse_my_rights(parse) ? IMAP_RESPONSE_MYRIGHTS : IMAP_RESPONSE_OTHER;
}

static enum imap_response_type read_id(struct imap_parse *parse)
{
	(void)parse;
	return IMAP_RESPONSE_ID;
}

static enum imap_response_type parse_named(struct imap_parse *parse, struct span word)
{
	static const struct {
		const char *word;
		enum imap_response_type (*read)(struct imap_parse *parse);
	} kinds[] = {
		{"LIST", read_list},
		{"STATUS", read_status},
		{"SEARCH", read_search},
		{"ESEARCH", read_esearch},
		{"CAPABILITY", read_capability},
		{"FLAGS", read_flags},
		{"VANISHED", read_vanished},
		{"LSUB", read_lsub},
		{"SORT", read_sort},
		{"ENABLED", read_enabled},
		{"NAMESPACE", read_namespace},
		{"MYRIGHTS", read_my_rights},
		{"ID", read_id},
	};

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (span_equal_text_nocase(word, kinds[i].word)) {
			return kinds[i].read(parse);
		}
	}
	return IMAP_RESPONSE_OTHER;
}

static enum imap_response_type parse_untagged(struct imap_parse *parse)
{
	struct imap_response *response = &parse->response;
	struct imap_lexer *lexer = &parse->lexer;
	const char *start;
	uint32_t number;

	imap_lexer_skip_spaces(lexer);
	start = lexer->at;
	struct span word = condition_word(lexer);
	if (parse_condition(word, &response->condition)) {
		imap_parse_text(parse);
		return IMAP_RESPONSE_CONDITION;
	}
	if (span_equal_text_nocase(word, "COPYUID")) {
		imap_parse_code(parse, span_make(start, (size_t)(lexer->end - start)));
		return IMAP_RESPONSE_CONDITION;
	}
	if (span_starts_with(word, "[")) {
		lexer->at = start;
		imap_parse_text(parse);
		return span_is_nil(response->code.name) ? IMAP_RESPONSE_OTHER : IMAP_RESPONSE_CONDITION;
	}
	if (span_to_u32(word, &number)) {
		return parse_numbered(parse, number);
	}
	/* "* SEARCH(MODSEQ 5)", "* FLAGS(\Seen)" */
	ptrdiff_t paren = span_find_char(word, '(');
	if (paren > 0) {
		word.len = (size_t)paren;
		lexer->at = word.ptr + paren;
	}
	return parse_named(parse, word);
}

static enum imap_response_type parse_line(struct imap_parse *parse)
{
	struct imap_response *response = &parse->response;
	struct imap_lexer *lexer = &parse->lexer;

	imap_lexer_skip_spaces(lexer);
	if (imap_lexer_take(lexer, '+')) {
		response->text = imap_lexer_rest(lexer);
		return IMAP_RESPONSE_CONTINUATION;
	}
	struct span word = imap_lexer_word(lexer);
	if (span_equal_text(word, "*")) {
		return parse_untagged(parse);
	}
	if (!parse_condition(condition_word(lexer), &response->condition) || response->condition == IMAP_PREAUTH ||
	    response->condition == IMAP_BYE) {
		return IMAP_RESPONSE_OTHER;
	}
	response->tag = word;
	imap_parse_text(parse);
	return IMAP_RESPONSE_TAGGED;
}

/* The words of a CAPABILITY code stand beside its value, as those of the response. */
static void parse_capability_code(struct imap_parse *parse)
{
	struct imap_response *response = &parse->response;

	if (span_equal_text_nocase(response->code.name, "CAPABILITY")) {
		struct imap_lexer lexer;
		imap_lexer_init(&lexer, response->code.value, &parse->arena);
		parse_capabilities(parse, &lexer);
		parse->lexer.is_out_of_memory |= lexer.is_out_of_memory;
	}
}

enum gp_status imap_parse_response(struct imap_parse *parse, struct span text)
{
	gp_arena_reset(&parse->arena);
	imap_lexer_init(&parse->lexer, text, &parse->arena);
	parse->response = (struct imap_response){.condition = IMAP_OK};
	parse->response.type = parse_line(parse);
	parse_capability_code(parse);
	if (parse->response.type == IMAP_RESPONSE_OTHER) {
		parse->response = (struct imap_response){.type = IMAP_RESPONSE_OTHER, .text = text};
	}
	return parse->lexer.is_out_of_memory ? GP_NO_MEMORY : GP_OK;
}
