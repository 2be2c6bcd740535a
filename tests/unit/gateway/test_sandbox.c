/*
 * What the sandbox forbids, and what goes on working: each in a child of its own, as there is
 * no way back. Skipped where the kernel has neither.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <iconv.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/sandbox.h"
#include "tests/support/line_counts.h"

#define IS_SKIPPED 77

static char folder[] = "/tmp/gatepost-sandbox-XXXXXX";
static char own_file[64], socket_path[64];
static uint16_t port, other_port;

/* ---- in the child ---- */

/* What it gives back is what the child's exit is: 0 is good. */
typedef int (*attempt_fn)(void);

static bool is_refused(long result)
{
	return result < 0 && (errno == EPERM || errno == EACCES);
}

static int writes_a_file(void)
{
	return is_refused(open(own_file, O_WRONLY)) ? 0 : 1;
}

static int makes_a_file(void)
{
	char name[96];

	snprintf(name, sizeof name, "%s/new", folder);
	return is_refused(open(name, O_WRONLY | O_CREAT, 0600)) ? 0 : 1;
}

static int reads_a_file(void)
{
	return is_refused(open(own_file, O_RDONLY)) ? 0 : 1;
}

static int reads_processes(void)
{
	return is_refused(open("/proc/self/environ", O_RDONLY)) ? 0 : 1;
}

static int makes_a_folder(void)
{
	char name[96];

	snprintf(name, sizeof name, "%s/folder", folder);
	return is_refused(mkdir(name, 0700)) ? 0 : 1;
}

static int runs_a_program(void)
{
	char *const argv[] = {"/bin/true", NULL};

	return is_refused(execv("/bin/true", argv)) ? 0 : 1;
}

static int forks(void)
{
	return is_refused(fork()) ? 0 : 1;
}

static int traces(void)
{
	return is_refused(ptrace(PTRACE_TRACEME, 0, NULL, NULL)) ? 0 : 1;
}

static int signals_another(void)
{
	return is_refused(kill(getppid(), 0)) ? 0 : 1;
}

static int opens_a_raw_socket(void)
{
	return is_refused(socket(AF_PACKET, SOCK_RAW, 0)) ? 0 : 1;
}

static int raises_a_limit(void)
{
	return is_refused(syscall(SYS_prlimit64, 0, 7, &(uint64_t[2]){1, 1}, NULL)) ? 0 : 1;
}

static int becomes_another(void)
{
	return is_refused(setuid(12345)) ? 0 : 1;
}

static int try_connect(uint16_t to)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(to)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
	int rc = fd < 0 ? -2 : connect(fd, (struct sockaddr *)&address, sizeof address);
	return rc;
}

/* Landlock has ports from version 4 on. */
static int connects_elsewhere(void)
{
	int rc = try_connect(other_port);

	return rc == 0 ? IS_SKIPPED : is_refused(rc) ? 0 : 1;
}

static int listens(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int rc = bind(fd, (struct sockaddr *)&address, sizeof address);

	return rc == 0 ? IS_SKIPPED : is_refused(rc) ? 0 : 1;
}

/* PR_SET_MDWE, from Linux 6.3 on. */
static int makes_memory_to_run(void)
{
	void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int rc = mprotect(memory, 4096, PROT_READ | PROT_EXEC);

	return rc == 0 ? IS_SKIPPED : is_refused(rc) ? 0 : 1;
}

static int is_not_dumpable(void)
{
	/* prctl() itself is refused now: the kernel's word for it is who owns /proc/self */
	return is_refused(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)) ? 0 : 1;
}

/* ---- what goes on ---- */

static int connects_to_the_server(void)
{
	return try_connect(port) == 0 ? 0 : 1;
}

static void *look_up(void *ctx)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;

	*(int *)ctx = getaddrinfo("localhost", "993", &hints, &found);
	if (found) {
		freeaddrinfo(found);
	}
	return NULL;
}

/* In a thread that is made in the sandbox, as libuv's are: files of /etc, NSS modules. */
static int looks_up_names_in_a_thread(void)
{
	pthread_t thread;
	int rc = -1;

	if (pthread_create(&thread, NULL, look_up, &rc) != 0 || pthread_join(thread, NULL) != 0) {
		return 1;
	}
	return rc == 0 ? 0 : 2;
}

/* A module of its own in glibc, loaded when it is first asked for. */
static int decodes_a_charset(void)
{
	char in[] = "\xA4\xA2", out[16];
	char *from = in, *to = out;
	size_t n_in = 2, n_out = sizeof out;
	iconv_t converter = iconv_open("UTF-8", "EUC-JP");

	if (converter == (iconv_t)-1 || iconv(converter, &from, &n_in, &to, &n_out) == (size_t)-1) {
		return 1;
	}
	return memcmp(out, "\xE3\x81\x82", 3) == 0 ? 0 : 2;
}

