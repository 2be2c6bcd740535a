/* What exported messages are put into: an mbox, a ZIP archive with a file for each. */
#include "api/export_message.h"
#include "mail/filename.h"

#define MAX_ENTRIES 100000 /* of a ZIP: of each the directory's record is kept */
#define MAX_NAME ((size_t)100)
#define LEVEL 1 /* messages are text, mostly: half of it goes for little time */
#define DIRECTORY_PIECE (64 * GP_KIB)

static struct api_export_messages *messages_of(struct api_export *base)
{
	return (struct api_export_messages *)base;
}

/* ---- mbox ---- */

static enum gp_status mbox_begin(struct api_export_messages *self, const struct api_export_item *item)
{
	return mail_mbox_begin(&self->mbox, item->sender, item->received, &self->out);
}

static enum gp_status mbox_data(struct api_export_messages *self, struct span bytes)
{
	return mail_mbox_feed(&self->mbox, bytes, &self->out);
}

static enum gp_status mbox_end(struct api_export_messages *self)
{
	return mail_mbox_end(&self->mbox, &self->out);
}

static const struct api_export_archive mbox = {.begin = mbox_begin, .data = mbox_data, .end = mbox_end};

static bool begin_mbox(struct api_export *base)
{
	return api_export_messages_begin(base, &mbox);
}

const struct api_export_format api_export_mbox = {
	.content_type = "application/mbox",
	.extension = "mbox",
	.size = sizeof(struct api_export_messages),
	.begin = begin_mbox,
	.batch = api_export_messages_batch,
	.moved = api_export_messages_moved,
	.reset = api_export_messages_reset,
};

/* ---- ZIP ---- */

/* "7-Lunch.eml": the UID makes it unique. */
static enum gp_status zip_begin(struct api_export_messages *self, const struct api_export_item *item)
{
	const char *raw = gp_arena_printf(&self->base.scratch, "%u%s%.*s", (unsigned)item->uid,
					  item->subject.len > 0 ? "-" : "", SPAN_ARGS(item->subject));
	struct gp_buffer name;

	gp_buffer_init(&name, 2 * MAX_NAME);
	enum gp_status status = raw ? mail_filename_append(span_of(raw), MAX_NAME, &name) : GP_NO_MEMORY;
	if (status == GP_OK) {
		status = gp_buffer_append(&name, SPAN_LIT(".eml"));
	}
	if (status == GP_OK) {
		status = mail_zip_begin(self->zip, gp_buffer_span(&name), item->received, LEVEL, &self->out);
	}
	gp_buffer_deinit(&name);
	return status;
}

static enum gp_status zip_data(struct api_export_messages *self, struct span bytes)
{
	return mail_zip_data(self->zip, bytes, &self->out);
}

static enum gp_status zip_end(struct api_export_messages *self)
{
	return mail_zip_end(self->zip, &self->out);
}

static const struct api_export_archive zip = {.begin = zip_begin, .data = zip_data, .end = zip_end};

static bool begin_zip(struct api_export *base)
{
	uint64_t n = base->order ? base->n_order : imap_uidset_count(&base->found);

	if (n > base->limit) {
		n = base->limit;
	}
	if (n > MAX_ENTRIES && !api_filter_tests_rows(&base->filter)) {
		api_job_fail(
			&base->job, API_PROBLEM_UNPROCESSABLE, NULL,
			"%llu messages match, and an archive holds %d at most: ask for fewer, or for an mbox, which "
			"holds any number",
			(unsigned long long)n, MAX_ENTRIES);
		return false;
	}
	struct mail_zip *made = mail_zip_new();
	if (!made) {
		api_export_fail(base, GP_NO_MEMORY);
		return false;
	}
	messages_of(base)->zip = made;
	return api_export_messages_begin(base, &zip);
}

static bool finish_zip(struct api_export *base)
{
	struct api_export_messages *self = messages_of(base);
	bool is_complete = false;

	base->failure = mail_zip_finish(self->zip, DIRECTORY_PIECE, &self->out, &is_complete);
	if (base->failure == GP_OK) {
		base->failure = api_export_messages_flush(self);
	}
	return is_complete;
}

const struct api_export_format api_export_zip = {
	.content_type = "application/zip",
	.extension = "zip",
	.size = sizeof(struct api_export_messages),
	.begin = begin_zip,
	.batch = api_export_messages_batch,
	.finish = finish_zip,
	.moved = api_export_messages_moved,
	.reset = api_export_messages_reset,
};
