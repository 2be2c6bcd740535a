/* A list as NDJSON: each message is the object that it is in a page, on a line. */
#include "api/export.h"
#include "api/list_wishes.h"

#define BATCH_WITH_BODIES 64

struct ndjson {
	struct api_export base; /* first */
	struct api_list_wishes wishes;

	/* one run */
	struct api_message_view view;
	struct api_rows rows; /* of the batch */
	struct api_body_values values;
};

static struct ndjson *ndjson_of(void *ctx)
{
	return ctx;
}

static void ndjson_reset(struct api_export *base)
{
	struct ndjson *self = ndjson_of(base);

	api_rows_deinit(&self->rows);
	api_rows_init(&self->rows, false);
	api_body_values_deinit(&self->values);
}

static bool ndjson_begin(struct api_export *base)
{
	struct ndjson *self = ndjson_of(base);
	enum gp_status status =
		api_message_view_init(&self->view, self->wishes.members, &base->job.exchange->arena,
				      base->job.mailbox_name, api_job_selected(&base->job)->uidvalidity);

	if (status != GP_OK) {
		api_export_fail(base, status);
		return false;
	}
	self->view.arena = &base->scratch;
	return true;
}

/* ---- the lines ---- */

static enum gp_status write_line(struct ndjson *self, const struct api_row *row, struct gp_buffer *line)
{
	struct api_json_writer writer;

	gp_buffer_truncate(line, 0);
	api_json_writer_init(&writer, line, false, 0);
	api_json_writer_object(&writer);
	api_json_writer_run(&writer, api_row_text(&self->rows, row));
	api_body_values_write(&self->values, row->uid, &writer);
	api_json_writer_object_end(&writer);
	enum gp_status status = api_json_writer_finish(&writer);
	return status == GP_OK ? api_export_write(&self->base, gp_buffer_span(line)) : status;
}

static void write_lines(struct api_job *job)
{
	struct ndjson *self = ndjson_of(job);
	struct api_export *base = &self->base;
	struct gp_buffer line;

	gp_buffer_init(&line, GP_MAX_JSON_REPLY);
	for (size_t i = 0; i < self->rows.n_items && base->failure == GP_OK && !api_export_is_full(base); i++) {
		base->failure = write_line(self, &self->rows.items[i], &line);
		base->n_written++;
	}
	gp_buffer_deinit(&line);
	api_rows_clear(&self->rows);
	gp_buffer_reset(&self->rows.text, GP_MIB);
	api_export_next(base);
}

/* ---- the rows of a batch ---- */

static void on_row(void *ctx, const struct imap_fetch *row)
{
	struct ndjson *self = ndjson_of(ctx);
	struct api_export *base = &self->base;
	struct api_message_parts parts;

	api_job_row_came(&base->job);
	size_t rank = api_export_index(base, row->uid);
	if (base->failure != GP_OK || rank == base->n_uids) {
		return;
	}
	base->failure = api_message_parts(row, &base->scratch, &parts);
	if (base->failure == GP_OK && api_export_accepts(base, row, &parts.choice)) {
		base->failure = api_rows_add(&self->rows, &self->view, row, &parts, (uint32_t)rank);
	}
}

static void on_batch(void *ctx, const struct gp_error *error)
{
	struct ndjson *self = ndjson_of(ctx);
	struct api_export *base = &self->base;

	if (!api_job_check(&base->job, error)) {
		return;
	}
	api_rows_finish(&self->rows, API_EXPORT_BATCH);
	api_body_values_deinit(&self->values);
	api_body_values_init(&self->values, &base->job, self->wishes.max_body_bytes, API_BODY_VALUES_LIST_MESSAGE, 1,
			     write_lines);
	for (size_t i = 0; i < self->rows.n_items && base->failure == GP_OK; i++) {
		base->failure = api_list_wishes_add(&self->wishes, &self->rows.items[i], &self->values);
	}
	if (base->failure != GP_OK) {
		api_export_fail(base, base->failure);
		return;
	}
	api_body_values_run(&self->values);
}

static void ndjson_batch(struct api_export *base)
{
	struct ndjson *self = ndjson_of(base);
	struct imap_fetch_spec spec = {.uids = &base->batch,
				       .items = api_message_items(self->wishes.members) |
						api_filter_items(&base->filter)};

	spec.n_fields = api_message_fields(self->wishes.members, &spec.fields);
	spec.items |= api_list_wishes_items(&self->wishes);
	api_job_expect_rows(&base->job, &base->batch);
	base->job.call = imap_fetch_start(api_job_session(&base->job), &spec, on_row, on_batch, self);
	api_job_started(&base->job, base->job.call);
}

/* ---- the request ---- */

static void ndjson_read(struct api_export *base, struct api_query *query)
{
	struct ndjson *self = ndjson_of(base);

	api_list_wishes_read(&self->wishes, query);
	if (api_list_wishes_bodies(&self->wishes) || self->wishes.preview) {
		base->batch_size = BATCH_WITH_BODIES;
	}
}

const struct api_export_format api_export_ndjson = {
	.content_type = "application/x-ndjson",
	.size = sizeof(struct ndjson),
	.read = ndjson_read,
	.begin = ndjson_begin,
	.batch = ndjson_batch,
	.reset = ndjson_reset,
};
