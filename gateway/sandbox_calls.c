/*
 * The system calls that the program makes once it serves, with glibc, libuv, libmicrohttpd,
 * OpenSSL and GLib under it. All others fail with EPERM; those for which glibc has a way
 * around where the kernel is old fail with ENOSYS, so that it takes that way.
 *
 * A name that the library or the architecture does not know is left out.
 */
#include "gateway/sandbox.h"

#ifdef GATEPOST_SECCOMP

#include <errno.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

static const char *const allowed[] = {
	/* bytes in and out */
	"read",
	"write",
	"readv",
	"writev",
	"pread64",
	"recvfrom",
	"recvmsg",
	"recvmmsg",
	"sendto",
	"sendmsg",
	"sendmmsg",
	"sendfile",
	"close",
	"close_range",
	"shutdown",
	/* sockets; socket() itself by family, below. Landlock has the ports */
	"connect",
	"bind",
	"accept",
	"accept4",
	"getsockname",
	"getpeername",
	"getsockopt",
	"setsockopt",
	"socketpair",
	/* waiting */
	"epoll_create1",
	"epoll_ctl",
	"epoll_wait",
	"epoll_pwait",
	"epoll_pwait2",
	"poll",
	"ppoll",
	"select",
	"pselect6",
	"eventfd2",
	"pipe",
	"pipe2",
	"dup",
	"dup2",
	"dup3",
	"fcntl",
	"nanosleep",
	"clock_nanosleep",
	"restart_syscall",
	/* files, to read; Landlock has which */
	"open",
	"openat",
	"stat",
	"lstat",
	"fstat",
	"newfstatat",
	"statx",
	"lseek",
	"access",
	"faccessat",
	"faccessat2",
	"readlink",
	"readlinkat",
	"getdents64",
	"getcwd",
	"statfs",
	"fstatfs",
	/* its own Unix socket, at the end */
	"unlink",
	"unlinkat",
	/* memory */
	"mmap",
	"mprotect",
	"munmap",
	"mremap",
	"madvise",
	"brk",
	"membarrier",
	/* threads; clone() by flags, below */
	"futex",
	"futex_waitv",
	"set_robust_list",
	"get_robust_list",
	"rseq",
	"set_tid_address",
	"gettid",
	"getpid",
	"getppid",
	"sched_yield",
	"sched_getaffinity",
	"sched_getparam",
	"sched_getscheduler",
	"exit",
	"exit_group",
	/* signals; tgkill() to itself, below */
	"rt_sigaction",
	"rt_sigprocmask",
	"rt_sigreturn",
	"rt_sigpending",
	"rt_sigtimedwait",
	"sigaltstack",
	/* time, chance, who and how much */
	"clock_gettime",
	"clock_getres",
	"gettimeofday",
	"time",
	"getrandom",
	"getuid",
	"geteuid",
	"getgid",
	"getegid",
	"getrlimit",
	"getrusage",
	"uname",
	"sysinfo",
};

static const char *const not_there[] = {"clone3", "io_uring_setup", "rseq_slice_yield", "mseal", "openat2"};

static bool add_names(scmp_filter_ctx filter, uint32_t action, const char *const *names, size_t n, size_t *n_added)
{
	for (size_t i = 0; i < n; i++) {
		int number = seccomp_syscall_resolve_name(names[i]);
		if (number == __NR_SCMP_ERROR) {
			continue;
		}
		if (seccomp_rule_add(filter, action, number, 0) != 0) {
			return false;
		}
		(*n_added)++;
	}
	return true;
}

/* One argument must be `value`, of the bits in `mask`. */
static bool add_masked(scmp_filter_ctx filter, const char *name, unsigned argument, uint64_t mask, uint64_t value)
{
	int number = seccomp_syscall_resolve_name(name);
	const struct scmp_arg_cmp is_so = {
		.arg = argument, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value};

	return number == __NR_SCMP_ERROR || seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, 1, &is_so) == 0;
}

static bool add_exact(scmp_filter_ctx filter, const char *name, unsigned argument, const uint64_t *values, size_t n)
{
	bool is_good = true;

	for (size_t i = 0; i < n && is_good; i++) {
		is_good = add_masked(filter, name, argument, 0xFFFFFFFFU, values[i] & 0xFFFFFFFFU);
	}
	return is_good;
}

static bool add_all(scmp_filter_ctx filter, size_t *n_added)
{
	static const uint64_t families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK}; /* glibc asks for addresses */
	static const uint64_t requests[] = {FIONBIO, FIONREAD, FIOCLEX, FIONCLEX, TCGETS};
	static const uint64_t controls[] = {PR_SET_NAME, PR_GET_NAME, PR_SET_VMA};
	const uint64_t self = (uint64_t)getpid();
	int limits = seccomp_syscall_resolve_name("prlimit64");
	const struct scmp_arg_cmp only_asks = {.arg = 2, .op = SCMP_CMP_EQ, .datum_a = 0};

	return add_names(filter, SCMP_ACT_ALLOW, allowed, sizeof allowed / sizeof *allowed, n_added) &&
	       add_names(filter, SCMP_ACT_ERRNO(ENOSYS), not_there, sizeof not_there / sizeof *not_there,
			 &(size_t){0}) &&
	       add_exact(filter, "socket", 0, families, sizeof families / sizeof *families) &&
	       add_exact(filter, "ioctl", 1, requests, sizeof requests / sizeof *requests) &&
	       add_exact(filter, "prctl", 0, controls, sizeof controls / sizeof *controls) &&
	       add_exact(filter, "tgkill", 0, &self, 1) &&
	       add_masked(filter, "clone", 0, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM) &&
	       seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, limits, 1, &only_asks) == 0;
}

size_t gateway_sandbox_calls(struct gp_error *error)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	size_t n_added = 0;
	int rc = filter ? 0 : -ENOMEM;

	if (filter) {
		rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
		rc = rc == 0 && !add_all(filter, &n_added) ? -EINVAL : rc;
		rc = rc == 0 ? seccomp_load(filter) : rc;
		seccomp_release(filter);
	}
	if (rc != 0) {
		gp_error_set(error, GP_UNSUPPORTED, "seccomp cannot be used (%s)", strerror(-rc));
		return 0;
	}
	return n_added;
}

#else

size_t gateway_sandbox_calls(struct gp_error *error)
{
	gp_error_set(error, GP_UNSUPPORTED, "it was built without libseccomp");
	return 0;
}

#endif
