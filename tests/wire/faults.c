#include "tests/wire/faults.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/hub.h"
#include "base/limits.h"
#include "tests/support/fault.h"
#include "tests/support/line_counts.h"
#include "tests/wire/check.h"
#include "tests/wire/fault_memory.h"
#include "tests/wire/mirror.h"
#include "tests/wire/run.h"

#define MAX_OUTCOMES 256
/* Longer than any request may take: the deadlines of several tries, and the longest wait. */
#define PATIENCE_S 700
#define MAX_TURNS 100000
#define MAX_MOMENTS 10000 /* of one kind and case */
#define MAX_FAILURES 5    /* of one case: enough to see what is wrong */

/* How a request ended in the undisturbed case. */
struct outcome {
	bool is_known; /* it was answered */
	bool is_stream, is_complete;
	unsigned status;
	struct gp_buffer body;
	struct api_header headers[API_MAX_REPLY_HEADERS]; /* own: the values; without those that tell times */
	size_t n_headers;
	size_t n_writes; /* changes that the server had made when the answer was there */
};

/* A case as it goes when nothing is disturbed. */
struct original {
	const struct script_case *test; /* borrow */
	struct mirror_memory memory;
	struct outcome outcomes[MAX_OUTCOMES];
	char **writes; /* own, each own: of mirror.h */
	size_t n_writes;
	size_t counts[FAULT_N_KINDS];
	bool is_let_in; /* "demo" may log in */
	/* The server says the same each time that it is asked the same, and loses nobody: what
	 * is asked again has the same answer. */
	bool is_steady;
};

/* Shared with the parent, which goes on behind a case that failed. */
struct moment {
	enum fault_kind kind;
	bool is_lasting;
	size_t n;
	size_t n_done; /* moments that were looked at */
	bool is_over;
};

static struct moment *moment;

/* ---- the undisturbed case ---- */

static bool tells_time(const char *name)
{
	return strcmp(name, "Server-Timing") == 0;
}

static void note_outcome(struct outcome *outcome, const struct fake_exchange *exchange, size_t n_writes)
{
	*outcome = (struct outcome){.is_known = true,
				    .is_stream = exchange->is_stream,
				    .is_complete = exchange->is_complete,
				    .status = exchange->status,
				    .n_writes = n_writes};
	gp_buffer_init(&outcome->body, 512 * GP_MIB);
	if (gp_buffer_append(&outcome->body, gp_buffer_span(&exchange->body)) != GP_OK) {
		script_die("out of memory");
	}
	for (size_t i = 0; i < exchange->exchange.n_headers; i++) {
		const struct api_header *header = &exchange->exchange.headers[i];
		if (!tells_time(header->name)) {
			outcome->headers[outcome->n_headers++] =
				(struct api_header){header->name, script_copy(span_of(header->value))};
		}
	}
}

static void note_outcomes(struct original *original, const struct world *world, size_t n_writes)
{
	for (size_t i = 0; i < WORLD_MAX_REQUESTS; i++) {
		const struct world_request *request = &world->requests[i];
		bool is_new = request->exchange && request->ordinal < MAX_OUTCOMES && request->exchange->is_replied &&
			      !original->outcomes[request->ordinal].is_known;
		if (is_new) {
			note_outcome(&original->outcomes[request->ordinal], request->exchange, n_writes);
		}
	}
}

static void forget_original(struct original *original)
{
	mirror_memory_free(&original->memory);
	for (size_t i = 0; i < MAX_OUTCOMES; i++) {
		struct outcome *outcome = &original->outcomes[i];
		for (size_t k = 0; k < outcome->n_headers; k++) {
			free((void *)(uintptr_t)outcome->headers[k].value);
		}
		gp_buffer_deinit(&outcome->body);
	}
	for (size_t i = 0; i < original->n_writes; i++) {
		free(original->writes[i]);
	}
	free(original->writes);
}

