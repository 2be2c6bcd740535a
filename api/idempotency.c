#include "api/idempotency.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "api/reply.h"
#include "base/hash.h"
#include "base/limits.h"

#define N_BUCKETS 1024
#define MAX_KEY ((size_t)200)
#define MAX_BODY (16 * GP_KIB) /* of a reply; those of writes are short */
#define DIGEST_BYTES 32

static const char *const kept_headers[] = {"Content-Type", "Location", "ETag", "Content-Location"};

#define N_KEPT_HEADERS (sizeof kept_headers / sizeof kept_headers[0])

struct api_idempotent {
	struct api_idempotency *memory;       /* borrow */
	struct api_idempotent *bucket_next;   /* link */
	struct api_idempotent *older, *newer; /* link: by when it was last used */
	unsigned char owner[IMAP_CREDENTIAL_KEY_BYTES];
	char *key;                           /* own */
	unsigned char request[DIGEST_BYTES]; /* all but a streamed body */
	unsigned char body[DIGEST_BYTES];    /* of a streamed one */
	bool has_body;
	enum api_idempotency_state state; /* FIRST while it is under way for the first time */
	bool is_held;                     /* a request has it */
	uint64_t at_ms;
	/* DONE */
	unsigned status;
	char *headers[N_KEPT_HEADERS]; /* own; NULL: there was none */
	char *reply;                   /* own */
	size_t reply_len;
	/* LOST */
	char *note; /* own */
	size_t note_len;
	/* the request that holds it */
	EVP_MD_CTX *passing; /* own */
};

struct api_idempotency {
	struct gp_timers *timers;                  /* borrow */
	struct api_idempotent *buckets[N_BUCKETS]; /* own */
	struct api_idempotent *oldest, *newest;    /* link */
	size_t n_keys, n_bytes;
};

/* ---- the memory ---- */

struct api_idempotency *api_idempotency_new(struct gp_timers *timers)
{
	struct api_idempotency *memory = calloc(1, sizeof *memory);

	if (memory) {
		memory->timers = timers;
	}
	return memory;
}

static size_t bucket_of(const unsigned char *owner, struct span key)
{
	struct span whose = span_make((const char *)owner, IMAP_CREDENTIAL_KEY_BYTES);

	return (size_t)(gp_hash_span(gp_hash_span(GP_HASH_START, whose), key) % N_BUCKETS);
}

static size_t size_of(const struct api_idempotent *entry)
{
	return sizeof *entry + strlen(entry->key) + entry->reply_len + entry->note_len;
}

static void unlink_age(struct api_idempotent *entry)
{
	struct api_idempotency *memory = entry->memory;

	*(entry->older ? &entry->older->newer : &memory->oldest) = entry->newer;
	*(entry->newer ? &entry->newer->older : &memory->newest) = entry->older;
	entry->older = entry->newer = NULL;
}

static void link_newest(struct api_idempotent *entry)
{
	struct api_idempotency *memory = entry->memory;

	entry->at_ms = memory->timers->now_ms;
	entry->older = memory->newest;
	entry->newer = NULL;
	*(memory->newest ? &memory->newest->newer : &memory->oldest) = entry;
	memory->newest = entry;
}

static void drop_reply(struct api_idempotent *entry)
{
	for (size_t i = 0; i < N_KEPT_HEADERS; i++) {
		free(entry->headers[i]);
		entry->headers[i] = NULL;
	}
	free(entry->reply);
	entry->reply = NULL;
	entry->reply_len = 0;
}

static void forget(struct api_idempotent *entry)
{
	struct api_idempotency *memory = entry->memory;
	struct api_idempotent **at = &memory->buckets[bucket_of(entry->owner, span_of(entry->key))];

	while (*at != entry) {
		at = &(*at)->bucket_next;
	}
	*at = entry->bucket_next;
	unlink_age(entry);
	memory->n_keys--;
	memory->n_bytes -= size_of(entry);
	drop_reply(entry);
	EVP_MD_CTX_free(entry->passing);
	free(entry->note);
	free(entry->key);
	free(entry);
}

void api_idempotency_free(struct api_idempotency **memory)
{
	struct api_idempotency *self = *memory;

	*memory = NULL;
	while (self && self->oldest) {
		forget(self->oldest);
	}
	free(self);
}

