/*
 * Lists of messages as they are stored, one after another, put into something: an mbox,
 * a ZIP archive.
 *
 *   UID FETCH (SIZE, date, envelope)   of a batch
 *   UID FETCH (BODY.PEEK[]<0.n>)       of several small ones, some 256 KiB together
 *   windows of BODY.PEEK[]             of each large one
 *
 * Small messages share a command, since one round trip for each would take most of the
 * time. They are written in order; what comes before its turn is kept.
 */
#ifndef GP_API_EXPORT_MESSAGE_H
#define GP_API_EXPORT_MESSAGE_H

#include "api/export.h"
#include "mail/mbox.h"
#include "mail/zip.h"

struct api_export_item {
	uint32_t uid;
	bool is_wanted;              /* it is there, and the filters pick it */
	bool is_large;               /* comes as a stream */
	bool has_early;              /* came before its turn */
	uint64_t size;               /* as the server told */
	int64_t received;            /* INTERNALDATE */
	struct span sender, subject; /* in the scratch arena: an address; decoded text */
	struct gp_buffer early;      /* own */
};

struct api_export_messages;

/* What messages are put into. Each appends to self->out, which then goes into the sink. */
struct api_export_archive {
	enum gp_status (*begin)(struct api_export_messages *self, const struct api_export_item *item);
	enum gp_status (*data)(struct api_export_messages *self, struct span bytes);
	enum gp_status (*end)(struct api_export_messages *self);
};

struct api_export_messages {
	struct api_export base; /* first */
	const struct api_export_archive *archive;

	/* one run */
	struct api_export_item items[API_EXPORT_BATCH];
	size_t at, group_end; /* items before `at` are through; those before group_end are asked for */
	bool is_group_done;
	uint64_t n_came;          /* bytes of the group */
	bool is_in_entry;         /* the item at `at` has been begun */
	struct imap_uidset group; /* own */
	struct gp_buffer out;     /* own */
	struct mail_mbox mbox;
	struct mail_zip *zip; /* own */
};

/* For the formats' tables. */
bool api_export_messages_begin(struct api_export *base, const struct api_export_archive *archive);
void api_export_messages_batch(struct api_export *base);
void api_export_messages_moved(struct api_export *base);
void api_export_messages_reset(struct api_export *base);
/* What is in self->out goes into the sink. */
enum gp_status api_export_messages_flush(struct api_export_messages *self) GP_MUST_USE;

#endif
