#include "api/export_message.h"

#include "mail/header.h"

#define SMALL (48 * GP_KIB)  /* messages of this size or less share a command … */
#define ASKED (64 * GP_KIB)  /* … which asks for so much of each: what comes shorter is whole */
#define GROUP (256 * GP_KIB) /* bytes of them */
#define MAX_GROUP 256
#define MAX_CAME (4 * GROUP) /* past it the server has lied about sizes: what follows comes as streams */
#define MAX_OUT (2 * GP_MIB) /* of one piece, grown by the archive */
#define MAX_SUBJECT ((size_t)4096)

static struct api_export_messages *messages_of(void *ctx)
{
	return ctx;
}

void api_export_messages_reset(struct api_export *base)
{
	struct api_export_messages *self = messages_of(base);

	for (size_t i = 0; i < API_EXPORT_BATCH; i++) {
		gp_buffer_deinit(&self->items[i].early);
	}
	imap_uidset_deinit(&self->group);
	gp_buffer_deinit(&self->out);
	gp_buffer_init(&self->out, MAX_OUT);
	mail_zip_free(&self->zip);
	self->at = self->group_end = 0;
	self->is_in_entry = self->is_group_done = false;
}

bool api_export_messages_begin(struct api_export *base, const struct api_export_archive *archive)
{
	struct api_export_messages *self = messages_of(base);

	self->archive = archive;
	return true;
}

enum gp_status api_export_messages_flush(struct api_export_messages *self)
{
	enum gp_status status = api_export_write(&self->base, gp_buffer_span(&self->out));

	gp_buffer_truncate(&self->out, 0);
	return status;
}

/* ---- one message into the archive ---- */

static enum gp_status begin_entry(struct api_export_messages *self)
{
	enum gp_status status = self->archive->begin(self, &self->items[self->at]);

	self->is_in_entry = true;
	self->base.n_written++;
	return status;
}

static enum gp_status add(struct api_export_messages *self, struct span bytes)
{
	enum gp_status status = GP_OK;

	for (size_t at = 0; at < bytes.len && status == GP_OK; at += GP_STREAM_WINDOW) {
		status = self->archive->data(self, span_slice(bytes, at, GP_STREAM_WINDOW));
		if (status == GP_OK) {
			status = api_export_messages_flush(self);
		}
	}
	return status;
}

/* The item at `at` is through. */
static enum gp_status end_entry(struct api_export_messages *self)
{
	enum gp_status status = self->archive->end(self);

	self->is_in_entry = false;
	self->at++;
	return status == GP_OK ? api_export_messages_flush(self) : status;
}

static void write_whole(struct api_export_messages *self, struct span message)
{
	enum gp_status status = begin_entry(self);

	if (status == GP_OK) {
		status = add(self, message);
	}
	if (status == GP_OK) {
		status = end_entry(self);
	}
	if (status != GP_OK) {
		self->base.failure = status;
	}
}

static void next_messages(struct api_export *base);

/* ---- large ones ---- */

static void on_data(void *ctx, struct span bytes)
{
	struct api_export_messages *self = messages_of(ctx);
	enum gp_status status = self->is_in_entry ? GP_OK : begin_entry(self);

	api_job_touch(&self->base.job);
	if (status == GP_OK) {
		status = add(self, bytes);
	}
	if (status != GP_OK) {
		api_export_fail(&self->base, status);
		return;
	}
	imap_stream_want(self->base.job.stream, api_sink_room(&self->base.sink));
}

static void on_end(void *ctx, const struct gp_error *error)
{
	struct api_export_messages *self = messages_of(ctx);
	struct api_export *base = &self->base;
	bool is_gone = error && error->status == GP_NOT_FOUND && !self->is_in_entry;

	if (!api_job_check(&base->job, is_gone ? NULL : error)) {
		return;
	}
	if (is_gone) {
		self->at++; /* expunged since */
		next_messages(base);
		return;
	}
	enum gp_status status = self->is_in_entry ? GP_OK : begin_entry(self);
	if (status == GP_OK) {
		status = end_entry(self);
	}
	if (status != GP_OK) {
		api_export_fail(base, status);
		return;
	}
	next_messages(base);
}

