"""GET /mailboxes/{mailbox}/changes against a second client, by every kind of server."""

from __future__ import annotations

import contextlib
import imaplib
import itertools
import threading
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from conftest import USERS, StartGateway, open_server, tls_options
from dovecot import Dovecot
from http_client import Client
from imap_server import ImapServer

pytestmark = pytest.mark.needs("one view")

MESSAGE = b"Subject: change\r\n\r\nhello\r\n"
NUMBERS = itertools.count(1)
SERVERS = {
    "notify": None,
    "idle": "IMAP4rev1 LITERAL+ ENABLE IDLE UIDPLUS ESEARCH CONDSTORE QRESYNC LIST-EXTENDED LIST-STATUS SPECIAL-USE",
    "condstore": "IMAP4rev1 LITERAL+ ENABLE IDLE UIDPLUS ESEARCH CONDSTORE LIST-EXTENDED LIST-STATUS SPECIAL-USE",
    "flags": "IMAP4rev1 LITERAL+ IDLE UIDPLUS",
}


@pytest.fixture(scope="module", params=list(SERVERS))
def server(request: pytest.FixtureRequest) -> Iterator[ImapServer]:
    with open_server(request.config, capability=SERVERS[request.param]) as started:
        yield started


@pytest.fixture
def client(server: ImapServer, start_gateway: StartGateway) -> Iterator[Client]:
    with contextlib.closing(start_gateway(*tls_options(server)).client("alice", USERS["alice"])) as one:
        yield one


@contextlib.contextmanager
def second_client(server: ImapServer, mailbox: str) -> Iterator[imaplib.IMAP4]:
    connection = imaplib.IMAP4(server.host, server.imap_port)
    connection.login("alice", USERS["alice"])
    connection.create(mailbox)
    connection.append(mailbox, "", "", MESSAGE)
    connection.append(mailbox, "(\\Seen)", "", MESSAGE)
    connection.select(mailbox)
    try:
        yield connection
    finally:
        connection.logout()


def new_mailbox(server: ImapServer) -> str:
    return server.mailbox(f"Changes{next(NUMBERS)}")


def changes(client: Client, mailbox: str, since: str | None = None, **parameters: int) -> dict:
    given = ({"since": since} if since else {}) | parameters
    query = "&".join(f"{name}={value}" for name, value in given.items())
    response = client.get(f"/mailboxes/{quote(mailbox, safe='')}/changes?{query}")
    assert response.status == 200, response.text
    body = response.json()
    assert since is None or body["oldState"] == since
    return body


def told(body: dict) -> tuple[list[int], list[int], list[int]]:
    return body["created"], body["updated"], body["destroyed"]


def test_every_kind(server: ImapServer, client: Client) -> None:
    mailbox = new_mailbox(server)
    with second_client(server, mailbox) as imap:
        state = changes(client, mailbox)["newState"]
        assert told(changes(client, mailbox, state)) == ([], [], [])
        imap.append(mailbox, "", "", MESSAGE)
        body = changes(client, mailbox, state)
        assert told(body) == ([3], [], [])
        imap.store("1", "+FLAGS", "(\\Flagged $Work)")
        later = changes(client, mailbox, body["newState"])
        assert told(later) == ([], [1], [])
        imap.store("1", "-FLAGS", "(\\Flagged $Work)")
        imap.store("2", "+FLAGS", "\\Deleted")
        imap.expunge()
        assert told(changes(client, mailbox, later["newState"])) == ([], [1], [2])
        # all of it at once, and in small pages: the same
        body = changes(client, mailbox, state)
        assert body["created"] == [3] and body["destroyed"] == [2] and not body["hasMoreChanges"]
        pages: list[dict] = []
        since = state
        while not pages or pages[-1]["hasMoreChanges"]:
            pages.append(changes(client, mailbox, since, maxChanges=1))
            assert sum(len(part) for part in told(pages[-1])) <= 1
            since = pages[-1]["newState"]
        for name in ("created", "updated", "destroyed"):
            assert sorted(uid for page in pages for uid in page[name]) == body[name]
        assert told(changes(client, mailbox, since)) == ([], [], [])


