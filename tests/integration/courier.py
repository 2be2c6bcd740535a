"""A private Courier-IMAP, from its unpacked packages.

Three things are compiled into it and would have to be the system's. A small library that is loaded before the others
makes them the test's: the daemon that Courier asks for passwords (a thread here answers in its place), the account
"courier" that TLS is done by (here it is the mail's), and the file access monitor, which it does well without.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

from imap_server import ImapServer, package_version, unpacked, with_unpacked_libraries

SPECIAL = ("Drafts", "Sent", "Trash", "Junk", "Archive")
AUTHDAEMON = "/run/courier/authdaemon/socket"
PRELOADED = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
	int (*next)(int, const struct sockaddr *, socklen_t) =
		(int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "connect");
	const struct sockaddr_un *asked = (const struct sockaddr_un *)address;
	const char *to = getenv("GATEPOST_TEST_SOCKET");

	if (!to || address->sa_family != AF_UNIX || strcmp(asked->sun_path, "@SOCKET@") != 0) {
		return next(fd, address, len);
	}
	struct sockaddr_un instead = {.sun_family = AF_UNIX};
	strncpy(instead.sun_path, to, sizeof instead.sun_path - 1);
	return next(fd, (const struct sockaddr *)&instead, sizeof instead);
}

struct passwd *getpwnam(const char *name)
{
	struct passwd *(*next)(const char *) = (struct passwd * (*)(const char *)) dlsym(RTLD_NEXT, "getpwnam");
	const char *account = getenv("GATEPOST_TEST_ACCOUNT");

	return next(account && strcmp(name, "courier") == 0 ? account : name);
}

int FAMOpen(void *connection)
{
	(void)connection;
	return -1;
}
""".replace("@SOCKET@", AUTHDAEMON)


class Courier(ImapServer):
    title = "Courier"
    delimiter = "."
    prefix = "INBOX."
    refused_keywords = ("[", "~", "0")
    searches_size_without_cr = True
    is_slow_with_many = True
    finds_last_uid = False
    settles_late = True

    def __init__(self, users: dict[str, str], **more: object) -> None:
        super().__init__(users, **more)  # type: ignore[arg-type]
        self._authdaemon = _AuthDaemon(self)
        self.write_users()
        both = self.root / "imapd.pem"
        both.write_bytes(self.certificate.key.read_bytes() + self.certificate.chain.read_bytes())
        os.chown(both, self.account.uid, self.account.gid)
        both.chmod(0o600)

    def version_text(self) -> str:
        return package_version("courier-imap")

    def refused_name(self, mailbox: str) -> str:
        return f"{mailbox}/x"

    def close(self) -> None:
        super().close()
        self._authdaemon.close()

    def write_users(self) -> None:
        for user in self.users:
            home = self.root / "mail" / user
            if (home / "Maildir").exists():
                continue
            self.own(f"mail/{user}")
            make = [str(unpacked("usr/bin/maildirmake.courier"))]
            for arguments in (["Maildir"], *(["-f", name, "Maildir"] for name in SPECIAL)):
                subprocess.run(
                    [*make, *arguments], cwd=home, env=with_unpacked_libraries(), check=True, user=self.account.uid, group=self.account.gid
                )
            # Until a mailbox has been open for writing once, each look at it has another UIDVALIDITY.
            for folder in (home / "Maildir", *(home / "Maildir" / f".{name}" for name in SPECIAL)):
                uids = folder / "courierimapuiddb"
                uids.write_text(":1 1700000000 1\n")
                os.chown(uids, self.account.uid, self.account.gid)
            subscribed = home / "Maildir" / "courierimapsubscribed"
            subscribed.write_text("".join(f"INBOX.{name}\n" for name in SPECIAL))
            os.chown(subscribed, self.account.uid, self.account.gid)

    def environment(self) -> dict[str, str]:
        capability = "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE AUTH=PLAIN"
        return with_unpacked_libraries() | {
            "LD_PRELOAD": str(preloaded_library()),
            "GATEPOST_TEST_SOCKET": str(self._authdaemon.path),
            "GATEPOST_TEST_ACCOUNT": self.account.name,
            # As Debian has it in /etc/courier/imapd, but for the seconds that IDLE may be late.
            "IMAP_CAPABILITY": capability,
            "IMAP_CAPABILITY_TLS": capability,
            "IMAP_KEYWORDS": "1",
            "IMAP_ACL": "1",
            "IMAP_IDLE_TIMEOUT": "1",
            "IMAP_USELOCKS": "1",
            "IMAP_TLS_REQUIRED": "0",
            "IMAP_TRASHFOLDERNAME": "Trash",
            "COURIERTLS": str(unpacked("usr/bin/couriertls")),
            "TLS_CERTFILE": str(self.root / "imapd.pem"),
            "TLS_VERIFYPEER": "NONE",
            "IMAP_STARTTLS": "YES",
        }

    def commands(self) -> list[list[str]]:
        listen = [str(unpacked("usr/sbin/couriertcpd")), f"-address={self.host}", "-maxprocs=200", "-maxperip=200", "-nodnslookup", "-noidentlookup"]
        serve = [str(unpacked("usr/lib/courier/courier/imaplogin")), str(unpacked("usr/bin/imapd")), "Maildir"]
        tls = ["/usr/bin/env", "IMAP_TLS=1"]
        return [
            [*listen, str(self.imap_port), *serve],
            [*tls, *listen, str(self.imaps_port), str(unpacked("usr/bin/couriertls")), "-server", "-tcpd", *serve],
        ]


@functools.cache
def preloaded_library() -> Path:
    """Built once by each process that runs tests; servers of any user may load it."""
    folder = Path(tempfile.mkdtemp(prefix="gatepost-", dir="/tmp"))
    folder.chmod(0o755)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    source, library = folder / "courier.c", folder / "courier.so"
    source.write_text(PRELOADED)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    return library


class _AuthDaemon:
    """Answers one question: may this user log in, and where is the mail?"""

    def __init__(self, server: Courier) -> None:
        self._server = server
        self.path = server.root / "authdaemon"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self.path.chmod(0o777)
        self._listener.listen(64)
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(10)
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        """AUTH <length>, and that many bytes: service, "login", user, password, a line each. K=V lines go ahead of it."""
        stream = connection.makefile("rb")
        line = stream.readline()
        while b"=" in line:
            line = stream.readline()
        _, n_bytes = line.split()
        _, _, user, password = stream.read(int(n_bytes)).decode("utf-8", "replace").split("\n")[:4]
        if self._server.users.get(user) != password:
            connection.sendall(b"FAIL\n")
            return
        account, home = self._server.account, self._server.root / "mail" / user
        connection.sendall(
            f"UID={account.uid}\nGID={account.gid}\nHOME={home}\nADDRESS={user}\nNAME={user}\nMAILDIR={home}/Maildir\n.\n".encode()
        )
