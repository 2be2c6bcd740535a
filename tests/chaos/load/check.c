/*
 * A canary is QC, the account, UIDVALIDITY, UID and the account's secret:
 *
 *	QC0012-1795654456-0000000007-5f0e9c3aCQ
 *
 * UID 0: of the account, and no certain message. Accounts have numbers below 1000, so
 * that one at the start of a line of base64 begins with UUMw.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define CANARY_LEN 39
#define BASE64_LEN 52
#define MAX_TOLD 5
#define TOLD_AROUND 1500

struct canary {
	unsigned account;
	struct message_name message;
	char secret[9];
};

static bool read_number(const char *text, size_t n, uint32_t *out)
{
	uint64_t number = 0;

	for (size_t i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9') {
			return false;
		}
		number = number * 10 + (uint64_t)(text[i] - '0');
	}
	*out = (uint32_t)number;
	return number <= UINT32_MAX;
}

static bool read_canary(const char *text, size_t len, struct canary *out)
{
	if (len < CANARY_LEN || memcmp(text, "QC", 2) != 0 || memcmp(text + 37, "CQ", 2) != 0 || text[6] != '-' ||
	    text[17] != '-' || text[28] != '-') {
		return false;
	}
	memcpy(out->secret, text + 29, 8);
	out->secret[8] = '\0';
	return read_number(text + 2, 4, &out->account) && read_number(text + 7, 10, &out->message.uidvalidity) &&
	       read_number(text + 18, 10, &out->message.uid);
}

static int base64_digit(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

static bool read_encoded(const char *text, size_t len, struct canary *out)
{
	char plain[CANARY_LEN];

	if (len < BASE64_LEN) {
		return false;
	}
	for (size_t i = 0; i < BASE64_LEN / 4; i++) {
		int bits = 0;
		for (size_t j = 0; j < 4; j++) {
			int digit = base64_digit(text[4 * i + j]);
			if (digit < 0) {
				return false;
			}
			bits = bits << 6 | digit;
		}
		plain[3 * i] = (char)(bits >> 16);
		plain[3 * i + 1] = (char)(bits >> 8);
		plain[3 * i + 2] = (char)bits;
	}
	return read_canary(plain, sizeof plain, out);
}

void report_wrong(const struct expectation *expectation, const char *what, const char *text, size_t len)
{
	static int n_told;

	if (n_told++ >= MAX_TOLD) {
		return;
	}
	fprintf(stderr, "load: %s: account %u, UIDVALIDITY %u, UID %u: %s\n---\n%.*s\n---\n", what,
		expectation->account->number, expectation->message.uidvalidity, expectation->message.uid,
		expectation->target, (int)(len < TOLD_AROUND ? len : TOLD_AROUND), text);
	if (load.dump && n_told == 1) {
		relay_dump();
	}
}

static void is_foreign(const struct expectation *expectation, const char *text, size_t len)
{
	load.counts.foreign++;
	report_wrong(expectation, "another account's canary", text, len);
}

static void is_wrong(const struct expectation *expectation, const char *what, const char *text, size_t len)
{
	load.counts.wrong++;
	report_wrong(expectation, what, text, len);
}

/* One message is one fetch, however often its canary stands in it. */
struct seen {
	uint32_t uid; /* of the row that this is in */
	uint32_t last_counted;
	uint32_t uidvalidity;        /* the reply's; 0: not told yet */
	uint32_t canary_uidvalidity; /* the canaries'; 0: none yet */
	size_t n;
};

static void check_canary(const struct expectation *expectation, const struct canary *canary, struct seen *seen,
			 const char *text, size_t len)
{
	const struct message_name *message = &canary->message;

	if (canary->account != expectation->account->number ||
	    strcmp(canary->secret, expectation->account->secret) != 0) {
		is_foreign(expectation, text, len);
		return;
	}
	if (message->uid == 0) {
		return;
	}
	uint32_t uid = expectation->is_rows ? seen->uid : expectation->message.uid;
	uint32_t uidvalidity = expectation->is_rows ? seen->canary_uidvalidity : expectation->message.uidvalidity;
	if (uid != 0 && uid != message->uid) {
		is_wrong(expectation, "another message", text, len);
	} else if (uidvalidity != 0 && uidvalidity != message->uidvalidity) {
		is_wrong(expectation, "a message of another UIDVALIDITY", text, len);
	}
	seen->canary_uidvalidity = message->uidvalidity;
	if (seen->last_counted != message->uid) {
		seen->last_counted = message->uid;
		seen->n++;
	}
}

/* `"uid":7` and `"uidValidity":5` */
static void note_member(struct seen *seen, const char *text, size_t len)
{
	if (len > 16 && memcmp(text, "\"uid\":", 6) == 0) {
		seen->uid = (uint32_t)strtoul(text + 6, NULL, 10);
	} else if (len > 26 && memcmp(text, "\"uidValidity\":", 14) == 0) {
		seen->uidvalidity = (uint32_t)strtoul(text + 14, NULL, 10);
	}
}

size_t check_body(const struct expectation *expectation, const char *text, size_t len)
{
	struct seen seen = {.n = 0};
	struct canary canary;

	for (size_t i = 0; i < len; i++) {
		const char *at = text + i;
		size_t left = len - i;
		if (*at == 'Q' && left > 1 && at[1] == 'C') {
			if (read_canary(at, left, &canary)) {
				check_canary(expectation, &canary, &seen, text, len);
				i += CANARY_LEN - 1;
			}
		} else if (*at == 'U' && left > 3 && memcmp(at, "UUMw", 4) == 0) {
			if (read_encoded(at, left, &canary)) {
				check_canary(expectation, &canary, &seen, text, len);
				i += BASE64_LEN - 1;
			}
		} else if (*at == '"' && expectation->is_rows) {
			note_member(&seen, at, left);
		}
	}
	if (expectation->is_rows && expectation->is_whole && seen.uidvalidity != 0 && seen.canary_uidvalidity != 0 &&
	    seen.uidvalidity != seen.canary_uidvalidity) {
		is_wrong(expectation, "rows of another UIDVALIDITY than the reply's", text, len);
	}
	return seen.n;
}

void learn(struct mailbox *mailbox, const char *text, size_t len)
{
	struct canary canary;
	uint32_t last = 0;

	for (size_t i = 0; i + CANARY_LEN <= len; i++) {
		if (text[i] == 'Q' && read_canary(text + i, len - i, &canary) && canary.message.uid != 0 &&
		    canary.message.uid != last) {
			last = canary.message.uid;
			if (mailbox->n_known > 1 && mailbox->latest != canary.message.uidvalidity) {
				mailbox->n_known = mailbox->next_known = 1; /* one of another time stays */
			}
			mailbox->latest = canary.message.uidvalidity;
			mailbox->known[mailbox->next_known] = canary.message;
			mailbox->next_known = (mailbox->next_known + 1) % N_KNOWN;
			mailbox->n_known += mailbox->n_known < N_KNOWN;
		}
	}
}
