/* ZIP archives, read back from the front and by their directory. tests/integration has other readers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <zlib.h>

#include "mail/zip.h"

static uint64_t number(struct span bytes, size_t at, size_t n)
{
	uint64_t value = 0;

	assert_true(at + n <= bytes.len);
	for (size_t i = n; i > 0; i--) {
		value = value << 8 | (unsigned char)bytes.ptr[at + i - 1];
	}
	return value;
}

static void add(struct mail_zip *zip, const char *name, struct span data, size_t piece, int level,
		struct gp_buffer *out)
{
	assert_int_equal(mail_zip_begin(zip, span_of(name), 1700000001, level, out), GP_OK);
	for (size_t at = 0; at < data.len; at += piece) {
		assert_int_equal(mail_zip_data(zip, span_slice(data, at, piece), out), GP_OK);
	}
	assert_int_equal(mail_zip_end(zip, out), GP_OK);
}

static void finish(struct mail_zip *zip, size_t max, struct gp_buffer *out)
{
	bool is_complete = false;

	while (!is_complete) {
		size_t before = out->len;
		assert_int_equal(mail_zip_finish(zip, max, out, &is_complete), GP_OK);
		assert_true(out->len - before <= max + 200);
	}
}

/* Reads the entry at *at from the front; *at moves behind its descriptor. */
static void expect_entry(struct span archive, size_t *at, const char *name, struct span data)
{
	struct span rest = span_from(archive, *at);
	z_stream stream = {0};
	char *inflated = malloc(data.len + 1);

	assert_int_equal(number(rest, 0, 4), 0x04034b50);
	assert_int_equal(number(rest, 6, 2), 0x0808);
	assert_int_equal(number(rest, 8, 2), 8);
	size_t name_len = number(rest, 26, 2), extra_len = number(rest, 28, 2);
	assert_true(span_equal_text(span_slice(rest, 30, name_len), name));
	assert_int_equal(number(rest, 30 + name_len, 2), 0x5455);
	assert_int_equal(number(rest, 30 + name_len + 5, 4), 1700000001);
	rest = span_from(rest, 30 + name_len + extra_len);
	assert_int_equal(inflateInit2(&stream, -MAX_WBITS), Z_OK);
	stream.next_in = (Bytef *)(uintptr_t)rest.ptr;
	stream.avail_in = (uInt)rest.len;
	stream.next_out = (Bytef *)inflated;
	stream.avail_out = (uInt)data.len + 1;
	assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
	assert_int_equal(stream.total_out, data.len);
	assert_memory_equal(inflated, data.ptr, data.len);
	size_t packed = stream.total_in;
	(void)inflateEnd(&stream);
	assert_int_equal(number(rest, packed, 4), 0x08074b50);
	assert_int_equal(number(rest, packed + 4, 4), crc32(0, (const Bytef *)data.ptr, (uInt)data.len));
	assert_int_equal(number(rest, packed + 8, 4), packed);
	assert_int_equal(number(rest, packed + 12, 4), data.len);
	*at = (size_t)(rest.ptr - archive.ptr) + packed + 16;
	free(inflated);
}

static void test_entries(void **state)
{
	char noise[200000];
	uint32_t seed = 1;
	(void)state;

	for (size_t i = 0; i < sizeof noise; i++) {
		seed = seed * 1664525 + 1013904223;
		noise[i] = (char)(seed >> 24);
	}
	struct span data[] = {SPAN_LIT("Hello."), SPAN_LIT(""), span_make(noise, sizeof noise)};
	static const char *const names[] = {"a.txt", "nichts", "Gr\u00FC\u00DFe.bin"};
	static const size_t pieces[] = {1, 7, 65536, 1000000};
	for (int level = 0; level <= 1; level++) {
		for (size_t p = 0; p < 4; p++) {
			struct mail_zip *zip = mail_zip_new();
			struct gp_buffer out;
			assert_non_null(zip);
			gp_buffer_init(&out, 4 * GP_MIB);
			for (size_t i = 0; i < 3; i++) {
				add(zip, names[i], data[i], pieces[p], level, &out);
			}
			size_t end = out.len;
			finish(zip, p == 0 ? 1 : 1000, &out);
			struct span archive = gp_buffer_span(&out);
			size_t at = 0, record = end;
			for (size_t i = 0; i < 3; i++) {
				assert_int_equal(number(archive, record, 4), 0x02014b50);
				assert_int_equal(number(archive, record + 42, 4), at);
				assert_int_equal(number(archive, record + 24, 4), data[i].len);
				record += 46 + number(archive, record + 28, 2) + number(archive, record + 30, 2);
				expect_entry(archive, &at, names[i], data[i]);
			}
			assert_int_equal(at, end);
			assert_int_equal(number(archive, record, 4), 0x06054b50);
			assert_int_equal(number(archive, record + 10, 2), 3);
			assert_int_equal(number(archive, record + 12, 4), record - end);
			assert_int_equal(number(archive, record + 16, 4), end);
			assert_int_equal(archive.len, record + 22);
			gp_buffer_deinit(&out);
			mail_zip_free(&zip);
			assert_null(zip);
		}
	}
}