static bool was_refused(const struct mirror_memory *memory)
{
	for (size_t i = 0; i < memory->n_answers; i++) {
		struct span command = span_make(memory->answers[i].command, memory->answers[i].command_len);
		bool is_login = span_starts_with(command, "AUTHENTICATE ") || span_starts_with(command, "LOGIN ");
		if (is_login && span_find(span_of(memory->answers[i].text), SPAN_LIT(MIRROR_TAG " OK")) < 0) {
			return true;
		}
	}
	return false;
}

static bool is_steady(const struct script_case *test, const struct mirror_memory *memory)
{
	for (size_t i = 0; i < test->n_lines; i++) {
		if (strstr(test->lines[i].text, "-close") || strstr(test->lines[i].text, "-fail ")) {
			return false;
		}
	}
	if (memory->is_mixed) {
		return false;
	}
	for (size_t i = 0; i < memory->n_answers; i++) {
		if (strcmp(memory->answers[i].command, "NOOP") == 0 && strstr(memory->answers[i].text, "UIDVALIDITY")) {
			return false; /* it tells of another mailbox than was selected */
		}
		for (size_t k = 0; k < i; k++) {
			const struct mirror_answer *a = &memory->answers[i], *b = &memory->answers[k];
			if (strcmp(a->command, b->command) == 0 && strcmp(a->text, b->text) != 0) {
				return false;
			}
		}
	}
	return true;
}

static void play_original(struct original *original, const struct script_case *test)
{
	struct run run;
	struct mirror mirror = {.world = NULL};

	*original = (struct original){.test = test};
	run_begin(&run, test, WORLD_WHOLE, 1);
	fault_arm(FAULT_ALLOCATION, 0, false);
	while (run_next(&run)) {
		if (run.world.is_open && !mirror.world) {
			mirror_init(&mirror, &run.world, &original->memory, true);
		}
		note_outcomes(original, &run.world, mirror.n_writes);
	}
	for (size_t i = 0; i < FAULT_N_KINDS; i++) {
		original->counts[i] = fault_count((enum fault_kind)i);
	}
	world_open(&run.world);
	world_close(&run.world);
	original->writes = mirror.writes;
	original->n_writes = mirror.n_writes;
	mirror.writes = NULL;
	mirror.n_writes = 0;
	original->is_steady = is_steady(test, &original->memory);
	original->is_let_in = !was_refused(&original->memory);
	if (mirror.world) {
		mirror_deinit(&mirror);
	}
}

/* ---- off the script ---- */

static bool is_endless(const struct fake_exchange *exchange)
{
	const char *type = exchange->is_stream ? fake_exchange_reply_header(exchange, "Content-Type") : NULL;

	return type && strcmp(type, "text/event-stream") == 0;
}

/* Clients read what there is and send what is wanted; true: something happened. */
static bool move_clients(struct run *run, bool *is_waiting_out)
{
	bool has_moved = false;

	*is_waiting_out = false;
	for (size_t i = 0; i < WORLD_MAX_REQUESTS; i++) {
		struct world_request *request = &run->world.requests[i];
		struct fake_exchange *exchange = request->exchange;
		if (!exchange || exchange->is_gone) {
			continue;
		}
		has_moved |= run_send_wanted(run, request);
		if (exchange->is_stream && exchange->n_taken < exchange->body.len) {
			fake_exchange_take(exchange, exchange->body.len);
			world_advance(&run->world, 0);
			has_moved = true;
		}
		*is_waiting_out |= !exchange->is_replied && !is_endless(exchange);
	}
	return has_moved;
}

/* Until every request is answered. */
static void settle(struct run *run, struct mirror *mirror)
{
	bool is_waiting = true;
	unsigned n_seconds = 0;

	for (size_t turn = 0; is_waiting; turn++) {
		if (turn == MAX_TURNS) {
			check_fail(SPAN_NIL, SPAN_NIL, "the program goes round in circles");
		}
		bool has_moved = mirror_serve(mirror) | move_clients(run, &is_waiting);
		if (has_moved || !is_waiting) {
			continue;
		}
		if (++n_seconds > PATIENCE_S) {
			check_fail(SPAN_NIL, SPAN_NIL, "a request is not answered within %d s", PATIENCE_S);
		}
		world_advance(&run->world, n_seconds == 1 ? 10 : 1000);
	}
	while (mirror_serve(mirror)) {
	}
	if (fake_n_opened(run->world.network) > WORLD_MAX_CONNECTIONS) {
		check_fail(SPAN_NIL, SPAN_NIL, "%zu connections were opened: it tries again without end",
			   fake_n_opened(run->world.network));
	}
}