def test_what_came_and_went_is_nothing(server: ImapServer, client: Client) -> None:
    mailbox = new_mailbox(server)
    with second_client(server, mailbox) as imap:
        state = changes(client, mailbox)["newState"]
        imap.append(mailbox, "", "", MESSAGE)
        imap.noop()
        imap.store("3", "+FLAGS", "\\Deleted")
        imap.expunge()
        assert told(changes(client, mailbox, state)) == ([], [], [])


def test_gone(server: ImapServer, client: Client) -> None:
    mailbox = new_mailbox(server)
    with second_client(server, mailbox) as imap:
        state = changes(client, mailbox)["newState"]
        imap.close()
        imap.delete(mailbox)
        assert client.get(f"/mailboxes/{quote(mailbox)}/changes?since={state}").status == 404
        imap.create(mailbox)
        response = client.get(f"/mailboxes/{quote(mailbox)}/changes?since={state}")
        assert response.status == 410 and response.json()["type"] == "/problems/gone"


@pytest.mark.parametrize("change", ["append", "store"])
def test_wait(server: ImapServer, client: Client, change: str) -> None:
    mailbox = new_mailbox(server)
    with second_client(server, mailbox) as imap:
        state = changes(client, mailbox)["newState"]
        began = time.monotonic()
        assert told(changes(client, mailbox, state, wait=1)) == ([], [], [])
        assert 1 <= time.monotonic() - began < 5

        def act() -> None:
            if change == "append":
                imap.append(mailbox, "", "", MESSAGE)
            else:
                imap.store("1", "+FLAGS", "\\Answered")

        timer = threading.Timer(0.5, act)
        timer.start()
        body = changes(client, mailbox, state, wait=60)
        assert told(body) == (([3], [], []) if change == "append" else ([], [1], []))
        assert time.monotonic() - began < 30
        timer.join()


def test_list_leads_to_changes(mail_server: ImapServer, alice: Client) -> None:
    mailbox = new_mailbox(mail_server)
    with second_client(mail_server, mailbox) as imap:
        listed = alice.get(f"/mailboxes/{quote(mailbox)}/messages?fields=uid").json()["state"]
        assert listed == alice.get(f"/mailboxes/{quote(mailbox)}").json()["state"]
        if not mail_server.can("CONDSTORE"):
            assert listed is None  # only /changes itself knows one
            return
        imap.append(mailbox, "", "", MESSAGE)
        assert told(changes(alice, mailbox, listed)) == ([3], [], [])
        # the list of a session that has the mailbox open already
        listed = alice.get(f"/mailboxes/{quote(mailbox)}/messages?fields=uid").json()["state"]
        assert told(changes(alice, mailbox, listed)) == ([], [], [])


def test_conditional(mail_server: ImapServer, alice: Client) -> None:
    mailbox = new_mailbox(mail_server)
    with second_client(mail_server, mailbox) as imap:
        target = f"/mailboxes/{quote(mailbox)}/changes?since={changes(alice, mailbox)['newState']}"
        etag = alice.get(target).header("ETag")
        assert etag is not None
        assert alice.get(target, {"If-None-Match": etag}).status == 304
        assert alice.head(target).header("ETag") == etag
        imap.append(mailbox, "", "", MESSAGE)
        assert alice.get(target, {"If-None-Match": etag}).status == 200


def test_drain_ends_waits(own_dovecot: Dovecot, start_gateway: StartGateway) -> None:
    gateway = start_gateway(*tls_options(own_dovecot))
    replies: list[dict] = []

    def wait() -> None:
        with contextlib.closing(gateway.client("alice", USERS["alice"])) as client:
            replies.append(changes(client, "INBOX", wait=300))

    thread = threading.Thread(target=wait)
    thread.start()
    own_dovecot.wait_for_log(r"Login: user=<alice>")
    deadline = time.monotonic() + 20
    while own_dovecot.n_sessions("alice") < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    began = time.monotonic()
    gateway.stop()
    thread.join(10)
    assert replies and told(replies[0]) == ([], [], [])
    assert time.monotonic() - began < 10
