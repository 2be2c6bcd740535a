"""How the IMAP server is reached, and servers that can little: the answers are the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from conftest import StartGateway, tls_options
from dovecot import Dovecot, Options
from gateway import Gateway
from http_client import Client
from load import load
from mail_tools import good, refused


def test_implicit_tls_starttls_and_clear_text(start_gateway: StartGateway, own_dovecot: Dovecot) -> None:
    load(own_dovecot.imap_port, "demo", "demo")
    ca = ["--imap-ca-file", str(own_dovecot.ca_file)]
    ways = [  # and how Dovecot's log calls it; to Dovecot a loopback address is "secured"
        (["--imap-url", own_dovecot.imaps_url, *ca], "TLS"),
        (["--imap-url", own_dovecot.imap_url, *ca], "TLS"),
        (["--imap-url", own_dovecot.imap_url, "--imap-security", "none"], "secured"),
    ]
    n_logins = 1  # of load()
    answers = []
    for options, kind in ways:
        client = start_gateway(*options).client("demo", "demo")
        answers.append([demo_answer(client, target) for target in ("/mailboxes", "/messages/7", "/messages/7/raw")])
        n_logins += 1
        log = own_dovecot.wait_for_log(rf"((?:Login|Logged in): user=<demo>(.|\n)*){{{n_logins}}}")
        last = [line for line in log.splitlines() if re.search("(Login|Logged in): user=<demo>", line)][-1]
        assert f", {kind}, session" in last
        wrong = start_gateway(*options).client("demo", "wrong")
        refused(wrong.get("/mailboxes"), 401)
    assert answers[0] == answers[1] == answers[2]


def test_server_that_wants_tls_first(start_gateway: StartGateway) -> None:
    with Dovecot(users={"alice": "secret"}, options=Options(allow_cleartext=False)) as server:
        ca = ["--imap-ca-file", str(server.ca_file)]
        client = start_gateway("--imap-url", server.imap_url, *ca).client("alice", "secret")
        assert good(client.get("/mailboxes/INBOX"))["name"] == "INBOX"
        assert server.wait_for_log("(Login|Logged in): user=<alice>.* TLS")


# ---- servers that can little ----

FULL = (
    "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT SORT=DISPLAY THREAD=REFERENCES MULTIAPPEND UNSELECT CHILDREN "
    "NAMESPACE UIDPLUS LIST-EXTENDED I18NLEVEL=1 CONDSTORE QRESYNC ESEARCH ESORT SEARCHRES WITHIN CONTEXT=SEARCH LIST-STATUS "
    "BINARY MOVE SNIPPET=FUZZY PREVIEW=FUZZY PREVIEW STATUS=SIZE SAVEDATE LITERAL+ SPECIAL-USE"
)


def without(*gone: str) -> str:
    return " ".join(one for one in FULL.split() if one not in gone)


# What the server offers, and what must not be sent to it then.
SERVERS: dict[str, tuple[str, str]] = {
    "no ESEARCH": (without("ESEARCH", "ESORT", "SEARCHRES", "CONTEXT=SEARCH"), r"SEARCH RETURN|SORT RETURN"),
    "no SORT": (without("SORT", "SORT=DISPLAY", "ESORT"), r" SORT "),
    "no CONDSTORE": (without("CONDSTORE", "QRESYNC"), r"CONDSTORE|MODSEQ|UNCHANGEDSINCE|QRESYNC"),
    "no LIST-STATUS": (without("LIST-STATUS"), r"RETURN \(.*STATUS"),
    "no LIST extensions": (without("LIST-STATUS", "LIST-EXTENDED", "SPECIAL-USE"), r"LIST .*RETURN|SPECIAL-USE"),
    "no SPECIAL-USE": (without("SPECIAL-USE"), r"SPECIAL-USE"),
    "no CHILDREN": (without("CHILDREN", "LIST-EXTENDED", "LIST-STATUS"), r"RETURN \(.*CHILDREN"),
    "no LITERAL+": (without("LITERAL+"), r"\{\d+[+-]\}"),
    "no PREVIEW": (without("PREVIEW", "PREVIEW=FUZZY", "SNIPPET=FUZZY"), r"PREVIEW|SNIPPET"),
    "no STATUS=SIZE": (without("STATUS=SIZE"), r"STATUS .*\bSIZE"),
    "no ENABLE, ID, NAMESPACE": (without("ENABLE", "ID", "NAMESPACE", "SASL-IR"), r" (ENABLE|ID|NAMESPACE) "),
    "bare IMAP4rev1": (
        "IMAP4rev1",
        r"RETURN| SORT |CONDSTORE|MODSEQ|UNCHANGEDSINCE|\{\d+[+-]\}|PREVIEW|SPECIAL-USE|ENABLE|BINARY| ID |NAMESPACE|UNSELECT",
    ),
}

TARGETS = [
    "/mailboxes",
    "/mailboxes/@sent",
    "/mailboxes/@archive/messages",
    "/mailboxes/Work",
    "/mailboxes/R%C3%A9sum%C3%A9s/messages",
    "/mailboxes/Work%2F2024/messages?keyword=project-x",
    "/messages?mailbox=INBOX&limit=5",
    "/messages?mailbox=INBOX&limit=5&sort=-size",
    "/messages?mailbox=INBOX&uid=1:15,17:*&sort=subject,-receivedAt&fields=uid",  # what 16 decodes to is not laid down
    "/messages?mailbox=INBOX&limit=40&sort=from,sentAt&fields=uid",
    "/messages?mailbox=INBOX&sort=receivedAt&seen=0&fields=uid,subject",
    "/messages?mailbox=INBOX&subject=%E6%97%A5%E6%9C%AC&fields=uid",
    "/messages?mailbox=INBOX&text=%E2%82%AC&fields=uid",
    "/messages?mailbox=INBOX&body=walrus&fields=uid",
    "/messages?mailbox=INBOX&hasAttachment=1&fields=uid,attachments",
    "/messages?mailbox=INBOX&uid=1,7,30:*&fields=uid,from",
    "/messages?mailbox=INBOX&limit=7&body=text",
    *(f"/messages/{uid}" for uid in (2, 7, 13, 20)),
    "/messages/2/raw",
    "/messages/7/parts/2",
    "/messages/14/html",
    "/messages/4/text",
    "/messages/3/headers",
]
# What depends on the moment of loading, or cannot be known without an extension.
VARIES = {"uidValidity", "state", "modseq", "highestModseq", "next", "size", "preview", "roleSource"}


def stripped(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: stripped(child) for key, child in value.items() if key not in VARIES}
    return [stripped(child) for child in value] if isinstance(value, list) else value


def demo_answer(client: Client, target: str) -> Any:
    response = client.get(target)
    assert response.status == 200, f"{target}: {response.status} {response.body!r}"
    return stripped(response.json()) if response.type == "application/json" else response.body


@pytest.fixture(scope="module")
def reference(binary: Path) -> Iterator[tuple[list[Any], Any]]:
    """The answers in front of a server with everything, and the moment that the demo's dates belong to."""
    now = datetime.now(timezone.utc)
    with Dovecot(users={"demo": "demo"}) as server:
        load(server.imap_port, "demo", "demo", now)
        with Gateway(binary, tls_options(server)) as gateway:
            client = gateway.client("demo", "demo")
            yield [demo_answer(client, target) for target in TARGETS], now