static void stream_one(struct api_export_messages *self)
{
	static const struct imap_stream_events events = {.data = on_data, .done = on_end};
	struct api_export *base = &self->base;
	/* to its end, wherever that is: the size that was told may be wrong */
	const struct imap_stream_spec spec = {
		.uid = self->items[self->at].uid, .section = "", .len = UINT64_MAX, .told = self->items[self->at].size};

	base->job.stream = imap_stream_start(api_job_session(&base->job), &spec, &events, self);
	if (api_job_started(&base->job, base->job.stream)) {
		imap_stream_want(base->job.stream, api_sink_room(&base->sink));
	}
}

void api_export_messages_moved(struct api_export *base)
{
	if (base->job.stream) {
		imap_stream_want(base->job.stream, api_sink_room(&base->sink));
	}
}

/* ---- small ones ---- */

/* Writes what is next in order and there. */
static void write_group(struct api_export_messages *self)
{
	while (self->at < self->group_end && self->base.failure == GP_OK) {
		struct api_export_item *item = &self->items[self->at];
		if (item->has_early) {
			item->has_early = false;
			write_whole(self, gp_buffer_span(&item->early));
			gp_buffer_deinit(&item->early);
		} else if (!item->is_wanted || (self->is_group_done && !item->is_large)) {
			self->at++; /* or expunged since */
		} else {
			break;
		}
	}
}

static void on_message(void *ctx, const struct imap_fetch *row)
{
	struct api_export_messages *self = messages_of(ctx);
	size_t i = api_export_index(&self->base, row->uid);

	api_job_row_came(&self->base.job);
	if (i < self->at || i >= self->group_end || self->base.failure != GP_OK || row->n_sections == 0) {
		return;
	}
	struct api_export_item *item = &self->items[i];
	const struct imap_section *section = &row->sections[0];
	if (item->has_early || item->is_large || !item->is_wanted) {
		return;
	}
	self->n_came += section->value.len;
	if (section->is_too_long || section->value.len >= ASKED || self->n_came > MAX_CAME) {
		item->is_large = true; /* the server told a wrong size */
	} else if (span_is_nil(section->value)) {
		item->is_wanted = false;
	} else if (i == self->at) {
		write_whole(self, section->value);
	} else {
		item->has_early = true;
		gp_buffer_init(&item->early, ASKED);
		self->base.failure = gp_buffer_append(&item->early, section->value);
	}
	write_group(self);
}

static void on_group(void *ctx, const struct gp_error *error)
{
	struct api_export_messages *self = messages_of(ctx);

	if (!api_job_check(&self->base.job, error)) {
		return;
	}
	self->is_group_done = true;
	next_messages(&self->base);
}

/* The messages from `at` on that one command asks for. */
static enum gp_status gather(struct api_export_messages *self)
{
	enum gp_status status = GP_OK;
	uint64_t bytes = 0;
	size_t n = 0;
	size_t i = self->at;

	imap_uidset_deinit(&self->group);
	for (; i < self->base.n_uids && n < MAX_GROUP && status == GP_OK; i++) {
		const struct api_export_item *item = &self->items[i];
		if (!item->is_wanted) {
			continue;
		}
		bytes += item->size;
		if (item->is_large || bytes > GROUP || self->base.n_written + n >= self->base.limit) {
			break;
		}
		status = imap_uidset_add(&self->group, item->uid, item->uid);
		n++;
	}
	self->group_end = i;
	self->is_group_done = false;
	self->n_came = 0;
	return status;
}

static void fetch_group(struct api_export_messages *self)
{
	static const struct imap_section_spec section = {.section = "", .len = ASKED};
	struct api_export *base = &self->base;
	enum gp_status status = gather(self);
	const struct imap_fetch_spec spec = {
		.uids = &self->group, .items = IMAP_ITEM_UID, .sections = &section, .n_sections = 1};

	if (status != GP_OK) {
		api_export_fail(base, status);
		return;
	}
	api_job_expect_rows(&base->job, &self->group);
	base->job.call = imap_fetch_start(api_job_session(&base->job), &spec, on_message, on_group, self);
	api_job_started(&base->job, base->job.call);
}

/* ---- in order ---- */

