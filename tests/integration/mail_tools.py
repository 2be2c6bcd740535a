"""What the tests of the resources share: mailboxes of their own, a second client, addresses."""

from __future__ import annotations

import contextlib
import imaplib
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
import seed
from http_client import Client, Response
from imap_server import ImapServer

_numbers = itertools.count(1)


def segment(name: str) -> str:
    """A mailbox name as one path segment, as encodeURIComponent writes it."""
    return quote(name, safe="!'()*~-_.")


def new_mailbox(server: ImapServer, messages: Iterable[seed.Message] = (), name: str = "Box {}", user: str = "alice") -> str:
    """A mailbox that no other test has, filled."""
    name = server.mailbox(name.format(next(_numbers)))
    with seed.session(server.imap_port, user, server.users[user]) as client:
        seed.create(client, name)
        seed.append(client, name, messages)
    return name


@contextlib.contextmanager
def second_client(server: ImapServer, mailbox: str, user: str = "alice") -> Iterator[imaplib.IMAP4]:
    if server.shows_changes_late:
        pytest.skip(f"{server.title}'s sessions do not see what others change: one client at a time, as in test_interop.py")
    with seed.session(server.imap_port, user, server.users[user]) as client:
        status, data = client.select(seed.quoted(mailbox))
        assert status == "OK", data
        yield client


def flags_of(client: imaplib.IMAP4, uid: int) -> set[str]:
    client.noop()
    status, data = client.uid("FETCH", str(uid), "(FLAGS)")
    assert status == "OK" and data[0], data
    return {flag.decode() for flag in imaplib.ParseFlags(data[0])}


def store(client: imaplib.IMAP4, uids: str, how: str, flags: str) -> None:
    client.noop()  # what others have appended is there only now
    status, data = client.uid("STORE", uids, how, f"({flags})")
    assert status == "OK", data


def expunge(client: imaplib.IMAP4, uids: Iterable[int]) -> None:
    wanted = ",".join(map(str, uids))
    if wanted:
        store(client, wanted, "+FLAGS.SILENT", "\\Deleted")
        status, data = client.uid("EXPUNGE", wanted)
        assert status == "OK", data


def highest_modseq(server: ImapServer, mailbox: str, user: str = "alice") -> bytes | None:
    """None where the server counts no changes."""
    if not server.can("CONDSTORE"):
        return None
    with seed.session(server.imap_port, user, server.users[user]) as client:
        return bytes(client.status(seed.quoted(mailbox), "(HIGHESTMODSEQ)")[1][0])


def good(response: Response) -> Any:
    assert response.status == 200, f"{response.status} {response.body!r}"
    return response.json()


def uids(response: Response) -> list[int]:
    return [message["uid"] for message in good(response)["messages"]]


def pages(client: Client, target: str, between: Callable[[int, list[int]], None] | None = None) -> list[list[int]]:
    """The UIDs of each page, following `next`. between(n, shown) runs before the n-th page (from 1)."""
    result: list[list[int]] = []
    shown: list[int] = []
    while True:
        response = client.get(target)
        body = good(response)
        result.append([message["uid"] for message in body["messages"]])
        shown += result[-1]
        link = response.header("Link")
        if "next" not in body:
            assert link is None
            return result
        assert link == f'<{body["next"]}>; rel="next"'
        assert len(result) < 500, "pages without end"
        target = body["next"]
        if between:
            between(len(result), shown)


def refused(response: Response, status: int, *words: str) -> dict[str, Any]:
    """A problem of this status whose detail names each word."""
    assert response.status == status, f"{response.status} {response.body!r}"
    problem: dict[str, Any] = response.json()
    for word in words:
        assert word in problem["detail"], f"{word!r} is not in {problem['detail']!r}"
    return problem