/* ---- judging ---- */

static bool is_memory_fault(void)
{
	return moment->kind == FAULT_ALLOCATION || moment->kind == FAULT_ROOM;
}

static void check_headers(const struct outcome *outcome, const struct fake_exchange *exchange)
{
	for (size_t i = 0; i < outcome->n_headers; i++) {
		const char *value = fake_exchange_reply_header(exchange, outcome->headers[i].name);
		/* That a change was made is worth telling where there is no memory for its details. */
		bool may_lack = is_memory_fault() && exchange->exchange.has_changed;
		if (!value && may_lack) {
			continue;
		}
		if (!value || strcmp(value, outcome->headers[i].value) != 0) {
			check_fail(span_of(outcome->headers[i].value), span_of(value), "header %s",
				   outcome->headers[i].name);
		}
	}
}

/* Told as done: the server had all of it. */
static void check_truth(const struct original *original, const struct mirror *mirror, size_t n_writes)
{
	for (size_t i = 0; i < n_writes; i++) {
		size_t n_wanted = 0, n_made = 0;
		for (size_t k = 0; k <= i; k++) {
			n_wanted += strcmp(original->writes[k], original->writes[i]) == 0;
		}
		for (size_t k = 0; k < mirror->n_writes; k++) {
			n_made += strcmp(mirror->writes[k], original->writes[i]) == 0;
		}
		if (n_made < n_wanted) {
			check_fail(span_of(original->writes[i]), SPAN_NIL,
				   "told as done, but the server was not asked");
		}
	}
}

static void check_as_original(const struct original *original, const struct outcome *outcome,
			      const struct fake_exchange *exchange, const struct mirror *mirror)
{
	/* a result that tells of single messages may tell of a failure, too */
	bool tells_failure = span_find(gp_buffer_span(&exchange->body), SPAN_LIT("\"status\":50")) >= 0;
	/* of a change, less may be told: what could not be looked up */
	if (original->is_steady && !tells_failure && !exchange->exchange.has_changed) {
		check_bytes("the reply", gp_buffer_span(&outcome->body), gp_buffer_span(&exchange->body));
		check_headers(outcome, exchange);
	}
	if (tells_failure || !original->is_steady) {
		return;
	}
	if (exchange->status < 300) {
		check_truth(original, mirror, outcome->n_writes);
	}
}

static bool is_fault_status(unsigned status)
{
	return status == 502 || status == 503 || status == 504;
}

/* `is_expected`: the status is the undisturbed case's. */
static void check_problem(const struct fake_exchange *exchange, bool is_expected)
{
	struct span body = gp_buffer_span(&exchange->body);
	json_t *problem = fake_exchange_json(exchange);

	if (!is_expected && !is_fault_status(exchange->status)) {
		check_fail(SPAN_NIL, body, "a fault became status %u", exchange->status);
	}
	/* Where there is no memory for a text, the status line alone tells it. */
	if (!(body.len == 0 && is_memory_fault())) {
		bool is_whole = json_integer_value(json_object_get(problem, "status")) == exchange->status &&
				json_is_string(json_object_get(problem, "type")) &&
				json_is_string(json_object_get(problem, "title")) &&
				(json_is_string(json_object_get(problem, "instance")) || is_memory_fault()) &&
				json_is_boolean(json_object_get(problem, "retryable"));
		if (!is_whole) {
			check_fail(SPAN_NIL, body, "the problem is not whole");
		}
	}
	json_decref(problem);
	if (exchange->status == 503 && !fake_exchange_reply_header(exchange, "Retry-After")) {
		check_fail(SPAN_NIL, SPAN_NIL, "503 without Retry-After");
	}
	if (!fake_exchange_reply_header(exchange, "Content-Type")) {
		check_fail(SPAN_NIL, SPAN_NIL, "a problem without a Content-Type");
	}
}

