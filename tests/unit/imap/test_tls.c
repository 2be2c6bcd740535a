#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/limits.h"
#include "imap/tls.h"
#include "tests/support/loopback.h"

#define LONG_MS 60000 /* never reached */
#define SHORT_MS 50   /* reached by the tests of timeouts alone */
#define BULK (10 * GP_MIB)
#define DAY_S (24L * 60 * 60)

/* ---- certificates, made once ---- */

struct certified {
	EVP_PKEY *key;
	X509 *certificate;
};

static struct certified root, unknown_root;
static char root_file[] = "/tmp/gatepost-test-XXXXXX";

static void add_extension(X509 *certificate, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(extension);
	assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

/* A DNS name with a NUL in it, which no text form can say. */
static void add_name_with_nul(X509 *certificate)
{
	static const char name[] = "imap.example.org\0.evil.test";
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
	GENERAL_NAME *general = GENERAL_NAME_new();
	ASN1_IA5STRING *text = ASN1_IA5STRING_new();

	assert_int_equal(ASN1_STRING_set(text, name, sizeof name - 1), 1);
	GENERAL_NAME_set0_value(general, GEN_DNS, text);
	sk_GENERAL_NAME_push(names, general);
	assert_int_equal(X509_add1_ext_i2d(certificate, NID_subject_alt_name, names, 0, 0), 1);
	GENERAL_NAMES_free(names);
}

struct leaf {
	const char *common_name; /* "" when NULL */
	const char *names;       /* subjectAltName, "NUL", or NULL: none */
	const char *usage;       /* extendedKeyUsage, or NULL: none */
	long from_s, to_s;       /* both 0: valid for a day */
};

/* By `issuer`; by itself when NULL. */
static struct certified certify(const struct certified *issuer, const struct leaf *leaf, bool is_authority)
{
	static long serial = 1;
	struct certified made = {.key = EVP_EC_gen("P-256"), .certificate = X509_new()};
	const char *common_name = leaf->common_name ? leaf->common_name : "";
	X509_NAME *name = X509_NAME_new();
	bool is_dated = leaf->from_s != 0 || leaf->to_s != 0;

	assert_true(made.key && made.certificate && name);
	X509_set_version(made.certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(made.certificate), serial++);
	X509_gmtime_adj(X509_getm_notBefore(made.certificate), is_dated ? leaf->from_s : -DAY_S);
	X509_gmtime_adj(X509_getm_notAfter(made.certificate), is_dated ? leaf->to_s : DAY_S);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)common_name, -1, -1, 0);
	X509_set_subject_name(made.certificate, name);
	X509_set_issuer_name(made.certificate, issuer ? X509_get_subject_name(issuer->certificate) : name);
	X509_NAME_free(name);
	X509_set_pubkey(made.certificate, made.key);
	if (is_authority) {
		add_extension(made.certificate, NID_basic_constraints, "critical,CA:TRUE");
	}
	if (leaf->usage) {
		add_extension(made.certificate, NID_ext_key_usage, leaf->usage);
	}
	if (leaf->names && strcmp(leaf->names, "NUL") == 0) {
		add_name_with_nul(made.certificate);
	} else if (leaf->names) {
		add_extension(made.certificate, NID_subject_alt_name, leaf->names);
	}
	assert_true(X509_sign(made.certificate, issuer ? issuer->key : made.key, EVP_sha256()) > 0);
	return made;
}

static void certified_free(struct certified *self)
{
	EVP_PKEY_free(self->key);
	X509_free(self->certificate);
}

static int make_authorities(void **state)
{
	(void)state;
	root = certify(NULL, &(struct leaf){.common_name = "the root"}, true);
	unknown_root = certify(NULL, &(struct leaf){.common_name = "another root"}, true);
	int fd = mkstemp(root_file);
	assert_true(fd >= 0);
	FILE *file = fdopen(fd, "w");
	assert_non_null(file);
	assert_int_equal(PEM_write_X509(file, root.certificate), 1);
	fclose(file);
	return 0;
}

static int remove_authorities(void **state)
{
	(void)state;
	certified_free(&root);
	certified_free(&unknown_root);
	return unlink(root_file);
}

