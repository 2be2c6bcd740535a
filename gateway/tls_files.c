#include "gateway/tls_files.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"

#define MAX_PEM_FILE (1024 * GP_KIB)

static enum gp_status read_file(const char *option, const char *name, char **text_out, struct gp_error *error)
{
	struct stat st;
	int fd = open(name, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) != 0) {
		gp_error_set(error, GP_INVALID, "%s: %.150s: %s", option, name, strerror(errno));
		if (fd >= 0) {
			close(fd);
		}
		return GP_INVALID;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > (off_t)MAX_PEM_FILE) {
		close(fd);
		return gp_error_set(error, GP_INVALID, "%s: %.150s: not a file, or over 1 MiB", option, name);
	}
	size_t size = (size_t)st.st_size;
	size_t len = 0;
	char *text = malloc(size + 1);
	while (text && len < size) {
		ssize_t n = read(fd, text + len, size - len);
		if (n <= 0) {
			break;
		}
		len += (size_t)n;
	}
	close(fd);
	if (!text) {
		return gp_error_set(error, GP_NO_MEMORY, "out of memory");
	}
	text[len] = '\0';
	*text_out = text;
	return GP_OK;
}

/* An encrypted key would ask on the terminal. */
static int no_passphrase(char *out, int size, int is_write, void *ctx)
{
	(void)out;
	(void)size;
	(void)is_write;
	(void)ctx;
	return -1;
}

static enum gp_status check_pair(const char *cert_text, const char *key_text, const char *cert_file,
				 const char *key_file, struct gp_error *error)
{
	BIO *cert_bio = BIO_new_mem_buf(cert_text, -1);
	BIO *key_bio = BIO_new_mem_buf(key_text, -1);
	X509 *cert = cert_bio ? PEM_read_bio_X509(cert_bio, NULL, no_passphrase, NULL) : NULL;
	EVP_PKEY *key = key_bio ? PEM_read_bio_PrivateKey(key_bio, NULL, no_passphrase, NULL) : NULL;
	enum gp_status status = GP_OK;

	if (!cert) {
		status = gp_error_set(error, GP_INVALID, "--tls-cert: %.150s: there is no PEM certificate in it",
				      cert_file);
	} else if (!key) {
		status = gp_error_set(error, GP_INVALID,
				      "--tls-key: %.150s: there is no PEM private key without a passphrase in it",
				      key_file);
	} else if (X509_check_private_key(cert, key) != 1) {
		status = gp_error_set(error, GP_INVALID, "--tls-key: %.150s: the key is not the certificate's",
				      key_file);
	}
	EVP_PKEY_free(key);
	X509_free(cert);
	BIO_free(key_bio);
	BIO_free(cert_bio);
	return status;
}

enum gp_status gateway_tls_files_read(const char *cert_file, const char *key_file, char **cert_out, char **key_out,
				      struct gp_error *error)
{
	char *cert = NULL;
	char *key = NULL;
	enum gp_status status = read_file("--tls-cert", cert_file, &cert, error);

	if (status == GP_OK) {
		status = read_file("--tls-key", key_file, &key, error);
	}
	if (status == GP_OK) {
		status = check_pair(cert, key, cert_file, key_file, error);
	}
	if (status != GP_OK) {
		free(cert);
		free(key);
		return status;
	}
	*cert_out = cert;
	*key_out = key;
	return GP_OK;
}
