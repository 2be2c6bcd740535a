#include "imap/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

#include "base/limits.h"
#include "imap/tcp.h"

/* Servers give two tickets a handshake, and a pool opens several connections at once. */
#define MAX_SESSIONS_PER_ENDPOINT 8
#define MAX_ENDPOINTS 32
/* A resumed session does not look at the certificate again: not for longer than this. */
#define MAX_SESSION_AGE_S 3600
/* At most one receive buffer waits here: reading stops with the reader. */
#define MAX_KEPT GP_MIB

/* The sessions of one host and port. TLS 1.3 ones are used once (RFC 8446 C.4). */
struct resumable {
	char host[256];
	uint16_t port;
	unsigned n_sessions;
	SSL_SESSION *sessions[MAX_SESSIONS_PER_ENDPOINT]; /* own; the newest last */
	uint64_t used;                                    /* the context's count at the last use */
};

struct imap_tls_context {
	SSL_CTX *ssl_ctx;        /* own */
	BIO_METHOD *bio_method;  /* own */
	struct resumable *known; /* own; MAX_ENDPOINTS of them */
	uint64_t uses;
};

struct imap_tls {
	struct imap_tls_context *context;     /* borrow */
	const struct imap_endpoint *endpoint; /* borrow */
	struct gp_buffer *out;                /* borrow */
	SSL *ssl;                             /* own */
	struct span in;                       /* borrow, or what is left of `kept` */
	struct gp_buffer kept;
	enum gp_status out_status; /* why `out` took no more */
	bool is_ended;
	bool is_offering; /* the hello carries an earlier session */
};

/* ---- the BIO: reads from `in`, appends to `out`. OpenSSL's own memory BIO never gives
 * memory back, which idle connections would pay for. ---- */

static int bio_read(BIO *bio, char *data, size_t len, size_t *len_out)
{
	struct imap_tls *tls = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	*len_out = len < tls->in.len ? len : tls->in.len;
	if (*len_out == 0) {
		if (!tls->is_ended) {
			BIO_set_retry_read(bio);
		}
		return 0;
	}
	memcpy(data, tls->in.ptr, *len_out);
	tls->in = span_from(tls->in, *len_out);
	return 1;
}

static int bio_write(BIO *bio, const char *data, size_t len, size_t *len_out)
{
	struct imap_tls *tls = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	*len_out = 0;
	tls->out_status = gp_buffer_append(tls->out, span_make(data, len));
	if (tls->out_status != GP_OK) {
		return 0;
	}
	*len_out = len;
	return 1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	struct imap_tls *tls = BIO_get_data(bio);

	(void)number;
	(void)pointer;
	switch (command) {
	case BIO_CTRL_FLUSH:
		return 1;
	case BIO_CTRL_EOF:
		return tls && tls->is_ended && tls->in.len == 0;
	default:
		return 0;
	}
}

static BIO_METHOD *bio_method_new(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "imap");

	if (method && BIO_meth_set_read_ex(method, bio_read) && BIO_meth_set_write_ex(method, bio_write) &&
	    BIO_meth_set_ctrl(method, bio_ctrl)) {
		return method;
	}
	BIO_meth_free(method);
	return NULL;
}

/* ---- sessions to resume ---- */

static void forget(struct resumable *known)
{
	while (known->n_sessions > 0) {
		SSL_SESSION_free(known->sessions[--known->n_sessions]);
	}
}

static struct resumable *find_known(struct imap_tls_context *context, const struct imap_endpoint *endpoint)
{
	for (size_t i = 0; i < MAX_ENDPOINTS; i++) {
		struct resumable *known = &context->known[i];
		if (known->port == endpoint->port && strcasecmp(known->host, endpoint->host) == 0) {
			known->used = ++context->uses;
			return known;
		}
	}
	return NULL;
}

static struct resumable *make_known(struct imap_tls_context *context, const struct imap_endpoint *endpoint)
{
	struct resumable *oldest = &context->known[0];

