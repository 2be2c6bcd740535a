#include "imap/credential.h"

#include <stdlib.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "base/log.h"
#include "base/utf8.h"

#define MAX_FIELD 1024

/* What the secret is used for: a token and a password of the same bytes are two
 * credentials. */
static const char mechanism[] = "password";

struct imap_credential {
	size_t n_references;
	size_t username_len, password_len;
	unsigned char key[IMAP_CREDENTIAL_KEY_BYTES];
	char bytes[]; /* user name, then password */
};

/* The key of this process: no hash can be compared with one made elsewhere. */
static bool process_key(const unsigned char **key_out)
{
	static unsigned char key[IMAP_CREDENTIAL_KEY_BYTES];
	static bool has_key;

	if (!has_key) {
		has_key = RAND_bytes(key, sizeof key) == 1;
	}
	*key_out = key;
	return has_key;
}

static bool is_acceptable(struct span text)
{
	return text.len <= MAX_FIELD && span_find_char(text, '\0') < 0 && utf8_is_valid(text);
}

static size_t append(unsigned char *out, size_t at, const void *bytes, size_t len)
{
	if (len > 0) {
		memcpy(out + at, bytes, len);
	}
	return at + len;
}

/* Each field with its length in front, so that no two credentials make one text. */
static size_t append_field(unsigned char *out, size_t at, struct span field)
{
	unsigned char len[2] = {(unsigned char)(field.len >> 8), (unsigned char)(field.len & 0xFF)};

	return append(out, append(out, at, len, sizeof len), field.ptr, field.len);
}

static bool compute_key(struct imap_credential *credential)
{
	unsigned char text[2 * MAX_FIELD + sizeof mechanism + 3 * 2];
	unsigned int key_len = 0;
	const unsigned char *key;
	size_t len = 0;

	if (!process_key(&key)) {
		return false;
	}
	len = append_field(text, len, span_of(mechanism));
	len = append_field(text, len, imap_credential_username(credential));
	len = append_field(text, len, imap_credential_password(credential));
	bool is_done = HMAC(EVP_sha256(), key, IMAP_CREDENTIAL_KEY_BYTES, text, len, credential->key, &key_len) &&
		       key_len == IMAP_CREDENTIAL_KEY_BYTES;
	OPENSSL_cleanse(text, sizeof text);
	return is_done;
}

enum gp_status imap_credential_new(struct span username, struct span password, struct imap_credential **credential_out)
{
	if (!is_acceptable(username) || !is_acceptable(password)) {
		return GP_INVALID;
	}
	struct imap_credential *credential = calloc(1, sizeof *credential + username.len + password.len);
	if (!credential) {
		return GP_NO_MEMORY;
	}
	credential->n_references = 1;
	credential->username_len = username.len;
	credential->password_len = password.len;
	if (username.len > 0) {
		memcpy(credential->bytes, username.ptr, username.len);
	}
	if (password.len > 0) {
		memcpy(credential->bytes + username.len, password.ptr, password.len);
	}
	if (!compute_key(credential)) {
		imap_credential_unref(&credential);
		return GP_NO_MEMORY;
	}
	*credential_out = credential;
	return GP_OK;
}

struct imap_credential *imap_credential_ref(struct imap_credential *credential)
{
	credential->n_references++;
	return credential;
}

void imap_credential_unref(struct imap_credential **credential)
{
	struct imap_credential *self = *credential;

	*credential = NULL;
	if (self && --self->n_references == 0) {
		OPENSSL_cleanse(self, sizeof *self + self->username_len + self->password_len);
		free(self);
	}
}

struct span imap_credential_username(const struct imap_credential *credential)
{
	return span_make(credential->bytes, credential->username_len);
}

struct span imap_credential_password(const struct imap_credential *credential)
{
	return span_make(credential->bytes + credential->username_len, credential->password_len);
}

const unsigned char *imap_credential_key(const struct imap_credential *credential)
{
	return credential->key;
}

bool imap_credential_is_same(const struct imap_credential *a, const struct imap_credential *b)
{
	return CRYPTO_memcmp(a->key, b->key, IMAP_CREDENTIAL_KEY_BYTES) == 0;
}

static bool is_equal(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || CRYPTO_memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool imap_credential_is_owner(const struct imap_credential *credential, struct span username, struct span password)
{
	bool is_name = is_equal(imap_credential_username(credential), username);
	bool is_secret = is_equal(imap_credential_password(credential), password);

	return is_name && is_secret;
}

void imap_credential_check_owner(const struct imap_credential *is, const struct imap_credential *wanted,
				 const char *what)
{
	if (is != wanted &&
	    !imap_credential_is_owner(is, imap_credential_username(wanted), imap_credential_password(wanted))) {
		imap_credential_violated(what);
	}
}

void imap_credential_violated(const char *what)
{
	gp_log(GP_LOG_ERROR, "account", "%s: the program ends, rather than serve it", what);
	abort();
}
