"""Lists as streams: NDJSON, mbox and ZIP, read back by other programs; constant memory, and never a short success."""

from __future__ import annotations

import base64
import http.client
import io
import json
import mailbox
import random
import re
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import seed
from conftest import StartGateway, private_server, tls_options
from dovecot import Options
from http_client import Client, Response
from imap_server import ImapServer
from mail_tools import expunge, good, new_mailbox, refused, second_client, segment, uids
from proxy import Proxy, plain_options, settled
from test_streaming import MAX_AHEAD, MIB, SlowReader

pytestmark = pytest.mark.needs("UIDPLUS", "speed")

USER, PASSWORD = "stream", "secret"  # those of SlowReader
NDJSON = {"Accept": "application/x-ndjson"}


def odd_message(n: int) -> seed.Message:
    """Lines that an mbox quotes, 8-bit bytes, long lines, no line end at the end."""
    chance = random.Random(n)
    lines = ["From the start", ">From", ">From here", ">>From there", "From: not me", " From", "", "\u00e4\u00f6", "x" * 3000, ">"]
    body = "\r\n".join(chance.choice(lines) for _ in range(chance.randrange(0, 400)))
    message = seed.plain(n, subject=f"../odd \u202e{'x' * (n % 90)}/", body=body)
    return seed.Message(message.raw.rstrip() if n % 7 == 0 else message.raw, message.flags, message.received)


@pytest.fixture(scope="module")
def server() -> Iterator[ImapServer]:
    with private_server({USER: PASSWORD}) as one:
        yield one


@pytest.fixture(scope="module")
def filled(server: ImapServer) -> str:
    """640 messages, among them seven of some hundred KiB, and gaps between the UIDs."""
    name = server.mailbox("Gefüllt/2024")
    with seed.session(server.imap_port, USER, PASSWORD) as imap:
        seed.create(imap, name)
    large = b"Subject: large\r\nFrom: Ann <ann@example.test>\r\n\r\n" + b"From here to there\r\n" * 16_000
    messages = [odd_message(n) if n % 100 else seed.Message(large) for n in range(1, 701)]
    seed.append_many(server.imap_port, USER, PASSWORD, name, messages)
    with second_client(server, name, USER) as other:
        expunge(other, range(5, 700, 11))
    return name


@pytest.fixture
def proxy(server: ImapServer) -> Iterator[Proxy]:
    with Proxy(server.host, server.imap_port) as proxy:
        yield proxy


@pytest.fixture
def client(start_gateway: StartGateway, proxy: Proxy) -> Iterator[Client]:
    client = start_gateway(*plain_options(proxy)).client(USER, PASSWORD)
    yield client
    client.close()


def listed(name: str, **parameters: Any) -> str:
    return f"/mailboxes/{segment(name)}/messages?{urlencode(parameters)}"


def lines(response: Response) -> list[Any]:
    assert response.status == 200, response.body
    assert response.header("Content-Type") == "application/x-ndjson"
    assert response.body == b"" or response.body.endswith(b"\n")
    return [json.loads(line) for line in response.body.splitlines()]


def raws(server: ImapServer, name: str) -> dict[int, bytes]:
    """What another client gets."""
    with second_client(server, name, USER) as other:
        status, data = other.uid("FETCH", "1:*", "(UID BODY.PEEK[])")
        assert status == "OK"
        return {int(re.search(rb"UID (\d+)", one[0])[1]): one[1] for one in data if isinstance(one, tuple)}  # type: ignore[index]


# ---- NDJSON


def test_each_line_is_the_object_of_a_page(client: Client, filled: str) -> None:
    page = good(client.get(listed(filled, limit=1000)))["messages"]
    assert len(page) > 256
    assert lines(client.get(listed(filled), NDJSON)) == page[::-1]
    assert lines(client.get(listed(filled, pretty=1, format="ndjson"))) == page[::-1]
    for query in ({"seen": 0}, {"subject": "large"}, {"fields": "uid,size,subject"}, {"uid": "10:40,250:*"}, {"after": page[50]["receivedAt"]}):
        page = good(client.get(listed(filled, limit=1000, **query)))["messages"]
        assert lines(client.get(listed(filled, **query), NDJSON)) == page[::-1], query
    for query in ({"sort": "-size,receivedAt"}, {"sort": "subject", "seen": 1}):
        page = good(client.get(listed(filled, limit=1000, **query)))["messages"]
        assert lines(client.get(listed(filled, **query), NDJSON)) == page, query