static bool is_full(const struct api_idempotency *memory)
{
	return memory->n_keys >= GP_MAX_IDEMPOTENCY_KEYS || memory->n_bytes >= GP_MAX_IDEMPOTENCY_BYTES;
}

/* Forgets what is too old and, for a new one, too much, oldest first; never what a request
 * holds. */
static void make_room(struct api_idempotency *memory, bool is_for_new)
{
	uint64_t now_ms = memory->timers->now_ms;
	struct api_idempotent *next;

	for (struct api_idempotent *entry = memory->oldest; entry; entry = next) {
		next = entry->newer;
		if (!(is_for_new && is_full(memory)) && now_ms - entry->at_ms <= GP_IDEMPOTENCY_MS) {
			return;
		}
		if (!entry->is_held) {
			forget(entry);
		}
	}
}

static struct api_idempotent *find(struct api_idempotency *memory, const unsigned char *owner, struct span key)
{
	struct api_idempotent *entry = memory->buckets[bucket_of(owner, key)];

	while (entry && !(memcmp(entry->owner, owner, sizeof entry->owner) == 0 && span_equal_text(key, entry->key))) {
		entry = entry->bucket_next;
	}
	return entry;
}

static struct api_idempotent *add(struct api_idempotency *memory, const unsigned char *owner, struct span key)
{
	struct api_idempotent *entry = calloc(1, sizeof *entry);
	struct api_idempotent **bucket = &memory->buckets[bucket_of(owner, key)];

	if (entry) {
		entry->key = span_dup(key);
	}
	if (!entry || !entry->key) {
		free(entry);
		return NULL;
	}
	entry->memory = memory;
	entry->state = API_IDEMPOTENCY_FIRST;
	memcpy(entry->owner, owner, sizeof entry->owner);
	entry->bucket_next = *bucket;
	*bucket = entry;
	link_newest(entry);
	memory->n_keys++;
	memory->n_bytes += size_of(entry);
	return entry;
}

/* ---- requests ---- */

/* The key, without the quotes that the draft standard wants; NIL: it is none. */
static struct span read_key(struct span value)
{
	value = span_trim(value);
	if (value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"') {
		value = span_slice(value, 1, value.len - 2);
	}
	for (size_t i = 0; i < value.len; i++) {
		if (value.ptr[i] <= 0x20 || value.ptr[i] >= 0x7F) {
			return SPAN_NIL;
		}
	}
	return value.len > 0 && value.len <= MAX_KEY ? value : SPAN_NIL;
}

/* The user's name is in it: should two accounts ever be taken for one owner, neither is
 * told what the other was. */
static bool digest_request(const struct api_request *request, unsigned char out[DIGEST_BYTES])
{
	struct api_exchange *exchange = request->exchange;
	struct span type = exchange->ops->header(exchange, "Content-Type");
	struct span parts[] = {imap_credential_username(request->credential), exchange->method_name, exchange->target,
			       type, exchange->body};
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool is_good = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;

	for (size_t i = 0; i < sizeof parts / sizeof parts[0] && is_good; i++) {
		uint64_t len = parts[i].len;
		is_good = EVP_DigestUpdate(context, &len, sizeof len) == 1 &&
			  EVP_DigestUpdate(context, parts[i].ptr ? parts[i].ptr : "", parts[i].len) == 1;
	}
	is_good = is_good && EVP_DigestUpdate(context, &exchange->upload_length, sizeof exchange->upload_length) == 1 &&
		  EVP_DigestFinal_ex(context, out, NULL) == 1;
	EVP_MD_CTX_free(context);
	return is_good;
}

static bool begin_passing(struct api_idempotent *entry)
{
	entry->passing = EVP_MD_CTX_new();
	return entry->passing && EVP_DigestInit_ex(entry->passing, EVP_sha256(), NULL) == 1;
}

void api_idempotency_refuse(struct api_exchange *exchange)
{
	api_reply_problem(exchange, API_PROBLEM_UNPROCESSABLE, NULL,
			  "this Idempotency-Key was used for another request: each request needs its own");
}