static struct imap_tls_context *client_context(void)
{
	struct gp_error error = {.status = GP_OK};
	struct imap_tls_context *context = imap_tls_context_new(root_file, &error);

	assert_non_null(context);
	return context;
}

static SSL_CTX *server_context(const struct certified *certified, int version)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());

	assert_non_null(context);
	if (version == TLS1_1_VERSION) {
		SSL_CTX_set_security_level(context, 0);
	}
	if (version != 0) {
		SSL_CTX_set_min_proto_version(context, version);
		SSL_CTX_set_max_proto_version(context, version);
	}
	assert_int_equal(SSL_CTX_use_certificate(context, certified->certificate), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(context, certified->key), 1);
	SSL_CTX_set_session_id_context(context, (const unsigned char *)"test", 4);
	return context;
}

static SSL *server_new(SSL_CTX *context)
{
	SSL *ssl = SSL_new(context);

	assert_non_null(ssl);
	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_accept_state(ssl);
	return ssl;
}

/* ---- both ends in memory ---- */

struct pair {
	struct imap_endpoint endpoint;
	struct gp_buffer out;
	struct imap_tls *tls;
	SSL *server;
	struct gp_error error;
	enum gp_status status;
	bool is_done;
};

static void pair_begin(struct pair *pair, struct imap_tls_context *client, SSL_CTX *server, const char *host)
{
	*pair = (struct pair){.endpoint = {.port = 993}};
	assert_true(strlen(host) < sizeof pair->endpoint.host);
	memcpy(pair->endpoint.host, host, strlen(host) + 1);
	gp_buffer_init(&pair->out, GP_MIB);
	pair->server = server_new(server);
	pair->tls = imap_tls_new(client, &pair->endpoint, &pair->out, &pair->error);
	pair->status = pair->tls ? GP_OK : pair->error.status;
}

static void pair_end(struct pair *pair)
{
	imap_tls_free(&pair->tls);
	SSL_free(pair->server);
	gp_buffer_deinit(&pair->out);
	ERR_clear_error();
}

/* Carries bytes until the client's handshake is over and no byte is left. `split`: the
 * server's come one at a time. */
static void pair_run(struct pair *pair, bool split)
{
	static char flight[64 * 1024];
	char plain[IMAP_TLS_MAX_PLAIN];

	for (bool is_moving = true; is_moving && pair->status == GP_OK;) {
		if (!pair->is_done) {
			pair->status = imap_tls_handshake(pair->tls, &pair->is_done, &pair->error);
		}
		is_moving = pair->out.len > 0;
		BIO_write(SSL_get_rbio(pair->server), pair->out.data, (int)pair->out.len);
		gp_buffer_truncate(&pair->out, 0);
		ERR_clear_error();
		SSL_do_handshake(pair->server);
		SSL_read(pair->server, plain, sizeof plain);
		int n = BIO_read(SSL_get_wbio(pair->server), flight, sizeof flight);
		for (int i = 0; i < n && pair->status == GP_OK; i += split ? 1 : n) {
			size_t len = 0;
			imap_tls_feed(pair->tls, span_make(flight + i, split ? 1 : (size_t)n));
			if (!pair->is_done) {
				pair->status = imap_tls_handshake(pair->tls, &pair->is_done, &pair->error);
			}
			if (pair->is_done && pair->status == GP_OK) {
				pair->status = imap_tls_read(pair->tls, plain, sizeof plain, &len, &pair->error);
				assert_int_equal(len, 0);
			}
			if (pair->status == GP_OK) {
				assert_int_equal(imap_tls_keep(pair->tls), GP_OK);
			}
			is_moving = true;
		}
	}
}

enum signer { ROOT, UNKNOWN_ROOT, ITSELF };