	for (size_t i = 1; i < MAX_ENDPOINTS; i++) {
		if (context->known[i].used < oldest->used) {
			oldest = &context->known[i];
		}
	}
	forget(oldest);
	memcpy(oldest->host, endpoint->host, sizeof oldest->host);
	oldest->port = endpoint->port;
	oldest->used = ++context->uses;
	return oldest;
}

/* OpenSSL's: 1 takes the reference over. */
static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
	struct imap_tls *tls = SSL_get_app_data(ssl);
	struct resumable *known = find_known(tls->context, tls->endpoint);

	if (!known) {
		known = make_known(tls->context, tls->endpoint);
	}
	if (SSL_SESSION_get_protocol_version(session) < TLS1_3_VERSION) {
		forget(known);
	} else if (known->n_sessions == MAX_SESSIONS_PER_ENDPOINT) {
		SSL_SESSION_free(known->sessions[0]);
		known->n_sessions--;
		memmove(&known->sessions[0], &known->sessions[1], known->n_sessions * sizeof known->sessions[0]);
	}
	known->sessions[known->n_sessions++] = session;
	return 1;
}

static bool is_fresh(SSL_SESSION *session)
{
#if OPENSSL_VERSION_NUMBER >= 0x30300000L
	time_t age = time(NULL) - SSL_SESSION_get_time_ex(session);
#else
	time_t age = time(NULL) - (time_t)SSL_SESSION_get_time(session);
#endif

	return SSL_SESSION_is_resumable(session) && age >= 0 && age < MAX_SESSION_AGE_S;
}

static void offer_session(struct imap_tls *tls)
{
	struct resumable *known = find_known(tls->context, tls->endpoint);

	while (known && known->n_sessions > 0 && !tls->is_offering) {
		SSL_SESSION *session = known->sessions[known->n_sessions - 1];
		bool is_good = is_fresh(session);

		tls->is_offering = is_good && SSL_set_session(tls->ssl, session) == 1;
		if (!tls->is_offering || SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION) {
			known->n_sessions--;
			SSL_SESSION_free(session);
		}
	}
}

/* ---- errors ---- */

static enum gp_status fail_from_queue(const char *host, const char *what, struct gp_error *error)
{
	unsigned long code = ERR_peek_error();
	const char *reason = ERR_reason_error_string(code);
	enum gp_status status;

	if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER) {
		reason = "the server does not speak TLS on this port";
	} else if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
		reason = "the server closed the connection without notice";
	}
	if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE) {
		status = gp_error_set(error, GP_NO_MEMORY, "%s: %s: out of memory", host, what);
	} else {
		status = gp_error_set(error, GP_TLS, "%s: %s: %s", host, what, reason ? reason : "failed");
	}
	ERR_clear_error();
	return status;
}

static enum gp_status fail(struct imap_tls *tls, const char *what, struct gp_error *error)
{
	if (tls->out_status != GP_OK) {
		ERR_clear_error();
		return gp_error_set(error, tls->out_status, "%s: %s: too much waits to be sent", tls->endpoint->host,
				    what);
	}
	return fail_from_queue(tls->endpoint->host, what, error);
}

/* ---- the context ---- */

static bool load_authorities(SSL_CTX *ssl_ctx, const char *ca_file, struct gp_error *error)
{
	/* A system without CAs is no error here: every verification will say so. */
	if (SSL_CTX_set_default_verify_paths(ssl_ctx) != 1) {
		ERR_clear_error();
	}
	if (ca_file && SSL_CTX_load_verify_file(ssl_ctx, ca_file) != 1) {
		fail_from_queue(ca_file, "cannot read CA certificates", error);
		return false;
	}
	return true;
}

struct imap_tls_context *imap_tls_context_new(const char *ca_file, struct gp_error *error)
{
	struct imap_tls_context *context = calloc(1, sizeof *context);

