#include "mail/zip.h"

#include <stdlib.h>
#include <time.h>

#define ZLIB_CONST /* it only reads what it is given */
#include <zlib.h>

#define LOCAL_HEADER 0x04034b50u
#define DESCRIPTOR 0x08074b50u
#define DIRECTORY_RECORD 0x02014b50u
#define DIRECTORY_END 0x06054b50u
#define ZIP64_DIRECTORY_END 0x06064b50u
#define ZIP64_LOCATOR 0x07064b50u

#define VERSION_DEFLATE 20
#define VERSION_ZIP64 45
#define MADE_BY (3u << 8 | VERSION_ZIP64) /* Unix: what the attributes are */
#define FLAGS (1u << 3 | 1u << 11)        /* a data descriptor follows; the name is UTF-8 */
#define REGULAR_FILE (0100644u << 16)
#define EXTRA_ZIP64 0x0001u
#define EXTRA_TIME 0x5455u
#define TIME_SIZE 9u
#define ZIP64_SIZE 12u

#define PIECE (64 * GP_KIB)

struct mail_zip {
	z_stream deflate;
	uint64_t offset; /* of the next byte that comes out */
	uint64_t n_entries;
	struct gp_buffer directory; /* own */
	size_t directory_at;        /* bytes of it that have come out */
	uint64_t directory_offset;

	/* the entry under way */
	char name[MAIL_ZIP_MAX_NAME];
	size_t name_len;
	uint32_t time;
	uint16_t dos_time, dos_date;
	uint64_t entry_offset, n_in, n_out;
	uint32_t crc;
};

struct mail_zip *mail_zip_new(void)
{
	struct mail_zip *zip = calloc(1, sizeof *zip);

	if (!zip) {
		return NULL;
	}
	/* raw: no header of zlib's own around it */
	if (deflateInit2(&zip->deflate, Z_BEST_SPEED, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
		free(zip);
		return NULL;
	}
	gp_buffer_init(&zip->directory, MAIL_ZIP_MAX_DIRECTORY);
	return zip;
}

void mail_zip_free(struct mail_zip **zip)
{
	if (*zip) {
		(void)deflateEnd(&(*zip)->deflate);
		gp_buffer_deinit(&(*zip)->directory);
		free(*zip);
		*zip = NULL;
	}
}

void mail_zip_skip(struct mail_zip *zip, uint64_t n)
{
	zip->offset += n;
}

/* ---- records ---- */

/* A record on its way; the first failure sticks. */
struct record {
	struct gp_buffer *out;
	enum gp_status status;
};

static void put_bytes(struct record *record, struct span bytes)
{
	if (record->status == GP_OK) {
		record->status = gp_buffer_append(record->out, bytes);
	}
}

static void put(struct record *record, uint64_t number, size_t n_bytes)
{
	char bytes[8];

	for (size_t i = 0; i < n_bytes; i++) {
		bytes[i] = (char)(number >> (8 * i) & 0xFF);
	}
	put_bytes(record, span_make(bytes, n_bytes));
}

/* When it was modified, in seconds of UTC; the MS-DOS time beside it has no zone. */
static void put_time(struct record *record, const struct mail_zip *zip)
{
	put(record, EXTRA_TIME, 2);
	put(record, TIME_SIZE - 4, 2);
	put(record, 1, 1);
	put(record, zip->time, 4);
}

static void set_time(struct mail_zip *zip, int64_t modified)
{
	time_t seconds = modified < 0 || modified > INT32_MAX ? 0 : (time_t)modified;
	struct tm at;

	zip->time = (uint32_t)seconds;
	zip->dos_time = 0;
	zip->dos_date = 1u << 5 | 1u; /* 1980, where its time begins */
	if (gmtime_r(&seconds, &at) && at.tm_year >= 80) {
		zip->dos_time = (uint16_t)(at.tm_hour << 11 | at.tm_min << 5 | at.tm_sec / 2);
		zip->dos_date = (uint16_t)((at.tm_year - 80) << 9 | (at.tm_mon + 1) << 5 | at.tm_mday);
	}
}

enum gp_status mail_zip_begin(struct mail_zip *zip, struct span name, int64_t modified, int level,
			      struct gp_buffer *out)
{
	struct record record = {.out = out, .status = GP_OK};
	size_t before = out->len;

	if (name.len == 0 || name.len > MAIL_ZIP_MAX_NAME) {
		return GP_INVALID;
	}
	memcpy(zip->name, name.ptr, name.len);
	zip->name_len = name.len;
	zip->entry_offset = zip->offset;
	zip->n_in = zip->n_out = 0;
	zip->crc = (uint32_t)crc32(0, NULL, 0);
	set_time(zip, modified);
	if (deflateReset(&zip->deflate) != Z_OK || deflateParams(&zip->deflate, level, Z_DEFAULT_STRATEGY) != Z_OK) {
		return GP_NO_MEMORY;
	}
	put(&record, LOCAL_HEADER, 4);
	put(&record, VERSION_DEFLATE, 2);
	put(&record, FLAGS, 2);
	put(&record, Z_DEFLATED, 2);
	put(&record, zip->dos_time, 2);
	put(&record, zip->dos_date, 2);
	put(&record, 0, 4); /* checksum and sizes: behind the data */
	put(&record, 0, 4);
	put(&record, 0, 4);
	put(&record, name.len, 2);
	put(&record, TIME_SIZE, 2);
	put_bytes(&record, name);
	put_time(&record, zip);
	zip->offset += out->len - before;
	return record.status;
}

/* ---- data ---- */

static enum gp_status run_deflate(struct mail_zip *zip, int flush, struct gp_buffer *out)
{
	int result = Z_OK;