/* False: replied, and the key is not held. */
static bool take(struct api_exchange *exchange, struct api_idempotent *entry, const unsigned char request[DIGEST_BYTES])
{
	if (entry->is_held) {
		api_header_add(exchange, "Retry-After", "1");
		api_reply_problem(exchange, API_PROBLEM_CONFLICT, NULL,
				  "a request with this Idempotency-Key is still under way");
		return false;
	}
	if (memcmp(entry->request, request, DIGEST_BYTES) != 0) {
		api_idempotency_refuse(exchange);
		return false;
	}
	entry->is_held = true;
	exchange->idempotent = entry;
	return true;
}

/* A whole body has been compared with the rest of the request. False: replied. */
static bool goes_on(struct api_exchange *exchange)
{
	struct api_idempotent *entry = exchange->idempotent;

	if (entry->state == API_IDEMPOTENCY_FIRST) {
		return true;
	}
	if (entry->state == API_IDEMPOTENCY_DONE) {
		if (exchange->is_upload) {
			return true;
		}
		api_idempotency_replay(exchange);
		return false;
	}
	if (entry->note_len > 0) {
		return true; /* its handler knows how to find out */
	}
	exchange->is_outcome_unknown = true;
	api_reply_problem(
		exchange, API_PROBLEM_CONFLICT, NULL,
		"the answer to the first request with this Idempotency-Key was lost, and whether it was done is "
		"not known: look, and send what is still to be done with another key");
	return false;
}

