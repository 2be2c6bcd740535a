#include "api/list_wishes.h"

#include "api/fields.h"
#include "api/filter.h"

static void read_bodies(struct api_list_wishes *wishes, struct api_query *query)
{
	struct span value;

	for (size_t n = 0; api_query_nth(query, "body", n, &value); n++) {
		bool text, html;
		if (api_filter_is_body_choice(value, &text, &html)) {
			wishes->text |= text;
			wishes->html |= html;
		}
	}
	wishes->max_body_bytes =
		(size_t)api_query_number(query, "maxBodyValueBytes", 1, API_BODY_VALUE_LIST, API_BODY_VALUE_LIST);
}

void api_list_wishes_read(struct api_list_wishes *wishes, struct api_query *query)
{
	read_bodies(wishes, query);
	wishes->members = api_fields_read(query, api_message_member_names, API_N_MEMBERS, API_MEMBERS_LIST);
	wishes->preview = api_query_bool(query, "preview", false) || wishes->members & API_MEMBER_BIT(PREVIEW);
	if (wishes->preview) {
		wishes->members |= API_MEMBER_BIT(PREVIEW);
	}
	if (wishes->members & (API_MEMBER_BIT(HEADERS) | API_MEMBER_BIT(BODY_VALUES))) {
		api_query_fail(query,
			       "'fields' of a list takes neither headers nor bodyValues: use body=text,html, or read "
			       "the single message");
	}
}

unsigned api_list_wishes_items(const struct api_list_wishes *wishes)
{
	bool has_bodies = api_list_wishes_bodies(wishes) || wishes->preview;

	return (wishes->preview ? IMAP_ITEM_PREVIEW : 0) | (has_bodies ? IMAP_ITEM_BODYSTRUCTURE : 0);
}

enum gp_status api_list_wishes_add(const struct api_list_wishes *wishes, const struct api_row *row,
				   struct api_body_values *values)
{
	enum gp_status status = GP_OK;

	if (wishes->text) {
		status = api_body_values_add(values, row->uid, &row->choice.text_body);
	}
	if (wishes->html && status == GP_OK) {
		status = api_body_values_add(values, row->uid, &row->choice.html_body);
	}
	if (wishes->preview && status == GP_OK && !row->has_preview) {
		status = api_body_values_add_preview(values, row->uid, &row->choice);
	}
	return status;
}
