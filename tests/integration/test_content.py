"""Content: raw bytes, parts, header fields, text and HTML, with Range, names and caches."""

from __future__ import annotations

import base64
import email
import email.policy
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest
import seed
from gateway import Gateway
from http_client import Client, Response
from imap_server import ImapServer
from mail_tools import expunge, flags_of, good, highest_modseq, new_mailbox, refused, second_client, segment

INVOICE = "/mailboxes/INBOX/messages/7"  # text and a PDF
NEWS = "/mailboxes/INBOX/messages/2"  # alternative with related images
MINUTES = "/mailboxes/INBOX/messages/11"  # file names after RFC 2231 and RFC 2047
FORWARDED = "/mailboxes/INBOX/messages/13"  # message/rfc822
WITH_MESSAGES = (13, 30)  # among their parts
FLAT = "/mailboxes/INBOX/messages/14"  # an inline image


def stored(server: ImapServer, uid: int, section: str = "", mailbox: str = "INBOX", user: str = "demo") -> bytes:
    """What the IMAP server says, to a client of its own."""
    with second_client(server, mailbox, user) as client:
        data = client.uid("FETCH", str(uid), f"(BODY.PEEK[{section}])")[1]
    assert data and data[0]
    return bytes(data[0][1])


def content(client: Client, target: str, headers: dict[str, str] | None = None) -> Response:
    response = client.get(target, headers)
    assert response.status in (200, 206), f"{response.status} {response.body!r}"
    return response


# ---- bytes ----


def test_raw_is_what_is_stored(demo: Client, demo_mailbox: ImapServer) -> None:
    for uid in range(1, 38):
        response = content(demo, f"/mailboxes/INBOX/messages/{uid}/raw")
        raw = stored(demo_mailbox, uid)
        assert response.body == raw, uid
        assert response.header("Content-Type") == "message/rfc822"
        assert response.header("Content-Length") == str(len(raw))
        assert response.header("Content-Disposition") == "inline"


def test_part_is_decoded(demo: Client, demo_mailbox: ImapServer) -> None:
    expected = email.message_from_bytes(stored(demo_mailbox, 7)).get_payload()[1].get_payload(decode=True)
    response = content(demo, f"{INVOICE}/parts/2")
    assert response.body == expected and response.body.startswith(b"%PDF-")
    assert response.header("Content-Type") == "application/pdf"
    encoded = content(demo, f"{INVOICE}/parts/2?encoded=1")
    assert encoded.body == stored(demo_mailbox, 7, "2")
    assert base64.b64decode(encoded.body) == expected
    assert encoded.header("Content-Type") == "application/octet-stream"
    assert encoded.header("ETag") != response.header("ETag")


def test_every_part_of_the_demo(demo: Client, demo_mailbox: ImapServer) -> None:
    """Each address that a structure names answers, and with the size it told where that is no estimate."""
    n_parts = 0
    for uid in range(1, 38):
        at = [good(demo.get(f"/messages/{uid}?fields=bodyStructure"))["bodyStructure"]]
        while at:
            part = at.pop()
            at += part.get("subParts", [])
            if "href" not in part:
                assert part["partId"] is None and part["type"].startswith("multipart/")
                continue
            n_parts += 1
            if uid in WITH_MESSAGES and not demo_mailbox.has_nested_parts and "." in part["partId"]:
                continue
            assert part["href"] == f"/mailboxes/INBOX/messages/{uid}/parts/{part['partId']}"
            response = content(demo, part["href"])
            if "sizeIsEstimate" not in part:
                assert len(response.body) == part["size"], part
            assert response.type == part["type"] or response.type == "application/octet-stream"
            assert demo.head(part["href"]).status == 200
    assert n_parts > 60


def test_the_text_of_a_part_keeps_its_charset(demo: Client) -> None:
    for uid, charset in ((4, "iso-2022-jp"), (5, "koi8-r"), (9, "windows-1252"), (10, "gb18030")):
        response = content(demo, f"/messages/{uid}/parts/1")
        assert (response.header("Content-Type") or "").lower() == f"text/plain; charset={charset}"
        text = content(demo, f"/messages/{uid}/text")
        assert text.header("Content-Type") == "text/plain; charset=utf-8"
        assert response.body.decode(charset) == text.text