	if (!context) {
		gp_error_set(error, GP_NO_MEMORY, "no memory for TLS");
		return NULL;
	}
	ERR_clear_error();
	context->known = calloc(MAX_ENDPOINTS, sizeof *context->known);
	context->bio_method = bio_method_new();
	context->ssl_ctx = SSL_CTX_new(TLS_client_method());
	if (!context->known || !context->bio_method || !context->ssl_ctx ||
	    SSL_CTX_set_min_proto_version(context->ssl_ctx, TLS1_2_VERSION) != 1) {
		fail_from_queue("TLS", "set-up", error);
		goto failed;
	}
	if (!load_authorities(context->ssl_ctx, ca_file, error)) {
		goto failed;
	}
	SSL_CTX_set_verify(context->ssl_ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_options(context->ssl_ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	/* A write that failed half-way ends the connection: no write is ever repeated. */
	SSL_CTX_set_mode(context->ssl_ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(context->ssl_ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(context->ssl_ctx, on_new_session);
	return context;

failed:
	imap_tls_context_free(&context);
	return NULL;
}

void imap_tls_context_free(struct imap_tls_context **context)
{
	struct imap_tls_context *self = *context;

	if (!self) {
		return;
	}
	*context = NULL;
	for (size_t i = 0; self->known && i < MAX_ENDPOINTS; i++) {
		forget(&self->known[i]);
	}
	free(self->known);
	SSL_CTX_free(self->ssl_ctx);
	BIO_meth_free(self->bio_method);
	free(self);
}

/* ---- one connection ---- */

/* Sets what the certificate must say and, for a name, SNI (RFC 6066 section 3: never
 * an address). */
static bool expect_peer(struct imap_tls *tls)
{
	char host[sizeof tls->endpoint->host];
	unsigned char address[16];
	X509_VERIFY_PARAM *param = SSL_get0_param(tls->ssl);

	memcpy(host, tls->endpoint->host, sizeof host);
	X509_VERIFY_PARAM_set_hostflags(param,
					X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (strchr(host, ':')) {
		host[strcspn(host, "%")] = '\0'; /* the zone of a link-local address is ours, not the server's */
		return inet_pton(AF_INET6, host, address) == 1 && X509_VERIFY_PARAM_set1_ip(param, address, 16) == 1;
	}
	if (inet_pton(AF_INET, host, address) == 1) {
		return X509_VERIFY_PARAM_set1_ip(param, address, 4) == 1;
	}
	/* "imap.example.org." is the same name; certificates and SNI leave the dot out. */
	size_t len = strlen(host);
	if (len > 0 && host[len - 1] == '.') {
		host[--len] = '\0';
	}
	/* OpenSSL takes an empty name for "any name". */
	return len > 0 && SSL_set1_host(tls->ssl, host) == 1 && SSL_set_tlsext_host_name(tls->ssl, host) == 1;
}

struct imap_tls *imap_tls_new(struct imap_tls_context *context, const struct imap_endpoint *endpoint,
			      struct gp_buffer *out, struct gp_error *error)
{
	struct imap_tls *tls = calloc(1, sizeof *tls);

	if (!tls) {
		gp_error_set(error, GP_NO_MEMORY, "no memory for TLS");
		return NULL;
	}
	tls->context = context;
	tls->endpoint = endpoint;
	tls->out = out;
	gp_buffer_init(&tls->kept, MAX_KEPT);

	ERR_clear_error();
	tls->ssl = SSL_new(context->ssl_ctx);
	BIO *bio = BIO_new(context->bio_method);
	if (!tls->ssl || !bio) {
		BIO_free(bio);
		fail_from_queue(endpoint->host, "TLS", error);
		imap_tls_free(&tls);
		return NULL;
	}
	BIO_set_data(bio, tls);
	BIO_set_init(bio, 1);
	SSL_set_bio(tls->ssl, bio, bio);
	SSL_set_app_data(tls->ssl, tls);
	SSL_set_connect_state(tls->ssl);
	if (!expect_peer(tls)) {
		ERR_clear_error();
		gp_error_set(error, GP_TLS, "\"%s\" is not a name a certificate can be checked for", endpoint->host);
		imap_tls_free(&tls);
		return NULL;
	}
	offer_session(tls);
	return tls;
}

void imap_tls_free(struct imap_tls **tls)
{
	struct imap_tls *self = *tls;

	if (!self) {
		return;
	}
	*tls = NULL;
	if (self->ssl && SSL_is_init_finished(self->ssl)) {
		/* Without this SSL_free() takes the session for a broken one, and it is never resumed. */
		SSL_set_shutdown(self->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	}
	SSL_free(self->ssl);
	gp_buffer_deinit(&self->kept);
	free(self);
}

void imap_tls_feed(struct imap_tls *tls, struct span bytes)
{
	tls->in = bytes;
}

enum gp_status imap_tls_keep(struct imap_tls *tls)
{
	if (tls->in.len == 0) {
		tls->in = SPAN_NIL;
		gp_buffer_deinit(&tls->kept);
		return GP_OK;
	}
	if (tls->kept.len > 0) {
		return GP_OK; /* `in` is the rest of it */
	}
	enum gp_status status = gp_buffer_append(&tls->kept, tls->in);
	if (status == GP_OK) {
		tls->in = gp_buffer_span(&tls->kept);
	}
	return status;
}

void imap_tls_end(struct imap_tls *tls)
{
	tls->is_ended = true;
}

static enum gp_status fail_handshake(struct imap_tls *tls, struct gp_error *error)
{
	long verified = SSL_get_verify_result(tls->ssl);
	struct resumable *known = tls->is_offering ? find_known(tls->context, tls->endpoint) : NULL;

	if (known) {
		forget(known); /* the next attempt is a full handshake */
	}
	if (verified != X509_V_OK) {
		ERR_clear_error();
		return gp_error_set(error, GP_TLS, "certificate of %s: %s", tls->endpoint->host,
				    X509_verify_cert_error_string(verified));
	}
	return fail(tls, "TLS handshake", error);
}

enum gp_status imap_tls_handshake(struct imap_tls *tls, bool *is_done_out, struct gp_error *error)
{
	ERR_clear_error();
	int result = SSL_do_handshake(tls->ssl);

	if (result != 1) {
		if (SSL_get_error(tls->ssl, result) != SSL_ERROR_WANT_READ) {
			return fail_handshake(tls, error);
		}
		*is_done_out = false;
		return GP_OK;
	}
	/* OpenSSL has checked both; a mistake in its set-up must not let anyone in. */
	if (SSL_get_verify_result(tls->ssl) != X509_V_OK || !SSL_get0_peer_certificate(tls->ssl)) {
		return fail_handshake(tls, error);
	}
	*is_done_out = true;
	return GP_OK;
}

enum gp_status imap_tls_read(struct imap_tls *tls, char *room, size_t size, size_t *len_out, struct gp_error *error)
{
	size_t len = 0;

	ERR_clear_error();
	int result = SSL_read_ex(tls->ssl, room, size, &len);
	if (result != 1) {
		int why = SSL_get_error(tls->ssl, result);
		if (why == SSL_ERROR_ZERO_RETURN) {
			return gp_error_set(error, GP_LOST, "%s closed the connection", tls->endpoint->host);
		}
		if (why != SSL_ERROR_WANT_READ) {
			return fail(tls, "TLS", error);
		}
	}
	*len_out = len;
	return GP_OK;
}

enum gp_status imap_tls_write(struct imap_tls *tls, struct span bytes, struct gp_error *error)
{
	size_t written;

	if (bytes.len == 0) {
		return GP_OK;
	}
	ERR_clear_error();
	if (SSL_write_ex(tls->ssl, bytes.ptr, bytes.len, &written) != 1) {
		return fail(tls, "TLS", error);
	}
	return GP_OK;
}

void imap_tls_shutdown(struct imap_tls *tls)
{
	if (SSL_is_init_finished(tls->ssl)) {
		ERR_clear_error();
		SSL_shutdown(tls->ssl);
		ERR_clear_error();
	}
}

const char *imap_tls_version(const struct imap_tls *tls)
{
	return SSL_get_version(tls->ssl);
}

bool imap_tls_is_resumed(const struct imap_tls *tls)
{
	return SSL_session_reused(tls->ssl) == 1;
}