def test_limit(client: Client, filled: str) -> None:
    everything = [line["uid"] for line in lines(client.get(listed(filled, format="ndjson", fields="uid")))]
    for limit in (1, 511, 512, 513, 600, 100_000):
        assert [line["uid"] for line in lines(client.get(listed(filled, format="ndjson", fields="uid", limit=limit)))] == everything[:limit]
    after = good(client.get(f"/mailboxes/{segment(filled)}/messages/{everything[100]}"))["receivedAt"]
    assert [line["uid"] for line in lines(client.get(listed(filled, format="ndjson", fields="uid", after=after, limit=3)))] == uids(client.get(listed(filled, after=after, limit=1000)))[:-4:-1]


def test_bodies_and_previews(client: Client, filled: str) -> None:
    query = {"preview": 1, "body": "text,html", "maxBodyValueBytes": 100, "uid": "1:200"}
    page = good(client.get(listed(filled, limit=200, **query)))["messages"]
    assert len(page) > 150 and page[0]["preview"] is not None
    assert lines(client.get(listed(filled, **query), NDJSON)) == page[::-1]


def test_demo_mailbox(demo: Client) -> None:
    """Odd messages of all kinds."""
    query = {"preview": 1, "body": "text,html"}
    page = good(demo.get(listed("INBOX", limit=200, **query)))["messages"]
    assert lines(demo.get(listed("INBOX", **query), NDJSON)) == page[::-1]


def test_empty(client: Client, server: ImapServer) -> None:
    name = new_mailbox(server, user=USER)
    assert lines(client.get(listed(name, format="ndjson"))) == []
    assert client.get(listed(name, format="mbox")).body == b""
    assert zipfile.ZipFile(io.BytesIO(client.get(listed(name, format="zip")).body)).namelist() == []


def test_expunged_meanwhile(client: Client, proxy: Proxy, server: ImapServer) -> None:
    """What goes while the list is under way is left out, once the server says that it is gone; nothing else is."""
    name = new_mailbox(server, user=USER)
    seed.append_many(server.imap_port, USER, PASSWORD, name, (seed.plain(n, body="x" * 20_000) for n in range(400)))
    assert client.get(listed(name, limit=1)).status == 200
    for form in ("ndjson", "mbox", "zip"):
        before = uids(client.get(listed(name, limit=1000, fields="uid")))[::-1]
        gone = before[-120::3]
        with SlowReader(client, listed(name, format=form, **({"body": "text"} if form == "ndjson" else {}))) as reader, second_client(server, name, USER) as other:
            first = reader.response.read(1000)
            settled(lambda: proxy.n_down, "the reading upstream")
            expunge(other, gone)
            body = first + reader.response.read()
        if form == "ndjson":
            came = [json.loads(line)["uid"] for line in body.splitlines()]
        elif form == "mbox":
            came = [int(number) + 1 for number in re.findall(rb"(?m)^Message-ID: <(\d+)@", body)]
        else:
            came = [int(re.match(r"\d+", one)[0]) for one in zipfile.ZipFile(io.BytesIO(body)).namelist()]  # type: ignore[index]
        assert [uid for uid in came if uid not in gone] == [uid for uid in before if uid not in gone]
        assert came == sorted(came) and set(came) <= set(before)


@pytest.mark.parametrize("capability", ["IMAP4rev1", "IMAP4rev1 ESEARCH LITERAL+ CONDSTORE ENABLE UNSELECT"], ids=["bare", "some"])
def test_servers_that_can_less(start_gateway: StartGateway, capability: str) -> None:
    with private_server({USER: PASSWORD}, Options(capability=capability)) as server:
        name = new_mailbox(server, [odd_message(n) for n in range(1, 30)], user=USER)
        client = start_gateway(*tls_options(server)).client(USER, PASSWORD)
        page = good(client.get(listed(name, limit=1000)))["messages"]
        assert lines(client.get(listed(name), NDJSON)) == page[::-1]
        refused(client.get(listed(name, sort="size"), NDJSON), 422, "sort")
        assert unquoted(client.get(listed(name, format="mbox")).body) == [with_lf(raw) for raw in raws(server, name).values()]


# ---- what it comes as


