"""Puts messages into a mailbox: a few with flags and dates, or very many fast."""

from __future__ import annotations

import base64
import contextlib
import imaplib
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import islice

BATCH = 500  # messages in one APPEND


@dataclass(frozen=True)
class Message:
    raw: bytes
    flags: tuple[str, ...] = ()
    received: datetime | None = None


@contextlib.contextmanager
def session(port: int, user: str, password: str) -> Iterator[imaplib.IMAP4]:
    """A plain IMAP client, for what a test arranges or verifies behind the gateway's back."""
    client = imaplib.IMAP4("127.0.0.1", port, timeout=60)
    try:
        if password.isascii():
            client.login(user, password)
        else:  # which imaplib cannot send as a string
            client.authenticate("PLAIN", lambda _: f"\0{user}\0{password}".encode())
    except BaseException:
        client.shutdown()
        raise
    try:
        yield client
    finally:
        with contextlib.suppress(imaplib.IMAP4.error, OSError):
            client.logout()


def quoted(name: str) -> str:
    """A mailbox name as an IMAP string: modified UTF-7 (RFC 3501, section 5.1.3) between quotes."""
    text = "".join(_utf7_runs(name))
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def create(client: imaplib.IMAP4, mailbox: str) -> None:
    _expect(client.create(quoted(mailbox)))
    _expect(client.subscribe(quoted(mailbox)))


def append(client: imaplib.IMAP4, mailbox: str, messages: Iterable[Message]) -> None:
    """One after another, so that UIDs rise in the given order."""
    for message in messages:
        date = imaplib.Time2Internaldate(message.received) if message.received else None
        # imaplib rewrites line ends of what is passed as a message: give it CRLF.
        _expect(client.append(quoted(mailbox), " ".join(message.flags), date, crlf(message.raw)))


def append_many(port: int, user: str, password: str, mailbox: str, messages: Iterable[Message]) -> int:
    """Thousands of messages, in few round trips where the server has MULTIAPPEND and LITERAL+. Returns how many."""
    n_sent = 0
    with session(port, user, password) as client:
        status, offered = client.capability()
        if status != "OK" or not {b"MULTIAPPEND", b"LITERAL+"} <= set(offered[0].upper().split()):
            for message in messages:
                append(client, mailbox, [message])
                n_sent += 1
            return n_sent
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        answers = connection.makefile("rb")
        answers.readline()
        _command(connection, answers, b"a LOGIN %s %s" % (_string(user), _string(password)))
        stream = iter(messages)
        while batch := list(islice(stream, BATCH)):
            command = bytearray(b"a APPEND %s" % quoted(mailbox).encode())
            for message in batch:
                raw = crlf(message.raw)
                command += b" (%s)" % " ".join(message.flags).encode()
                if message.received:
                    command += b" " + imaplib.Time2Internaldate(message.received).encode()
                command += b" {%d+}\r\n" % len(raw) + raw
            _command(connection, answers, bytes(command))
            n_sent += len(batch)
        _command(connection, answers, b"a LOGOUT")
    return n_sent


def plain(number: int, *, subject: str = "Message", body: str = "Hello.") -> Message:
    """A small, valid message; number makes its Message-ID and its date."""
    received = datetime.fromtimestamp(1_700_000_000 + number * 60, timezone.utc)
    date = received.strftime("%a, %d %b %Y %H:%M:%S +0000")
    text = (
        f"From: Ann Example <ann@example.test>\r\nTo: bob@example.test\r\nSubject: {subject} {number}\r\n"
        f"Date: {date}\r\nMessage-ID: <{number}@example.test>\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n"
    )
    return Message(text.encode(), ("\\Seen",) if number % 3 else (), received)


def crlf(raw: bytes) -> bytes:
    return raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _utf7_runs(name: str) -> Iterator[str]:
    run = ""
    for character in name + "\0":
        if " " <= character <= "~" or character == "\0":
            if run:
                yield "&" + _base64(run) + "-"
                run = ""
            yield {"&": "&-", "\0": ""}.get(character, character)
        else:
            run += character


def _base64(text: str) -> str:
    return base64.b64encode(text.encode("utf-16-be")).decode().rstrip("=").replace("/", ",")


def _string(text: str) -> bytes:
    return b'"' + text.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'


def _expect(result: tuple[str, list[bytes]]) -> None:
    status, data = result
    if status != "OK":
        raise RuntimeError(f"IMAP said {status}: {data!r}")


def _command(connection: socket.socket, answers, command: bytes) -> None:  # type: ignore[no-untyped-def]
    started = time.monotonic()
    connection.sendall(command + b"\r\n")
    while line := answers.readline():
        if line.startswith(b"a "):
            if not line.startswith(b"a OK"):
                raise RuntimeError(f"IMAP said {line!r}")
            return
    raise RuntimeError(f"connection closed {time.monotonic() - started:.1f} s after {command[:60]!r}")