@pytest.mark.parametrize("kind", SERVERS)
def test_server_without(start_gateway: StartGateway, reference: tuple[list[Any], Any], kind: str) -> None:
    """The same answers, and not a word that the server does not offer."""
    expected, now = reference
    capability, forbidden = SERVERS[kind]
    with Dovecot(users={"demo": "demo"}, options=Options(capability=capability, rawlog=True)) as server:
        load(server.imap_port, "demo", "demo", now)
        for path in (server.root / "rawlog" / "demo").iterdir():
            path.unlink()
        gateway = start_gateway(*tls_options(server))
        client = gateway.client("demo", "demo")
        for target, answer in zip(TARGETS, expected):
            assert json.dumps(plain_text(demo_answer(client, target))) == json.dumps(plain_text(answer)), target
        writes(client, "CONDSTORE" in capability)
        gateway.stop()
        server.wait_for_log("Logged out(.|\n)*Logged out")
        sent = server.rawlog("demo").decode("utf-8", "replace")
    assert " FETCH " in sent
    found = [line for line in sent.splitlines() if re.search(forbidden, line)]
    assert not found, "\n".join(found[:10])


def plain_text(answer: Any) -> Any:
    return answer.decode("latin-1") if isinstance(answer, bytes) else answer


def writes(client: Client, has_modseq: bool) -> None:
    """Keywords, versions and pages on a server with or without CONDSTORE."""
    response = client.get("/messages/8")
    etag = response.header("ETag") or ""
    assert (response.json()["modseq"] is not None) == has_modseq
    assert client.get("/messages/8", {"If-None-Match": etag}).status == 304
    changed = client.patch("/messages/8", {"keywords": {"$flagged": True, "x": True}}, {"If-Match": etag})
    assert good(changed)["keywords"]["x"] is True
    refused(client.patch("/messages/8", {"keywords": {"x": None}}, {"If-Match": etag}), 412)
    assert client.get("/messages/8", {"If-None-Match": etag}).status == 200
    listed = client.get("/messages?mailbox=INBOX&limit=3")
    tag = listed.header("ETag") or ""
    assert client.get("/messages?mailbox=INBOX&limit=3", {"If-None-Match": tag}).status == 304
    assert client.delete("/messages/37/keywords/$seen").status == 200
    assert client.put("/messages/37/keywords/y").status == 200
    assert client.get("/messages?mailbox=INBOX&limit=3", {"If-None-Match": tag}).status == 200
    refused(client.get("/messages/8?uidValidity=1"), 410)
    if not has_modseq:
        refused(client.get("/messages?mailbox=INBOX&changedSince=1"), 422, "changedSince")
    shown: list[int] = []
    target = "/messages?mailbox=INBOX&limit=10&fields=uid"
    while target:
        body = good(client.get(target))
        shown += [m["uid"] for m in body["messages"]]
        target = body.get("next", "")
    assert shown == list(range(37, 0, -1))
