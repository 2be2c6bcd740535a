/*
 * Stands between the program and the system, by LD_PRELOAD: what a test writes into a file
 * (MISFORTUNE) happens to the calls of the process that has it mapped.
 *
 *	the clock of the day jumps, and the monotonic one does not
 *	names take long to resolve, or are not found
 *	the n-th read, write, connect, socket or accept of a socket fails; once, or from then on
 *
 * tests/integration/misfortune.py writes the file.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum call { CALL_NONE, CALL_READ, CALL_WRITE, CALL_CONNECT, CALL_SOCKET, CALL_ACCEPT };

/* Of the file, in the machine's byte order. */
struct plan {
	_Atomic int64_t clock_offset_s;
	_Atomic uint32_t resolve_ms;
	_Atomic int32_t resolve_error; /* EAI_…; 0: none */
	_Atomic uint32_t call;         /* enum call */
	_Atomic uint32_t n;            /* the n-th of these, counted from 1 in `count` */
	_Atomic uint32_t is_lasting;
	_Atomic uint32_t error_number;
	_Atomic uint32_t count;
	_Atomic uint32_t n_struck;
};

static struct plan *plan;

__attribute__((constructor)) static void load(void)
{
	const char *path = getenv("MISFORTUNE");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

	if (fd >= 0) {
		void *at = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		plan = at == MAP_FAILED ? NULL : at;
		close(fd);
	}
}

/* The next one of this name: the sanitizer's, or libc's. */
#define NEXT(name) ((__typeof__(&name))next(#name))

static void *next(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

static bool is_socket(int fd)
{
	struct stat status;

	return fd > 2 && fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

/* errno is set when it is to fail. */
static bool strikes(enum call call)
{
	if (!plan || plan->call != call) {
		return false;
	}
	uint32_t count = ++plan->count, n = plan->n;
	if (n == 0 || (plan->is_lasting ? count < n : count != n)) {
		return false;
	}
	plan->n_struck++;
	errno = (int)plan->error_number;
	return true;
}

/* ---- clock and names ---- */

EXPORT int clock_gettime(clockid_t clock, struct timespec *now)
{
	int rc = NEXT(clock_gettime)(clock, now);

	if (rc == 0 && plan && clock == CLOCK_REALTIME) {
		now->tv_sec += plan->clock_offset_s;
	}
	return rc;
}

EXPORT time_t time(time_t *out)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_REALTIME, &now);
	if (out) {
		*out = now.tv_sec;
	}
	return now.tv_sec;
}

EXPORT int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
	if (plan && plan->resolve_ms > 0) {
		struct timespec pause = {plan->resolve_ms / 1000, (long)(plan->resolve_ms % 1000) * 1000000};
		nanosleep(&pause, NULL);
	}
	return plan && plan->resolve_error != 0 ? plan->resolve_error : NEXT(getaddrinfo)(node, service, hints, found);
}

/* ---- sockets ---- */

EXPORT ssize_t read(int fd, void *to, size_t len)
{
	return is_socket(fd) && strikes(CALL_READ) ? -1 : NEXT(read)(fd, to, len);
}

EXPORT ssize_t recv(int fd, void *to, size_t len, int flags)
{
	return strikes(CALL_READ) ? -1 : NEXT(recv)(fd, to, len, flags);
}

EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	return strikes(CALL_READ) ? -1 : NEXT(recvmsg)(fd, message, flags);
}

EXPORT ssize_t write(int fd, const void *from, size_t len)
{
	return is_socket(fd) && strikes(CALL_WRITE) ? -1 : NEXT(write)(fd, from, len);
}

EXPORT ssize_t writev(int fd, const struct iovec *pieces, int n_pieces)
{
	return is_socket(fd) && strikes(CALL_WRITE) ? -1 : NEXT(writev)(fd, pieces, n_pieces);
}

EXPORT ssize_t send(int fd, const void *from, size_t len, int flags)
{
	return strikes(CALL_WRITE) ? -1 : NEXT(send)(fd, from, len, flags);
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	return strikes(CALL_WRITE) ? -1 : NEXT(sendmsg)(fd, message, flags);
}

EXPORT int connect(int fd, const struct sockaddr *address, socklen_t len)
{
	return strikes(CALL_CONNECT) ? -1 : NEXT(connect)(fd, address, len);
}

EXPORT int socket(int domain, int type, int protocol)
{
	return strikes(CALL_SOCKET) ? -1 : NEXT(socket)(domain, type, protocol);
}

EXPORT int accept(int fd, struct sockaddr *address, socklen_t *len)
{
	return strikes(CALL_ACCEPT) ? -1 : NEXT(accept)(fd, address, len);
}

EXPORT int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
	return strikes(CALL_ACCEPT) ? -1 : NEXT(accept4)(fd, address, len, flags);
}