/* The case's server takes a message and then says that it is not there: so may the program. */
static bool is_lost_by_server(const struct outcome *outcome, struct span body)
{
	return span_find(gp_buffer_span(&outcome->body), SPAN_LIT("\"uid\":null")) >= 0 &&
	       span_find(body, SPAN_LIT("' does not have it")) >= 0;
}

/* Told as not done: the server was not asked, or that is said. */
static void check_not_done(const struct original *original, const struct outcome *outcome,
			   const struct fake_exchange *exchange, const struct mirror *mirror)
{
	struct span body = gp_buffer_span(&exchange->body);
	bool is_said = span_find(body, SPAN_LIT("\"outcome\":\"unknown\"")) >= 0 ||
		       span_find(body, SPAN_LIT("; then: ")) >= 0 || body.len == 0 || is_lost_by_server(outcome, body);
	size_t n_before = 0; /* changes of earlier requests */

	for (const struct outcome *one = original->outcomes; one < outcome; one++) {
		if (!one->is_known) {
			return; /* its client left, and whose a change is cannot be told */
		}
		n_before = one->is_known && one->n_writes > n_before ? one->n_writes : n_before;
	}
	if (original->is_steady && outcome->is_known && outcome->status < 300 && !is_said &&
	    mirror->n_writes > n_before && outcome->n_writes > n_before) {
		check_fail(span_of(mirror->writes[n_before]), body, "told as not done, but the server was asked");
	}
}

static void judge(const struct original *original, const struct world_request *request, const struct mirror *mirror)
{
	const struct fake_exchange *exchange = request->exchange;
	const struct outcome *outcome = &original->outcomes[request->ordinal];

	if (!exchange->is_replied && is_endless(exchange)) {
		return;
	}
	bool is_same = outcome->is_known && outcome->status == exchange->status &&
		       outcome->is_stream == exchange->is_stream && outcome->is_complete == exchange->is_complete;
	if (exchange->is_stream && !exchange->is_complete) {
		if (outcome->is_known && original->is_steady &&
		    !span_equal(gp_buffer_span(&exchange->body),
				span_slice(gp_buffer_span(&outcome->body), 0, exchange->body.len))) {
			check_bytes("what came before it broke off", gp_buffer_span(&outcome->body),
				    gp_buffer_span(&exchange->body));
		}
	} else if (is_same && exchange->status >= 400 && is_memory_fault()) {
		check_problem(exchange, true); /* it may have less to say */
	} else if (is_same && !is_fault_status(exchange->status)) {
		check_as_original(original, outcome, exchange, mirror);
	} else if (outcome->is_known && outcome->status >= 500 && exchange->status < 500) {
		return; /* the mirror is a better server than the script's */
	} else if (!original->is_steady && exchange->status < 500 && exchange->status != 401) {
		return; /* what there is now may be something else */
	} else if (outcome->is_known || exchange->status >= 400) {
		check_problem(exchange, false);
		check_not_done(original, outcome, exchange, mirror);
	}
}

static void judge_all(const struct original *original, struct world *world, const struct mirror *mirror)
{
	for (size_t i = 0; i < WORLD_MAX_REQUESTS; i++) {
		struct world_request *request = &world->requests[i];
		if (request->exchange && !request->exchange->is_gone && request->ordinal < MAX_OUTCOMES) {
			judge(original, request, mirror);
		}
		if (request->exchange && !request->exchange->is_replied && !request->exchange->is_gone) {
			fake_exchange_leave(request->exchange);
		}
		world_request_free(request);
	}
}

/* ---- afterwards ---- */

