"""The core of the API on every server: Cyrus, Courier and Mailutils, or the one that --server names.

Each test compares what the gateway says with what another client sees, and notes by which of the server's
abilities, or by which of its own ways, the gateway did it. docs/servers.md is made from these notes.
"""

from __future__ import annotations

import contextlib
import imaplib
import itertools
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import quote

import pytest
import seed
from conftest import SERVERS, USERS, StartGateway, open_server, tls_options
from event_stream import EventStream
from gateway import Gateway
from imap_server import ImapServer
from mail_tools import good, pages, refused, segment, uids
from proxy import Proxy, plain_options

NUMBERS = itertools.count(1)
USER = "alice"
PASSWORD = USERS[USER]
NOON = datetime(2024, 3, 1, 12, tzinfo=timezone.utc)

Note = Callable[[str, str], None]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "world" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--server")
        metafunc.parametrize("world", [chosen] if chosen else [kind for kind in SERVERS if kind != "dovecot"], indirect=True, scope="module")


@dataclass
class World:
    """A server, a gateway in front of it, and what stands between them and reads along."""

    server: ImapServer
    proxy: Proxy
    binary: Path

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.gateway = Gateway(self.binary, plain_options(self.proxy)).start()
        self.client = self.gateway.client(USER, PASSWORD)

    def close(self) -> None:
        self.client.close()
        self.gateway.stop()

    def settle(self) -> None:
        """Another client is about to look, or has changed something: for a server whose sessions see each other late,
        the gateway leaves its mailboxes."""
        if self.server.shows_changes_late:
            self.close()
            self.open()

    def mailbox(self, *messages: bytes, flags: dict[int, str] | None = None) -> str:
        """A new one; flags by UID."""
        name = self.server.mailbox(f"Box {next(NUMBERS)}")
        with self.imap() as imap:
            seed.create(imap, name)
            for n, raw in enumerate(messages):
                date = imaplib.Time2Internaldate(NOON + timedelta(days=n))
                assert imap.append(seed.quoted(name), "", date, seed.crlf(raw))[0] == "OK"
            if flags:
                imap.select(seed.quoted(name))
                for uid, some in flags.items():
                    assert imap.uid("STORE", str(uid), "+FLAGS", f"({some})")[0] == "OK"
        return name

    @contextlib.contextmanager
    def imap(self, mailbox: str | None = None) -> Iterator[imaplib.IMAP4]:
        """Another client."""
        if mailbox is not None:
            self.settle()
        with seed.session(self.server.imap_port, USER, PASSWORD) as imap:
            if mailbox is not None:
                status, data = imap.select(seed.quoted(mailbox))
                assert status == "OK", data
            yield imap
        if mailbox is not None:
            self.settle()

    def seen(self, mailbox: str) -> dict[int, set[str]]:
        """UIDs and flags, as another client sees them."""
        with self.imap(mailbox) as imap:
            rows = imap.uid("FETCH", "1:*", "(FLAGS)")[1]
        found = {}
        for row in rows:
            match = re.search(rb"UID (\d+)", row or b"")
            if match:
                flags = re.search(rb"FLAGS \(([^)]*)\)", row)
                assert flags is not None
                found[int(match[1])] = {flag.decode() for flag in flags[1].split()} - {"\\Recent"}
        return found

    def raw(self, mailbox: str, uid: int) -> bytes:
        with self.imap(mailbox) as imap:
            raw = next(part[1] for part in imap.uid("FETCH", str(uid), "(BODY.PEEK[])")[1] if isinstance(part, tuple))
        return self.server.as_sent(raw)

    @contextlib.contextmanager
    def listening(self) -> Iterator[Callable[[], bytes]]:
        """What the gateway says to the server from here on."""
        before = len(self.proxy.sent)
        links = {id(link): len(link.sent) for link in self.proxy.links}
        yield lambda: b"".join(bytes(link.sent[links.get(id(link), 0) :]) for link in self.proxy.links)
        assert len(self.proxy.sent) >= before


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, binary: Path) -> Iterator[World]:
    with open_server(request.config, request.param) as server, Proxy(server.host, server.imap_port) as proxy:
        one = World(server, proxy, binary)
        yield one
        one.close()


