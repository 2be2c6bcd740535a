#include "api/throttle.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "api/reply.h"
#include "base/limits.h"

#define N_BUCKETS 4096
#define DIGEST_BYTES 32
#define MAX_FOLDED 1024 /* of a user name: all of it, imap/credential.c has no longer ones */
#define MAX_ADDRESS 16
#define IPV6_PREFIX 8 /* bytes: whoever has one address of a /64 has all of them */

enum kind {
	KIND_ACCOUNT, /* failures of a user name */
	KIND_ADDRESS, /* failures from an address */
	KIND_REFUSED, /* refused requests of a user name from an address */
	KIND_KNOWN,   /* a credential from an address that was let in */
	KIND_ATTEMPT, /* one that is under way */
};

/* at_ms: of the first three the moment when all is paid for; until when it is known. */
struct entry {
	struct entry *bucket_next;   /* link */
	struct entry *older, *newer; /* link: by use; attempts are not among them */
	unsigned char digest[DIGEST_BYTES];
	enum kind kind;
	uint64_t at_ms;
	/* an attempt's */
	size_t n_tickets;
	bool is_paid;
};

struct api_throttle {
	struct gp_timers *timers;         /* borrow */
	struct entry *buckets[N_BUCKETS]; /* own */
	struct entry *oldest, *newest;    /* link */
	size_t n_entries;
	unsigned char secret[DIGEST_BYTES];
};

/* In the exchange's arena. */
struct api_throttle_ticket {
	struct api_throttle *throttle; /* borrow */
	struct entry *attempt;         /* link: counted there */
	unsigned char account[DIGEST_BYTES], address[DIGEST_BYTES], refused[DIGEST_BYTES], known[DIGEST_BYTES];
	bool has_address;
};

struct rate {
	uint64_t burst, interval_ms;
};

static const struct rate rates[] = {
	[KIND_ACCOUNT] = {API_THROTTLE_ACCOUNT_BURST, API_THROTTLE_ACCOUNT_MS},
	[KIND_ADDRESS] = {API_THROTTLE_ADDRESS_BURST, API_THROTTLE_ADDRESS_MS},
	[KIND_REFUSED] = {API_THROTTLE_REFUSED_BURST, API_THROTTLE_REFUSED_MS},
};

/* ---- the table ---- */

struct api_throttle *api_throttle_new(struct gp_timers *timers, bool (*random)(void *to, size_t len))
{
	struct api_throttle *self = calloc(1, sizeof *self);

	if (self && !random(self->secret, sizeof self->secret)) {
		free(self);
		self = NULL;
	}
	if (self) {
		self->timers = timers;
	}
	return self;
}

static struct entry **bucket_of(struct api_throttle *self, const unsigned char *digest)
{
	return &self->buckets[(digest[0] << 8 | digest[1]) % N_BUCKETS];
}

static struct entry *find(struct api_throttle *self, enum kind kind, const unsigned char *digest)
{
	struct entry *entry = *bucket_of(self, digest);

	while (entry && (entry->kind != kind || memcmp(entry->digest, digest, DIGEST_BYTES) != 0)) {
		entry = entry->bucket_next;
	}
	return entry;
}

static void unlink_age(struct api_throttle *self, struct entry *entry)
{
	*(entry->older ? &entry->older->newer : &self->oldest) = entry->newer;
	*(entry->newer ? &entry->newer->older : &self->newest) = entry->older;
	entry->older = entry->newer = NULL;
}

static void link_newest(struct api_throttle *self, struct entry *entry)
{
	entry->older = self->newest;
	*(self->newest ? &self->newest->newer : &self->oldest) = entry;
	self->newest = entry;
}

static void drop(struct api_throttle *self, struct entry *entry)
{
	struct entry **link = bucket_of(self, entry->digest);

	while (*link != entry) {
		link = &(*link)->bucket_next;
	}
	*link = entry->bucket_next;
	if (entry->kind != KIND_ATTEMPT) {
		unlink_age(self, entry);
		self->n_entries--;
	}
	free(entry);
}

static struct entry *add(struct api_throttle *self, enum kind kind, const unsigned char *digest)
{
	struct entry *entry = calloc(1, sizeof *entry);

	if (!entry) {
		return NULL;
	}
	if (kind != KIND_ATTEMPT) {
		if (self->n_entries == GP_MAX_THROTTLED) {
			drop(self, self->oldest);
		}
		link_newest(self, entry);
		self->n_entries++;
	}
	entry->kind = kind;
	memcpy(entry->digest, digest, DIGEST_BYTES);
	entry->bucket_next = *bucket_of(self, digest);
	*bucket_of(self, digest) = entry;
	return entry;
}

