"""A private Dovecot: the one place that knows how to configure and run it.

Tests and the demo share this class. It works with Dovecot 2.3 (Debian 12) and 2.4 (Debian 13), as root
or as anybody, needs no file outside its own directory, and ends only processes that it started.

    with Dovecot(users={"alice": "secret"}) as server:
        server.imap_url     # imap://127.0.0.1:41234, clear text and STARTTLS
        server.imaps_url    # imaps://127.0.0.1:41235
        server.ca_file      # what to trust for both
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from certificates import Authority, ServerCertificate
from dovecot_config import Account, write_config

START_SECONDS = 20.0
STOP_SECONDS = 10.0
START_TRIES = 5
UNIX_PATH_ROOM = 60  # base_dir's share of the 107 bytes that a socket's path may have
SYSTEM_PATH = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin" + os.pathsep + "/usr/local/sbin"
PR_SET_PDEATHSIG = 1


class DovecotError(RuntimeError):
    pass


def find_dovecot() -> str:
    program = shutil.which("dovecot", path=SYSTEM_PATH)
    if program is None:
        raise DovecotError("dovecot is not installed (scripts/deps run)")
    return program


def dovecot_version() -> tuple[int, int]:
    text = subprocess.run([find_dovecot(), "--version"], capture_output=True, text=True, check=True).stdout
    match = re.match(r"(\d+)\.(\d+)", text)
    if match is None:
        raise DovecotError(f"unknown Dovecot version: {text!r}")
    return int(match[1]), int(match[2])


def free_port(host: str = "127.0.0.1") -> int:
    """Free when it is asked; start() tries again when somebody else was faster."""
    with socket.socket() as listener:
        listener.bind((host, 0))
        return int(listener.getsockname()[1])


@dataclass
class Options:
    """What a test may want otherwise than usual."""

    capability: str | None = None  # "IMAP4rev1 LITERAL+ …" in place of what Dovecot offers after login
    max_userip_connections: int = 10
    auth_mechanisms: str = "plain login scram-sha-1 scram-sha-256"
    allow_cleartext: bool = True  # False: LOGINDISABLED until TLS
    mail_format: str = "mdbox"
    rawlog: bool = False  # keep what each session sends and gets, see Dovecot.rawlog()
    extra: str = ""  # configuration lines, put last, in the syntax of the version that runs
    certificate: ServerCertificate | None = None  # one of another name, CA or date than usual
    debug: bool = False


@dataclass
class Dovecot:
    users: dict[str, str]
    directory: Path | None = None  # where to live; a directory in /tmp when None or out of Dovecot's reach
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        self.version = dovecot_version()
        # Dovecot takes a connection from an address to itself as secure; Linux comes from .1 to any 127/8.
        self.host = "127.0.0.1" if self.options.allow_cleartext else "127.0.0.2"
        self.root = _private_directory(self.directory)
        self.imap_port = 0
        self.imaps_port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._is_frozen = False
        account = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self.account = Account(account.pw_name, account.pw_uid, account.pw_gid)
        for name in ("run", "state", "log", "mail", "rawlog"):
            (self.root / name).mkdir(exist_ok=True)
        for name in ("mail", "rawlog"):
            os.chown(self.root / name, self.account.uid, self.account.gid)
        self.authority = Authority(self.root / "ca")
        self.certificate = self.options.certificate or self.authority.issue()
        self._write_users()

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

    # Life.

    def start(self) -> None:
        """Starts at ports that stay the same over stop() and start(), unless somebody took them."""
        if self._process is not None:
            raise DovecotError("already started")
        for _ in range(START_TRIES):
            if self.imap_port == 0:
                self.imap_port, self.imaps_port = free_port(self.host), free_port(self.host)
            if self._try_start():
                return
            self.imap_port = self.imaps_port = 0
        raise DovecotError(f"no free port after {START_TRIES} tries\n{self.log()}")

    def stop(self) -> None:
        """As an administrator would: sessions end with BYE. No-op when it does not run."""
        process = self._process
        if process is None:
            return
        self.thaw()
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        self.kill()

    def kill(self) -> None:
        """As a crash would: every process of this server ends at once, connections are reset."""
        process = self._process
        if process is None:
            return
        # The master leads its own process group, which its workers never leave.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._process = None
        self._is_frozen = False
        # A dying worker holds the listening sockets a moment longer than the master does.
        _wait(self._is_gone, STOP_SECONDS, "the end of Dovecot's workers")

    def freeze(self) -> None:
        """From now on the server is silent: connections open, but nothing is answered."""
        os.killpg(self._running().pid, signal.SIGSTOP)
        self._is_frozen = True

    def thaw(self) -> None:
        if self._is_frozen:
            os.killpg(self._running().pid, signal.SIGCONT)
            self._is_frozen = False

    def close(self) -> None:
        """For good. Without the second that a polite stop() takes, as nobody will miss the mail."""
        self.kill()
        shutil.rmtree(self.root, ignore_errors=True)

    def __enter__(self) -> Dovecot:
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
        path = self.root / "log" / "dovecot.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def logins(self, user: str) -> int:
        """Successful logins so far, by any mechanism."""
        return len(re.findall(rf"(?:Login|Logged in): user=<{re.escape(user)}>", self.log()))

    def wait_for_log(self, pattern: str, seconds: float = 10.0) -> str:
        """The log, once pattern is in it: Dovecot writes it a moment after the client has its answer."""
        return _wait(lambda: self.log() if re.search(pattern, self.log()) else "", seconds, f"{pattern!r} in the log")

    def rawlog(self, user: str) -> bytes:
        """What clients sent after login, session after session (Options.rawlog)."""
        files = sorted((self.root / "rawlog" / user).glob("*.in"), key=lambda path: path.stat().st_mtime_ns)
        return re.sub(rb"(?m)^\d+\.\d+ ", b"", b"".join(path.read_bytes() for path in files))

    def n_sessions(self, user: str) -> int:
        """IMAP sessions of user that are open now."""
        lines = self.doveadm("who", "-1", user).decode().splitlines()
        return sum(1 for line in lines if line.split()[:1] == [user])

    # Administration.

    def doveadm(self, *arguments: str, data: bytes | None = None) -> bytes:
        program = shutil.which("doveadm", path=SYSTEM_PATH) or "doveadm"
        result = subprocess.run([program, "-c", str(self.config_file), *arguments], input=data, capture_output=True)
        if result.returncode != 0:
            raise DovecotError(f"doveadm {' '.join(arguments)}: {result.stderr.decode(errors='replace')}")
        return result.stdout

    def set_password(self, user: str, password: str) -> None:
        """Takes effect with the next login; sessions that are open stay open."""
        self.users[user] = password
        self._write_users()

    @property
    def config_file(self) -> Path:
        return self.root / "dovecot.conf"

    # Inside.

    def _write_users(self) -> None:
        lines = []
        for user, password in self.users.items():
            home = self.root / "mail" / user
            home.mkdir(exist_ok=True)
            (self.root / "rawlog" / user).mkdir(exist_ok=True)
            for path in (home, self.root / "rawlog" / user):
                os.chown(path, self.account.uid, self.account.gid)
            # The clear password is what SCRAM needs.
            lines.append(f"{user}:{{PLAIN}}{password}:{self.account.uid}:{self.account.gid}::{home}::\n")
        new = self.root / "passwd.new"
        new.write_text("".join(lines))
        new.replace(self.root / "passwd")

    def _try_start(self) -> bool:
        """False when a port was taken meanwhile."""
        write_config(self)
        # A socket left by a killed server delays the first greeting by seconds.
        shutil.rmtree(self.root / "run", ignore_errors=True)
        (self.root / "run").mkdir()
        console = self.root / "log" / "console.log"
        with console.open("wb") as output:
            self._process = subprocess.Popen(
                [find_dovecot(), "-F", "-c", str(self.config_file)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        try:
            _wait(self._is_ready, START_SECONDS, "Dovecot's greeting")
            return True
        except _Exited:
            self._process = None
            text = console.read_text(errors="replace") + self.log()[-4000:]
            if "Address already in use" in text:
                return False
            raise DovecotError(f"Dovecot did not start:\n{text}") from None
        except BaseException:
            self.kill()
            raise

    def _is_ready(self) -> bool:
        if self._running().poll() is not None:
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
        if self._process is None:
            raise DovecotError("Dovecot does not run")
        return self._process


class _Exited(Exception):
    pass


def _end_with_parent() -> None:
    """Runs in the child: a test run that is killed takes its servers along."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _private_directory(wanted: Path | None) -> Path:
    """An empty directory that Dovecot's own users can reach, with a path short enough for sockets in it."""
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


def _wait(ready, seconds: float, what: str):  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while True:
        result = ready()
        if result:
            return result
        if time.monotonic() > deadline:
            raise DovecotError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(0.01)
