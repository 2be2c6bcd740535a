/*
 * What the running program cannot do, whoever makes it try. Entered once, when everything is
 * open that has to be (the listening socket, certificates, keys) and before the first
 * worker thread: what Landlock forbids is forbidden to the thread that asks and those that
 * come of it.
 *
 *	Landlock  no file is written, made or run; read is what looking up a name, a charset
 *	          or a CA needs (/etc, /usr, /lib…, the resolver's folders in /run); no TCP
 *	          port is bound, and none connected to but the IMAP server's and DNS.
 *	seccomp   system calls that it never makes fail with EPERM: exec, ptrace, mount, …
 *	          (gateway/sandbox_calls.c has those that it makes)
 *	prctl     not dumpable, no memory that is both written and run
 *
 * Each kernel gives what it has; docs/decisions/0022-sandbox.md has the reasons.
 */
#ifndef GP_GATEWAY_SANDBOX_H
#define GP_GATEWAY_SANDBOX_H

#include "base/status.h"

enum gateway_sandbox_mode {
	GATEWAY_SANDBOX_AUTO,     /* what the kernel has; what it has not is logged */
	GATEWAY_SANDBOX_REQUIRED, /* GP_UNSUPPORTED where either is missing */
	GATEWAY_SANDBOX_OFF,
};

struct gateway_sandbox {
	enum gateway_sandbox_mode mode;
	uint16_t imap_port;
	const char *socket_path; /* borrow: of a Unix socket that is removed at the end; NULL or "": none */
};

/* There is no way back. Logs one line of what is in force. */
enum gp_status gateway_sandbox_enter(const struct gateway_sandbox *sandbox, struct gp_error *error) GP_MUST_USE;

/* ---- its parts ---- */

/* The version of Landlock in force (from 1), or 0 and `error` says why there is none. */
int gateway_sandbox_files(const struct gateway_sandbox *sandbox, struct gp_error *error);
/* How many system calls are allowed, or 0 and `error` says why all are. */
size_t gateway_sandbox_calls(struct gp_error *error);

#endif