bool api_idempotency_enter(struct api_request *request)
{
	struct api_exchange *exchange = request->exchange;
	struct api_idempotency *memory = request->app->idempotency;
	struct span value = exchange->ops->header(exchange, "Idempotency-Key");
	struct span key = read_key(value);
	unsigned char digest[DIGEST_BYTES];

	if (span_is_nil(value) || !memory) {
		return true;
	}
	if (span_is_nil(key)) {
		api_reply_problem(exchange, API_PROBLEM_BAD_REQUEST, NULL,
				  "'Idempotency-Key' must have 1 to %zu visible ASCII characters", MAX_KEY);
		return false;
	}
	const unsigned char *owner = imap_credential_key(request->credential);
	make_room(memory, false);
	struct api_idempotent *entry = find(memory, owner, key);
	bool is_new = !entry;
	bool is_good = digest_request(request, digest);
	if (is_new && is_good) {
		make_room(memory, true);
	}
	if (is_new && is_good && memory->n_keys < GP_MAX_IDEMPOTENCY_KEYS) {
		entry = add(memory, owner, key);
		if (entry) {
			memcpy(entry->request, digest, sizeof digest);
		}
	}
	if (!entry || !is_good) {
		api_reply_problem(exchange, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return false;
	}
	if (!take(exchange, entry, digest)) {
		return false;
	}
	if (exchange->is_upload && !begin_passing(entry)) {
		api_reply_problem(exchange, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return false;
	}
	return goes_on(exchange);
}

enum api_idempotency_state api_idempotency_state(const struct api_exchange *exchange)
{
	return exchange->idempotent ? exchange->idempotent->state : API_IDEMPOTENCY_NONE;
}

/* ---- streamed bodies ---- */

void api_idempotency_pass(struct api_exchange *exchange, struct span octets)
{
	struct api_idempotent *entry = exchange->idempotent;

	if (entry && entry->passing && EVP_DigestUpdate(entry->passing, octets.ptr, octets.len) != 1) {
		EVP_MD_CTX_free(entry->passing);
		entry->passing = NULL;
	}
}

bool api_idempotency_is_same(struct api_exchange *exchange)
{
	struct api_idempotent *entry = exchange->idempotent;
	unsigned char digest[DIGEST_BYTES];

	if (!entry || !exchange->is_upload) {
		return true;
	}
	if (!entry->passing || EVP_DigestFinal_ex(entry->passing, digest, NULL) != 1) {
		return false;
	}
	if (!entry->has_body) {
		entry->has_body = true;
		memcpy(entry->body, digest, sizeof digest);
	}
	return memcmp(entry->body, digest, sizeof digest) == 0;
}

/* ---- notes ---- */

void api_idempotency_note(struct api_exchange *exchange, struct span note)
{
	struct api_idempotent *entry = exchange->idempotent;

	if (!entry) {
		return;
	}
	char *copy = note.len > 0 ? malloc(note.len) : NULL;
	if (copy) {
		memcpy(copy, note.ptr, note.len);
	}
	entry->memory->n_bytes -= size_of(entry);
	free(entry->note);
	entry->note = copy;
	entry->note_len = copy ? note.len : 0;
	entry->memory->n_bytes += size_of(entry);
}

struct span api_idempotency_noted(const struct api_exchange *exchange)
{
	const struct api_idempotent *entry = exchange->idempotent;

	return entry && entry->note_len > 0 ? span_make(entry->note, entry->note_len) : SPAN_NIL;
}

/* ---- replies ---- */

void api_idempotency_replay(struct api_exchange *exchange)
{
	struct api_idempotent *entry = exchange->idempotent;
	struct gp_buffer body;

	assert(entry && entry->state == API_IDEMPOTENCY_DONE);
	gp_buffer_init(&body, MAX_BODY);
	if (gp_buffer_append(&body, span_make(entry->reply, entry->reply_len)) != GP_OK) {
		gp_buffer_deinit(&body);
		api_reply_problem(exchange, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return;
	}
	for (size_t i = 0; i < N_KEPT_HEADERS; i++) {
		api_header_add(exchange, kept_headers[i], entry->headers[i]);
	}
	api_header_add(exchange, "Idempotent-Replayed", "true");
	api_reply_buffer(exchange, entry->status, NULL, &body);
}

static const char *find_header(const struct api_exchange *exchange, const char *name)
{
	for (size_t i = 0; i < exchange->n_headers; i++) {
		if (span_equal_text_nocase(span_of(exchange->headers[i].name), name)) {
			return exchange->headers[i].value;
		}
	}
	return NULL;
}

/* False: there is no memory for it, or it is too long. */
static bool keep(struct api_idempotent *entry, const struct api_exchange *exchange, unsigned status, struct span body)
{
	bool is_kept = body.len <= MAX_BODY;
	char *copy = is_kept ? malloc(body.len + 1) : NULL;

	is_kept = copy != NULL;
	if (is_kept) {
		memcpy(copy, body.ptr, body.len);
		entry->reply = copy;
		entry->reply_len = body.len;
	}
	for (size_t i = 0; i < N_KEPT_HEADERS && is_kept; i++) {
		const char *value = find_header(exchange, kept_headers[i]);
		entry->headers[i] = value ? strdup(value) : NULL;
		is_kept = !value || entry->headers[i];
	}
	if (!is_kept) {
		drop_reply(entry);
	}
	entry->status = status;
	return is_kept;
}

/* The request lets go of it. */
static void let_go(struct api_exchange *exchange, struct api_idempotent *entry)
{
	exchange->idempotent = NULL;
	entry->is_held = false;
	EVP_MD_CTX_free(entry->passing);
	entry->passing = NULL;
}

/* Nothing of it was done, unless it is noted otherwise. */
static void let_go_undone(struct api_exchange *exchange, struct api_idempotent *entry, bool is_unknown)
{
	let_go(exchange, entry);
	if (entry->state == API_IDEMPOTENCY_DONE) {
		return;
	}
	if (is_unknown || entry->note_len > 0) {
		entry->state = API_IDEMPOTENCY_LOST;
		return;
	}
	forget(entry);
}

void api_idempotency_settle(struct api_exchange *exchange, unsigned status, struct span body)
{
	struct api_idempotent *entry = exchange->idempotent;

	if (!entry) {
		return;
	}
	if (entry->state == API_IDEMPOTENCY_DONE || status < 200 || status >= 300) {
		let_go_undone(exchange, entry, exchange->is_outcome_unknown);
		return;
	}
	api_idempotency_note(exchange, SPAN_NIL);
	let_go(exchange, entry);
	entry->memory->n_bytes -= size_of(entry);
	bool is_kept = keep(entry, exchange, status, body);
	entry->memory->n_bytes += size_of(entry);
	if (!is_kept) {
		forget(entry);
		return;
	}
	entry->state = API_IDEMPOTENCY_DONE;
	unlink_age(entry);
	link_newest(entry);
}

void api_idempotency_leave(struct api_exchange *exchange, bool is_unknown)
{
	if (exchange->idempotent) {
		let_go_undone(exchange, exchange->idempotent, is_unknown);
	}
}
