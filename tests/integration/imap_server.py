"""A private IMAP server: what Dovecot, Cyrus, Courier and Mailutils have in common for those who run them.

    with Cyrus(users={"alice": "secret"}) as server:
        server.imap_url            # imap://127.0.0.1:41234, clear text and STARTTLS
        server.imaps_url           # imaps://127.0.0.1:41235
        server.ca_file             # what to trust for both
        server.mailbox("Work/24")  # how this server calls it: "INBOX.Work.24" in Courier
        server.can("MOVE")         # what it offers after login

Each lives in a directory of its own, works as root or as anybody, and ends only processes that it started.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import imaplib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Literal, TypeVar

from certificates import Authority, ServerCertificate

T = TypeVar("T")

START_SECONDS = 20.0
STOP_SECONDS = 10.0
START_TRIES = 5
UNIX_PATH_ROOM = 60  # the directory's share of the 107 bytes that a socket's path may have
SYSTEM_PATH = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin" + os.pathsep + "/usr/local/sbin"
UNPACKED = Path(__file__).resolve().parents[2] / "build" / "servers"  # by scripts/unpack-servers
PR_SET_PDEATHSIG = 1


class ServerError(RuntimeError):
    pass


@dataclass(frozen=True)
class Account:
    """The system account that owns the mail."""

    name: str
    uid: int
    gid: int


class ImapServer:
    """A subclass says by commands() what to run, after write_config() has written what that reads."""

    title: ClassVar[str] = ""  # for people
    delimiter: ClassVar[str] = "/"
    prefix: ClassVar[str] = ""  # of the personal namespace
    subscribes_special: ClassVar[bool] = True  # Sent, Trash, …, as the tests make accounts
    subscribes_inbox: ClassVar[bool] = False  # and nobody asked for it
    has_children: ClassVar[bool] = True  # mailboxes below others
    # What a session changes is seen by others when it has left the mailbox, and they have opened it anew.
    shows_changes_late: ClassVar[bool] = False
    refused_in_names: ClassVar[str] = ""  # characters
    keeps_keywords: ClassVar[bool] = True  # of one's own
    refused_keywords: ClassVar[tuple[str, ...]] = ()  # words, and characters that none may have
    finds_last_uid: ClassVar[bool] = True  # SEARCH takes * for the highest UID, wherever it stands
    searches_size_without_cr: ClassVar[bool] = False  # its SEARCH SMALLER and LARGER count the octets on its disk
    is_slow_with_large: ClassVar[bool] = False  # mailboxes: megabytes take it minutes
    is_slow_with_many: ClassVar[bool] = False  # messages in a mailbox: each look at it reads them all
    refuses_odd_messages: ClassVar[bool] = False  # whose header fields are none, or whose lines end in LF alone
    # UIDVALIDITY is another one at each look until a mailbox was open for writing, or as long as it is empty.
    settles_late: ClassVar[bool] = False
    has_nested_parts: ClassVar[bool] = True  # FETCH knows the parts of a message that is a part
    # Where {5} between quotes ends a session, or makes it wait for 5 bytes: patterns of mailboxes' names, or all strings.
    reads_braces_in: ClassVar[Literal["", "patterns", "strings"]] = ""
    # It ends its session over what is no error (UNKEYWORD), and does not understand what is allowed (SEARCH *, +FLAGS (NIL)).
    is_frail: ClassVar[bool] = False
    own_fields: ClassVar[tuple[bytes, ...]] = ()  # header fields that it puts into messages

    def __init__(
        self, users: dict[str, str], directory: Path | None = None, *, host: str = "127.0.0.1", certificate: ServerCertificate | None = None
    ) -> None:
        """In `directory`; in one in /tmp when that is None or out of the server's reach."""
        self.users = users
        self.host = host
        self.root = private_directory(directory)
        self.imap_port = 0
        self.imaps_port = 0
        self._processes: list[subprocess.Popen[bytes]] = []
        self._is_frozen = False
        account = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self.account = Account(account.pw_name, account.pw_uid, account.pw_gid)
        (self.root / "log").mkdir(exist_ok=True)
        self.own("mail")
        self.authority = Authority(self.root / "ca")
        self.certificate = certificate or self.authority.issue()

    # What a subclass says.

    def write_config(self) -> None:
        """Before each start, with the ports known."""

    def commands(self) -> list[list[str]]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def write_users(self) -> None:
        """After self.users has changed."""
        raise NotImplementedError

    def version_text(self) -> str:
        raise NotImplementedError

    # What clients need.

    @property
    def imap_url(self) -> str:
        return f"imap://{self.host}:{self.imap_port}"

    @property
    def imaps_url(self) -> str:
        return f"imaps://{self.host}:{self.imaps_port}"

    @property
    def ca_file(self) -> Path:
        return self.authority.certificate

    @property
    def pid(self) -> int:
        return self._running().pid

    @functools.cached_property
    def early_capabilities(self) -> frozenset[str]:
        """Before login, in clear text."""
        with contextlib.closing(_Connection(self.host, self.imap_port)) as connection:
            return frozenset(word.decode().upper() for word in connection.capability()[1][0].split())

    @functools.cached_property
    def capabilities(self) -> frozenset[str]:
        """After login, in upper case."""
        user, password = next(iter(self.users.items()))
        with contextlib.closing(_Connection(self.host, self.imap_port)) as connection:
            connection.login(user, password)
            return frozenset(word.decode().upper() for word in connection.capability()[1][0].split())

    def can(self, capability: str) -> bool:
        return capability.upper() in self.capabilities

    def has(self, ability: str) -> bool:
        """As can(), and "keywords" of one's own, or "one view": its sessions see at once what others change.
        "speed": mailboxes of many megabytes."""
        own = {"keywords": self.keeps_keywords, "one view": not self.shows_changes_late, "speed": not self.is_slow_with_large}
        return own.get(ability) or self.can(ability)

    def as_sent(self, raw: bytes) -> bytes:
        """A message without what the server has put into it."""
        head, blank, body = raw.partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if line.split(b":")[0] not in self.own_fields]
        return b"\r\n".join(lines) + blank + body

    def mailbox(self, name: str) -> str:
        """The full name of a mailbox that others call by `name`, with "/"."""
        return name if name.upper() == "INBOX" else self.prefix + name.replace("/", self.delimiter if self.has_children else "-")

    def below(self, mailbox: str, *leaves: str) -> str:
        """The full name of one below another, which is a full name too."""
        return self.delimiter.join((mailbox, *leaves))

    def refused_name(self, mailbox: str) -> str:
        """One of the same level that the server does not take."""
        raise NotImplementedError

    def raw_text(self, text: str) -> str:
        """What it keeps of a header field that is no ASCII, and not encoded."""
        return text

    # Life.

    def start(self) -> None:
        """Starts at ports that stay the same over stop() and start(), unless somebody took them."""
        if self._processes:
            raise ServerError("already started")
        for _ in range(START_TRIES):
            if self.imap_port == 0:
                self.imap_port, self.imaps_port = free_port(self.host), free_port(self.host)
            if self._try_start():
                return
            self.imap_port = self.imaps_port = 0
        raise ServerError(f"no free port after {START_TRIES} tries\n{self.log()}")

    def stop(self) -> None:
        """As an administrator would. No-op when it does not run."""
        self.thaw()
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """As a crash would: every process of this server ends at once, connections are reset."""
        processes, self._processes = self._processes, []
        for process in processes:
            # The first process leads its own process group, which its workers never leave.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._is_frozen = False
        if processes:
            # A dying worker holds the listening sockets a moment longer than the master does.
            wait_for(self._is_gone, STOP_SECONDS, f"the end of {self.title}'s workers")

    def freeze(self) -> None:
        """From now on the server is silent: connections open, but nothing is answered."""
        self._running()
        self._is_frozen = True
        for process in self._processes:
            os.killpg(process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        if self._is_frozen:
            for process in self._processes:
                os.killpg(process.pid, signal.SIGCONT)
            self._is_frozen = False

    def close(self) -> None:
        """For good. Without the second that a polite stop() takes, as nobody will miss the mail."""
        self.kill()
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self):  # type: ignore[no-untyped-def]
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # What it did.

    def log(self) -> str:
        return self.console()

    def console(self) -> str:
        path = self.root / "log" / "console.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # Administration.

    def set_password(self, user: str, password: str) -> None:
        """Takes effect with the next login; sessions that are open stay open."""
        self.users[user] = password
        self.write_users()

    def own(self, *names: str) -> None:
        """Makes directories that belong to the account."""
        for name in names:
            path = self.root / name
            path.mkdir(parents=True, exist_ok=True)
            os.chown(path, self.account.uid, self.account.gid)

    # Inside.

    def _try_start(self) -> bool:
        """False when a port was taken meanwhile."""
        self.write_config()
        with (self.root / "log" / "console.log").open("wb") as output:
            for command in self.commands():
                self._processes.append(
                    subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                        cwd=self.root,
                        env=self.environment(),
                        start_new_session=True,
                        preexec_fn=_end_with_parent,
                    )
                )
        try:
            wait_for(self._is_ready, START_SECONDS, f"{self.title}'s greeting")
            return True
        except _Exited:
            text = self.log()[-4000:] + self.console()
            self.kill()
            if "already in use" in text:
                return False
            raise ServerError(f"{self.title} did not start:\n{text}") from None
        except BaseException:
            self.kill()
            raise

    def _is_ready(self) -> bool:
        if any(process.poll() is not None for process in self._processes):
            raise _Exited
        try:
            for port in (self.imap_port, self.imaps_port):
                with socket.create_connection((self.host, port), timeout=START_SECONDS) as connection:
                    if port == self.imap_port and not connection.recv(100).startswith(b"* OK"):
                        return False
        except OSError:
            return False
        return True

    def _is_gone(self) -> bool:
        for port in (self.imap_port, self.imaps_port):
            try:
                socket.create_connection((self.host, port), timeout=STOP_SECONDS).close()
                return False
            except ConnectionRefusedError:
                continue
            except OSError:
                return False
        return True

    def _running(self) -> subprocess.Popen[bytes]:
        if not self._processes:
            raise ServerError(f"{self.title} does not run")
        return self._processes[0]