@pytest.fixture
def note(record_property: Callable[[str, object], None]) -> Note:
    """note("sort", "SORT"): what served a feature, for docs/servers.md."""
    return lambda feature, served: record_property(feature, served)


# What must not be said to a server that does not offer it.
UNOFFERED = {
    "ACL": rb" MYRIGHTS|RETURN \([^\r]*MYRIGHTS",
    "BINARY": rb"BINARY",
    "CONDSTORE": rb"CONDSTORE|CHANGEDSINCE|MODSEQ",
    "CREATE-SPECIAL-USE": rb"\(USE \(",
    "ENABLE": rb" ENABLE ",
    "ESEARCH": rb"SEARCH RETURN",
    "ID": rb" ID (NIL|\()",
    "IDLE": rb" IDLE\r",
    "LIST-EXTENDED": rb" LIST [^\r]*RETURN",
    "LIST-STATUS": rb" LIST [^\r]*RETURN \([^\r]*STATUS",
    "LITERAL+": rb"\{\d+\+\}",
    "MOVE": rb" UID MOVE ",
    "NAMESPACE": rb" NAMESPACE\r",
    "NOTIFY": rb" NOTIFY ",
    "OBJECTID": rb"EMAILID|THREADID|MAILBOXID",
    "PREVIEW": rb"PREVIEW",
    "QRESYNC": rb"QRESYNC|VANISHED",
    "SASL-IR": rb" AUTHENTICATE \S+ \S",
    "SORT": rb" SORT ",
    "SPECIAL-USE": rb"SPECIAL-USE",
    "STATUS=SIZE": rb"STATUS [^\r]*\bSIZE\b",
    "UIDPLUS": rb" UID EXPUNGE ",
    "UNSELECT": rb" UNSELECT\r",
    "WITHIN": rb" (OLDER|YOUNGER) ",
}