static const struct certificate_case {
	const char *name, *host;
	enum signer signer;
	struct leaf leaf;
	const char *refusal; /* part of the text; NULL: accepted */
} certificate_cases[] = {
	{"name", "imap.example.org", ROOT, {.names = "DNS:imap.example.org"}, NULL},
	{"case of the name", "IMAP.Example.org", ROOT, {.names = "DNS:imap.example.ORG"}, NULL},
	{"dot at the end", "imap.example.org.", ROOT, {.names = "DNS:imap.example.org"}, NULL},
	{"second name", "imap.example.org", ROOT, {.names = "DNS:a.test,DNS:imap.example.org"}, NULL},
	{"wildcard", "imap.example.org", ROOT, {.names = "DNS:*.example.org"}, NULL},
	{"server usage", "imap.example.org", ROOT, {.names = "DNS:imap.example.org", .usage = "serverAuth"}, NULL},
	{"address", "127.0.0.1", ROOT, {.names = "IP:127.0.0.1"}, NULL},
	{"IPv6 address", "::1", ROOT, {.names = "IP:::1"}, NULL},
	{"IPv6 address with a zone", "fe80::1%lo", ROOT, {.names = "IP:fe80::1"}, NULL},

	{"self-signed", "imap.example.org", ITSELF, {.names = "DNS:imap.example.org"}, "self-signed"},
	{"unknown root",
	 "imap.example.org",
	 UNKNOWN_ROOT,
	 {.names = "DNS:imap.example.org"},
	 "unable to get local issuer"},
	{"wrong name", "imap.example.org", ROOT, {.names = "DNS:imap.example.com"}, "hostname mismatch"},
	{"the name's domain", "imap.example.org", ROOT, {.names = "DNS:example.org"}, "hostname mismatch"},
	{"name only in CN", "imap.example.org", ROOT, {.common_name = "imap.example.org"}, "hostname mismatch"},
	{"CN beside another name",
	 "imap.example.org",
	 ROOT,
	 {.common_name = "imap.example.org", .names = "DNS:a.test"},
	 "hostname mismatch"},
	{"NUL in the name", "imap.example.org", ROOT, {.names = "NUL"}, "hostname mismatch"},
	{"partial wildcard", "imap.example.org", ROOT, {.names = "DNS:im*.example.org"}, "hostname mismatch"},
	{"wildcard over two labels", "a.imap.example.org", ROOT, {.names = "DNS:*.example.org"}, "hostname mismatch"},
	{"expired",
	 "imap.example.org",
	 ROOT,
	 {.names = "DNS:imap.example.org", .from_s = -2 * DAY_S, .to_s = -DAY_S},
	 "expired"},
	{"not yet valid",
	 "imap.example.org",
	 ROOT,
	 {.names = "DNS:imap.example.org", .from_s = DAY_S, .to_s = 2 * DAY_S},
	 "not yet valid"},
	{"client usage", "imap.example.org", ROOT, {.names = "DNS:imap.example.org", .usage = "clientAuth"}, "purpose"},
	{"address missing", "127.0.0.1", ROOT, {.names = "DNS:localhost"}, "IP address mismatch"},
	{"another address", "127.0.0.1", ROOT, {.names = "IP:127.0.0.2"}, "IP address mismatch"},
	{"address as a name", "127.0.0.1", ROOT, {.names = "DNS:127.0.0.1"}, "IP address mismatch"},
	{"address in CN", "127.0.0.1", ROOT, {.common_name = "127.0.0.1"}, "IP address mismatch"},
	{"empty name", "", ROOT, {.names = "DNS:imap.example.org"}, "not a name"},
	{"only a dot", ".", ROOT, {.names = "DNS:imap.example.org"}, "not a name"},
	{"no address", "1::2::3", ROOT, {.names = "DNS:imap.example.org"}, "not a name"},
};

static void check_certificate(const struct certificate_case *row, struct imap_tls_context *client, int version)
{
	const struct certified *const signers[] = {[ROOT] = &root, [UNKNOWN_ROOT] = &unknown_root, [ITSELF] = NULL};
	struct certified leaf = certify(signers[row->signer], &row->leaf, false);
	SSL_CTX *server = server_context(&leaf, version);
	struct pair pair;

	pair_begin(&pair, client, server, row->host);
	pair_run(&pair, version == TLS1_2_VERSION);
	if (!row->refusal && (pair.status != GP_OK || !pair.is_done || !SSL_is_init_finished(pair.server))) {
		fail_msg("%s: refused: %s", row->name, pair.error.text);
	}
	if (row->refusal && (pair.status != GP_TLS || !strstr(pair.error.text, row->refusal))) {
		fail_msg("%s: %s: %s", row->name, gp_status_name(pair.status), pair.error.text);
	}
	if (!row->refusal) {
		const char *sni = SSL_get_servername(pair.server, TLSEXT_NAMETYPE_host_name);
		bool is_address = strchr(row->host, ':') || strcmp(row->host, "127.0.0.1") == 0;
		assert_int_equal(sni == NULL, is_address);
		assert_true(!sni || strncasecmp(sni, "imap.example.org", 17) == 0);
	}
	pair_end(&pair);
	SSL_CTX_free(server);
	certified_free(&leaf);
}

