#include "gateway/process.h"

#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* More would only make the tables of libuv and the kernel larger. */
#define MAX_DESCRIPTORS 1048576
/* glibc raises its threshold with what is freed, and then keeps tens of MiB for each thread
 * that once parsed a large message. What is as large as this goes back to the system. */
#define LARGE_ALLOCATION (1024 * 1024)

uint64_t gateway_process_harden(void)
{
	struct rlimit none = {0, 0};
	struct rlimit files;

	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN); /* options are read once: there is nothing to load anew */
	mallopt(M_MMAP_THRESHOLD, LARGE_ALLOCATION);
	if (getrlimit(RLIMIT_NOFILE, &files) != 0) {
		return 1024;
	}
	rlim_t wanted = files.rlim_max < MAX_DESCRIPTORS ? files.rlim_max : MAX_DESCRIPTORS;
	if (files.rlim_cur < wanted) {
		struct rlimit raised = {wanted, files.rlim_max};
		if (setrlimit(RLIMIT_NOFILE, &raised) == 0) {
			files = raised;
		}
	}
	return files.rlim_cur;
}