@pytest.fixture(autouse=True)
def nothing_forbidden(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever happens, a server never hears an EXPUNGE without UIDs, nor a CLOSE that would be one, nor what it does not offer."""
    yield
    if "world" not in request.fixturenames:
        return
    world: World = request.getfixturevalue("world")
    heard = world.proxy.sent
    assert not re.search(rb"(?im)^\S+ (EXPUNGE|CLOSE)\r", heard)
    offered = world.server.capabilities | world.server.early_capabilities
    for capability, said in UNOFFERED.items():
        found = None if capability in offered else re.search(said, heard)
        assert not found, f"{capability} is not offered: {heard[max(0, found.start() - 80) : found.end()]!r}"


def letter(n: int, subject: str = "Letter", body: str = "Hello.", size: int = 0) -> bytes:
    date = (NOON + timedelta(days=n)).strftime("%a, %d %b %Y %H:%M:%S +0000")
    return (
        f"From: Ann Example <ann@example.test>\r\nTo: bob@example.test\r\nSubject: {subject} {n}\r\nDate: {date}\r\n"
        f"Message-ID: <letter-{n}@example.test>\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Transfer-Encoding: 8bit\r\n\r\n{body}\r\n{'x' * 70 + chr(13) + chr(10) if size else ''}".encode()
        + b"y" * size
        + (b"\r\n" if size else b"")
    )


def parcel() -> tuple[bytes, bytes]:
    message = EmailMessage()
    message["From"] = "Jörg Müller <joerg@example.test>"
    message["To"] = "bob@example.test"
    message["Subject"] = "Grüße aus Köln"
    message["Message-ID"] = "<parcel@example.test>"
    message.set_content("Guten Tag,\n€ 5.\n")
    attached = bytes(range(256)) * 700
    message.add_attachment(attached, maintype="application", subtype="octet-stream", filename="zahlen ü.bin")
    return seed.crlf(message.as_bytes()), attached


def at(mailbox: str, uid: int | None = None, rest: str = "") -> str:
    where = f"/mailboxes/{segment(mailbox)}/messages"
    return (where if uid is None else f"{where}/{uid}") + rest


# ---- how it is reached ----


def test_what_it_is(world: World, note: Note) -> None:
    note("server", world.server.title)
    note("version", world.server.version_text())
    note("capabilities", " ".join(sorted(world.server.capabilities - {"IMAP4REV1"})))
    note("capabilities before login", " ".join(sorted(world.server.early_capabilities - world.server.capabilities)))
    assert good(world.client.get("/mailboxes"))["mailboxes"]


def test_login(world: World, start_gateway: StartGateway, note: Note) -> None:
    server = world.server
    ca = ["--imap-ca-file", str(server.ca_file)]
    for options in (tls_options(server), ["--imap-url", server.imap_url, *ca]):
        gateway = start_gateway(*options)
        assert good(gateway.client(USER, PASSWORD).get("/mailboxes/INBOX"))["name"] == "INBOX"
        assert good(gateway.client("bob", USERS["bob"]).get("/mailboxes/INBOX"))["name"] == "INBOX"
        refused(gateway.client(USER, "wrong").get("/mailboxes/INBOX"), 401)
    good(world.client.get("/mailboxes/INBOX"))
    heard = world.proxy.links[0].sent
    if b" AUTHENTICATE PLAIN\r" in heard:
        way = "AUTHENTICATE PLAIN"
    else:
        way = "AUTHENTICATE PLAIN with SASL-IR" if b" AUTHENTICATE PLAIN " in heard else "LOGIN"
    note("login", way)
    note("introduction", "ID" if b" ID (" in heard else "none")
    with ssl.create_default_context(cafile=str(server.ca_file)).wrap_socket(
        socket.create_connection((server.host, server.imaps_port)), server_hostname="localhost"
    ) as secured:
        note("TLS", f"implicit and STARTTLS, {secured.version()}")


# ---- reading ----


def test_read(world: World, note: Note) -> None:
    raw, attached = parcel()
    mailbox = world.mailbox(raw, letter(1))
    with world.listening() as heard:
        message = good(world.client.get(at(mailbox, 1)))
        assert message["subject"] == "Grüße aus Köln"
        assert message["from"] == [{"name": "Jörg Müller", "email": "joerg@example.test"}]
        assert message["hasAttachment"] is True and message["keywords"] == {}
        assert message["receivedAt"] == "2024-03-01T12:00:00Z"
        stored = world.client.get(at(mailbox, 1, "/raw")).body
        assert message["size"] == len(stored) and world.server.as_sent(stored) == raw
        (attachment,) = message["attachments"]
        assert attachment["name"] == "zahlen ü.bin" and attachment["type"] == "application/octet-stream"
        assert world.client.get(attachment["href"]).body == attached
        part = world.client.get(at(mailbox, 1, "/raw"), {"Range": "bytes=100-299"})
        assert part.status == 206 and part.body == stored[100:300]
        text = world.client.get(at(mailbox, 1, "/text"))
        assert text.status == 200 and "€ 5." in text.text
        assert "€ 5." in good(world.client.get(at(mailbox, None, "?preview=1&uid=1")))["messages"][0]["preview"]
        refused(world.client.get(at(mailbox, 99)), 404)
        refused(world.client.get(at(mailbox, 1, "?uidValidity=77")), 410)
        assert b"BODY[" not in heard()
    assert world.seen(mailbox) == {1: set(), 2: set()}, "reading has changed something"
    note("preview", "PREVIEW" if b"PREVIEW" in heard() else "by the gateway")
    note("emailId, threadId", "OBJECTID" if message.get("emailId") else "none")
    note("open a mailbox", "EXAMINE (CONDSTORE)" if b"(CONDSTORE)" in heard() else "EXAMINE")


def test_list(world: World, note: Note) -> None:
    mailbox = world.mailbox(*(letter(n) for n in range(7)), flags={2: "\\Seen", 3: "\\Flagged"})
    assert pages(world.client, at(mailbox, None, "?limit=3&fields=uid")) == [[7, 6, 5], [4, 3, 2], [1]]
    listed = good(world.client.get(at(mailbox)))
    assert listed["total"] == 7
    rows = {one["uid"]: one for one in listed["messages"]}
    assert rows[2]["keywords"] == {"$seen": True} and rows[3]["keywords"] == {"$flagged": True}
    assert rows[5]["subject"] == "Letter 4" and rows[5]["messageId"] == ["letter-4@example.test"]
    assert rows[5]["receivedAt"] == "2024-03-05T12:00:00Z"
    counts = good(world.client.get(f"/mailboxes/{segment(mailbox)}"))
    assert (counts["totalEmails"], counts["unreadEmails"], counts["uidNext"]) == (7, 6, 8)
    # what another client does is there with the next request
    with world.imap(mailbox) as imap:
        imap.uid("STORE", "6", "+FLAGS", "(\\Deleted)")
        imap.expunge()
        imap.append(seed.quoted(mailbox), "", None, letter(8))  # type: ignore[arg-type]
    assert uids(world.client.get(at(mailbox, None, "?fields=uid&limit=3"))) == [8, 7, 5]
    note("changes by others", "when both have left the mailbox" if world.server.shows_changes_late else "at once")
    empty = world.mailbox()
    assert good(world.client.get(at(empty)))["messages"] == []


def test_sort(world: World, note: Note) -> None:
    subjects = ["pear", "Re: apple", "fig", "Banana", "apple"]
    mailbox = world.mailbox(*(letter(n, subject, size=n * 700 % 1100) for n, subject in enumerate(subjects)))
    with world.listening() as heard:
        assert uids(world.client.get(at(mailbox, None, "?sort=subject,-receivedAt&fields=uid"))) == [2, 5, 4, 3, 1]
        assert uids(world.client.get(at(mailbox, None, "?sort=-size,receivedAt&fields=uid"))) == [4, 2, 5, 3, 1]
        assert pages(world.client, at(mailbox, None, "?sort=receivedAt&fields=uid&limit=2")) == [[1, 2], [3, 4], [5]]
    note("sort", "SORT" if b" UID SORT " in heard() else "by the gateway")


def test_search(world: World, note: Note) -> None:
    mailbox = world.mailbox(
        letter(0, "Walrus"), letter(1, "Grüße", "Straße 5 €"), letter(2, body="walrus inside"), letter(3, size=3000), flags={2: "\\Seen", 3: "\\Flagged"}
    )
    expected = {
        "subject=walrus": [1],
        "body=WALRUS": [3],
        "text=walrus": [1, 3],
        "text=" + quote("Straße"): [2],
        "from=ann": [1, 2, 3, 4],
        "to=nobody": [],
        "seen=0": [1, 3, 4],
        "flagged=1&seen=0": [3],
        "minSize=3000": [4],
        "before=2024-03-02": [1],
        "after=2024-03-03T06:00:00Z": [3, 4],
        "messageId=letter-2@example.test": [3],
        "header=Message-ID:letter-3": [4],
        "uid=2:3": [2, 3],
        "hasAttachment=1": [],
    }
    with world.listening() as heard:
        for query, found in expected.items():
            assert sorted(uids(world.client.get(at(mailbox, None, f"?{query}&fields=uid")))) == found, query
        over = good(world.client.get(f"/messages?mailbox={quote(mailbox)}&text=walrus&fields=uid"))
        assert sorted(one["uid"] for one in over["messages"]) == [1, 3]
    note("search", "ESEARCH" if b"SEARCH RETURN (" in heard() else "SEARCH")


# ---- changing ----


def test_keywords(world: World, note: Note) -> None:
    mailbox = world.mailbox(letter(0), letter(1))
    target = at(mailbox, 1)
    with world.listening() as heard:
        first = world.client.get(target)
        changed = world.client.patch(target, {"keywords": {"$seen": True, "$flagged": True}}, {"If-Match": first.header("ETag") or ""})
        assert good(changed)["keywords"] == {"$seen": True, "$flagged": True}
        assert world.seen(mailbox)[1] == {"\\Seen", "\\Flagged"}
        refused(world.client.patch(target, {"keywords": {"$answered": True}}, {"If-Match": first.header("ETag") or ""}), 412)
        for keyword, flag in {"$answered": "\\Answered", "$draft": "\\Draft", "$deleted": "\\Deleted"}.items():
            assert world.client.put(f"{target}/keywords/{keyword}").status == 200
            assert flag in world.seen(mailbox)[1]
            assert world.client.delete(f"{target}/keywords/{keyword}").status == 200
        assert good(world.client.patch(target, {"keywords": {"$seen": None}}))["keywords"] == {"$flagged": True}
        with world.imap(mailbox) as imap:
            imap.uid("STORE", "1", "-FLAGS", "(\\Flagged)")
        assert good(world.client.get(target))["keywords"] == {}
        etag = world.client.get(target).header("ETag") or ""
        assert world.client.get(target, {"If-None-Match": etag}).status == 304
    assert world.seen(mailbox)[2] == set()
    note("If-Match", "UNCHANGEDSINCE" if b"UNCHANGEDSINCE" in heard() else "comparison of flags before STORE")


def test_own_keywords(world: World, note: Note) -> None:
    mailbox = world.mailbox(letter(0))
    with world.imap(mailbox) as imap:
        has_own = b"\\*" in b"".join(imap.response("PERMANENTFLAGS")[1])
    changed = world.client.patch(at(mailbox, 1), {"keywords": {"project-x": True}})
    note("keywords of one's own", "kept" if has_own else "not kept: 422")
    if not has_own:
        refused(changed, 422)
        assert world.seen(mailbox)[1] == set()
        return
    assert good(changed)["keywords"] == {"project-x": True}
    assert world.seen(mailbox)[1] == {"project-x"}
    assert uids(world.client.get(at(mailbox, None, "?keyword=project-x"))) == [1]
    assert uids(world.client.get(at(mailbox, None, "?notKeyword=project-x"))) == []
    assert good(world.client.patch(at(mailbox, 1), {"keywords": {"project-x": None}}))["keywords"] == {}


def test_append(world: World, note: Note) -> None:
    mailbox = world.mailbox(letter(0))
    raw = letter(1, body="äöü " * 3000)
    query = "?keywords=$seen,$flagged&receivedAt=2023-05-06T07:08:09Z"
    reply = world.client.request("POST", at(mailbox, None, query), raw, {"Content-Type": "message/rfc822"})
    assert reply.status == 201, reply.body
    told = reply.json()
    assert told["uid"] == 2 and told["mailbox"] == mailbox
    assert reply.header("Location") == at(mailbox, 2)
    assert world.raw(mailbox, 2) == raw
    message = good(world.client.get(at(mailbox, 2)))
    assert message["receivedAt"] == "2023-05-06T07:08:09Z"
    composed = world.client.request(
        "POST", at(mailbox), json_body={"from": [{"email": "a@b.test"}], "subject": "Grüße", "text": "Hallo €", "keywords": {"$draft": True}}
    )
    assert composed.status == 201 and composed.json()["uid"] == 3, composed.body
    assert good(world.client.get(at(mailbox, 3)))["subject"] == "Grüße"
    assert message["keywords"] == {"$seen": True, "$flagged": True}
    assert world.seen(mailbox) == {1: set(), 2: {"\\Seen", "\\Flagged"}, 3: {"\\Draft"}}
    refused(world.client.request("POST", at(world.server.mailbox("Nowhere")), raw, {"Content-Type": "message/rfc822"}), 404)
    note("UID of what was appended", "APPENDUID" if world.server.can("UIDPLUS") else "looked for by Message-ID")


def test_append_many(world: World, note: Note) -> None:
    mailbox = world.mailbox()
    mbox = b"".join(b"From x@y Thu Jan  1 00:00:00 2024\n" + letter(n).replace(b"\r\n", b"\n") + b"\n" for n in range(5))
    with world.listening() as heard:
        reply = world.client.request("POST", at(mailbox), mbox, {"Content-Type": "application/mbox"})
        assert reply.status in (200, 201), reply.body
        assert [one["index"] for one in reply.json()["appended"]] == list(range(5)) and reply.json()["failed"] == []
    assert uids(world.client.get(at(mailbox, None, "?fields=uid"))) == [5, 4, 3, 2, 1]
    note("mbox upload", "MULTIAPPEND" if heard().count(b" APPEND ") == 1 else "an APPEND for each")


def test_copy(world: World) -> None:
    source, target = world.mailbox(letter(0), letter(1)), world.mailbox()
    reply = world.client.request("POST", at(source, 2, "/copy"), json_body={"mailbox": target})
    assert reply.status == 201 and reply.json()["uid"] in (1, None), reply.body
    assert world.raw(target, 1) == letter(1)
    assert set(world.seen(source)) == {1, 2}
    refused(world.client.request("POST", at(source, 1, "/copy"), json_body={"mailbox": world.server.mailbox("Nowhere")}), 404)


def test_move(world: World, note: Note) -> None:
    source, target = world.mailbox(letter(0), letter(1), letter(2), flags={3: "\\Deleted"}), world.mailbox()
    with world.listening() as heard:
        moved = good(world.client.patch(at(source, 2), {"mailbox": target, "keywords": {"$flagged": True}}))
    assert world.raw(target, 1) == letter(1)
    assert world.seen(source)[3] == {"\\Deleted"}, "what another client marked is not to go"
    if world.server.can("MOVE"):
        way = "MOVE"
    elif world.server.can("UIDPLUS"):
        way = "COPY, STORE, UID EXPUNGE"
    else:
        way = "COPY and $deleted: the original remains"
    note("move", way)
    assert (b" UID MOVE " in heard()) == (way == "MOVE")
    if world.server.can("MOVE") or world.server.can("UIDPLUS"):
        assert set(world.seen(source)) == {1, 3}
        assert moved["subject"] == "Letter 1" and moved["mailbox"] == target and moved["uid"] == 1 and moved["keywords"] == {"$flagged": True}
    else:
        assert world.seen(source)[2] >= {"\\Deleted"} and moved["remains"]["uid"] == 2


def test_delete(world: World, note: Note) -> None:
    mailbox = world.mailbox(letter(10), letter(11), letter(12), flags={3: "\\Deleted"})
    trash = good(world.client.get("/mailboxes/@trash"))["name"]
    deleted = world.client.delete(at(mailbox, 1))
    assert deleted.status in (200, 204), deleted.body
    assert uids(world.client.get(at(trash, None, "?messageId=letter-10@example.test")))
    purged = world.client.delete(at(mailbox, 2, "?permanent=1"))
    if world.server.can("UIDPLUS"):
        assert purged.status == 204
        assert world.seen(mailbox) == {3: {"\\Deleted"}}
    else:
        refused(purged, 422, "UIDPLUS")
        assert set(world.seen(mailbox)) >= {2, 3}
    refused(world.client.delete(at(mailbox, 77)), 404)
    note("delete for good", "UID EXPUNGE" if world.server.can("UIDPLUS") else "422")


def test_bulk(world: World, note: Note) -> None:
    mailbox = world.mailbox(*(letter(n) for n in range(6)), flags={6: "\\Deleted"})
    target = world.mailbox()
    assert good(world.client.patch(at(mailbox, None, "?seen=0&uid=1:4"), {"keywords": {"$seen": True}}))["updated"] == [1, 2, 3, 4]
    assert {uid for uid, flags in world.seen(mailbox).items() if "\\Seen" in flags} == {1, 2, 3, 4}
    moved = good(world.client.patch(at(mailbox, None, "?uid=1,3"), {"mailbox": target}))
    assert moved["matched"] == 2 and sorted(world.seen(target)) == [1, 2]
    gone = world.client.delete(at(mailbox, None, "?uid=2,4&permanent=1"))
    if world.server.can("UIDPLUS"):
        assert good(gone)["destroyed"] == [2, 4]
        assert set(world.seen(mailbox)) == {5, 6}
    else:
        refused(gone, 422, "UIDPLUS")


def test_replace(world: World, note: Note) -> None:
    mailbox = world.mailbox(letter(0), letter(1), flags={1: "\\Draft", 2: "\\Deleted"})
    reply = world.client.request("PUT", at(mailbox, 1), letter(5), {"Content-Type": "message/rfc822"})
    assert reply.status == 201 and reply.json()["uid"] == 3, reply.body
    assert world.raw(mailbox, 3) == letter(5)
    if world.server.can("UIDPLUS"):
        assert world.seen(mailbox).keys() == {2, 3}
        note("replace a draft", "APPEND, UID EXPUNGE")
    else:
        assert world.seen(mailbox)[1] >= {"\\Deleted"} and reply.json()["remains"]["uid"] == 1
        note("replace a draft", "APPEND and $deleted: the old one remains")


# ---- mailboxes ----


def test_mailboxes(world: World, note: Note) -> None:
    full = world.server.mailbox(f"Résumés {next(NUMBERS)}")
    below = world.server.delimiter + "2024"
    wanted = [full, full + below] if world.server.has_children else [full]
    with world.listening() as heard:
        for each in wanted:
            created = world.client.request("POST", "/mailboxes", json_body={"name": each, "isSubscribed": True})
            assert created.status == 201, created.body
            assert created.header("Location") == f"/mailboxes/{segment(each)}"
        listed = {one["name"]: one for one in good(world.client.get("/mailboxes"))["mailboxes"]}
        assert listed[full]["isSubscribed"] is True and listed[full]["totalEmails"] == 0
        assert listed[full]["delimiter"] == world.server.delimiter
        if world.server.has_children:
            assert listed[full + below]["parent"] == full and listed[full + below]["leafName"] == "2024"
            assert listed[full]["hasChildren"] is True
        else:
            refused(world.client.request("POST", "/mailboxes", json_body={"name": full + below}), 409)
        off = good(world.client.patch(f"/mailboxes/{segment(wanted[-1])}", {"isSubscribed": False}))
        assert off["isSubscribed"] is False
        assert wanted[-1] not in {one["name"] for one in good(world.client.get("/mailboxes?subscribed=1"))["mailboxes"]}
        new = world.server.mailbox(f"日本語 {next(NUMBERS)}")
        renamed = good(world.client.patch(f"/mailboxes/{segment(full)}", {"name": new}))
        assert renamed["name"] == new
        names = {one["name"] for one in good(world.client.get("/mailboxes"))["mailboxes"]}
        assert new in names and full not in names and (new + below in names) == world.server.has_children
        refused(world.client.get(f"/mailboxes/{segment(full)}"), 404)
        for each in (new + below, new) if world.server.has_children else (new,):
            assert world.client.delete(f"/mailboxes/{segment(each)}").status == 204
        names = {one["name"] for one in good(world.client.get("/mailboxes"))["mailboxes"]}
        assert not {one for one in names if one.startswith(new)}
    refused(world.client.delete("/mailboxes/INBOX"), 409)
    refused(world.client.request("POST", "/mailboxes", json_body={"name": world.server.mailbox("Sent")}), 409)
    note("mailboxes below others", "yes" if world.server.has_children else "no: 409")
    if re.search(rb" LIST [^\r]*RETURN \([^\r]*STATUS \(", heard()):
        way = "LIST-EXTENDED with LIST-STATUS"
    else:
        way = "LIST-EXTENDED, STATUS for each" if b" RETURN (" in heard() else "LIST, LSUB, STATUS for each"
    note("list of mailboxes", way)


def test_roles(world: World, note: Note) -> None:
    sources = set()
    for role, name in {"drafts": "Drafts", "sent": "Sent", "trash": "Trash", "junk": "Junk", "archive": "Archive"}.items():
        found = good(world.client.get(f"/mailboxes/@{role}"))
        assert found["name"] == world.server.mailbox(name) and found["role"] == role
        sources.add(found["roleSource"])
    assert good(world.client.get("/mailboxes/@inbox"))["name"] == "INBOX"
    note("roles", {"server": "SPECIAL-USE", "name": "by name"}["".join(sources)])


# ---- what happens meanwhile ----


def changes(world: World, mailbox: str, since: str | None = None, **more: int) -> dict[str, object]:
    query = "&".join([f"since={since}"] * bool(since) + [f"{name}={value}" for name, value in more.items()])
    return good(world.client.get(f"/mailboxes/{segment(mailbox)}/changes?{query}"))


def test_changes(world: World, note: Note) -> None:
    mailbox = world.mailbox(letter(0), letter(1), letter(2))
    with world.listening() as heard:
        state = str(changes(world, mailbox)["newState"])
        with world.imap(mailbox) as imap:
            imap.append(seed.quoted(mailbox), "", None, letter(3))  # type: ignore[arg-type]
            imap.uid("STORE", "1", "+FLAGS", "(\\Flagged)")
            imap.uid("STORE", "2", "+FLAGS", "(\\Deleted)")
            imap.expunge()
        if world.server.shows_changes_late:
            # Its UIDs are new ones, under a new UIDVALIDITY, after an expunge; within one second it is the same.
            response = world.client.get(f"/mailboxes/{segment(mailbox)}/changes?since={state}")
            if response.status != 200:
                refused(response, 410)
            note("changes", "comparison of flags and UIDs; 410 after an expunge")
            return
        told = changes(world, mailbox, state)
        assert (told["created"], told["updated"], told["destroyed"]) == ([4], [1], [2])
        again = changes(world, mailbox, str(told["newState"]))
        assert (again["created"], again["updated"], again["destroyed"]) == ([], [], [])
    way = "comparison of flags and UIDs"
    if b"CHANGEDSINCE" in heard():
        way = "QRESYNC" if b"VANISHED" in heard() else "CONDSTORE, comparison of UIDs"
    note("changes", way)


def test_events(world: World, note: Note) -> None:
    mailbox = world.mailbox(letter(0), letter(1))
    target = f"/events?mailbox={quote(mailbox)}"
    is_late = world.server.shows_changes_late
    with world.listening() as heard:
        with EventStream(world.gateway, target, USER, PASSWORD).ready() as stream, seed.session(world.server.imap_port, USER, PASSWORD) as imap:
            if is_late:
                # It is told that there is more, and under another UIDVALIDITY when the gateway looks.
                seed.append(imap, mailbox, [seed.Message(letter(2))])
                stream.wait(lambda: any(one.kind in ("created", "reset") for one in stream.events), 60, "created or reset")
            else:
                imap.select(seed.quoted(mailbox))
                seed.append(imap, mailbox, [seed.Message(letter(2))])
                assert stream.wait_for("created", seconds=60).data["uids"] == [3]
                imap.uid("STORE", "1", "+FLAGS", "(\\Seen)")
                # Once somebody asks for mod-sequences, Dovecot may give all older messages a new one.
                assert 1 in stream.wait_for("updated", seconds=60).data["uids"]
                imap.uid("STORE", "2", "+FLAGS", "(\\Deleted)")
                imap.expunge()
                assert stream.wait_for("destroyed", seconds=60).data["uids"] == [2]
            last = stream.last_id
        world.settle()
        with seed.session(world.server.imap_port, USER, PASSWORD) as imap:
            seed.append(imap, mailbox, [seed.Message(letter(3))])
        with EventStream(world.gateway, target, USER, PASSWORD, last_id=last).ready() as stream:
            if is_late:
                stream.wait(lambda: any(one.kind in ("created", "reset") for one in stream.events), 60, "created or reset")
            else:
                assert stream.wait_for("created", seconds=60).data["uids"] == [4]
                assert not [one for one in stream.events if one.kind in ("destroyed", "reset")]
    sent = heard()
    way = "NOTIFY" if b" NOTIFY SET " in sent else "IDLE" if b" IDLE\r" in sent else "polling"
    note("events", f"{way}; new messages only, often as reset" if is_late else way)