static void check_serves(struct run *run, struct mirror *mirror, const char *authorization)
{
	struct fake_exchange *exchange = calloc(1, sizeof *exchange);

	if (!exchange) {
		script_die("out of memory");
	}
	fake_exchange_init(exchange, "GET", "/mailboxes/" MIRROR_FRESH "/messages/7?fields=keywords");
	fake_exchange_add_header(exchange, "Authorization", authorization);
	world_request(&run->world, 0, exchange);
	settle(run, mirror);
	if (exchange->status != 200 || span_find(gp_buffer_span(&exchange->body), SPAN_LIT("$seen")) < 0) {
		check_fail(SPAN_NIL, gp_buffer_span(&exchange->body), "afterwards: status %u", exchange->status);
	}
	run->world.requests[0].is_settled = true;
}

/* Watches that nobody needs any more end after a while. */
static void rest(struct run *run, struct mirror *mirror)
{
	for (size_t ms = 0; ms <= API_HUB_GRACE_MS; ms += 5000) {
		world_advance(&run->world, 5000);
		while (mirror_serve(mirror)) {
		}
	}
}

static void check_leaks(size_t serial_wanted)
{
	size_t size = 0, serial = fault_memory_oldest(&size);

	if (fault_memory_n_live() > 0 && serial_wanted == 0) {
		check_fail(SPAN_NIL, SPAN_NIL,
			   "%zu pieces of memory were not given back; the first is number %zu, %zu bytes",
			   fault_memory_n_live(), serial, size);
	}
}

/* ---- one moment ---- */

void __sanitizer_print_stack_trace(void) __attribute__((weak));

static void show_stack(void)
{
	if (__sanitizer_print_stack_trace) {
		__sanitizer_print_stack_trace();
	}
}

static jmp_buf off_script;

/* The script up to the fault. */
static void play_until_fault(struct run *run, struct mirror *mirror, struct original *original)
{
	check_set_excuse(fault_has_struck, &off_script);
	if (setjmp(off_script) == 0) {
		while (!fault_has_struck() && run_next(run)) {
			if (run->world.is_open && !mirror->world) {
				mirror_init(mirror, &run->world, &original->memory, false);
			}
		}
	}
	check_set_excuse(NULL, NULL);
}

/* False: the case was through before it. */
static bool play_disturbed(struct original *original)
{
	struct run *run = calloc(1, sizeof *run);
	struct mirror *mirror = calloc(1, sizeof *mirror);

	if (!run || !mirror) {
		script_die("out of memory");
	}
	run_begin(run, original->test, WORLD_WHOLE, 1);
	world_init(&run->world, WORLD_WHOLE, 1);
	fault_memory_forget();
	fault_arm(moment->kind, moment->n, moment->is_lasting);
	play_until_fault(run, mirror, original);
	bool has_struck = fault_has_struck();
	if (has_struck) {
		settle(run, mirror);
		fault_disarm();
		judge_all(original, &run->world, mirror);
		if (moment->is_lasting || moment->kind == FAULT_SLOW_CONNECT) {
			world_advance(&run->world, 60000);
		}
		mirror->is_kind = true;
		if (original->is_let_in) {
			check_serves(run, mirror, "Basic ZGVtbzpkZW1v");
		}
		check_serves(run, mirror, "Basic ZnJlc2g6ZnJlc2g=");
		rest(run, mirror);
		world_end(&run->world);
		check_leaks(0);
	} else {
		fault_disarm();
		world_close(&run->world);
	}
	if (mirror->world) {
		mirror_deinit(mirror);
	}
	free(mirror);
	free(run);
	return has_struck;
}

/* ---- all moments of a case ---- */

static size_t number_of(const char *name)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 10) : 0;
}

/* Is the name a line of the file FAULTS_EVERY? */
static bool is_for_every_moment(const char *name)
{
	const char *path = getenv("FAULTS_EVERY");
	FILE *file = path ? fopen(path, "r") : NULL;
	char line[256];
	bool is_found = false;

	while (file && !is_found && fgets(line, sizeof line, file)) {
		line[strcspn(line, "\n")] = '\0';
		is_found = strcmp(line, name) == 0;
	}
	if (file) {
		fclose(file);
	}
	return is_found;
}