static void test_certificates(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof certificate_cases / sizeof certificate_cases[0]; i++) {
		/* A context for each: an earlier row's session must not vouch for a later one. */
		struct imap_tls_context *client = client_context();
		check_certificate(&certificate_cases[i], client, TLS1_2_VERSION);
		imap_tls_context_free(&client);
		client = client_context();
		check_certificate(&certificate_cases[i], client, TLS1_3_VERSION);
		imap_tls_context_free(&client);
	}
}

static void test_versions(void **state)
{
	struct certified leaf = certify(&root, &(struct leaf){.names = "DNS:imap.example.org"}, false);
	static const struct {
		int version;
		bool is_accepted;
	} rows[] = {{TLS1_1_VERSION, false}, {TLS1_2_VERSION, true}, {TLS1_3_VERSION, true}, {0, true}};
	struct imap_tls_context *client = client_context();

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		SSL_CTX *server = server_context(&leaf, rows[i].version);
		struct pair pair;
		pair_begin(&pair, client, server, "imap.example.org");
		pair_run(&pair, false);
		if (!rows[i].is_accepted) {
			assert_int_equal(pair.status, GP_TLS);
			assert_non_null(strstr(pair.error.text, "protocol"));
		}
		assert_int_equal(pair.is_done, rows[i].is_accepted);
		pair_end(&pair);
		SSL_CTX_free(server);
	}
	imap_tls_context_free(&client);
	certified_free(&leaf);
}

static bool connect_once(struct imap_tls_context *client, SSL_CTX *server, const char *host, uint16_t port)
{
	struct pair pair;

	pair_begin(&pair, client, server, host);
	pair.endpoint.port = port;
	if (port != 993) {
		imap_tls_free(&pair.tls);
		pair.tls = imap_tls_new(client, &pair.endpoint, &pair.out, &pair.error);
	}
	pair_run(&pair, false);
	assert_int_equal(pair.status, GP_OK);
	assert_true(pair.is_done);
	bool is_resumed = imap_tls_is_resumed(pair.tls);
	assert_int_equal(is_resumed, SSL_session_reused(pair.server));
	pair_end(&pair);
	return is_resumed;
}

static void test_resumption(void **state)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	struct certified leaf =
		certify(&root, &(struct leaf){.names = "DNS:imap.example.org,DNS:mx.example.org"}, false);

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct imap_tls_context *client = client_context();
		SSL_CTX *server = server_context(&leaf, versions[i]);
		assert_false(connect_once(client, server, "imap.example.org", 993));
		assert_true(connect_once(client, server, "imap.example.org", 993));
		assert_true(connect_once(client, server, "imap.example.org", 993));
		/* the server would take it, the name is another's */
		assert_false(connect_once(client, server, "mx.example.org", 993));
		assert_false(connect_once(client, server, "imap.example.org", 994));
		assert_true(connect_once(client, server, "mx.example.org", 993));
		/* more than are kept */
		for (int n = 0; n < 40; n++) {
			assert_false(connect_once(client, server, "imap.example.org", (uint16_t)(1000 + n)));
		}
		assert_true(connect_once(client, server, "imap.example.org", 1039));
		assert_false(connect_once(client, server, "imap.example.org", 1000));
		SSL_CTX_free(server);
		imap_tls_context_free(&client);
	}
	certified_free(&leaf);
}

static void test_context_errors(void **state)
{
	struct gp_error error = {.status = GP_OK};

	(void)state;
	assert_null(imap_tls_context_new("/nonexistent/ca.pem", &error));
	assert_int_equal(error.status, GP_TLS);
	assert_string_not_equal(error.text, "");
}

/* ---- through the network ---- */