static void test_empty(void **state)
{
	struct mail_zip *zip = mail_zip_new();
	struct gp_buffer out;
	(void)state;

	gp_buffer_init(&out, 4096);
	finish(zip, 1000, &out);
	assert_int_equal(out.len, 22);
	assert_int_equal(number(gp_buffer_span(&out), 0, 4), 0x06054b50);
	gp_buffer_deinit(&out);
	mail_zip_free(&zip);
}

/* Past 4 GiB, and past 65,534 entries. */
static void test_zip64(void **state)
{
	static const uint64_t far = UINT64_C(5) << 30;
	(void)state;

	for (int is_far = 0; is_far < 2; is_far++) {
		struct mail_zip *zip = mail_zip_new();
		struct gp_buffer out;
		uint64_t n = is_far ? 1 : 65535;
		gp_buffer_init(&out, 64 * GP_MIB);
		if (is_far) {
			mail_zip_skip(zip, far);
		}
		for (uint64_t i = 0; i < n; i++) {
			add(zip, "a", SPAN_LIT("x"), 1, 0, &out);
		}
		size_t end = out.len;
		finish(zip, 100000, &out);
		struct span archive = gp_buffer_span(&out);
		struct span tail = span_from(archive, archive.len - 22 - 20 - 56);
		uint64_t size = archive.len - end - 22 - 20 - 56;
		uint64_t offset = end + (is_far ? far : 0);
		assert_int_equal(number(tail, 0, 4), 0x06064b50);
		assert_int_equal(number(tail, 4, 8), 44);
		assert_int_equal(number(tail, 24, 8), n);
		assert_int_equal(number(tail, 32, 8), n);
		assert_int_equal(number(tail, 40, 8), size);
		assert_int_equal(number(tail, 48, 8), offset);
		assert_int_equal(number(tail, 56, 4), 0x07064b50);
		assert_int_equal(number(tail, 64, 8), offset + size);
		assert_int_equal(number(tail, 76, 4), 0x06054b50);
		assert_int_equal(number(tail, 86, 2), 0xFFFF);
		assert_int_equal(number(tail, 92, 4), 0xFFFFFFFF);
		if (is_far) {
			assert_int_equal(number(archive, end + 42, 4), 0xFFFFFFFF);
			assert_int_equal(number(archive, end + 46 + 1 + 9, 2), 1);
			assert_int_equal(number(archive, end + 46 + 1 + 9 + 4, 8), far);
		}
		gp_buffer_deinit(&out);
		mail_zip_free(&zip);
	}
}

static void test_limits(void **state)
{
	struct mail_zip *zip = mail_zip_new();
	struct gp_buffer out;
	char name[300];
	(void)state;

	memset(name, 'x', sizeof name);
	gp_buffer_init(&out, 4096);
	assert_int_equal(mail_zip_begin(zip, SPAN_LIT(""), 0, 0, &out), GP_INVALID);
	assert_int_equal(mail_zip_begin(zip, span_make(name, 256), 0, 0, &out), GP_INVALID);
	assert_int_equal(mail_zip_begin(zip, span_make(name, 255), INT64_MIN, 0, &out), GP_OK);
	gp_buffer_deinit(&out);
	mail_zip_free(&zip);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entries),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_zip64),
		cmocka_unit_test(test_limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