	do {
		char *room;
		enum gp_status status = gp_buffer_reserve(out, PIECE, &room);
		if (status != GP_OK) {
			return status;
		}
		zip->deflate.next_out = (Bytef *)room;
		zip->deflate.avail_out = PIECE;
		result = deflate(&zip->deflate, flush);
		size_t len = PIECE - zip->deflate.avail_out;
		gp_buffer_commit(out, len);
		zip->n_out += len;
		zip->offset += len;
	} while (result == Z_OK && zip->deflate.avail_out == 0);
	bool is_good = result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR;
	return is_good ? GP_OK : GP_NO_MEMORY;
}

enum gp_status mail_zip_data(struct mail_zip *zip, struct span bytes, struct gp_buffer *out)
{
	if (bytes.len > UINT32_MAX || zip->n_in + bytes.len >= UINT32_MAX) {
		return GP_LIMIT;
	}
	zip->n_in += bytes.len;
	zip->crc = (uint32_t)crc32(zip->crc, (const Bytef *)bytes.ptr, (uInt)bytes.len);
	zip->deflate.next_in = (const Bytef *)bytes.ptr;
	zip->deflate.avail_in = (uInt)bytes.len;
	return run_deflate(zip, Z_NO_FLUSH, out);
}

/* ---- the end of an entry ---- */

static enum gp_status add_to_directory(struct mail_zip *zip)
{
	struct record record = {.out = &zip->directory, .status = GP_OK};
	bool is_far = zip->entry_offset >= UINT32_MAX;

	put(&record, DIRECTORY_RECORD, 4);
	put(&record, MADE_BY, 2);
	put(&record, is_far ? VERSION_ZIP64 : VERSION_DEFLATE, 2);
	put(&record, FLAGS, 2);
	put(&record, Z_DEFLATED, 2);
	put(&record, zip->dos_time, 2);
	put(&record, zip->dos_date, 2);
	put(&record, zip->crc, 4);
	put(&record, zip->n_out, 4);
	put(&record, zip->n_in, 4);
	put(&record, zip->name_len, 2);
	put(&record, TIME_SIZE + (is_far ? ZIP64_SIZE : 0), 2);
	put(&record, 0, 2); /* comment */
	put(&record, 0, 2); /* disk */
	put(&record, 0, 2); /* internal attributes */
	put(&record, REGULAR_FILE, 4);
	put(&record, is_far ? UINT32_MAX : zip->entry_offset, 4);
	put_bytes(&record, span_make(zip->name, zip->name_len));
	put_time(&record, zip);
	if (is_far) {
		put(&record, EXTRA_ZIP64, 2);
		put(&record, ZIP64_SIZE - 4, 2);
		put(&record, zip->entry_offset, 8);
	}
	return record.status;
}

enum gp_status mail_zip_end(struct mail_zip *zip, struct gp_buffer *out)
{
	struct record record = {.out = out, .status = GP_OK};

	zip->deflate.avail_in = 0;
	enum gp_status status = run_deflate(zip, Z_FINISH, out);
	if (status != GP_OK) {
		return status;
	}
	if (zip->n_out >= UINT32_MAX) {
		return GP_LIMIT;
	}
	size_t before = out->len;
	put(&record, DESCRIPTOR, 4);
	put(&record, zip->crc, 4);
	put(&record, zip->n_out, 4);
	put(&record, zip->n_in, 4);
	zip->offset += out->len - before;
	zip->n_entries++;
	return record.status == GP_OK ? add_to_directory(zip) : record.status;
}

/* ---- the end of the archive ---- */

static enum gp_status put_end(struct mail_zip *zip, struct gp_buffer *out)
{
	struct record record = {.out = out, .status = GP_OK};
	uint64_t size = zip->directory.len;
	bool is_zip64 = zip->n_entries >= UINT16_MAX || zip->directory_offset >= UINT32_MAX;

	if (is_zip64) {
		put(&record, ZIP64_DIRECTORY_END, 4);
		put(&record, 44, 8); /* what follows of this record */
		put(&record, MADE_BY, 2);
		put(&record, VERSION_ZIP64, 2);
		put(&record, 0, 4);
		put(&record, 0, 4);
		put(&record, zip->n_entries, 8);
		put(&record, zip->n_entries, 8);
		put(&record, size, 8);
		put(&record, zip->directory_offset, 8);
		put(&record, ZIP64_LOCATOR, 4);
		put(&record, 0, 4);
		put(&record, zip->directory_offset + size, 8);
		put(&record, 1, 4);
	}
	put(&record, DIRECTORY_END, 4);
	put(&record, 0, 2);
	put(&record, 0, 2);
	put(&record, is_zip64 ? UINT16_MAX : zip->n_entries, 2);
	put(&record, is_zip64 ? UINT16_MAX : zip->n_entries, 2);
	put(&record, size, 4);
	put(&record, is_zip64 ? UINT32_MAX : zip->directory_offset, 4);
	put(&record, 0, 2); /* comment */
	return record.status;
}

enum gp_status mail_zip_finish(struct mail_zip *zip, size_t max, struct gp_buffer *out, bool *is_complete_out)
{
	if (zip->directory_at == 0) {
		zip->directory_offset = zip->offset;
	}
	struct span piece = span_slice(gp_buffer_span(&zip->directory), zip->directory_at, max);
	enum gp_status status = gp_buffer_append(out, piece);
	if (status != GP_OK) {
		return status;
	}
	zip->directory_at += piece.len;
	*is_complete_out = zip->directory_at == zip->directory.len;
	return *is_complete_out ? put_end(zip, out) : GP_OK;
}