static struct imap_tls_context *client; /* of the running test */
static SSL_CTX *server;
static struct certified server_leaf;

static int network_begin(void **state)
{
	(void)state;
	client = client_context();
	server_leaf = certify(&root, &(struct leaf){.names = "IP:127.0.0.1"}, false);
	server = server_context(&server_leaf, 0);
	return 0;
}

static int network_end(void **state)
{
	(void)state;
	imap_tls_context_free(&client);
	SSL_CTX_free(server);
	certified_free(&server_leaf);
	ERR_clear_error();
	return 0;
}

static void peer_flush(struct peer *peer)
{
	static char bytes[64 * 1024];
	int n;

	while ((n = BIO_read(SSL_get_wbio(peer->ctx), bytes, sizeof bytes)) > 0) {
		peer_send(peer, span_make(bytes, (size_t)n));
	}
}

static void peer_secure(struct peer *peer)
{
	peer->ctx = server_new(server);
}

static void peer_ended(struct peer *peer)
{
	SSL_free(peer->ctx);
}

/* Echoes; "END" asks for a close with notice behind it, "BAD" for garbage. */
static void peer_received(struct peer *peer, struct span bytes)
{
	static char plain[16384];
	int n;

	if (!peer->ctx) {
		assert_true(span_equal_text(bytes, "STARTTLS"));
		peer_secure(peer);
		peer_send(peer, SPAN_LIT("OK"));
		return;
	}
	ERR_clear_error();
	BIO_write(SSL_get_rbio(peer->ctx), bytes.ptr, (int)bytes.len);
	while ((n = SSL_read(peer->ctx, plain, sizeof plain)) > 0) {
		SSL_write(peer->ctx, plain, n);
		if (n == 3 && memcmp(plain, "END", 3) == 0) {
			SSL_shutdown(peer->ctx);
		}
		peer_flush(peer);
		if (n == 3 && memcmp(plain, "BAD", 3) == 0) {
			peer_send(peer, SPAN_LIT("this is no TLS record"));
		}
	}
	peer_flush(peer);
}

static void secure_begin(struct loopback *lo, enum imap_security security)
{
	loopback_begin(lo, security, client);
	lo->accepted = security == IMAP_SECURITY_TLS ? peer_secure : NULL;
	lo->received = peer_received;
	lo->ended = peer_ended;
}

static void secure_connect(struct loopback *lo)
{
	loopback_open(lo, LONG_MS);
	loopback_run_until(lo, loopback_is_connected);
	if (lo->n_closed > 0) {
		fail_msg("%s", lo->error.text);
	}
}

static bool has_three(const struct loopback *lo)
{
	return lo->bytes.len >= 3 || lo->n_closed > 0;
}

static bool has_bulk(const struct loopback *lo)
{
	return lo->bytes.len >= BULK || lo->n_closed > 0;
}

static char *bulk_new(void)
{
	char *bulk = malloc(BULK);
	uint32_t x = 12345;

	assert_non_null(bulk);
	for (size_t i = 0; i < BULK; i++) {
		x = x * 1664525 + 1013904223;
		bulk[i] = (char)(x >> 24);
	}
	return bulk;
}

static void write_pieces(struct loopback *lo, const char *bulk)
{
	size_t piece = 1;

	for (size_t at = 0; at < BULK;) {
		size_t len = piece < BULK - at ? piece : BULK - at;
		loopback_write(lo, span_make(bulk + at, len));
		at += len;
		piece = piece * 3 % 70001 + 1;
	}
}

static void test_bulk_echo(void **state)
{
	struct loopback lo;
	char *bulk = bulk_new();

	(void)state;
	secure_begin(&lo, IMAP_SECURITY_TLS);
	secure_connect(&lo);
	write_pieces(&lo, bulk);
	loopback_run_until(&lo, has_bulk);
	assert_true(span_equal(gp_buffer_span(&lo.bytes), span_make(bulk, BULK)));
	loopback_end(&lo);
	free(bulk);
}