void api_throttle_free(struct api_throttle **throttle)
{
	struct api_throttle *self = *throttle;

	*throttle = NULL;
	while (self && self->oldest) {
		drop(self, self->oldest);
	}
	free(self); /* attempts have ended with their exchanges */
}

/* ---- rates: a bucket that is emptied at a steady pace, kept as the moment when it is empty ---- */

/* 0: one more may be paid for now; else after how many ms. */
static uint64_t wait_of(struct api_throttle *self, enum kind kind, const unsigned char *digest)
{
	const struct entry *entry = find(self, kind, digest);
	const struct rate *rate = &rates[kind];
	uint64_t now_ms = self->timers->now_ms;
	uint64_t allowed_ms = now_ms + (rate->burst - 1) * rate->interval_ms;

	return entry && entry->at_ms > allowed_ms ? entry->at_ms - allowed_ms : 0;
}

static bool pay(struct api_throttle *self, enum kind kind, const unsigned char *digest)
{
	struct entry *entry = find(self, kind, digest);
	uint64_t now_ms = self->timers->now_ms;

	if (entry) {
		unlink_age(self, entry);
		link_newest(self, entry);
	} else {
		entry = add(self, kind, digest);
	}
	if (entry) {
		entry->at_ms = (entry->at_ms > now_ms ? entry->at_ms : now_ms) + rates[kind].interval_ms;
	}
	return entry != NULL;
}

static void pay_back(struct api_throttle *self, enum kind kind, const unsigned char *digest)
{
	struct entry *entry = find(self, kind, digest);

	if (!entry) {
		return; /* it was the oldest, and forgotten */
	}
	entry->at_ms -= rates[kind].interval_ms < entry->at_ms ? rates[kind].interval_ms : entry->at_ms;
	if (entry->at_ms <= self->timers->now_ms) {
		drop(self, entry);
	}
}

/* ---- digests ---- */

static bool digest_of(const struct api_throttle *self, struct span first, struct span second, unsigned char *out)
{
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	unsigned char mark = (unsigned char)second.len; /* an address: 0 to 16 bytes */
	bool is_done = hash && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1 &&
		       EVP_DigestUpdate(hash, self->secret, sizeof self->secret) == 1 &&
		       EVP_DigestUpdate(hash, &mark, 1) == 1 && EVP_DigestUpdate(hash, second.ptr, second.len) == 1 &&
		       EVP_DigestUpdate(hash, first.ptr, first.len) == 1 && EVP_DigestFinal_ex(hash, out, NULL) == 1;

	EVP_MD_CTX_free(hash);
	return is_done;
}

/* Many servers take user names in any case. */
static struct span fold(struct span name, char folded[MAX_FOLDED])
{
	struct span cut = span_slice(name, 0, MAX_FOLDED);

	for (size_t i = 0; i < cut.len; i++) {
		char c = cut.ptr[i];
		folded[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
	}
	return span_make(folded, cut.len);
}

static bool make_digests(struct api_throttle_ticket *ticket, const struct imap_credential *credential,
			 struct span client)
{
	char folded[MAX_FOLDED];
	struct api_throttle *self = ticket->throttle;
	struct span name = fold(imap_credential_username(credential), folded);
	struct span key = span_make((const char *)imap_credential_key(credential), IMAP_CREDENTIAL_KEY_BYTES);
	struct span address = span_slice(client, 0, client.len == MAX_ADDRESS ? IPV6_PREFIX : MAX_ADDRESS);