@pytest.mark.parametrize(
    "accept, form, expected",
    [
        (None, None, "application/json"),
        ("*/*", None, "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", None, "application/json"),
        ("application/x-ndjson", None, "application/x-ndjson"),
        ("application/json;q=0.1, application/mbox", None, "application/mbox"),
        ("application/zip", "json", "application/json"),
        ("text/csv", "ndjson", "application/x-ndjson"),
        ("text/csv", None, None),
        ("application/json;q=0", None, None),
        ("application/*;q=0.2, application/json;q=0", None, "application/x-ndjson"),
    ],
)
def test_representations(alice: Client, accept: str | None, form: str | None, expected: str | None) -> None:
    target = listed("INBOX", **({"format": form} if form else {}))
    headers = {"Accept": accept} if accept else {}
    for method in ("GET", "HEAD"):
        response = alice.request(method, target, headers=headers)
        assert response.header("Vary") == "Accept, Authorization, Cookie, Origin"
        assert response.status == (200 if expected else 406)
        assert response.header("Content-Type") == (expected or "application/problem+json")
    if not expected:
        assert "application/x-ndjson" in alice.get(target, headers).json()["detail"]


def test_bad_queries(alice: Client) -> None:
    for query in ("format=csv", "format=", "format=ndjson&cursor=1.1.1.1", "format=ndjson&limit=0", "format=mbox&fields=uid", "format=zip&preview=1", "format=ndjson&format=mbox", "format=ndjson&sen=1"):
        refused(alice.get(f"/mailboxes/INBOX/messages?{query}"), 400)
    refused(alice.get("/mailboxes/Nowhere/messages?format=ndjson"), 404)
    refused(alice.get("/mailboxes/INBOX/messages?format=mbox&uidValidity=1"), 410)
    assert alice.get("/messages?mailbox=INBOX&format=ndjson").header("Content-Type") == "application/x-ndjson"


@pytest.mark.parametrize("form", ["ndjson", "mbox", "zip"])
def test_head(client: Client, proxy: Proxy, filled: str, form: str) -> None:
    assert client.get(listed(filled, limit=1)).status == 200
    before = proxy.n_down
    head = client.head(listed(filled, format=form))
    assert head.status == 200 and head.body == b"" and proxy.n_down - before < 5000
    get = client.get(listed(filled, format=form))
    for name in ("Content-Type", "Content-Disposition", "Vary", "Cache-Control"):
        assert head.header(name) == get.header(name)


# ---- mbox


def with_lf(raw: bytes) -> bytes:
    text = raw.replace(b"\r\n", b"\n")
    return text if text.endswith(b"\n") or not text else text + b"\n"


def unquoted(mbox: bytes) -> list[bytes]:
    """The messages of an mboxrd."""
    parts = re.split(rb"^From [^\n]*\n", mbox, flags=re.MULTILINE)
    assert parts[0] == b"" and all(part.endswith(b"\n") for part in parts[1:])
    return [re.sub(rb"^>(>*From )", rb"\1", part[:-1], flags=re.MULTILINE) for part in parts[1:]]


def test_mbox(client: Client, server: ImapServer, filled: str, tmp_path: Path) -> None:
    response = client.get(listed(filled, format="mbox"))
    name = filled.replace("/", "_")
    disposition = f"attachment; filename=\"{name.replace('ü', '_')}.mbox\"; filename*=UTF-8''{quote(name)}.mbox"
    assert response.header("Content-Disposition") == disposition
    assert b"\r\n" not in response.body
    messages = raws(server, filled)
    assert unquoted(response.body) == [with_lf(raw) for raw in messages.values()]
    path = tmp_path / "x.mbox"
    path.write_bytes(response.body)
    box = mailbox.mbox(path)
    assert len(box) == len(messages)
    assert [one["Message-ID"] for one in box if one["Message-ID"]] == [found[1].decode() for raw in messages.values() if (found := re.search(rb"(?m)^Message-ID: (.*?)\r", raw))]
    first = response.body.split(b"\n", 1)[0]
    received = good(client.get(listed(filled, uid=min(messages), fields="receivedAt")))["messages"][0]["receivedAt"]
    assert received == "2023-11-14T22:14:20Z" and first == b"From ann@example.test Tue Nov 14 22:14:20 2023"


def test_mbox_of_what_filters_pick(client: Client, server: ImapServer, filled: str) -> None:
    messages = raws(server, filled)
    for query in ({"subject": "large"}, {"seen": 0}, {"sort": "-size", "limit": 20}):
        wanted = uids(client.get(listed(filled, **{"limit": 1000, **query})))
        if "sort" not in query:
            wanted.reverse()
        assert unquoted(client.get(listed(filled, format="mbox", **query)).body) == [with_lf(messages[uid]) for uid in wanted]