static void test_pause(void **state)
{
	struct loopback lo;
	char *bulk = bulk_new();

	(void)state;
	secure_begin(&lo, IMAP_SECURITY_TLS);
	lo.pause_at = AT_RECEIVED;
	secure_connect(&lo);
	write_pieces(&lo, bulk);
	for (unsigned round = 1; round <= 20; round++) {
		while (lo.n_received < round) {
			assert_true(uv_run(&lo.loop, UV_RUN_ONCE) != 0);
		}
		loopback_settle(&lo);
		assert_int_equal(lo.n_received, round);
		loopback_pause(&lo, false);
		if (round % 2) {
			loopback_pause(&lo, true);
			loopback_settle(&lo);
			assert_int_equal(lo.n_received, round);
			loopback_pause(&lo, false);
		}
	}
	lo.pause_at = NEVER;
	loopback_pause(&lo, false);
	loopback_run_until(&lo, has_bulk);
	assert_true(span_equal(gp_buffer_span(&lo.bytes), span_make(bulk, BULK)));
	loopback_end(&lo);
	free(bulk);
}

static char noise[200000];

static void noise_connected(void *ctx)
{
	imap_transport_write(*(struct imap_transport **)ctx, span_make(noise, sizeof noise));
}

static size_t n_noise;

static void noise_received(void *ctx, struct span bytes)
{
	(void)ctx;
	n_noise += bytes.len;
}

static void noise_closed(void *ctx, const struct gp_error *error)
{
	(void)ctx;
	fail_msg("%s", error->text);
}

/* The network has one receive buffer: what a paused connection has left in it must not
 * be another's bytes when it goes on. */
static void test_pause_beside_another(void **state)
{
	static const struct imap_transport_events events = {
		.connected = noise_connected, .received = noise_received, .closed = noise_closed};
	struct loopback lo;
	struct imap_transport *other;
	char *bulk = bulk_new();

	(void)state;
	secure_begin(&lo, IMAP_SECURITY_TLS);
	lo.pause_at = AT_RECEIVED;
	secure_connect(&lo);
	write_pieces(&lo, bulk);
	while (lo.n_received == 0) {
		assert_true(uv_run(&lo.loop, UV_RUN_ONCE) != 0);
	}
	loopback_settle(&lo);
	n_noise = 0;
	other = lo.network->open(lo.network, &lo.endpoint, LONG_MS, &events, &other);
	assert_non_null(other);
	while (n_noise < sizeof noise) {
		assert_true(uv_run(&lo.loop, UV_RUN_ONCE) != 0);
	}
	lo.pause_at = NEVER;
	loopback_pause(&lo, false);
	loopback_run_until(&lo, has_bulk);
	assert_true(span_equal(gp_buffer_span(&lo.bytes), span_make(bulk, BULK)));
	imap_transport_close(&other);
	loopback_end(&lo);
	free(bulk);
}

/* Paused from the first moment on: the handshake goes on, the bytes behind it wait. */
static void test_paused_handshake(void **state)
{
	struct loopback lo;

	(void)state;
	secure_begin(&lo, IMAP_SECURITY_TLS);
	loopback_open(&lo, LONG_MS);
	loopback_pause(&lo, true);
	loopback_run_until(&lo, loopback_is_connected);
	loopback_write(&lo, SPAN_LIT("END"));
	loopback_settle(&lo);
	assert_int_equal(lo.n_received, 0);
	assert_int_equal(lo.n_closed, 0);
	loopback_pause(&lo, false);
	loopback_run_to_closed(&lo, GP_LOST);
	assert_true(span_equal_text(gp_buffer_span(&lo.bytes), "END"));
	loopback_end(&lo);
}

static void test_ends(void **state)
{
	struct loopback lo;

	(void)state;
	secure_begin(&lo, IMAP_SECURITY_TLS);
	secure_connect(&lo);
	loopback_write(&lo, SPAN_LIT("END")); /* with close_notify */
	loopback_run_to_closed(&lo, GP_LOST);
	assert_true(span_equal_text(gp_buffer_span(&lo.bytes), "END"));

	secure_connect(&lo);
	loopback_write(&lo, SPAN_LIT("abc"));
	loopback_run_until(&lo, has_three);
	peer_close(lo.peers); /* without */
	loopback_run_to_closed(&lo, GP_TLS);
	assert_non_null(strstr(lo.error.text, "without notice"));

	secure_connect(&lo);
	loopback_write(&lo, SPAN_LIT("abc"));
	loopback_run_until(&lo, has_three);
	peer_reset(lo.peers);
	loopback_run_to_closed(&lo, GP_LOST);

	secure_connect(&lo);
	loopback_write(&lo, SPAN_LIT("BAD"));
	loopback_run_to_closed(&lo, GP_TLS);
	assert_true(span_equal_text(gp_buffer_span(&lo.bytes), "BAD"));
	loopback_end(&lo);
}