static void fetch_messages(struct api_export *base)
{
	struct api_export_messages *self = messages_of(base);

	if (self->items[self->at].is_large) {
		stream_one(self);
	} else {
		fetch_group(self);
	}
}

static void next_messages(struct api_export *base)
{
	struct api_export_messages *self = messages_of(base);

	write_group(self);
	while (self->at >= self->group_end && self->at < base->n_uids && !self->items[self->at].is_wanted) {
		self->at++;
	}
	if (base->failure != GP_OK || self->at == base->n_uids || api_export_is_full(base)) {
		api_export_next(base);
	} else {
		api_export_when_ready(base, fetch_messages);
	}
}

/* ---- what they are ---- */

/* "ann@example.test" */
static struct span address_of(struct api_export *base, const struct imap_envelope *envelope)
{
	const struct imap_addresses *lists[] = {&envelope->sender, &envelope->from};

	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
		const struct imap_address *address = lists[i]->n_items > 0 ? &lists[i]->items[0] : NULL;
		if (address && address->mailbox.len > 0 && address->host.len > 0) {
			return span_of(gp_arena_printf(&base->scratch, "%.*s@%.*s", SPAN_ARGS(address->mailbox),
						       SPAN_ARGS(address->host)));
		}
	}
	return SPAN_NIL;
}

static enum gp_status read_subject(struct api_export *base, const struct imap_envelope *envelope,
				   struct span *subject_out)
{
	struct gp_buffer text;

	gp_buffer_init(&text, 16 * MAX_SUBJECT);
	enum gp_status status = mail_decode_text(span_slice(envelope->subject, 0, MAX_SUBJECT), &text, NULL);
	if (status == GP_OK && !gp_arena_copy(&base->scratch, gp_buffer_span(&text), subject_out)) {
		status = GP_NO_MEMORY;
	}
	gp_buffer_deinit(&text);
	return status;
}

static enum gp_status take_facts(struct api_export *base, struct api_export_item *item, const struct imap_fetch *row)
{
	struct api_message_parts parts;
	enum gp_status status = api_message_parts(row, &base->scratch, &parts);

	if (status != GP_OK || !api_export_accepts(base, row, &parts.choice)) {
		return status;
	}
	item->is_wanted = true;
	item->size = row->size;
	item->is_large = !(row->items & IMAP_ITEM_SIZE) || row->size > SMALL;
	item->received = row->items & IMAP_ITEM_INTERNALDATE ? row->internal_date : 0;
	if (!row->envelope) {
		return GP_OK;
	}
	item->sender = address_of(base, row->envelope);
	status = read_subject(base, row->envelope, &item->subject);
	return status == GP_OK && base->scratch.is_short ? GP_NO_MEMORY : status;
}

static void on_facts_row(void *ctx, const struct imap_fetch *row)
{
	struct api_export_messages *self = messages_of(ctx);
	struct api_export *base = &self->base;
	size_t i = api_export_index(base, row->uid);

	api_job_row_came(&base->job);
	if (base->failure == GP_OK && i < base->n_uids && !self->items[i].is_wanted) {
		base->failure = take_facts(base, &self->items[i], row);
	}
}

static void on_facts(void *ctx, const struct gp_error *error)
{
	struct api_export_messages *self = messages_of(ctx);

	if (api_job_check(&self->base.job, error)) {
		next_messages(&self->base);
	}
}

void api_export_messages_batch(struct api_export *base)
{
	struct api_export_messages *self = messages_of(base);
	const struct imap_fetch_spec spec = {.uids = &base->batch,
					     .items = IMAP_ITEM_UID | IMAP_ITEM_SIZE | IMAP_ITEM_INTERNALDATE |
						      IMAP_ITEM_ENVELOPE | api_filter_items(&base->filter)};

	for (size_t i = 0; i < base->n_uids; i++) {
		gp_buffer_deinit(&self->items[i].early);
		self->items[i] = (struct api_export_item){.uid = base->uids[i]};
	}
	self->at = self->group_end = 0;
	api_job_expect_rows(&base->job, &base->batch);
	base->job.call = imap_fetch_start(api_job_session(&base->job), &spec, on_facts_row, on_facts, self);
	api_job_started(&base->job, base->job.call);
}
