#include "api/event_text.h"

#include "api/json.h"
#include "api/json_writer.h"

/* Closes the event before and opens one, up to its data. */
static enum gp_status begin(struct gp_buffer *out, const char *kind)
{
	return gp_buffer_printf(out, "%sevent: %s\ndata: ", out->len > 0 ? "\n" : "", kind);
}

/* Where one event with a part of a set ends. */
struct uids_cursor {
	const struct imap_uidset *uids; /* borrow */
	size_t range;
	uint64_t next; /* UID in it; 0: its first */
};

static void write_some_uids(struct api_json_writer *writer, struct uids_cursor *cursor)
{
	size_t n = 0;

	api_json_writer_array(writer);
	while (cursor->range < cursor->uids->n_ranges && n < API_EVENT_MAX_UIDS) {
		struct imap_uid_range range = cursor->uids->ranges[cursor->range];
		uint64_t uid = cursor->next ? cursor->next : range.first;
		for (; uid <= range.last && n < API_EVENT_MAX_UIDS; uid++, n++) {
			api_json_writer_number(writer, uid);
		}
		cursor->next = uid <= range.last ? uid : 0;
		cursor->range += uid > range.last;
	}
	api_json_writer_array_end(writer);
}

enum gp_status api_event_uids(struct gp_buffer *out, const char *kind, struct span mailbox, uint32_t uidvalidity,
			      const struct imap_uidset *uids)
{
	struct uids_cursor cursor = {.uids = uids};
	enum gp_status status = GP_OK;

	while (cursor.range < uids->n_ranges && status == GP_OK) {
		struct api_json_writer writer;
		status = begin(out, kind);
		api_json_writer_init(&writer, out, false, 0);
		api_json_writer_fail(&writer, status);
		api_json_writer_object(&writer);
		api_json_writer_key(&writer, "mailbox");
		api_json_writer_text(&writer, mailbox);
		api_json_writer_key(&writer, "uidValidity");
		api_json_writer_number(&writer, uidvalidity);
		api_json_writer_key(&writer, "uids");
		write_some_uids(&writer, &cursor);
		api_json_writer_object_end(&writer);
		status = api_json_writer_finish(&writer);
	}
	return status;
}

static enum gp_status write_named(struct gp_buffer *out, const char *kind, struct span key, struct span name,
				  bool is_deleted)
{
	struct api_json_writer writer;
	enum gp_status status = begin(out, kind);

	api_json_writer_init(&writer, out, false, 0);
	api_json_writer_fail(&writer, status);
	api_json_writer_object(&writer);
	api_json_writer_plain_key(&writer, key);
	api_json_writer_text(&writer, name);
	if (is_deleted) {
		api_json_writer_key(&writer, "deleted");
		api_json_writer_bool(&writer, true);
	}
	api_json_writer_object_end(&writer);
	return api_json_writer_finish(&writer);
}

enum gp_status api_event_reset(struct gp_buffer *out, struct span mailbox)
{
	return write_named(out, "reset", SPAN_LIT("mailbox"), mailbox, false);
}

enum gp_status api_event_deleted(struct gp_buffer *out, struct span mailbox)
{
	return write_named(out, "mailbox", SPAN_LIT("name"), mailbox, true);
}

enum gp_status api_event_json(struct gp_buffer *out, const char *kind, const json_t *value)
{
	enum gp_status status = value ? begin(out, kind) : GP_NO_MEMORY;

	return status == GP_OK ? api_json_write(value, false, out) : status;
}

enum gp_status api_event_end(struct gp_buffer *out, struct span id)
{
	return gp_buffer_printf(out, "id: %.*s\n\n", (int)id.len, id.ptr);
}