static int reads_configuration(void)
{
	return open("/etc/passwd", O_RDONLY) >= 0 ? 0 : 1;
}

static int removes_its_socket(void)
{
	return unlink(socket_path) == 0 ? 0 : 1;
}

static int ends_by_abort(void)
{
	signal(SIGABRT, SIG_DFL);
	abort();
}

/* ---- the parent ---- */

static void enter_and_try(attempt_fn attempt)
{
	const struct gateway_sandbox sandbox = {
		.mode = GATEWAY_SANDBOX_REQUIRED, .imap_port = port, .socket_path = socket_path};
	struct gp_error error = {.status = GP_OK};

	if (gateway_sandbox_enter(&sandbox, &error) != GP_OK) {
		_exit(IS_SKIPPED);
	}
	_exit(attempt());
}

static int try(attempt_fn attempt)
{
	int status = 0;

	fflush(NULL);
	pid_t pid = line_counts_fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		gp_log_setup(GP_LOG_ERROR, GP_LOG_TEXT);
		enter_and_try(attempt);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void expect_good(const char *name, attempt_fn attempt)
{
	int status = try(attempt);

	if (WIFEXITED(status) && WEXITSTATUS(status) == IS_SKIPPED) {
		print_message("%s: not on this kernel\n", name);
	} else if (status != 0) {
		fail_msg("%s: status %x", name, (unsigned)status);
	}
}

struct attempt {
	const char *name;
	attempt_fn run;
};

#define ATTEMPT(name)                                                                                                  \
	{                                                                                                              \
#name, name                                                                                            \
	}

static void test_what_is_refused(void **state)
{
	(void)state;
	static const struct attempt attempts[] = {
		ATTEMPT(writes_a_file),
		ATTEMPT(makes_a_file),
		ATTEMPT(reads_a_file),
		ATTEMPT(reads_processes),
		ATTEMPT(makes_a_folder),
		ATTEMPT(runs_a_program),
		ATTEMPT(forks),
		ATTEMPT(traces),
		ATTEMPT(signals_another),
		ATTEMPT(opens_a_raw_socket),
		ATTEMPT(raises_a_limit),
		ATTEMPT(becomes_another),
		ATTEMPT(connects_elsewhere),
		ATTEMPT(listens),
		ATTEMPT(makes_memory_to_run),
		ATTEMPT(is_not_dumpable),
	};

	for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
		expect_good(attempts[i].name, attempts[i].run);
	}
}

static void test_what_goes_on(void **state)
{
	(void)state;
	static const struct attempt attempts[] = {
		ATTEMPT(connects_to_the_server), ATTEMPT(looks_up_names_in_a_thread), ATTEMPT(decodes_a_charset),
		ATTEMPT(reads_configuration),    ATTEMPT(removes_its_socket),
	};

	for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
		expect_good(attempts[i].name, attempts[i].run);
	}
}

/* The account invariant ends the program by it. */
static void test_abort_is_abort(void **state)
{
	(void)state;
	int status = try(ends_by_abort);

	if (!(WIFEXITED(status) && WEXITSTATUS(status) == IS_SKIPPED)) {
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGABRT);
	}
}

static void test_off_does_nothing(void **state)
{
	(void)state;
	const struct gateway_sandbox sandbox = {.mode = GATEWAY_SANDBOX_OFF};
	struct gp_error error = {.status = GP_OK};

	assert_int_equal(gateway_sandbox_enter(&sandbox, &error), GP_OK);
	int fd = open(own_file, O_WRONLY);
	assert_true(fd >= 0);
	close(fd);
}

/* ---- the world ---- */

static int listen_somewhere(uint16_t *port_out)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
	if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 64) != 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
		return -1;
	}
	*port_out = ntohs(address.sin_port);
	return 0;
}

static int set_up(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	(void)state;

	if (!mkdtemp(folder)) {
		return -1;
	}
	snprintf(own_file, sizeof own_file, "%s/file", folder);
	snprintf(socket_path, sizeof socket_path, "%s/socket", folder);
	snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path);
	int fd = open(own_file, O_WRONLY | O_CREAT, 0600);
	int unix_fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0 || bind(unix_fd, (struct sockaddr *)&address, sizeof address) != 0) {
		return -1;
	}
	close(fd);
	return listen_somewhere(&port) || listen_somewhere(&other_port);
}

static int tear_down(void **state)
{
	(void)state;
	unlink(own_file);
	unlink(socket_path);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_what_goes_on),
		cmocka_unit_test(test_abort_is_abort),
		cmocka_unit_test(test_off_does_nothing),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
