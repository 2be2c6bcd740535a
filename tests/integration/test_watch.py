"""What a watch is told by a real server: by NOTIFY, by IDLE, and by STATUS alone.

The program tests/tools/watch.c is built beside the gateway; it prints what its watch says.
"""

from __future__ import annotations

import imaplib
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import USERS
from dovecot import Dovecot, Options
from imap_server import ImapServer

PATIENCE_SECONDS = 20.0
PUSH_SECONDS = 3.0  # Dovecot waits half a second for more
POLL_SECONDS = 40.0
MESSAGE = b"Subject: news\r\n\r\nthere are some\r\n"
WITH_IDLE = (
    "IMAP4rev1 SASL-IR ENABLE IDLE UNSELECT CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED LIST-STATUS SPECIAL-USE MOVE "
    "CONDSTORE QRESYNC LITERAL+"
)
WITHOUT_IDLE = WITH_IDLE.replace(" IDLE", "")


class Watcher:
    """The program, and its lines as they come."""

    def __init__(self, program: Path, server: ImapServer, *mailboxes: str, per_account: int = 4) -> None:
        arguments = [str(server.imap_port), str(per_account), "1", "alice", USERS["alice"], *mailboxes]
        self._process = subprocess.Popen([str(program), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.pid = self._process.pid

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.put(line.decode().rstrip("\n").split(" ", 2)[2])

    def expect(self, *wanted: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Waits for these lines, in any order, whatever else comes between."""
        ends = time.monotonic() + seconds
        missing = set(wanted)
        seen: list[str] = []
        while missing:
            try:
                line = self._lines.get(timeout=max(ends - time.monotonic(), 0.001))
            except queue.Empty:
                pytest.fail(f"{missing} did not come in {seconds} s, but {seen}")
            missing.discard(line)
            seen.append(line)

    def drop(self) -> list[str]:
        """What has come and was not waited for."""
        lines = []
        while not self._lines.empty():
            lines.append(self._lines.get())
        return lines

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        _, errors = self._process.communicate(timeout=PATIENCE_SECONDS)
        assert (self._process.returncode, errors) == (0, b""), errors.decode()


@pytest.fixture
def program(binary: Path) -> Path:
    path = binary.parent / "tests" / "watch"
    if not path.exists():
        pytest.skip(f"{path} is not built")
    return path


@contextmanager
def watching(program: Path, server: ImapServer, *mailboxes: str, per_account: int = 4) -> Iterator[Watcher]:
    watcher = Watcher(program, server, *mailboxes, per_account=per_account)
    try:
        watcher.expect("up")
        yield watcher
    finally:
        watcher.stop()


@contextmanager
def other_client(server: ImapServer) -> Iterator[imaplib.IMAP4]:
    with imaplib.IMAP4(server.host, server.imap_port) as client:
        client.login("alice", USERS["alice"])
        yield client


@contextmanager
def a_server(capability: str | None = None) -> Iterator[Dovecot]:
    with Dovecot(users=dict(USERS), options=Options(capability=capability)) as server:
        with other_client(server) as client:
            client.create("Work")
            for name in ("INBOX", "Work"):
                for _ in range(3):
                    client.append(name, None, None, MESSAGE)  # type: ignore[arg-type]
        yield server


Change = Callable[[imaplib.IMAP4, str], object]

CHANGES: dict[str, Change] = {
    "append": lambda client, name: client.append(name, None, None, MESSAGE),  # type: ignore[arg-type]
    "flag": lambda client, name: (client.select(name), client.store("1", "+FLAGS", "\\Seen")),
    "keyword": lambda client, name: (client.select(name), client.store("1", "+FLAGS", "odd")),
    "expunge": lambda client, name: (client.select(name), client.store("1", "+FLAGS", "\\Deleted"), client.expunge()),
    "move": lambda client, name: (client.select(name), client._simple_command("MOVE", "1", "Drafts")),
}


def test_notify_tells_of_every_kind_of_change(program: Path) -> None:
    with a_server() as server, other_client(server) as client, watching(program, server) as watcher:
        for name in ("INBOX", "Work"):
            for change in CHANGES.values():
                change(client, name)
                watcher.expect(f"changed {name}", seconds=PUSH_SECONDS)
        client.create("R&AOk-sum&AOk-")
        watcher.expect("listed", seconds=PUSH_SECONDS)
        client.append("R&AOk-sum&AOk-", None, None, MESSAGE)  # type: ignore[arg-type]
        watcher.expect("changed Résumé", seconds=PUSH_SECONDS)
        client.rename("R&AOk-sum&AOk-", "Plain")
        watcher.expect("listed", seconds=PUSH_SECONDS)
        client.subscribe("Work")
        watcher.expect("listed", seconds=PUSH_SECONDS)
        client.delete("Plain")
        watcher.expect("listed", seconds=PUSH_SECONDS)


def test_notify_of_named_mailboxes(program: Path) -> None:
    with a_server() as server, other_client(server) as client, watching(program, server, "Work") as watcher:
        CHANGES["append"](client, "INBOX")
        CHANGES["append"](client, "Work")
        watcher.expect("changed Work", seconds=PUSH_SECONDS)
        assert "changed INBOX" not in watcher.drop()
        assert server.n_sessions("alice") == 2


@pytest.mark.parametrize("kind", CHANGES)
def test_idle_tells_of_the_open_mailbox(program: Path, idle_server: ImapServer, kind: str) -> None:
    with other_client(idle_server) as client, watching(program, idle_server) as watcher:
        CHANGES[kind](client, "INBOX")
        watcher.expect("changed INBOX", seconds=PUSH_SECONDS)


@pytest.fixture(scope="module")
def idle_server() -> Iterator[Dovecot]:
    with a_server(WITH_IDLE) as server:
        yield server


def test_idle_has_a_session_for_each_of_two(program: Path, idle_server: ImapServer) -> None:
    with other_client(idle_server) as client, watching(program, idle_server, "INBOX", "Work") as watcher:
        watcher.expect("changed Work")  # its session is up
        assert idle_server.n_sessions("alice") == 3
        for kind in ("append", "flag"):
            CHANGES[kind](client, "Work")
            watcher.expect("changed Work", seconds=PUSH_SECONDS)
            CHANGES[kind](client, "INBOX")
            watcher.expect("changed INBOX", seconds=PUSH_SECONDS)


def test_what_idle_does_not_tell_is_asked_for(program: Path, idle_server: ImapServer) -> None:
    with other_client(idle_server) as client, watching(program, idle_server) as watcher:
        client.select("Work")
        client.store("1", "+FLAGS", "\\Flagged")
        client.create("Made")
        watcher.expect("listed", "changed Work", seconds=POLL_SECONDS)
        # and IDLE goes on after it
        CHANGES["append"](client, "INBOX")
        watcher.expect("changed INBOX", seconds=PUSH_SECONDS)


def test_polling_where_there_is_nothing_else(program: Path) -> None:
    with a_server(WITHOUT_IDLE) as server, other_client(server) as client:
        with watching(program, server, per_account=1) as watcher:
            client.select("INBOX")
            client.store("1", "+FLAGS", "\\Flagged")
            CHANGES["append"](client, "Work")
            watcher.expect("changed INBOX", "changed Work", seconds=POLL_SECONDS)


def test_a_server_that_comes_back(program: Path) -> None:
    with a_server() as server, watching(program, server) as watcher:
        server.stop()
        watcher.expect("down LOST")
        server.start()
        watcher.expect("up")
        with other_client(server) as client:
            CHANGES["append"](client, "Work")
            watcher.expect("changed Work", seconds=PUSH_SECONDS)


def test_a_password_that_changes(program: Path) -> None:
    with a_server() as server, watching(program, server) as watcher:
        server.stop()
        server.set_password("alice", "another")
        server.start()
        watcher.expect("final AUTH")
