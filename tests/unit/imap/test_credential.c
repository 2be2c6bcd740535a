#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* For RAND_set_rand_method(). */
#define OPENSSL_SUPPRESS_DEPRECATED
/* White box: to give two credentials one key. */
#include "imap/credential.c"
#include "tests/unit/strict_end.h"

#define TEXT(s)                                                                                                        \
	{                                                                                                              \
		"" s, sizeof(s) - 1                                                                                    \
	}

static char long_text[1025];

static struct imap_credential *make(struct span username, struct span password)
{
	struct imap_credential *credential = NULL;

	assert_int_equal(imap_credential_new(username, password, &credential), GP_OK);
	return credential;
}

static int no_random_bytes(unsigned char *bytes, int n)
{
	(void)bytes;
	(void)n;
	return 0;
}

/* The first of all tests, for the key is made once. Without one there is no credential, as
 * all would look alike; and with one later all is well. */
static void test_without_random_bytes(void **state)
{
	(void)state;
	const RAND_METHOD none = {.bytes = no_random_bytes};
	struct imap_credential *credential = NULL;

	RAND_set_rand_method(&none);
	assert_int_equal(imap_credential_new(span_of("bob"), span_of("secret"), &credential), GP_NO_MEMORY);
	assert_null(credential);
	RAND_set_rand_method(NULL);
	credential = make(span_of("bob"), span_of("secret"));
	imap_credential_unref(&credential);
}

static void test_what_is_accepted(void **state)
{
	(void)state;
	memset(long_text, 'x', sizeof long_text);
	const struct {
		struct span username, password;
		enum gp_status status;
	} cases[] = {
		{TEXT("bob"), TEXT("secret"), GP_OK},
		{TEXT(""), TEXT(""), GP_OK},
		{TEXT("j\xC3\xB6rg"), TEXT("p\xC3\xA4ss \"word\"\r\n"), GP_OK},
		{{long_text, 1024}, {long_text, 1024}, GP_OK},
		{{long_text, 1025}, TEXT("secret"), GP_INVALID},
		{TEXT("bob"), {long_text, 1025}, GP_INVALID},
		{TEXT("bo\0b"), TEXT("secret"), GP_INVALID},
		{TEXT("bob"), TEXT("sec\0ret"), GP_INVALID},
		{TEXT("bob\xFF"), TEXT("secret"), GP_INVALID},
		{TEXT("bob"), TEXT("\xC3"), GP_INVALID},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct imap_credential *credential = NULL;
		enum gp_status status = imap_credential_new(cases[i].username, cases[i].password, &credential);
		if (status != cases[i].status) {
			fail_msg("case %zu: %s", i, gp_status_name(status));
		}
		assert_true((credential != NULL) == (status == GP_OK));
		if (credential) {
			assert_true(span_equal(imap_credential_username(credential), cases[i].username));
			assert_true(span_equal(imap_credential_password(credential), cases[i].password));
		}
		imap_credential_unref(&credential);
		assert_null(credential);
	}
}

static void test_who_is_the_same(void **state)
{
	(void)state;
	const struct {
		struct span username[2], password[2];
		bool is_same;
	} cases[] = {
		{{TEXT("bob"), TEXT("bob")}, {TEXT("secret"), TEXT("secret")}, true},
		{{TEXT(""), TEXT("")}, {TEXT(""), TEXT("")}, true},
		{{TEXT("bob"), TEXT("bob")}, {TEXT("secret"), TEXT("Secret")}, false},
		{{TEXT("bob"), TEXT("Bob")}, {TEXT("secret"), TEXT("secret")}, false},
		/* the same bytes, cut elsewhere */
		{{TEXT("bob"), TEXT("bobs")}, {TEXT("secret"), TEXT("ecret")}, false},
		{{TEXT("bob"), TEXT("")}, {TEXT(""), TEXT("bob")}, false},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct imap_credential *a = make(cases[i].username[0], cases[i].password[0]);
		struct imap_credential *b = make(cases[i].username[1], cases[i].password[1]);
		assert_int_equal(imap_credential_is_same(a, b), cases[i].is_same);
		assert_int_equal(imap_credential_is_same(b, a), cases[i].is_same);
		bool has_same_key =
			memcmp(imap_credential_key(a), imap_credential_key(b), IMAP_CREDENTIAL_KEY_BYTES) == 0;
		assert_int_equal(has_same_key, cases[i].is_same);
		imap_credential_unref(&a);
		imap_credential_unref(&b);
	}
}

struct pair {
	struct imap_credential *is, *wanted;
};

static void check_pair(void *ctx)
{
	struct pair *pair = ctx;

	imap_credential_check_owner(pair->is, pair->wanted, "of a test");
}

/* A key that was made wrong finds another's session; it does not vouch for it. */
static void test_a_key_does_not_vouch_for_itself(void **state)
{
	(void)state;
	static const struct {
		const char *username[2], *password[2];
	} cases[] = {
		{{"bob", "ann"}, {"secret", "secret"}},
		{{"bob", "bob"}, {"secret", "Secret"}},
		{{"bob", "bobs"}, {"ecret", "ecret"}},
		{{"bob", "bobs"}, {"secret", "ecret"}}, /* the same bytes, cut elsewhere */
		{{"", "a"}, {"a", ""}},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct pair pair = {make(span_of(cases[i].username[0]), span_of(cases[i].password[0])),
				    make(span_of(cases[i].username[1]), span_of(cases[i].password[1]))};
		memcpy(pair.is->key, pair.wanted->key, sizeof pair.is->key);
		assert_true(imap_credential_is_same(pair.is, pair.wanted));
		expect_abort(check_pair, &pair);
		struct imap_credential *same = make(span_of(cases[i].username[0]), span_of(cases[i].password[0]));
		imap_credential_check_owner(pair.is, same, "of a test");
		imap_credential_check_owner(pair.is, pair.is, "of a test");
		imap_credential_unref(&same);
		imap_credential_unref(&pair.is);
		imap_credential_unref(&pair.wanted);
	}
}

static void test_references(void **state)
{
	(void)state;
	struct imap_credential *first = make(span_of("bob"), span_of("secret"));
	struct imap_credential *second = imap_credential_ref(first);

	assert_ptr_equal(first, second);
	imap_credential_unref(&first);
	assert_null(first);
	assert_true(span_equal_text(imap_credential_password(second), "secret"));
	imap_credential_unref(&second);
	imap_credential_unref(&second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_random_bytes), cmocka_unit_test(test_what_is_accepted),
		cmocka_unit_test(test_who_is_the_same),      cmocka_unit_test(test_a_key_does_not_vouch_for_itself),
		cmocka_unit_test(test_references),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
