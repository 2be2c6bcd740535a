/*
 * A ZIP archive as a stream (APPNOTE 6.3.10): nothing is ever gone back to, so sizes and
 * checksums stand behind each entry (a data descriptor) and again in the directory at the
 * end. ZIP64 where offsets or the number of entries need it. Names are UTF-8.
 *
 * Entries are deflated, at level 0 to 9. Level 0 copies: its blocks say where they end, so
 * that even programs that read from the front find the next entry, which they do not
 * behind a stored one.
 *
 * Bytes go in in any pieces; what comes out is appended to the caller's buffer: about as
 * much as went in, at most. Of each entry its directory record is kept (46 bytes, its
 * name, 9 or 21 more), at most MAIL_ZIP_MAX_DIRECTORY bytes in all.
 *
 *   begin  data*  end   …   finish until it says that it is complete
 */
#ifndef GP_MAIL_ZIP_H
#define GP_MAIL_ZIP_H

#include "base/buffer.h"
#include "base/limits.h"

#define MAIL_ZIP_MAX_DIRECTORY (32 * GP_MIB)
#define MAIL_ZIP_MAX_NAME ((size_t)255)

struct mail_zip;

/* NULL when memory ends. */
struct mail_zip *mail_zip_new(void);
void mail_zip_free(struct mail_zip **zip);

/* An entry; the one before has ended. `name` is one that may be written to a disk
 * (mail/filename.h), of at most MAIL_ZIP_MAX_NAME bytes; `modified` in seconds since 1970. */
enum gp_status mail_zip_begin(struct mail_zip *zip, struct span name, int64_t modified, int level,
			      struct gp_buffer *out) GP_MUST_USE;
/* GP_LIMIT past 4 GiB of one entry: what IMAP can give is less. */
enum gp_status mail_zip_data(struct mail_zip *zip, struct span bytes, struct gp_buffer *out) GP_MUST_USE;
enum gp_status mail_zip_end(struct mail_zip *zip, struct gp_buffer *out) GP_MUST_USE;
/* The directory, about `max` bytes of it in each call. */
enum gp_status mail_zip_finish(struct mail_zip *zip, size_t max, struct gp_buffer *out,
			       bool *is_complete_out) GP_MUST_USE;

/* For tests: as if `n` bytes had gone out already. */
void mail_zip_skip(struct mail_zip *zip, uint64_t n);

#endif
