/* What is appended to messages. No value is within the budget here, so that each is made
 * at once, without a server. */
#include "api/body_values.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct mail_part plain = {.part_id = "1.1", .type = "text/plain", .encoded_size = 10};
static struct mail_part html = {.part_id = "1.2", .type = "text/html", .encoded_size = 10};
static struct mail_part image = {.part_id = "2", .type = "image/png", .encoded_size = 10};
static struct mail_part *all[] = {&plain, &html, &image, &plain};

static size_t n_done;

static void on_done(struct api_job *job)
{
	(void)job;
	n_done++;
}

/* Message 5 gets values and a preview, 9 only an empty list, 7 a preview of nothing. */
static void add_all(struct api_body_values *values)
{
	const struct mail_part_list list = {.items = all, .n_items = 4};
	const struct mail_part_list none = {.n_items = 0};
	const struct mail_choice choice = {.text_body = list};
	const struct mail_choice empty = {.has_attachment = false};

	assert_int_equal(api_body_values_add(values, 5, &list), GP_OK);
	assert_int_equal(api_body_values_add(values, 5, &list), GP_OK);
	assert_int_equal(api_body_values_add_preview(values, 5, &choice), GP_OK);
	assert_int_equal(api_body_values_add(values, 9, &none), GP_OK);
	assert_int_equal(api_body_values_add_preview(values, 7, &empty), GP_OK);
}

static void write_message(struct api_body_values *values, uint32_t uid, struct gp_buffer *out)
{
	struct api_json_writer writer;

	gp_buffer_truncate(out, 0);
	api_json_writer_init(&writer, out, values->job->exchange->is_pretty, values->depth - 1);
	api_json_writer_object(&writer);
	api_json_writer_key(&writer, "uid");
	api_json_writer_number(&writer, uid);
	api_body_values_write(values, uid, &writer);
	api_json_writer_object_end(&writer);
	assert_int_equal(api_json_writer_status(&writer), GP_OK);
}

static void members(void **state)
{
	struct api_exchange exchange = {.is_pretty = false};
	struct api_job job = {.exchange = &exchange};
	struct api_body_values values;
	struct gp_buffer out;
	(void)state;

	n_done = 0;
	gp_buffer_init(&out, GP_KIB);
	api_body_values_init(&values, &job, 100, 0, 1, on_done);
	add_all(&values);
	api_body_values_run(&values);
	assert_int_equal(n_done, 1);

	/* in the order in which they were added, and in any other */
	for (size_t i = 0; i < 2; i++) {
		write_message(&values, 5, &out);
		assert_string_equal(
			out.data,
			"{\"uid\":5,\"bodyValues\":{"
			"\"1.1\":{\"value\":\"\",\"isTruncated\":true,\"isEncodingProblem\":false},"
			"\"1.2\":{\"value\":\"\",\"isTruncated\":true,\"isEncodingProblem\":false}},\"preview\":null}");
		write_message(&values, 9, &out);
		assert_string_equal(out.data, "{\"uid\":9,\"bodyValues\":{}}");
		write_message(&values, 7, &out);
		assert_string_equal(out.data, "{\"uid\":7,\"preview\":\"\"}");
	}
	write_message(&values, 9, &out);
	assert_string_equal(out.data, "{\"uid\":9,\"bodyValues\":{}}");
	write_message(&values, 6, &out);
	assert_string_equal(out.data, "{\"uid\":6}");
	api_body_values_deinit(&values);
	gp_buffer_deinit(&out);
}

static void indented(void **state)
{
	struct api_exchange exchange = {.is_pretty = true};
	struct api_job job = {.exchange = &exchange};
	struct api_body_values values;
	struct gp_buffer out;
	(void)state;

	gp_buffer_init(&out, GP_KIB);
	api_body_values_init(&values, &job, 100, 0, 1, on_done);
	add_all(&values);
	write_message(&values, 5, &out);
	assert_string_equal(out.data, "{\n  \"uid\": 5,\n  \"bodyValues\": {\n    \"1.1\": {\n      \"value\": \"\",\n"
				      "      \"isTruncated\": true,\n      \"isEncodingProblem\": false\n    },\n"
				      "    \"1.2\": {\n      \"value\": \"\",\n      \"isTruncated\": true,\n"
				      "      \"isEncodingProblem\": false\n    }\n  },\n  \"preview\": null\n}");
	api_body_values_deinit(&values);
	gp_buffer_deinit(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(members), cmocka_unit_test(indented)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