static int received_shutdown;

static void note_shutdown(struct peer *peer)
{
	received_shutdown = SSL_get_shutdown(peer->ctx) & SSL_RECEIVED_SHUTDOWN;
	SSL_free(peer->ctx);
}

static void test_close_sends_notice(void **state)
{
	struct loopback lo;

	(void)state;
	received_shutdown = 0;
	secure_begin(&lo, IMAP_SECURITY_TLS);
	lo.ended = note_shutdown;
	secure_connect(&lo);
	loopback_write(&lo, SPAN_LIT("abc"));
	loopback_run_until(&lo, has_three);
	loopback_close(&lo);
	loopback_run_until(&lo, loopback_has_lost_peers);
	assert_int_not_equal(received_shutdown, 0);
	loopback_end(&lo);
}

static void test_bad_certificate(void **state)
{
	struct loopback lo;

	(void)state;
	for (int upgrade = 0; upgrade < 2; upgrade++) {
		secure_begin(&lo, upgrade ? IMAP_SECURITY_STARTTLS : IMAP_SECURITY_TLS);
		memcpy(lo.endpoint.host, "localhost", 10);
		loopback_open(&lo, LONG_MS);
		if (upgrade) {
			loopback_run_until(&lo, loopback_is_connected);
			loopback_write(&lo, SPAN_LIT("STARTTLS"));
			while (lo.bytes.len < 2) {
				uv_run(&lo.loop, UV_RUN_ONCE);
			}
			loopback_start_tls(&lo);
		}
		loopback_run_to_closed(&lo, GP_TLS);
		assert_string_equal(lo.error.text, "certificate of localhost: hostname mismatch");
		assert_int_equal(lo.n_connected, upgrade);
		assert_int_equal(lo.n_secured, 0);
		loopback_end(&lo);
	}
}

static void silence(struct peer *peer, struct span bytes)
{
	(void)peer;
	(void)bytes;
}

static void greet_in_clear(struct peer *peer)
{
	peer_send(peer, SPAN_LIT("* OK hello, who is there?\r\n"));
}

static void hang_up(struct peer *peer)
{
	peer_close(peer);
}

static void test_no_handshake(void **state)
{
	static const struct {
		void (*accepted)(struct peer *peer);
		uint64_t timeout_ms;
		enum gp_status status;
		const char *text;
	} rows[] = {
		{NULL, SHORT_MS, GP_CONNECT_TIMEOUT, "handshake"},
		{greet_in_clear, LONG_MS, GP_TLS, "does not speak TLS"},
		{hang_up, LONG_MS, GP_TLS, "127.0.0.1"},
	};
	struct loopback lo;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		loopback_begin(&lo, IMAP_SECURITY_TLS, client);
		lo.accepted = rows[i].accepted;
		lo.received = silence;
		loopback_open(&lo, rows[i].timeout_ms);
		loopback_run_to_closed(&lo, rows[i].status);
		assert_int_equal(lo.n_connected, 0);
		assert_non_null(strstr(lo.error.text, rows[i].text));
		loopback_end(&lo);
	}
}

static void upgrade(struct loopback *lo)
{
	loopback_open(lo, LONG_MS);
	loopback_run_until(lo, loopback_is_connected);
	loopback_write(lo, SPAN_LIT("STARTTLS"));
	while (lo->bytes.len < 2) {
		assert_true(uv_run(&lo->loop, UV_RUN_ONCE) != 0);
	}
	gp_buffer_truncate(&lo->bytes, 0);
	loopback_start_tls(lo);
}