class _Exited(Exception):
    pass


class _Connection(imaplib.IMAP4):
    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port, timeout=START_SECONDS)

    def close(self) -> None:  # type: ignore[override]
        with contextlib.suppress(imaplib.IMAP4.error, OSError):
            self.logout()


def unpacked(name: str) -> Path:
    """A file of the servers that are not installed."""
    path = UNPACKED / name
    if not path.exists():
        raise ServerError(f"{path} is not there (scripts/unpack-servers)")
    return path


def with_unpacked_libraries() -> dict[str, str]:
    """The environment for a program from there."""
    folders = [UNPACKED / "usr" / "lib", *sorted((UNPACKED / "usr" / "lib").glob("*-linux-gnu")), UNPACKED / "usr/lib/courier-authlib"]
    return os.environ | {"LD_LIBRARY_PATH": os.pathsep.join(map(str, folders))}


def package_version(package: str) -> str:
    """Of what Debian offers, which is what was unpacked."""
    text = subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True, check=True).stdout
    return next((line.split()[1] for line in text.splitlines() if "Candidate:" in line), "unknown")


def free_port(host: str = "127.0.0.1") -> int:
    """Free when it is asked; start() tries again when somebody else was faster."""
    with socket.socket() as listener:
        listener.bind((host, 0))
        return int(listener.getsockname()[1])


def own_address() -> str:
    """Of loopback, and this process's alone: a port that is free there is nobody else's a moment later."""
    pid = os.getpid()
    return f"127.{128 | pid >> 16 & 127}.{pid >> 8 & 255}.{pid & 255}"


def private_directory(wanted: Path | None = None) -> Path:
    """An empty directory that a server's own users can reach, with a path short enough for sockets in it."""
    if wanted is not None and len(str(wanted)) <= UNIX_PATH_ROOM:
        shutil.rmtree(wanted, ignore_errors=True)
        try:
            wanted.mkdir(parents=True)
            if os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in wanted.resolve().parents):
                return wanted.resolve()
            wanted.rmdir()
        except OSError:
            pass
    directory = Path(tempfile.mkdtemp(prefix="gatepost-", dir="/tmp"))
    if os.geteuid() == 0:
        directory.chmod(0o755)
    return directory


def wait_for(ready: Callable[[], T], seconds: float, what: str) -> T:
    deadline = time.monotonic() + seconds
    while True:
        result = ready()
        if result:
            return result
        if time.monotonic() > deadline:
            raise ServerError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(0.01)


def _end_with_parent() -> None:
    """Runs in the child: a test run that is killed takes its servers along."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
