"""Odd messages: whatever they hold, every address of theirs answers, and with valid JSON and valid UTF-8."""

from __future__ import annotations

import imaplib
import os
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest
import seed
from conftest import ROOT
from http_client import Client, Response
from imap_server import ImapServer
from mail_tools import good, new_mailbox, segment

CORPUS = ROOT / "tests" / "fuzz" / "corpus"
SEED = int(os.environ.get("ODD_SEED", "20"))
N_MADE = 120
MAX_TEXT_PARTS = 1000  # GP_MAX_TEXT_PARTS
# Bytes that mean something to one of the parsers on the way.
PIECES = [
    b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\r\n ", b"\t", b"=?utf-8?q?", b"=?utf-8?b?", b"?=", b"=?x?b?/w==?=", b"\xff", b"\xc3", b"\xed\xa0\x80",
    b"\xf0\x9f\x98\x80", b"\xe2\x80\xae", b"\x1b$B", b"\x01", b"\x7f", b'"', b"\\", b"(", b")", b"<", b">", b";", b",", b":", b"=", b"=3D", b"==", b"--x",
    b"--x--", b"\r\n--x\r\n", b"Subject: ", b"From: ", b"Content-Type: ", b"multipart/mixed; boundary=x", b"message/rfc822", b"text/html", b"text/plain",
    b"; charset=", b"utf-7", b"iso-2022-jp", b"x-none", b"Content-Transfer-Encoding: base64", b"quoted-printable", b"begin 644 a", b"{5}", b"\xc2\x85",
    b"; filename*=utf-8''%ff%00", b"; name*0*=x''a; name*1=b", b"Date: Thu, 99 Foo 0000 99:99:99 +9999", b"References: <<a> b", b"a" * 1100,
]  # fmt: skip
CHARSETS = ["", "utf-8", "us-ascii", "iso-2022-jp", "utf-7", "utf-16", "big5", "gb18030", "windows-1252", "euc-kr", "x-unknown", "\xff", "none\r\n x"]
ENCODINGS = ["", "base64", "quoted-printable", "8bit", "x-uuencode", "7bit", "binary", "garbage"]
TYPES = ["text/plain", "text/html", "message/rfc822", "multipart/mixed; boundary=x", "application/octet-stream", "image/", "/", ""]


def corpus() -> Iterator[tuple[str, bytes]]:
    for path in sorted(CORPUS.glob("*/*")):
        yield f"{path.parent.name}/{path.name}", path.read_bytes()


def wrapped(chance: random.Random, content: bytes) -> bytes:
    """The bytes as what a message of some type, charset and encoding holds, wherever that may stand."""
    charset, encoding = chance.choice(CHARSETS), chance.choice(ENCODINGS)
    kind = chance.choice(TYPES) + (f"; charset={charset}" if charset else "") + chance.choice(["", "; name=", '; name="', "; name*=utf-8''%"])
    head = f"Content-Type: {kind}\r\n" + (f"Content-Transfer-Encoding: {encoding}\r\n" if encoding else "")
    inner = head.encode("latin-1") + chance.choice([b"", b"Subject: " + content[:300] + b"\r\n"]) + b"\r\n" + content
    if chance.random() < 0.5:
        return b"From: a@example.test\r\nMIME-Version: 1.0\r\n" + inner
    outer = b"From: a@example.test\r\nContent-Type: multipart/" + chance.choice([b"mixed", b"alternative", b"related", b"digest"])
    return outer + b"; boundary=x\r\n\r\n--x\r\n" + inner + chance.choice([b"", b"\r\n--x\r\n" + inner]) + chance.choice([b"", b"\r\n--x--\r\n"])


def messages() -> list[bytes]:
    chance = random.Random(SEED)
    made = []
    for _, content in corpus():
        made += [content, wrapped(chance, content)]
    for _ in range(N_MADE):
        pieces = b"".join(chance.choice(PIECES) for _ in range(chance.randrange(1, 60)))
        made.append(pieces if chance.random() < 0.5 else wrapped(chance, pieces))
    nested = b"Subject: deepest\r\n\r\nx"
    for n in range(150):
        nested = b"Subject: %d\r\nContent-Type: %s\r\n\r\n" % (n, b"message/rfc822" if n % 2 else b"multipart/mixed; boundary=b%d" % n) + (
            nested if n % 2 else b"--b%d\r\n\r\n\r\n--b%d\r\nContent-Type: message/rfc822\r\n\r\n" % (n, n) + nested
        )
    made += [nested, b"", b"\r\n", b"X: " + b"y" * 200_000 + b"\r\n\r\n", b"To: " + b"a@b, " * 5000 + b"\r\n\r\n"]
    # IMAP has no NUL in a message.
    return [one.replace(b"\0", b"\x80") or b"\r\n" for one in made]


