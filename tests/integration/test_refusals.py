"""What is refused for its input is refused before a byte goes to the IMAP server: not even a connection is made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import StartGateway
from http_client import Client
from imap_server import ImapServer
from mail_tools import refused
from proxy import Proxy, plain_options
from test_keywords import BAD_BODIES
from test_list import BAD

MESSAGE = "/mailboxes/INBOX/messages/1"
JSON = {"Content-Type": "application/json"}

BAD_TARGETS: list[tuple[str, str, str]] = [
    ("GET", "/mailboxes?role=boss", "role"),
    ("GET", "/mailboxes?subscribed=maybe", "subscribed"),
    ("GET", "/mailboxes?counts=2", "counts"),
    ("GET", "/mailboxes?fields=nme", "nme"),
    ("GET", "/mailboxes/@boss", "boss"),
    ("GET", "/mailboxes/INBOX?x=1", "x"),
    ("GET", "/mailboxes/a%00b", ""),
    ("GET", "/mailboxes/a%0Ab/messages", ""),
    ("GET", "/mailboxes/%FF/messages", ""),
    ("GET", "/mailboxes/" + "n" * 1025 + "/messages", "1024"),
    ("GET", "/mailboxes/INBOX/messages/0", "0"),
    ("GET", "/mailboxes/INBOX/messages/x", "x"),
    ("GET", "/mailboxes/INBOX/messages/4294967296", "4294967296"),
    ("GET", "/mailboxes/INBOX/messages/-1", "-1"),
    ("GET", MESSAGE + "?fields=nope", "nope"),
    ("GET", MESSAGE + "?markSeen=2", "markSeen"),
    ("GET", MESSAGE + "?maxBodyValueBytes=-1", "maxBodyValueBytes"),
    ("GET", MESSAGE + "?uidValidity=none", "uidValidity"),
    ("GET", MESSAGE + "/raw?downlod=1", "downlod"),
    ("GET", MESSAGE + "/parts/0", ""),
    ("GET", MESSAGE + "/parts/1.x", ""),
    ("GET", MESSAGE + "/parts/1]", ""),
    ("GET", MESSAGE + "/parts/1?encoded=x", "encoded"),
    ("GET", "/messages/1?mailbox=", "mailbox"),
    ("GET", "/messages/1?mailbox=a&mailbox=b", "mailbox"),
    ("DELETE", MESSAGE + "?permanent=perhaps", "permanent"),
    ("DELETE", MESSAGE + "?permanant=1", "permanant"),
    ("DELETE", MESSAGE + "?uidValidity=x", "uidValidity"),
    ("PUT", MESSAGE + "/keywords/a%20b", "keyword"),
    ("DELETE", MESSAGE + "/keywords/%5CSeen", "keyword"),
    ("DELETE", "/mailboxes/Work?force=1", "force"),
]

BAD_COPIES: list[tuple[Any, str]] = [
    ({}, "mailbox"),
    ({"mailbox": 1}, "mailbox"),
    ({"mailbox": ""}, "mailbox"),
    ({"mailbox": "a\r\nb"}, "mailbox"),
    ({"mailbox": "m" * 1025}, "mailbox"),
    ({"mailbox": "Work", "uid": 1}, "uid"),
    ([], "object"),
]

BAD_MAILBOXES: list[tuple[str, Any, str]] = [
    ("POST", {}, "name"),
    ("POST", {"name": ""}, "name"),
    ("POST", {"name": 5}, "name"),
    ("POST", {"name": "a\nb"}, "name"),
    ("POST", {"name": "n" * 1025}, "name"),
    ("POST", {"name": "N", "role": "boss"}, "role"),
    ("POST", {"name": "N", "isSubscribed": 1}, "isSubscribed"),
    ("POST", {"name": "N", "colour": "red"}, "colour"),
    ("PATCH", {"name": None}, "name"),
    ("PATCH", {"role": "sent"}, "role"),
    ("PATCH", {"isSubscribed": "yes"}, "isSubscribed"),
]


@pytest.fixture
def quiet(start_gateway: StartGateway, mail_server: ImapServer) -> Iterator[Client]:
    """Nothing that this client asks may be worth a connection to the server."""
    with Proxy(mail_server.host, mail_server.imap_port) as proxy:
        client = start_gateway(*plain_options(proxy)).client("alice", "secret")
        yield client
        assert not proxy.links and proxy.n_up == 0
        assert client.get("/mailboxes").status == 200 and len(proxy.links) == 1, "the twin: a good request does connect"
        client.close()


def test_bad_targets(quiet: Client) -> None:
    for method, target, named in BAD_TARGETS:
        response = quiet.request(method, target)
        assert 400 <= response.status < 500, f"{method} {target}: {response.status} {response.body!r}"
        assert named in response.json()["detail"], f"{method} {target}: {response.body!r}"


def test_bad_queries(quiet: Client) -> None:
    for query, named in BAD:
        refused(quiet.get(f"/mailboxes/INBOX/messages?{query}"), 400, named)


def test_bad_bodies(quiet: Client) -> None:
    for body, named in BAD_BODIES:
        refused(quiet.request("PATCH", MESSAGE, body, JSON), 400, named)
    for copy, named in BAD_COPIES:
        refused(quiet.request("POST", MESSAGE + "/copy", json.dumps(copy).encode(), JSON), 400, named)
    for method, mailbox, named in BAD_MAILBOXES:
        target = "/mailboxes" if method == "POST" else "/mailboxes/Work"
        refused(quiet.request(method, target, json.dumps(mailbox).encode(), JSON), 400, named)


def test_without_or_with_broken_credentials(quiet: Client) -> None:
    for value in ("", "Basic", "Basic !!!", "Basic bm9jb2xvbg==", "Basic OnB3", "Digest x", "Bearer x", "Basic YToAYg=="):
        response = quiet.get("/mailboxes", {"Authorization": value})
        assert response.status == 401 and response.header("WWW-Authenticate"), f"{value}: {response.status}"