/* The distance from one moment to the next. `sample` 0: all, as far as they are not the octets of a body that is as
 * long as this. */
static size_t step_of(const struct original *original, enum fault_kind kind, size_t sample)
{
	size_t n = original->counts[kind];
	size_t most = sample == 0 ? MAX_MOMENTS : sample;

	return n <= most ? 1 : n / most;
}

/* The moment after `n`; the first one, and the way to the next, are another for each case. */
static size_t moment_after(size_t n, size_t step, const struct script_case *test)
{
	return n + 1 + (step > 1 ? (n * 7 + (size_t)test->number) % step + (n > 0 ? step / 2 : 0) : 0);
}

static bool is_wanted(enum fault_kind kind)
{
	const char *only = getenv("FAULTS_KIND");

	return !only || strcmp(only, fault_name(kind)) == 0;
}

static bool is_last(enum fault_kind kind, bool is_lasting)
{
	return kind == FAULT_N_KINDS - 1 && is_lasting;
}

/* Every connection that ends at its first byte is the same as every write or read that fails. */
static bool is_told_already(enum fault_kind kind, bool is_lasting)
{
	return is_lasting && (kind == FAULT_CUT_UP || kind == FAULT_CUT_DOWN);
}

/* In the child: from where the parent says. */
static void play_all(const struct script_case *test)
{
	static struct original original;
	size_t only = number_of("FAULTS_N");
	size_t sample = is_for_every_moment(test->name) ? 0 : number_of("FAULTS_SAMPLE");

	play_original(&original, test);
	forget_original(&original);
	play_original(&original, test); /* what is kept for good is there now */
	if (only > 0) {
		fault_on_strike(show_stack);
		fault_memory_watch(number_of("FAULTS_SERIAL"), show_stack);
	}
	while (!is_last(moment->kind, moment->is_lasting) || moment->n > 0) {
		bool is_through = !is_wanted(moment->kind) || is_told_already(moment->kind, moment->is_lasting) ||
				  (only > 0 && moment->n > 0);
		if (!is_through) {
			size_t step = step_of(&original, moment->kind, sample);
			moment->n = only > 0 ? only : moment_after(moment->n, step, test);
			moment->n_done++;
			is_through = !play_disturbed(&original);
		}
		if (is_through && is_last(moment->kind, moment->is_lasting)) {
			break;
		}
		if (is_through) {
			moment->kind = (enum fault_kind)(moment->kind + (moment->is_lasting ? 1 : 0));
			moment->is_lasting = !moment->is_lasting;
			moment->n = 0;
		}
	}
	moment->is_over = true;
	fflush(stdout);
	line_counts_keep();
	_Exit(0);
}

bool faults_has_place(const struct script_case *test)
{
	for (size_t i = 0; i < test->n_lines; i++) {
		if (strcmp(test->lines[i].text, "drain") == 0) {
			return false;
		}
	}
	return true;
}

bool faults_test_case(const struct script_case *test, const char *path)
{
	size_t n_failures = 0;

	if (!moment) {
		moment = mmap(NULL, sizeof *moment, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (moment == MAP_FAILED) {
			script_die("no memory that is shared");
		}
	}
	*moment = (struct moment){.n = 0};
	while (!moment->is_over && n_failures < MAX_FAILURES) {
		int status = 0;
		fflush(stdout);
		pid_t pid = fork();
		if (pid == 0) {
			play_all(test);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid) {
			script_die("no process for a case");
		}
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
			n_failures++;
			printf("FAIL %s (%s:%d): %s %zu%s\n", test->name, path, test->number, fault_name(moment->kind),
			       moment->n, moment->is_lasting ? " and all from then on" : "");
			if (moment->n == 0) {
				break;
			}
		}
	}
	if (n_failures == 0) {
		printf("ok   %s (%zu moments)\n", test->name, moment->n_done);
	}
	return n_failures == 0;
}