@pytest.fixture(scope="module")
def odd(mail_server: ImapServer) -> tuple[str, int]:
    """The mailbox, and how many are in it: a server may refuse what it takes for no message."""
    if mail_server.title == "Mailutils":
        pytest.skip("imap4d ends the session over some of these messages, and refuses others")
    raws = messages()[:: 5 if mail_server.is_slow_with_many else 1]
    name = new_mailbox(mail_server)
    n_refused = 0
    with seed.session(mail_server.imap_port, "alice", "secret") as client:
        for raw in raws:
            try:
                n_refused += client.append(seed.quoted(name), "", None, seed.crlf(raw))[0] != "OK"
            except imaplib.IMAP4.error:  # BAD
                n_refused += 1
    # Half of them are bytes without a header.
    assert n_refused == 0 or (mail_server.refuses_odd_messages and n_refused < len(raws) * 3 // 5)
    return name, len(raws) - n_refused


def checked(response: Response, what: str, *statuses: int) -> Response:
    assert response.status in (200, *statuses), f"{what}: {response.status} {response.body[:500]!r}"
    if response.type in ("application/json", "application/problem+json"):
        response.json()
    elif response.type in ("text/plain", "text/html"):
        response.body.decode("utf-8")
    return response


def parts(structure: Any) -> Iterator[dict[str, Any]]:
    todo = [structure] if structure else []
    while todo:
        part = todo.pop()
        yield part
        todo += part.get("subParts") or []


def test_lists(alice: Client, odd: tuple[str, int]) -> None:
    name, n_messages = odd
    listing = f"/mailboxes/{segment(name)}/messages"
    for query in ("limit=100&preview=1&body=text,html&maxBodyValueBytes=64", "limit=100&fields=uid,from,to,subject,references,attachments,sentAt"):
        target, n_seen = f"{listing}?{query}", 0
        while target:
            body = good(checked(alice.get(target), target))
            n_seen += len(body["messages"])
            target = body.get("next", "")
        assert n_seen == n_messages
    for sort in ("subject", "from", "-sentAt", "size"):
        checked(alice.get(f"{listing}?sort={sort}&limit=200"), sort)
    for query in ("hasAttachment=1", "subject=x", "text=%E2%82%AC", "header=References:a", "body=%22"):
        checked(alice.get(f"{listing}?{query}&limit=200"), query)


def test_each(alice: Client, odd: tuple[str, int]) -> None:
    name, n_messages = odd
    for uid in range(1, n_messages + 1):
        href = f"/mailboxes/{segment(name)}/messages/{uid}"
        body = good(checked(alice.get(href), href))
        for rest in ("/headers", "/raw"):
            checked(alice.get(href + rest), href + rest)
        # Of what is nested deeper than GP_MAX_IMAP_NESTING the structure is not known; Dovecot cuts it off by itself.
        unknown = [502] if body["bodyStructure"] is None else []
        for rest in ("/text", "/html"):
            checked(alice.get(href + rest), href + rest, 404, *unknown)
        for n, part in enumerate(parts(body["bodyStructure"])):
            if part.get("href") and n < 20:
                response = alice.get(part["href"])
                assert response.status in (200, 404), f"{part['href']}: {response.status} {response.body[:300]!r}"


def test_thousands_of_parts(alice: Client, mail_server: ImapServer) -> None:
    """The first hundred texts are asked for, in one command; the others say that they are cut."""
    name = mail_server.mailbox("Thousands of parts")
    body = b"".join(b"--q\r\n\r\nx\r\n" for _ in range(3000))
    head = b"Subject: parts\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=q\r\n\r\n"
    with seed.session(mail_server.imap_port, "alice", mail_server.users["alice"]) as client:
        seed.create(client, name)
    seed.append_many(mail_server.imap_port, "alice", mail_server.users["alice"], name, [seed.Message(head + body + b"--q--\r\n")])
    listing = f"/mailboxes/{segment(name)}/messages"
    one = good(alice.get(f"{listing}/1"))
    in_list = good(alice.get(f"{listing}?body=text"))["messages"][0]
    if one["bodyStructure"] is None:
        pytest.skip("the server does not tell the structure")
    for values in (one["bodyValues"], in_list["bodyValues"]):
        whole = [value["value"] for value in values.values() if not value["isTruncated"]]
        assert whole == ["x"] * 100 and len(values) > 100
    if len(one["textBody"]) <= MAX_TEXT_PARTS:
        return  # Courier tells three hundred
    for view in ("text", "html"):
        shown, note, _ = alice.get(f"{listing}/1/{view}").text.partition("[This message has more")
        assert note and re.sub(r"<[^>]*>", "", shown).count("x") == MAX_TEXT_PARTS