# ---- ZIP


def expect_zip(body: bytes, tmp_path: Path) -> zipfile.ZipFile:
    path = tmp_path / "x.zip"
    path.write_bytes(body)
    result = subprocess.run(["unzip", "-tq", path], capture_output=True, check=False)
    assert result.returncode == 0, result.stdout
    archive = zipfile.ZipFile(path)
    assert archive.testzip() is None
    for name in archive.namelist():
        assert not re.search(r"[\x00-\x1f\x7f/\\:*?\"<>|\u200b-\u200f\u202a-\u202e\u2066-\u2069]", name), name
        assert not name.startswith(".") and name.strip(". ") and len(name.encode()) <= 255
    assert len({name.casefold() for name in archive.namelist()}) == len(archive.namelist())
    return archive


def test_zip(client: Client, server: ImapServer, filled: str, tmp_path: Path) -> None:
    archive = expect_zip(client.get(listed(filled, format="zip")).body, tmp_path)
    messages = raws(server, filled)
    assert [archive.read(name) for name in archive.namelist()] == list(messages.values())
    for name, uid in zip(archive.namelist(), messages):
        assert re.fullmatch(rf"{uid}(-.*)?\.eml", name)
    info = archive.infolist()[0]
    assert info.date_time == (2023, 11, 14, 22, 14, 20) and info.external_attr >> 16 == 0o100644
    assert "1-.._odd" in archive.namelist()[0]


