"""A private Dovecot: the one place that knows how to configure and run it.

Tests and the demo share this class. It works with Dovecot 2.3 (Debian 12) and 2.4 (Debian 13), as root
or as anybody, needs no file outside its own directory, and ends only processes that it started.

    with Dovecot(users={"alice": "secret"}) as server:
        server.imap_url     # imap://127.0.0.1:41234, clear text and STARTTLS
        server.imaps_url    # imaps://127.0.0.1:41235
        server.ca_file      # what to trust for both
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from certificates import ServerCertificate
from dovecot_config import write_config
from imap_server import SYSTEM_PATH, ImapServer, ServerError, free_port, wait_for

__all__ = ["Dovecot", "DovecotError", "Options", "free_port", "without"]

DovecotError = ServerError


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


# All that 2.3 and 2.4 offer after login and a gateway may use.
CAPABILITIES = (
    "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT SORT=DISPLAY THREAD=REFERENCES THREAD=REFS THREAD=ORDEREDSUBJECT "
    "MULTIAPPEND URL-PARTIAL CATENATE UNSELECT CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED I18NLEVEL=1 CONDSTORE QRESYNC ESEARCH "
    "ESORT SEARCHRES WITHIN CONTEXT=SEARCH LIST-STATUS BINARY MOVE SNIPPET=FUZZY PREVIEW=FUZZY PREVIEW STATUS=SIZE SAVEDATE "
    "LITERAL+ NOTIFY SPECIAL-USE"
)
# What makes no sense, or says the same, when another is gone.
DEPENDENT = {
    "CONDSTORE": ("QRESYNC",),
    "SORT": ("SORT=DISPLAY", "ESORT"),
    "ESEARCH": ("ESORT", "SEARCHRES", "CONTEXT=SEARCH"),
    "LIST-EXTENDED": ("LIST-STATUS",),
    "PREVIEW": ("PREVIEW=FUZZY", "SNIPPET=FUZZY"),
    "THREAD": ("THREAD=REFERENCES", "THREAD=REFS", "THREAD=ORDEREDSUBJECT"),
}


def without(*gone: str) -> str:
    """For Options.capability: everything but these and what depends on them."""
    all_gone = {*gone, *(name for one in gone for name in DEPENDENT.get(one, ()))}
    return " ".join(name for name in CAPABILITIES.split() if name not in all_gone)


class Dovecot(ImapServer):
    title = "Dovecot"

    def __init__(self, users: dict[str, str], directory: Path | None = None, options: Options | None = None) -> None:
        self.options = options or Options()
        self.version = dovecot_version()
        # Dovecot takes a connection from an address to itself as secure; Linux comes from .1 to any 127/8.
        host = "127.0.0.1" if self.options.allow_cleartext else "127.0.0.2"
        super().__init__(users, directory, host=host, certificate=self.options.certificate)
        for name in ("run", "state"):
            (self.root / name).mkdir(exist_ok=True)
        self.own("rawlog")
        self.write_users()

    def write_config(self) -> None:
        write_config(self)
        # A socket left by a killed server delays the first greeting by seconds.
        shutil.rmtree(self.root / "run", ignore_errors=True)
        (self.root / "run").mkdir()

    def commands(self) -> list[list[str]]:
        return [[find_dovecot(), "-F", "-c", str(self.config_file)]]

    def version_text(self) -> str:
        return subprocess.run([find_dovecot(), "--version"], capture_output=True, text=True, check=True).stdout.split()[0]

    def write_users(self) -> None:
        lines = []
        for user, password in self.users.items():
            self.own(f"mail/{user}", f"rawlog/{user}")
            home = self.root / "mail" / user
            # The clear password is what SCRAM needs.
            lines.append(f"{user}:{{PLAIN}}{password}:{self.account.uid}:{self.account.gid}::{home}::\n")
        new = self.root / "passwd.new"
        new.write_text("".join(lines))
        new.replace(self.root / "passwd")

    def refused_name(self, mailbox: str) -> str:
        return f"~{mailbox}"

    # What it did.

    def log(self) -> str:
        path = self.root / "log" / "dovecot.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def logins(self, user: str) -> int:
        """Successful logins so far, by any mechanism."""
        return len(re.findall(rf"(?:Login|Logged in): user=<{re.escape(user)}>", self.log()))

    def wait_for_log(self, pattern: str, seconds: float = 10.0) -> str:
        """The log, once pattern is in it: Dovecot writes it a moment after the client has its answer."""
        return wait_for(lambda: self.log() if re.search(pattern, self.log()) else "", seconds, f"{pattern!r} in the log")

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

    @property
    def config_file(self) -> Path:
        return self.root / "dovecot.conf"