def test_part_of_a_forwarded_message(demo: Client, demo_mailbox: ImapServer) -> None:
    assert content(demo, f"{FORWARDED}/parts/2").body.startswith(b"From: ")
    if not demo_mailbox.has_nested_parts:
        refused(demo.get(f"{FORWARDED}/parts/2.2"), 404)
        return
    assert "Angebot finden Sie" in content(demo, f"{FORWARDED}/parts/2.1").text
    assert content(demo, f"{FORWARDED}/parts/2.2").body.startswith(b"%PDF-")
    assert content(demo, f"/mailboxes/{segment(demo_mailbox.mailbox('Work/2024'))}/messages/2/parts/2.2.2").body.startswith(b"%PDF-")
    for part in ("3", "2.3", "2.2.1", "1.1", "4294967295", "99999999999999999999"):
        refused(demo.get(f"{FORWARDED}/parts/{part}"), 404, part)


# ---- ranges ----


@pytest.fixture(scope="module")
def body_bytes() -> bytes:
    return bytes((n * 7 + n // 251) % 256 for n in range(700_001))


@pytest.fixture(scope="module")
def big(mail_server: ImapServer, body_bytes: bytes) -> str:
    """One message: a base64 part 1 of 700,001 bytes, a quoted-printable part 2, an 8bit part 3."""
    parts = [
        "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n"
        'Content-Disposition: attachment; filename="big.bin"\r\n\r\n' + base64.encodebytes(body_bytes).decode(),
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        + "Gr=C3=BC=C3=9Fe =E2=9C=93 soft=\r\n break\r\n" * 500,
        "Content-Type: text/plain; charset=us-ascii\r\n\r\n" + "0123456789\r\n" * 1000,
    ]
    raw = "From: a@example.test\r\nSubject: big\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n"
    raw += "".join(f"--bb\r\n{part}\r\n" for part in parts) + "--bb--\r\n"
    mailbox = new_mailbox(mail_server, [seed.Message(raw.encode())])
    return f"/mailboxes/{segment(mailbox)}/messages/1"


RANGES = [
    ("bytes=0-0", 0, 1),
    ("bytes=0-9", 0, 10),
    ("bytes=10-", 10, None),
    ("bytes=5-5", 5, 6),
    ("bytes=-1", -1, None),
    ("bytes=-100", -100, None),
    ("bytes=-99999999", 0, None),
    ("bytes=100-99999999", 100, None),
    ("bytes=4000-4999", 4000, 5000),
    ("BYTES=1-2", 1, 3),
]


@pytest.mark.parametrize("part", ["raw", "parts/1", "parts/2", "parts/3", "parts/1?encoded=1"])
def test_ranges(alice: Client, big: str, part: str) -> None:
    whole = content(alice, f"{big}/{part}")
    size = len(whole.body)
    assert whole.header("Accept-Ranges") == "bytes" and size > 10_000
    edges = [(f"bytes={size - 1}-", size - 1, size), (f"bytes={size // 2}-{size // 2 + 300_000}", size // 2, size // 2 + 300_001)]
    for text, first, end in RANGES + edges:
        response = alice.get(f"{big}/{part}", {"Range": text})
        assert response.status == 206, text
        assert response.body == whole.body[first:end], text
        start = first if first >= 0 else size + first
        assert response.header("Content-Range") == f"bytes {start}-{start + len(response.body) - 1}/{size}"
        assert response.header("Content-Length") == str(len(response.body))
        assert response.header("ETag") == whole.header("ETag")
        assert response.header("Content-Type") == whole.header("Content-Type")
    for text in (f"bytes={size}-", f"bytes={size + 5}-{size + 9}", "bytes=-0", "bytes=99999999999999999999-"):
        response = alice.get(f"{big}/{part}", {"Range": text})
        refused(response, 416)
        assert response.header("Content-Range") == f"bytes */{size}"
        assert response.header("ETag") is None
    for text in ("bytes=0-1,3-4", "bytes=9-3", "bytes=x-y", "bytes=", "bytes=-", "lines=0-1", "bytes 0-1", "0-1"):
        response = alice.get(f"{big}/{part}", {"Range": text})
        assert response.status == 200 and response.body == whole.body, text


@pytest.mark.parametrize("part", ["raw", "parts/1"])
def test_if_range(alice: Client, big: str, part: str) -> None:
    etag = alice.head(f"{big}/{part}").header("ETag") or ""
    assert etag.startswith('"')
    asked = {"Range": "bytes=0-4"}
    assert alice.get(f"{big}/{part}", asked | {"If-Range": etag}).status == 206
    for other in ('"x"', f"W/{etag}", "Wed, 21 Oct 2015 07:28:00 GMT", "x"):
        response = alice.get(f"{big}/{part}", asked | {"If-Range": other})
        assert response.status == 200 and response.header("Content-Range") is None
        response = alice.get(f"{big}/{part}", {"Range": "bytes=99999999-", "If-Range": other})
        assert response.status == 200


def test_a_download_resumes(alice: Client, big: str, body_bytes: bytes) -> None:
    """What curl -C - does: three pieces make the whole."""
    got = b""
    while len(got) < len(body_bytes):
        end = min(len(got) + 250_000, len(body_bytes)) - 1
        response = alice.get(f"{big}/parts/1", {"Range": f"bytes={len(got)}-{end}"})
        assert response.status == 206
        got += response.body
    assert got == body_bytes


def test_range_means_nothing_elsewhere(demo: Client) -> None:
    for target in (INVOICE, f"{INVOICE}/text", f"{INVOICE}/headers", "/mailboxes"):
        response = demo.get(target, {"Range": "bytes=0-1"})
        assert response.status == 200 and len(response.body) > 2


# ---- HEAD ----


@pytest.mark.parametrize("rest", ["", "/raw", "/raw?download=1", "/headers", "/text", "/html", "/parts/1", "/parts/2", "/parts/2?encoded=1"])
def test_head_is_get_without_a_body(demo: Client, rest: str) -> None:
    # How a body is framed says nothing about what it is, and HEAD has none.
    ignored = {"date", "server-timing", "x-request-id", "content-length", "transfer-encoding", "connection"}
    for headers in ({}, {"Range": "bytes=0-9"}):  # which is of GET only
        get, head = demo.get(INVOICE + rest), demo.head(INVOICE + rest, headers)
        assert head.status == get.status and head.body == b""
        kept = [{(k, v) for k, v in one.headers if k.lower() not in ignored} for one in (get, head)]
        assert kept[0] == kept[1]
        if get.header("Content-Length") is not None:
            assert head.header("Content-Length") == get.header("Content-Length")
        assert demo.get("/healthz").status == 200, "what followed the head was not the next reply"


@pytest.mark.parametrize("rest", ["/text", "/html", "/parts/2", "/raw", "/headers", ""])
def test_not_a_byte_follows_a_head(demo: Client, rest: str) -> None:
    request = f"HEAD {INVOICE}{rest} HTTP/1.1\r\nHost: x\r\nAuthorization: {demo.authorization}\r\nConnection: close\r\n\r\n"
    reply = demo.exchange(request.encode())
    assert reply.startswith(b"HTTP/1.1 200 ") and reply.endswith(b"\r\n\r\n") and reply.count(b"\r\n\r\n") == 1


# ---- caches ----


@pytest.mark.parametrize("rest", ["/raw", "/parts/2", "/parts/2?encoded=1", "/headers", "/text", "/html"])
def test_none_match(demo: Client, rest: str) -> None:
    first = content(demo, INVOICE + rest)
    etag = first.header("ETag") or ""
    for tags in (etag, f'"a", {etag}', f"W/{etag}", "*"):
        for method in ("GET", "HEAD"):
            again = demo.request(method, INVOICE + rest, headers={"If-None-Match": tags})
            assert again.status == 304 and again.body == b"" and again.header("ETag") == etag
    assert demo.get(INVOICE + rest, {"If-None-Match": '"other"'}).status == 200
    is_immutable = rest.startswith(("/raw", "/parts"))
    expected = "private, max-age=31536000, immutable" if is_immutable else "private, no-cache"
    assert first.header("Cache-Control") == expected
    if is_immutable:  # If-None-Match comes before Range (RFC 9110, section 13.2.2)
        assert demo.get(INVOICE + rest, {"If-None-Match": etag, "Range": "bytes=0-1"}).status == 304


@pytest.mark.needs("keywords")
def test_content_keeps_its_tag_when_flags_change(demo: Client) -> None:
    target = "/mailboxes/@archive/messages/1"
    tags = {rest: demo.get(target + rest).header("ETag") for rest in ("", "/raw", "/parts/2", "/text")}
    assert len(set(tags.values())) == 4
    assert demo.put(f"{target}/keywords/cache").status == 200
    for rest, tag in tags.items():
        assert (demo.get(target + rest).header("ETag") == tag) == (rest != "")


# ---- names and types ----


def test_download_names(demo: Client) -> None:
    expected = {
        f"{INVOICE}/parts/2": 'attachment; filename="invoice-2024-117.pdf"',
        f"{INVOICE}/parts/2?download=1": 'attachment; filename="invoice-2024-117.pdf"',
        f"{INVOICE}/parts/1": "inline",
        f"{INVOICE}/parts/1?download=1": 'attachment; filename="part-1"',
        f"{INVOICE}/raw?download=1": 'attachment; filename="message-7.eml"',
        f"{NEWS}/parts/2.2": 'inline; filename="logo.png"',
        f"{NEWS}/parts/2.2?download=1": 'attachment; filename="logo.png"',
        f"{NEWS}/parts/2.1": 'attachment; filename="part-2.1"',  # HTML is not shown as it is
        f"{MINUTES}/parts/2": 'attachment; filename="Protokoll der Sitzung _ber R_ume und Budget.pdf"; '
        "filename*=UTF-8''Protokoll%20der%20Sitzung%20%C3%BCber%20R%C3%A4ume%20und%20Budget.pdf",
        f"{MINUTES}/parts/3": "attachment; filename=\"Aufgaben f_r M_rz.csv\"; filename*=UTF-8''Aufgaben%20f%C3%BCr%20M%C3%A4rz.csv",
    }
    for target, disposition in expected.items():
        assert content(demo, target).header("Content-Disposition") == disposition, target


def test_hostile_names(demo: Client) -> None:
    target = "/mailboxes/INBOX/messages/27"
    for part in ("2", "3", "4"):
        disposition = content(demo, f"{target}/parts/{part}").header("Content-Disposition") or ""
        name = re.fullmatch(r'attachment; filename="([^"\\/]*)"(?:; filename\*=UTF-8\'\'[\w.%$!~-]+)?', disposition)
        assert name and name[1], disposition
        assert "/" not in disposition.split("''")[0] and "%2F" not in disposition and "%0D" not in disposition


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_curl_saves_under_the_name(gateway: Gateway, demo: Client, tmp_path: Path) -> None:
    for uid, part in ((7, "2"), (27, "2"), (27, "3")):
        url = f"{gateway.url}/messages/{uid}/parts/{part}?download=1"
        subprocess.run(["curl", "-sSfOJ", "-u", "demo:demo", url], cwd=tmp_path, check=True, timeout=60)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert "invoice-2024-117.pdf" in names and len(names) == 3
    assert (tmp_path / "invoice-2024-117.pdf").read_bytes() == content(demo, f"{INVOICE}/parts/2").body
    assert not any("/" in name or "passwd" == name for name in names)


def test_dangerous_types_are_downloads(mail_server: ImapServer, alice: Client) -> None:
    kinds = {
        "text/html": False,
        "image/svg+xml": False,
        "application/xml": False,
        "application/xhtml+xml": False,
        "application/pdf": False,
        "application/javascript": False,
        "text/plain": True,
        "image/png": True,
        "image/jpeg": True,
        "audio/mpeg": True,
    }
    messages = [
        seed.Message(f"From: a@example.test\r\nMIME-Version: 1.0\r\nContent-Type: {kind}\r\n\r\n<script>alert(1)</script>\r\n".encode())
        for kind in kinds
    ]
    mailbox = new_mailbox(mail_server, messages)
    for uid, (kind, is_inline) in enumerate(kinds.items(), 1):
        response = content(alice, f"/mailboxes/{segment(mailbox)}/messages/{uid}/parts/1")
        assert response.type == kind
        assert (response.header("Content-Disposition") or "").startswith("inline" if is_inline else "attachment"), kind
        assert "sandbox" in (response.header("Content-Security-Policy") or "")
        assert response.header("X-Content-Type-Options") == "nosniff"


# ---- header fields ----


def test_headers(demo: Client, demo_mailbox: ImapServer) -> None:
    for uid in (3, 11, 15, 16, 19, 20):
        body = good(demo.get(f"/mailboxes/INBOX/messages/{uid}/headers"))
        stored_fields = email.message_from_bytes(stored(demo_mailbox, uid), policy=email.policy.compat32)
        assert [field["name"] for field in body["headers"]] == stored_fields.keys()
        assert body["uid"] == uid
        assert body["headers"] == good(demo.get(f"/messages/{uid}?fields=headers"))["headers"]
    fields = {f["name"]: f for f in good(demo.get("/messages/11/headers"))["headers"]}
    assert fields["Subject"]["value"] == (
        "Protokoll der Sitzung vom Dienstag – Änderungswünsche bitte bis Freitag an mich, danke schön!"
    )
    assert "=?utf-8?" in fields["Subject"]["raw"] and fields["Subject"]["raw"].startswith(" ")
    assert fields["From"]["value"] == "Jörg Müßig <joerg@example.test>"


def test_odd_header_fields(mail_server: ImapServer, alice: Client) -> None:
    raw = (
        b"From: a@example.test\r\nSubject:\r\nX-Empty: \r\nX-Folded: one\r\n two\r\n\tthree\r\nX-Latin: caf\xe9\r\n"
        b"X-Twice: 1\r\nX-Twice: 2\r\nX-Nul-Free: a\x01b\r\n\r\nbody\r\n"
    )
    mailbox = new_mailbox(mail_server, [seed.Message(raw)])
    target = f"/mailboxes/{segment(mailbox)}/messages/1"
    fields = [(f["name"], f["value"], f["raw"]) for f in good(alice.get(f"{target}/headers"))["headers"]]
    assert {("Subject", "", ""), ("Subject", "", " ")} & set(fields) and ("X-Empty", "", " ") in fields
    assert ("X-Folded", "one two three") in [(name, value.replace("\t", " ")) for name, value, _ in fields]
    latin = next(value for name, value, _ in fields if name == "X-Latin")
    assert latin in ("café", "caf\ufffd", "cafX")  # Cyrus has an X for each such octet
    assert [value for name, value, _ in fields if name == "X-Twice"] == ["1", "2"]
    assert good(alice.get(target))["subject"] in ("", None)


# ---- text and HTML ----


def test_text(demo: Client) -> None:
    texts = {
        1: "Everything in here is made up",
        2: "THE WEEK IN NUMBERS",
        4: "来週の打ち合わせの件",
        5: "Здравствуйте!",
        9: "voilà le résumé : “c’est prêt” – il ne manque que l’œuvre n° 3…",
        10: "𠮷、㐀、€",
        11: "anbei Protokoll und Tabelle",
        13: "What do you think?",
        14: "The 25th it is. I booked the flat, see the picture.",
        28: "At the bottom of eight multiparts.",
        37: "Noon at the noodle place? 👩‍💻🏳️‍🌈",
    }
    for uid, expected in texts.items():
        response = content(demo, f"/messages/{uid}/text")
        assert expected in response.text, uid
        assert response.header("Content-Type") == "text/plain; charset=utf-8"
        assert response.header("Content-Security-Policy") == "default-src 'none'; sandbox"


def test_text_of_html_alone(demo: Client) -> None:
    text = content(demo, "/messages/26/text").text
    assert "here" in text and "<" not in text and "alert('script')" not in text
    assert content(demo, "/messages/33/text").text == ""  # a PDF alone has no text
    assert content(demo, "/messages/34/text").text.strip() == ""


@pytest.mark.parametrize("uid", [21, 22, 23])
def test_what_cannot_be_decoded_is_still_text(demo: Client, uid: int) -> None:
    text = content(demo, f"/messages/{uid}/text").text  # is UTF-8, or this raises
    values = good(demo.get(f"/messages/{uid}?fields=bodyValues"))["bodyValues"]
    assert values["1"]["value"].strip() == text.strip()
    if "\ufffd" in text:
        assert values["1"]["isEncodingProblem"] is True
    if uid == 23:
        assert values["1"]["isEncodingProblem"] is True


def test_html_shows_its_images_and_runs_nothing(demo: Client) -> None:
    for target in (NEWS, "/messages/2"):
        response = content(demo, f"{target}/html")
        assert response.header("Content-Type") == "text/html; charset=utf-8"
        policy = response.header("Content-Security-Policy") or ""
        assert "default-src 'none'" in policy and "sandbox" in policy and "script" not in policy.replace("'none'", "")
        images = re.findall(r'<img src="([^"]+)"', response.text)
        assert images[:2] == [f"{NEWS}/parts/2.2", f"{NEWS}/parts/2.3"]
        assert "cid:" not in response.text
    for image in images[:2]:
        picture = content(demo, image)
        assert picture.body.startswith(b"\x89PNG") and picture.header("Content-Type") == "image/png"


def test_html_of_text_alone_is_escaped(mail_server: ImapServer, alice: Client) -> None:
    raw = b"From: a@example.test\r\nSubject: x\r\n\r\n1 < 2 && <script>alert(1)</script>\r\n"
    mailbox = new_mailbox(mail_server, [seed.Message(raw)])
    page = content(alice, f"/mailboxes/{segment(mailbox)}/messages/1/html").text
    assert "1 &lt; 2 &amp;&amp; &lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page


def test_hostile_html_is_under_the_policy(demo: Client) -> None:
    response = content(demo, "/messages/26/html")
    policies = (response.header("Content-Security-Policy") or "").split(",")
    directives, images = ({part.split()[0]: part.split()[1:] for part in policy.split(";")} for policy in policies)
    assert directives["default-src"] == ["'none'"]
    assert "script-src" not in directives and "allow-scripts" not in directives["sandbox"]
    assert "allow-same-origin" not in directives["sandbox"] and "allow-forms" not in directives["sandbox"]
    assert directives["base-uri"] == directives["form-action"] == ["'none'"]
    # Both hold: of the own origin, the parts of this message.
    assert directives["img-src"] == ["'self'", "data:"]
    assert images == {"img-src": ["http://*:*/mailboxes/INBOX/messages/26/parts/", "data:"]}
    assert response.header("Referrer-Policy") == "no-referrer"


# ---- both addresses, markSeen, nothing changed ----


@pytest.mark.parametrize("rest", ["raw", "headers", "text", "html", "parts/1", "parts/2", "parts/2?download=1"])
def test_both_addresses(demo: Client, demo_mailbox: ImapServer, rest: str) -> None:
    path, _, query = rest.partition("?")
    for name, uid in (("INBOX", 11), ("Work/2024", 2), ("Résumés", 1)):
        mailbox = demo_mailbox.mailbox(name)
        tail = f"?{query}" if query else ""
        canonical = content(demo, f"/mailboxes/{segment(mailbox)}/messages/{uid}/{path}{tail}")
        short = content(demo, f"/messages/{uid}/{path}?mailbox={quote(mailbox)}{'&' + query if query else ''}")
        assert short.body == canonical.body and short.header("ETag") == canonical.header("ETag")
        assert short.header("Content-Disposition") == canonical.header("Content-Disposition")


def test_reading_content_changes_nothing(mail_server: ImapServer, alice: Client) -> None:
    mailbox = new_mailbox(mail_server, [seed.Message(seed.plain(n).raw) for n in range(2)])
    target = f"/mailboxes/{segment(mailbox)}/messages/1"
    before = highest_modseq(mail_server, mailbox)
    for rest in ("", "/raw", "/headers", "/text", "/html", "/parts/1", "/parts/1?encoded=1&download=1"):
        content(alice, target + rest)
        alice.head(target + rest)
        content(alice, target + rest, {"Range": "bytes=0-3"})
    with second_client(mail_server, mailbox) as other:
        assert flags_of(other, 1) <= {"\\Recent"}
    assert highest_modseq(mail_server, mailbox) == before


@pytest.mark.parametrize("rest", ["raw", "headers", "text", "html", "parts/1"])
def test_what_is_not_there(mail_server: ImapServer, alice: Client, rest: str) -> None:
    mailbox = new_mailbox(mail_server, map(seed.plain, range(2)))
    target = f"/mailboxes/{segment(mailbox)}/messages"
    assert alice.get(f"{target}/2/{rest}").status == 200
    for method in ("GET", "HEAD"):
        assert alice.request(method, f"{target}/3/{rest}").status == 404
        assert alice.request(method, f"/mailboxes/Nowhere/messages/1/{rest}").status == 404
        assert alice.request(method, f"{target}/1/{rest}?uidValidity=1").status == 410
    refused(alice.get(f"{target}/1/{rest}?nonesuch=1"), 400, "nonesuch")
    refused(alice.get(f"{target}/x/{rest}"), 400, "x")
    with second_client(mail_server, mailbox) as other:
        expunge(other, [2])
        assert alice.get(f"{target}/2/{rest}").status == 404


@pytest.mark.parametrize(
    "target",
    ["raw?encoded=1", "raw?download=2", "raw?fields=uid", "parts/1?download=x", "parts/1?encoded=yes", "text?download=1", "html?markSeen=1"],
)
def test_bad_parameters(demo: Client, target: str) -> None:
    refused(demo.get(f"{INVOICE}/{target}"), 400, re.split("[?=]", target)[1])


@pytest.mark.parametrize("part", ["0", "01", "1.", ".1", "1..2", "a", "-1", "1%00", "1%2F2", "1.0", "%20", "1)", "TEXT", "1.MIME"])
def test_bad_part_ids(demo: Client, part: str) -> None:
    refused(demo.get(f"{INVOICE}/parts/{part}"), 400)
