#include "gateway/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"

/* ---- Landlock: the kernel's interface, of which Debian's headers have the beginning ---- */

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

#define CREATE_RULESET_VERSION 1U
#define RULE_PATH_BENEATH 1
#define RULE_NET_PORT 2

#define FS_EXECUTE (1ULL << 0)
#define FS_READ_FILE (1ULL << 2)
#define FS_READ_DIR (1ULL << 3)
#define FS_REMOVE_FILE (1ULL << 5)
#define FS_ALL_1 ((1ULL << 13) - 1) /* EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_…, MAKE_… */
#define FS_REFER (1ULL << 13)       /* 2 */
#define FS_TRUNCATE (1ULL << 14)    /* 3 */
#define FS_IOCTL_DEV (1ULL << 15)   /* 5 */
#define NET_BIND_TCP (1ULL << 0)    /* 4 */
#define NET_CONNECT_TCP (1ULL << 1)
#define SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0) /* 6 */
#define SCOPE_SIGNAL (1ULL << 1)

#define DNS_PORT 53

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

struct ruleset {
	uint64_t fs, net, scoped;
};

struct path_rule {
	uint64_t access;
	int32_t fd;
} __attribute__((packed));

struct port_rule {
	uint64_t access, port;
};

/*
 * Folders rather than files: /etc/resolv.conf is often a link into /run, and whoever renews
 * it puts another file in its place. Not there, or not to be read: nothing is lost.
 */
static const char *const readable[] = {
	"/etc",
	"/usr",
	"/lib",
	"/lib64",
	"/run/systemd/resolve",
	"/run/resolvconf",
	"/run/NetworkManager",
	"/run/nscd",
	"/dev/null",
	"/dev/urandom",
};

static struct ruleset ruleset_of(int version)
{
	struct ruleset ruleset = {.fs = FS_ALL_1};

	ruleset.fs |= version >= 2 ? FS_REFER : 0;
	ruleset.fs |= version >= 3 ? FS_TRUNCATE : 0;
	ruleset.net = version >= 4 ? NET_BIND_TCP | NET_CONNECT_TCP : 0;
	ruleset.fs |= version >= 5 ? FS_IOCTL_DEV : 0;
	ruleset.scoped = version >= 6 ? SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL : 0;
	return ruleset;
}

/* Older kernels take only a struct of the size that they know. */
static size_t ruleset_size(int version)
{
	if (version >= 6) {
		return sizeof(struct ruleset);
	}
	return version >= 4 ? offsetof(struct ruleset, scoped) : offsetof(struct ruleset, net);
}

/* False where it cannot be had; a path that is not there is no failure. */
static bool allow_path(int ruleset, const char *path, uint64_t access)
{
	struct path_rule rule = {.access = access, .fd = open(path, O_PATH | O_CLOEXEC)};
	struct stat is;

	if (rule.fd < 0) {
		return errno == ENOENT || errno == EACCES || errno == ENOTDIR;
	}
	if (fstat(rule.fd, &is) == 0 && !S_ISDIR(is.st_mode)) {
		rule.access &= FS_READ_FILE;
	}
	bool is_allowed = syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) == 0;
	close(rule.fd);
	return is_allowed;
}

static bool allow_port(int ruleset, uint16_t port)
{
	const struct port_rule rule = {.access = NET_CONNECT_TCP, .port = port};

	return syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &rule, 0) == 0;
}

static bool add_rules(int ruleset, int version, const struct gateway_sandbox *sandbox)
{
	bool is_good = true;

	for (size_t i = 0; i < sizeof readable / sizeof *readable && is_good; i++) {
		is_good = allow_path(ruleset, readable[i], FS_READ_FILE | FS_READ_DIR);
	}
	if (is_good && sandbox->socket_path && sandbox->socket_path[0] != '\0') {
		char folder[256];
		snprintf(folder, sizeof folder, "%s", sandbox->socket_path);
		is_good = allow_path(ruleset, dirname(folder), FS_REMOVE_FILE);
	}
	if (is_good && version >= 4) {
		is_good = allow_port(ruleset, sandbox->imap_port) && allow_port(ruleset, DNS_PORT);
	}
	return is_good;
}

int gateway_sandbox_files(const struct gateway_sandbox *sandbox, struct gp_error *error)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);

	if (version < 1) {
		gp_error_set(error, GP_UNSUPPORTED, "the kernel offers no Landlock (%s)", strerror(errno));
		return 0;
	}
	const struct ruleset wanted = ruleset_of((int)version);
	int ruleset = (int)syscall(SYS_landlock_create_ruleset, &wanted, ruleset_size((int)version), 0);
	bool is_good = ruleset >= 0 && add_rules(ruleset, (int)version, sandbox) &&
		       prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
		       syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
	if (!is_good) {
		gp_error_set(error, GP_UNSUPPORTED, "Landlock cannot be used (%s)", strerror(errno));
	}
	if (ruleset >= 0) {
		close(ruleset);
	}
	return is_good ? (int)version : 0;
}

/* ---- all of it ---- */

enum gp_status gateway_sandbox_enter(const struct gateway_sandbox *sandbox, struct gp_error *error)
{
	struct gp_error why_files = {.status = GP_OK}, why_calls = {.status = GP_OK};

	if (sandbox->mode == GATEWAY_SANDBOX_OFF) {
		return GP_OK;
	}
	/* Not even the same user looks into its memory, which has mail and passwords. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0);
	int version = gateway_sandbox_files(sandbox, &why_files);
	size_t n_calls = gateway_sandbox_calls(&why_calls);
	if (sandbox->mode == GATEWAY_SANDBOX_REQUIRED && (version == 0 || n_calls == 0)) {
		return gp_error_set(error, GP_UNSUPPORTED, "--sandbox required: %s",
				    version == 0 ? why_files.text : why_calls.text);
	}
	if (version == 0) {
		gp_log(GP_LOG_WARN, "program", "sandbox: files are not confined: %s", why_files.text);
	}
	if (n_calls == 0) {
		gp_log(GP_LOG_WARN, "program", "sandbox: system calls are not confined: %s", why_calls.text);
	}
	gp_log(GP_LOG_INFO, "program", "sandbox: landlock=%d calls=%zu", version, n_calls);
	return GP_OK;
}