	ticket->has_address = address.len > 0;
	return digest_of(self, name, SPAN_NIL, ticket->account) &&
	       digest_of(self, SPAN_NIL, address, ticket->address) && digest_of(self, name, address, ticket->refused) &&
	       digest_of(self, key, address, ticket->known);
}

/* ---- tickets ---- */

static bool is_known(struct api_throttle_ticket *ticket)
{
	struct api_throttle *self = ticket->throttle;
	struct entry *known = find(self, KIND_KNOWN, ticket->known);

	if (known && known->at_ms <= self->timers->now_ms) {
		drop(self, known);
		known = NULL;
	}
	return known && wait_of(self, KIND_REFUSED, ticket->refused) == 0;
}

static uint64_t wait_of_ticket(struct api_throttle_ticket *ticket)
{
	uint64_t account_ms = wait_of(ticket->throttle, KIND_ACCOUNT, ticket->account);
	uint64_t address_ms = ticket->has_address ? wait_of(ticket->throttle, KIND_ADDRESS, ticket->address) : 0;

	return account_ms > address_ms ? account_ms : address_ms;
}

static bool pay_attempt(struct api_throttle_ticket *ticket)
{
	struct api_throttle *self = ticket->throttle;
	struct entry *attempt = add(self, KIND_ATTEMPT, ticket->known);

	if (!attempt) {
		return false;
	}
	attempt->is_paid = pay(self, KIND_ACCOUNT, ticket->account);
	if (attempt->is_paid && ticket->has_address && !pay(self, KIND_ADDRESS, ticket->address)) {
		pay_back(self, KIND_ACCOUNT, ticket->account);
		attempt->is_paid = false;
	}
	if (!attempt->is_paid) {
		drop(self, attempt);
		return false;
	}
	ticket->attempt = attempt;
	return true;
}

static void reply_wait(struct api_exchange *exchange, uint64_t wait_ms)
{
	uint64_t wait_s = (wait_ms + 999) / 1000;

	api_header_addf(exchange, "Retry-After", "%llu", (unsigned long long)wait_s);
	api_reply_problem(exchange, API_PROBLEM_TOO_MANY_REQUESTS, NULL,
			  "there were too many failed logins: try again in %llu s", (unsigned long long)wait_s);
}

bool api_throttle_enter(struct api_exchange *exchange, const struct imap_credential *credential)
{
	struct api_throttle *self = exchange->app->throttle;

	if (!self) {
		return true;
	}
	struct api_throttle_ticket *ticket = gp_arena_new(&exchange->arena, struct api_throttle_ticket);
	bool is_made = ticket != NULL;
	if (is_made) {
		ticket->throttle = self;
		is_made = make_digests(ticket, credential, exchange->client);
	}
	if (!is_made) {
		api_reply_problem(exchange, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
		return false;
	}
	ticket->attempt = find(self, KIND_ATTEMPT, ticket->known);
	if (!ticket->attempt) {
		uint64_t wait_ms = is_known(ticket) ? 0 : wait_of_ticket(ticket);
		if (wait_ms > 0) {
			(void)pay(self, KIND_REFUSED, ticket->refused);
			reply_wait(exchange, wait_ms);
			return false;
		}
		if (!pay_attempt(ticket)) {
			api_reply_problem(exchange, API_PROBLEM_UNAVAILABLE, NULL, "out of memory");
			return false;
		}
	}
	ticket->attempt->n_tickets++;
	exchange->ticket = ticket;
	return true;
}

static void pay_back_attempt(struct api_throttle_ticket *ticket)
{
	struct entry *attempt = ticket->attempt;

	if (attempt->is_paid) {
		attempt->is_paid = false;
		pay_back(ticket->throttle, KIND_ACCOUNT, ticket->account);
		if (ticket->has_address) {
			pay_back(ticket->throttle, KIND_ADDRESS, ticket->address);
		}
	}
}

static void give_up_ticket(struct api_exchange *exchange, bool is_last_paid_back)
{
	struct api_throttle_ticket *ticket = exchange->ticket;
	struct entry *attempt = ticket->attempt;

	exchange->ticket = NULL;
	assert(attempt->n_tickets > 0);
	attempt->n_tickets--;
	if (attempt->n_tickets == 0) {
		if (is_last_paid_back) {
			pay_back_attempt(ticket);
		}
		drop(ticket->throttle, attempt);
	}
}

void api_throttle_prove(struct api_exchange *exchange)
{
	struct api_throttle_ticket *ticket = exchange->ticket;

	if (!ticket) {
		return;
	}
	struct api_throttle *self = ticket->throttle;
	struct entry *known = find(self, KIND_KNOWN, ticket->known);
	if (known) {
		unlink_age(self, known);
		link_newest(self, known);
	} else {
		known = add(self, KIND_KNOWN, ticket->known); /* without memory it is not known */
	}
	if (known) {
		known->at_ms = self->timers->now_ms + API_THROTTLE_KNOWN_MS;
	}
	pay_back_attempt(ticket);
	give_up_ticket(exchange, false);
}

void api_throttle_settle(struct api_exchange *exchange, unsigned status)
{
	struct api_throttle_ticket *ticket = exchange->ticket;

	if (!ticket) {
		return;
	}
	if (status == 401) {
		struct entry *known = find(ticket->throttle, KIND_KNOWN, ticket->known);
		if (known) {
			drop(ticket->throttle, known);
		}
		ticket->attempt->is_paid = false; /* for good: nobody who shares it is paid back */
	}
	give_up_ticket(exchange, true);
}

void api_throttle_leave(struct api_exchange *exchange)
{
	if (exchange->ticket) {
		give_up_ticket(exchange, false);
	}
}
