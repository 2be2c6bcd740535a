/*
 * A fuzz target without libFuzzer: each file of a corpus once, then a number of them
 * changed by chance, always the same. For builds without clang, and for ./test.
 *
 *	replay_NAME [--changed N] CORPUS
 *
 * FUZZ_CHANGED=n in the environment says so too, and is stronger; FUZZ_SEED=n gives others.
 * An input that makes the target fail is left behind as "crash-NAME".
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_SIZE ((size_t)1 << 20)
#define MAX_CHANGES 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

struct input {
	uint8_t *bytes; /* own */
	size_t len;
};

static struct input *inputs;
static size_t n_inputs;
static uint64_t random_state;
/* What is being run, where the parent finds it when this process dies. */
static struct {
	size_t len;
	uint8_t bytes[MAX_SIZE];
} * current;

static void die(const char *what, const char *name)
{
	fprintf(stderr, "replay: %s %s\n", what, name);
	exit(2);
}

/* ---- the corpus ---- */

static void read_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	struct input input = {.bytes = malloc(MAX_SIZE)};

	if (!file || !input.bytes) {
		die("cannot read", path);
	}
	input.len = fread(input.bytes, 1, MAX_SIZE, file);
	fclose(file);
	inputs = realloc(inputs, (n_inputs + 1) * sizeof *inputs);
	uint8_t *exact = malloc(input.len + 1);
	if (!inputs || !exact) {
		die("no memory for", path);
	}
	memcpy(exact, input.bytes, input.len);
	free(input.bytes);
	inputs[n_inputs++] = (struct input){exact, input.len};
}

static void read_corpus(const char *folder)
{
	struct dirent **entries;
	int n = scandir(folder, &entries, NULL, alphasort);
	char path[4096];

	if (n < 0) {
		die("there is no corpus", folder);
	}
	for (int i = 0; i < n; i++) {
		if (entries[i]->d_name[0] != '.') {
			snprintf(path, sizeof path, "%s/%s", folder, entries[i]->d_name);
			read_file(path);
		}
		free(entries[i]);
	}
	free(entries);
	if (n_inputs == 0) {
		die("an empty corpus", folder);
	}
}

/* ---- changes ---- */

static size_t below(size_t most)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return (size_t)(random_state >> 33) % (most > 0 ? most : 1);
}

/* A piece of any input, at `at`, in place of `n_out` bytes. */
static void put_piece(uint8_t *bytes, size_t *len, size_t at, size_t n_out, const uint8_t *piece, size_t n)
{
	if (*len - n_out + n > MAX_SIZE) {
		return;
	}
	memmove(bytes + at + n, bytes + at + n_out, *len - at - n_out);
	memmove(bytes + at, piece, n);
	*len += n - n_out;
}

static void change(uint8_t *bytes, size_t *len)
{
	static const char *const words[] = {
		"(",
		")",
		"((",
		"NIL",
		"\"",
		"\r\n",
		"{3}\r\n",
		"{4294967295}\r\n",
		"{-1}",
		" ",
		"\\",
		"*",
		"+ ",
		"4294967295",
		"18446744073709551616",
		"-1",
		"0",
		"[",
		"]",
		"\xFF",
		"&",
		"<",
		"=?",
		"?=",
		"%00",
	};
	const struct input *other = &inputs[below(n_inputs)];
	uint8_t piece[64];
	size_t at = below(*len + 1);
	size_t n_out = below(*len - at < 16 ? *len - at + 1 : 16);

	switch (below(5)) {
	case 0: /* a byte is another */
		if (at < *len) {
			bytes[at] = (uint8_t)(below(2) ? bytes[at] ^ 1u << below(8) : below(256));
		}
		return;
	case 1: /* a word */ {
		const char *word = words[below(sizeof words / sizeof words[0])];
		put_piece(bytes, len, at, below(2) ? 0 : n_out, (const uint8_t *)word, strlen(word));
		return;
	}
	case 2: /* something is left out */
		put_piece(bytes, len, at, n_out, piece, 0);
		return;
	default: /* a piece of another one */ {
		size_t from = below(other->len + 1), n = below(sizeof piece);
		n = n < other->len - from ? n : other->len - from;
		memcpy(piece, other->bytes + from, n);
		put_piece(bytes, len, at, below(2) ? 0 : n_out, piece, n);
		return;
	}
	}
}

/* ---- the run ---- */

/* From memory of exactly its size. */
static void run_one(void)
{
	uint8_t *exact = malloc(current->len > 0 ? current->len : 1);

	if (!exact) {
		die("no memory for", "an input");
	}
	memcpy(exact, current->bytes, current->len);
	(void)LLVMFuzzerTestOneInput(exact, current->len);
	free(exact);
}

static void run_all(size_t n_changed)
{
	for (size_t i = 0; i < n_inputs; i++) {
		current->len = inputs[i].len;
		memcpy(current->bytes, inputs[i].bytes, inputs[i].len);
		run_one();
	}
	for (size_t i = 0; i < n_changed; i++) {
		const struct input *from = &inputs[below(n_inputs)];
		current->len = from->len;
		memcpy(current->bytes, from->bytes, from->len);
		for (size_t n = 1 + below(MAX_CHANGES); n > 0; n--) {
			change(current->bytes, &current->len);
		}
		run_one();
	}
	for (size_t i = 0; i < n_inputs; i++) {
		free(inputs[i].bytes);
	}
	free(inputs);
}

static int report(const char *program, int status)
{
	char path[4096];
	const char *name = strrchr(program, '/');

	snprintf(path, sizeof path, "crash-%s", name ? name + 1 : program);
	FILE *file = fopen(path, "wb");
	if (file) {
		(void)fwrite(current->bytes, 1, current->len, file);
		fclose(file);
	}
	printf("replay: status 0x%x; the input (%zu bytes) is in %s\n", (unsigned)status, current->len, path);
	return 1;
}

int main(int argc, char **argv)
{
	const char *changed = getenv("FUZZ_CHANGED"), *seed = getenv("FUZZ_SEED");
	char *program = argv[0];
	int status;

	if (argc > 3 && strcmp(argv[1], "--changed") == 0) {
		changed = changed ? changed : argv[2];
		argc -= 2;
		argv += 2;
	}
	if (argc != 2) {
		die("usage:", "replay_NAME [--changed N] CORPUS");
	}
	random_state = seed ? strtoull(seed, NULL, 10) : 1;
	current = mmap(NULL, sizeof *current, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (current == MAP_FAILED) {
		die("no memory for", "an input");
	}
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		if (LLVMFuzzerInitialize) {
			LLVMFuzzerInitialize(&argc, &argv);
		}
		read_corpus(argv[1]);
		size_t n_changed = changed ? strtoul(changed, NULL, 10) : 0;
		printf("%zu inputs, %zu changed\n", n_inputs, n_changed);
		run_all(n_changed);
		exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0) {
		die("cannot run", argv[0]);
	}
	return status == 0 ? 0 : report(program, status);
}