def attachments(parts: list[tuple[str | None, bytes, str]]) -> bytes:
    message = EmailMessage()
    message["From"], message["Subject"] = "ann@example.test", "attachments"
    message.set_content("See attachments.")
    for name, content, kind in parts:
        main, sub = kind.split("/")
        message.add_attachment(content, main, sub, filename=name)
    return message.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def test_attachments_zip(client: Client, server: ImapServer, tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(3 * MIB)
    parts = [
        ("report.pdf", noise, "application/pdf"),
        ("Report.PDF", b"another", "application/pdf"),
        ("../../etc/passwd", b"root", "application/octet-stream"),
        ("a\u202efdp.exe", b"x", "application/octet-stream"),
        ("Grüße 🍜.bin", b"\0\1\2", "application/octet-stream"),
        (None, b"nameless", "image/png"),
        ("NUL", b"", "application/octet-stream"),
        ("x" * 300 + ".tar.gz", b"long", "application/gzip"),
    ]
    name = new_mailbox(server, [seed.Message(attachments(parts)), seed.plain(1)], user=USER)
    target = f"/mailboxes/{segment(name)}/messages/1/attachments.zip"
    response = client.get(target)
    assert response.status == 200 and response.header("Content-Type") == "application/zip"
    archive = expect_zip(response.body, tmp_path)
    assert [archive.read(one) for one in archive.namelist()] == [content for _, content, _ in parts]
    names = archive.namelist()
    assert names[:2] == ["report.pdf", "Report (2).PDF"] and names[4] == "Grüße 🍜.bin" and names[5].endswith(".png") and names[6] == "_NUL"
    etag = response.header("ETag") or ""
    assert client.get(target, {"If-None-Match": etag}).status == 304
    head = client.head(target)
    assert head.status == 200 and head.header("ETag") == etag and head.header("Content-Disposition") == response.header("Content-Disposition")
    assert expect_zip_empty(client.get(target.replace("/1/", "/2/")).body)
    refused(client.get(target.replace("/1/", "/9/")), 404)
    refused(client.get(target + "?x=1"), 400)


def expect_zip_empty(body: bytes) -> bool:
    return zipfile.ZipFile(io.BytesIO(body)).namelist() == []


def test_attachments_of_the_demo(demo: Client, tmp_path: Path) -> None:
    for uid in uids(demo.get("/mailboxes/INBOX/messages?limit=200")):
        message = good(demo.get(f"/messages/{uid}?fields=attachments"))
        body = demo.get(f"/messages/{uid}/attachments.zip").body
        if not message["attachments"]:
            assert expect_zip_empty(body)
            continue
        archive = expect_zip(body, tmp_path)
        contents = [demo.get(one["href"]).body for one in message["attachments"] if one["partId"]]
        assert [archive.read(name) for name in archive.namelist()] == contents, uid


# ---- breaking, and readers that are slow


@pytest.mark.parametrize("form", ["ndjson", "mbox", "zip"])
def test_cut_at_many_places_is_never_a_short_success(client: Client, proxy: Proxy, filled: str, form: str) -> None:
    target = listed(filled, format=form, **({"body": "text"} if form == "ndjson" else {}))
    whole = client.get(target).body
    chance, n_broken = random.Random(3), 0
    for _ in range(12):
        proxy.cut_after(chance.randrange(1, len(whole)), with_reset=chance.random() < 0.5)
        response = client.open("GET", target)
        try:
            body = response.read()
            assert response.status != 200 or body == whole
        except http.client.IncompleteRead:
            n_broken += 1
        client.close()
    assert n_broken > 0
    proxy.cut_never()
    assert client.get(target).body == whole


@pytest.mark.parametrize("n_bytes", [1, 997])
def test_pieces_do_not_matter(client: Client, proxy: Proxy, server: ImapServer, n_bytes: int) -> None:
    name = new_mailbox(server, [odd_message(n) for n in range(1, 12)], user=USER)
    forms = [listed(name, format=form, limit=3 if n_bytes == 1 else 11) for form in ("ndjson", "mbox", "zip")]
    whole = [client.get(target).body for target in forms]
    proxy.slice = n_bytes
    assert [client.get(target).body for target in forms] == whole


@pytest.mark.parametrize("form", ["ndjson", "mbox", "zip"])
def test_slow_reader_stops_the_reading_upstream(client: Client, proxy: Proxy, server: ImapServer, form: str) -> None:
    name = server.mailbox(f"Slow {form}")
    with seed.session(server.imap_port, USER, PASSWORD) as imap:
        seed.create(imap, name)
    noise = random.Random(1)
    messages = (seed.plain(n, body=base64.encodebytes(noise.randbytes(36_000)).decode()) for n in range(600))
    seed.append_many(server.imap_port, USER, PASSWORD, name, messages)
    assert client.get(listed(name, limit=1)).status == 200
    before = proxy.n_down
    target = listed(name, format=form, **({"body": "text"} if form == "ndjson" else {}))
    with SlowReader(client, target) as reader:
        ahead = settled(lambda: proxy.n_down, "the reading upstream") - before
        assert ahead < MAX_AHEAD + 4 * MIB
        for _ in range(20):
            assert client.get(listed(name, limit=5)).status == 200
        assert reader.response.read(1000)
        assert len(reader.response.read()) > (8 if form == "ndjson" else 15) * MIB


def test_memory_stays_flat(start_gateway: StartGateway, release_binary: Path, server: ImapServer) -> None:
    """20,000 messages in each form, while lists of the same account are asked for."""
    name, n_messages = server.mailbox("Many"), 2_000 if server.is_slow_with_many else 20_000
    with seed.session(server.imap_port, USER, PASSWORD) as imap:
        seed.create(imap, name)
    seed.append_many(server.imap_port, USER, PASSWORD, name, (seed.plain(n, body="Hello. " * 50) for n in range(n_messages)))
    gateway = start_gateway(*tls_options(server), program=release_binary)
    client = gateway.client(USER, PASSWORD)
    assert client.get(listed(name, limit=50)).status == 200 and client.get(listed(name, format="mbox", limit=300)).status == 200
    for form, limit_kib in (("ndjson", 4096), ("mbox", 4096), ("zip", 8192)):
        before = gateway.rss_kib
        gateway.reset_peak()
        is_over, n_lists = threading.Event(), 0

        def ask() -> None:
            nonlocal n_lists
            mine = gateway.client(USER, PASSWORD)
            while not is_over.is_set():
                assert len(uids(mine.get(listed(name, limit=50)))) == 50
                n_lists += 1
            mine.close()

        asker = threading.Thread(target=ask)
        asker.start()
        try:
            response = client.open("GET", listed(name, format=form))
            body = response.read()
        finally:
            is_over.set()
            asker.join()
        count = {"ndjson": rb"^\{", "mbox": rb"^From ann@", "zip": rb"PK\x01\x02"}[form]
        assert len(re.findall(count, body, re.MULTILINE)) == n_messages
        grown = gateway.peak_rss_kib - before
        assert grown < limit_kib, f"{form}: {grown} KiB"
        assert n_lists > (0 if server.is_slow_with_many else 10)
    client.close()
