"""What is true: mailboxes as a plain IMAP client sees them, without the gateway."""

from __future__ import annotations

import imaplib
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

import seed  # noqa: E402

FETCH = "(UID FLAGS BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])"


@dataclass(frozen=True)
class Seen:
    """A message as it is: which one, and its flags without \\Recent."""

    id: str
    flags: frozenset[str]


Content = dict[int, Seen]  # by UID


class NotThere(AssertionError):
    pass


class Oracle:
    """One connection; every look selects anew, so that it is the server's state of this moment."""

    def __init__(self, port: int, user: str, password: str) -> None:
        self.client = imaplib.IMAP4("127.0.0.1", port, timeout=60)
        self.client.login(user, password)

    def __enter__(self) -> Oracle:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.client.shutdown()

    def content(self, mailbox: str) -> Content:
        status, data = self.client.select(seed.quoted(mailbox), readonly=True)
        if status != "OK":
            raise NotThere(f"{mailbox}: {data!r}, and there are {self.mailboxes()}")
        if data[0] == b"0":
            return {}
        status, data = self.client.uid("FETCH", "1:*", FETCH)
        assert status == "OK", data
        return dict(_messages(data))

    def contents(self, mailboxes: Iterable[str]) -> dict[str, Content]:
        return {mailbox: self.content(mailbox) for mailbox in mailboxes}

    def status(self, mailbox: str, item: str) -> int:
        status, data = self.client.status(seed.quoted(mailbox), f"({item})")
        assert status == "OK" and data[0], data
        match = re.search(rb"\(%s (\d+)\)" % item.encode(), data[0])
        assert match is not None, data
        return int(match[1])

    def mailboxes(self) -> set[str]:
        """Their names as the server has them, in modified UTF-7."""
        status, lines = self.client.list('""', '"*"')
        assert status == "OK"
        return {re.sub(rb'^\([^)]*\) ("[^"]*"|NIL) ', b"", line).strip(b'"').decode() for line in lines if isinstance(line, bytes)}


def _messages(data: list[bytes | tuple[bytes, bytes]]) -> Iterable[tuple[int, Seen]]:
    """imaplib gives the text before and in a literal as a pair, and what follows it alone: items come on either side."""
    for n, one in enumerate(data):
        if not isinstance(one, tuple):
            continue
        behind = data[n + 1] if n + 1 < len(data) and isinstance(data[n + 1], bytes) else b""
        text = one[0] + b" " + behind  # type: ignore[operator]
        uid, flags = re.search(rb"UID (\d+)", text), re.search(rb"FLAGS \(([^)]*)\)", text)
        assert uid is not None and flags is not None, text
        names = frozenset(flags[1].decode().split()) - {"\\Recent"}
        yield int(uid[1]), Seen(one[1].partition(b":")[2].strip().decode(), names)