static void test_upgrade(void **state)
{
	struct loopback lo;

	(void)state;
	secure_begin(&lo, IMAP_SECURITY_STARTTLS);
	upgrade(&lo);
	loopback_run_until(&lo, loopback_is_secured);
	assert_int_equal(lo.n_secured, 1);
	loopback_write(&lo, SPAN_LIT("abc"));
	loopback_run_until(&lo, has_three);
	assert_true(span_equal_text(gp_buffer_span(&lo.bytes), "abc"));
	loopback_start_tls(&lo); /* twice is once too often */
	loopback_run_to_closed(&lo, GP_INVALID);

	upgrade(&lo);
	loopback_write(&lo, SPAN_LIT("in clear?"));
	loopback_run_to_closed(&lo, GP_INVALID);
	assert_int_equal(lo.n_secured, 0);
	loopback_end(&lo);
}

static void inject_when_asked(struct peer *peer, struct span bytes)
{
	if (!peer->ctx) {
		peer_received(peer, bytes);
	} else {
		peer_send(peer, SPAN_LIT("a1 OK [CAPABILITY IMAP4rev1] injected\r\n"));
	}
}

static void test_injection_after_upgrade(void **state)
{
	struct loopback lo;

	(void)state;
	secure_begin(&lo, IMAP_SECURITY_STARTTLS);
	lo.received = inject_when_asked;
	upgrade(&lo);
	loopback_run_to_closed(&lo, GP_TLS);
	assert_int_equal(lo.bytes.len, 0);
	loopback_end(&lo);
}

static void speak_at_once(struct loopback *lo, enum client_moment moment)
{
	if (moment == AT_CONNECTED && lo->transport) {
		loopback_write(lo, SPAN_LIT("END"));
	}
}

static void test_close_in_events(void **state)
{
	static const enum client_moment moments[] = {AT_CONNECTED, AT_RECEIVED, AT_CLOSED};
	struct loopback lo;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		secure_begin(&lo, IMAP_SECURITY_TLS);
		lo.close_at = moments[i];
		lo.hook = speak_at_once;
		loopback_open(&lo, LONG_MS);
		while (lo.transport) {
			assert_true(uv_run(&lo.loop, UV_RUN_ONCE) != 0);
		}
		loopback_settle(&lo);
		assert_int_equal(lo.n_closed, moments[i] == AT_CLOSED);
		loopback_end(&lo);
	}
	secure_begin(&lo, IMAP_SECURITY_STARTTLS);
	lo.close_at = AT_SECURED;
	upgrade(&lo);
	while (lo.transport) {
		assert_true(uv_run(&lo.loop, UV_RUN_ONCE) != 0);
	}
	assert_int_equal(lo.n_secured, 1);
	loopback_end(&lo);
}

/* However far the handshake has come. */
static void test_close_at_any_turn(void **state)
{
	struct loopback lo;

	(void)state;
	for (int turns = 0; turns < 12; turns++) {
		secure_begin(&lo, IMAP_SECURITY_TLS);
		loopback_open(&lo, LONG_MS);
		for (int i = 0; i < turns; i++) {
			uv_run(&lo.loop, UV_RUN_NOWAIT);
		}
		loopback_end(&lo);
	}
}

static void test_network_resumption(void **state)
{
	struct loopback lo;
	long n_resumed = SSL_CTX_sess_hits(server);

	(void)state;
	secure_begin(&lo, IMAP_SECURITY_TLS);
	for (int i = 0; i < 3; i++) {
		secure_connect(&lo);
		loopback_write(&lo, SPAN_LIT("abc"));
		loopback_run_until(&lo, has_three); /* the tickets came before it */
	}
	assert_int_equal(SSL_CTX_sess_hits(server), n_resumed + 2);
	loopback_end(&lo);
}

#define network_test(function) cmocka_unit_test_setup_teardown(function, network_begin, network_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_certificates),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_resumption),
		cmocka_unit_test(test_context_errors),
		network_test(test_bulk_echo),
		network_test(test_pause),
		network_test(test_pause_beside_another),
		network_test(test_paused_handshake),
		network_test(test_ends),
		network_test(test_close_sends_notice),
		network_test(test_bad_certificate),
		network_test(test_no_handshake),
		network_test(test_upgrade),
		network_test(test_injection_after_upgrade),
		network_test(test_close_in_events),
		network_test(test_close_at_any_turn),
		network_test(test_network_resumption),
	};

	return cmocka_run_group_tests(tests, make_authorities, remove_authorities);
}
