"""Messages described in JSON or in a form: what was composed is read again by Python's email package."""

from __future__ import annotations

import base64
import contextlib
import email
import email.policy
import json
import os
import shutil
import socket
import subprocess
import time
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from conftest import StartGateway, tls_options
from gateway import Gateway
from http_client import Client, basic
from imap_server import ImapServer
from mail_tools import flags_of, good, new_mailbox, refused, second_client, segment, uids

pytestmark = pytest.mark.needs("UIDPLUS", "keywords")

HAN = "漢字かな交じり文"
CURL = shutil.which("curl")


@pytest.fixture
def box(mail_server: ImapServer) -> str:
    return new_mailbox(mail_server, name="Entwürfe & mehr/{}")


def post(client: Client, mailbox: str, draft: dict[str, Any], query: str = "") -> int:
    """The UID of what was composed."""
    response = client.request("POST", f"/mailboxes/{segment(mailbox)}/messages{query}", json_body=draft)
    assert response.status == 201, f"{response.status} {response.body!r}"
    body = response.json()
    assert response.header("Location") == f"/mailboxes/{segment(mailbox)}/messages/{body['uid']}"
    assert body["mailbox"] == mailbox
    return int(body["uid"])


def raw(client: Client, mailbox: str, uid: int) -> bytes:
    response = client.get(f"/mailboxes/{segment(mailbox)}/messages/{uid}/raw")
    assert response.status == 200
    return response.body


def read(client: Client, mailbox: str, uid: int) -> EmailMessage:
    message = email.message_from_bytes(raw(client, mailbox, uid), policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    for part in message.walk():
        assert not part.defects, part.defects
    return message


def addresses(message: EmailMessage, name: str) -> list[tuple[str, str]]:
    return [(address.display_name, address.addr_spec) for address in message[name].addresses]


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


# ---- there and back ----


def test_all_members(alice: Client, mail_server: ImapServer, box: str) -> None:
    everything = bytes(range(256)) * 5
    draft = {
        "from": [{"name": "Jörg Müller", "email": "joerg@bücher.example"}],
        "sender": [{"email": "office@x.example"}],
        "replyTo": [{"name": 'The "Desk", 2nd', "email": "desk@x.example"}],
        "to": [{"name": HAN, "email": "han@x.example"}, {"email": "plain@x.example"}],
        "cc": [{"name": "=?utf-8?q?not_encoded?=", "email": "cc@x.example"}],
        "bcc": [{"name": "J. Doe", "email": "bcc@x.example"}],
        "subject": f"Grüße aus Köln: {HAN}, " * 6 + "Ende",
        "text": "Zeile eins\r\nZeile zwei, mit Ü\n\n-- \nFrom me\n.\n",
        "html": '<p>Hallo</p><img src="cid:logo@x">',
        "inReplyTo": ["a@b"],
        "references": [f"{n}.{'x' * 50}@y.example" for n in range(30)],
        "headers": {"X-Mailer": "test", "X-Ünicode".replace("Ü", "U"): HAN, "Auto-Submitted": "auto-replied"},
        "sentAt": "2026-01-31T12:34:56+05:30",
        "messageId": ["mine@x.example"],
        "keywords": {"$draft": True, "$flagged": True, "Work": True},
        "receivedAt": "2020-02-29T23:00:00Z",
        "attachments": [
            {"name": "logo.png", "type": "image/png", "disposition": "inline", "cid": "logo@x", "content": encoded(b"\x89PNG")},
            {"name": f"Résumé {HAN}.pdf", "type": "application/pdf", "content": encoded(everything)},
            {"name": "a \"b\" c.ics", "type": "text/calendar; method=REQUEST; charset=utf-8", "content": encoded("Ü\n".encode())},
            {"name": "empty", "content": ""},
        ],
    }
    uid = post(alice, box, draft)
    message = read(alice, box, uid)

    assert addresses(message, "From") == [("Jörg Müller", "joerg@xn--bcher-kva.example")]
    assert addresses(message, "Sender") == [("", "office@x.example")]
    assert addresses(message, "Reply-To") == [('The "Desk", 2nd', "desk@x.example")]
    assert addresses(message, "To") == [(HAN, "han@x.example"), ("", "plain@x.example")]
    assert addresses(message, "Cc") == [("=?utf-8?q?not_encoded?=", "cc@x.example")]
    assert addresses(message, "Bcc") == [("J. Doe", "bcc@x.example")]
    assert message["Subject"] == draft["subject"]
    assert message["In-Reply-To"] == "<a@b>"
    assert message["References"].split() == [f"<{reference}>" for reference in draft["references"]]
    assert message["X-Unicode"] == HAN
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["Date"].datetime.isoformat() == "2026-01-31T12:34:56+05:30"
    assert message["Message-ID"] == "<mine@x.example>"
    assert message.get_content_type() == "multipart/mixed"
    body = message.get_body(("plain",))
    assert body is not None and body.get_content().replace("\r\n", "\n") == "Zeile eins\nZeile zwei, mit Ü\n\n-- \nFrom me\n.\n"
    html = message.get_body(("html",))
    assert html is not None and html.get_content().rstrip("\n") == draft["html"]
    pictures = [part for part in message.walk() if part.get_content_type() == "image/png"]
    assert [part["Content-ID"] for part in pictures] == ["<logo@x>"]
    files = [(part.get_filename(), part.get_content_type(), part.get_payload(decode=True)) for part in message.iter_attachments()]
    assert files == [
        (f"Résumé {HAN}.pdf", "application/pdf", everything),
        ('a "b" c.ics', "text/calendar", "Ü\n".encode()),
        ("empty", "application/octet-stream", b""),
    ]
    assert list(message.iter_attachments())[1].get_param("method") == "REQUEST"

    # and as the gateway itself reads it
    shown = good(alice.get(f"/mailboxes/{segment(box)}/messages/{uid}"))
    assert shown["subject"] == draft["subject"]
    assert shown["to"] == [{"name": HAN, "email": "han@x.example"}, {"name": None, "email": "plain@x.example"}]
    assert shown["from"] == [{"name": "Jörg Müller", "email": "joerg@xn--bcher-kva.example"}]
    assert shown["cc"][0]["name"] == "=?utf-8?q?not_encoded?="
    assert shown["references"] == draft["references"]
    assert shown["receivedAt"] == "2020-02-29T23:00:00Z"
    assert shown["sentAt"] == "2026-01-31T12:34:56+05:30"
    assert shown["keywords"] == {"$draft": True, "$flagged": True, "work": True}
    assert [part["name"] for part in shown["attachments"]] == [
        "logo.png", f"Résumé {HAN}.pdf", 'a "b" c.ics', "empty",
    ]
    with second_client(mail_server, box) as client:
        assert flags_of(client, uid) >= {"\\Draft", "\\Flagged", "Work"}


def test_what_is_read_can_be_sent_again(alice: Client, box: str) -> None:
    """The members of a message that has been read are those of one to be composed."""
    first = post(alice, box, {"from": [{"name": "A", "email": "a@x"}], "to": [{"email": "b@x"}], "subject": "S", "text": "T"})
    fields = "from,sender,to,cc,bcc,replyTo,subject,messageId,inReplyTo,references,sentAt,receivedAt,keywords"
    shown = good(alice.get(f"/mailboxes/{segment(box)}/messages/{first}?fields={fields}"))
    second = post(alice, box, shown | {"text": "T"})
    assert raw(alice, box, second).replace(b"Sender: A <a@x>\r\n", b"").replace(b"Reply-To: A <a@x>\r\n", b"") == raw(alice, box, first)


def test_made_where_missing(alice: Client, box: str) -> None:
    before = time.time()
    ids = set()
    for _ in range(3):
        message = read(alice, box, post(alice, box, {"from": [{"email": "a@x.example"}], "text": "T"}))
        assert before - 2 <= message["Date"].datetime.timestamp() <= time.time() + 2
        assert message["Message-ID"].endswith("@x.example>")
        ids.add(message["Message-ID"])
    assert len(ids) == 3
    empty = read(alice, box, post(alice, box, {}))
    assert empty["From"] is None and empty["Subject"] is None and empty.get_content() == ""


@pytest.mark.parametrize("text", ["", "x", "x\n", "x" * 5000, "ü" * 3000, "a \n b\t\n", "\u2028\x1b[0m\x7f", "😀\r\n" * 500])
def test_texts(alice: Client, box: str, text: str) -> None:
    draft = {"text": text, "html": text, "attachments": [{"content": encoded(text.encode()), "type": "text/plain"}]}
    message = read(alice, box, post(alice, box, draft))
    plain, html, attached = (part.get_payload(decode=True) for part in message.walk() if not part.is_multipart())
    assert plain.decode() == html.decode() == text.replace("\r\n", "\n").replace("\n", "\r\n")
    assert attached == text.encode()


# ---- curl ----


def curl(gateway: Gateway, *arguments: str) -> dict[str, Any]:
    if CURL is None:
        pytest.skip("there is no curl")
    run = subprocess.run(
        [CURL, "-sS", "-u", "alice:secret", *arguments[1:], gateway.url + arguments[0]], capture_output=True, check=True, timeout=60
    )
    result: dict[str, Any] = json.loads(run.stdout)
    assert "uid" in result, result
    return result


def test_curl_form(alice: Client, gateway: Gateway, box: str, tmp_path: Path) -> None:
    names = ["plain.txt", 'quote".txt', "percent%20.txt", "back\\slash.txt", "semi;colon, comma.txt", f"{HAN} ü.txt", "x" * 200]
    for n, name in enumerate(names):
        (tmp_path / name).write_bytes(os.urandom(1000 * n) + b"\r\n--")
    files = []
    for name in names:
        quoted = str(tmp_path / name).replace("\\", "\\\\").replace('"', '\\"')
        files += ["-F", f'file=@"{quoted}"']
    answer = curl(
        gateway,
        f"/mailboxes/{segment(box)}/messages?keywords=$draft",
        "-F", "from=Jörg <joerg@x.example>",
        "--form-string", 'to="Doe, Jane" <jane@x.example>, bob@y.example',
        "-F", "to=carol@z.example",
        "-F", f"subject=Hello {HAN}",
        "-F", "text=Some text",
        *files,
    )  # fmt: skip
    message = read(alice, box, answer["uid"])
    assert addresses(message, "From") == [("Jörg", "joerg@x.example")]
    assert [pair[1] for pair in addresses(message, "To")] == ["jane@x.example", "bob@y.example", "carol@z.example"]
    assert message["Subject"] == f"Hello {HAN}"
    body = message.get_body(("plain",))
    assert body is not None and body.get_content().rstrip("\n") == "Some text"
    got = {part.get_filename(): part.get_payload(decode=True) for part in message.iter_attachments()}
    assert got == {name: (tmp_path / name).read_bytes() for name in names}


def test_curl_data_and_message_field(alice: Client, gateway: Gateway, box: str, tmp_path: Path) -> None:
    draft = {"subject": "Hi", "text": "T", "attachments": [{"name": "first", "content": ""}]}
    (tmp_path / "draft.json").write_text(json.dumps(draft))
    target = f"/mailboxes/{segment(box)}/messages"
    assert read(alice, box, curl(gateway, target, "-d", json.dumps(draft))["uid"])["Subject"] == "Hi"
    for field in ("message=<", "message=@"):
        answer = curl(gateway, target, "-F", f"file=@{tmp_path / 'draft.json'};filename=second", "-F", f"{field}{tmp_path / 'draft.json'}")
        message = read(alice, box, answer["uid"])
        assert message["Subject"] == "Hi"
        assert [part.get_filename() for part in message.iter_attachments()] == ["first", "second"]


# ---- parts of other messages ----


def test_sources(alice: Client, mail_server: ImapServer, box: str) -> None:
    picture, text = os.urandom(700_000), "Ünïcode\r\n" * 100
    other = new_mailbox(mail_server, name="Quelle {}")
    first = post(
        alice,
        other,
        {
            "text": text,
            "attachments": [
                {"name": "ü.png", "type": "image/png", "content": encoded(picture)},
                {"name": "m.eml", "type": "message/rfc822", "content": encoded("Subject: ü\n\nbody\n".encode())},
            ],
        },
    )
    validity = good(alice.get(f"/mailboxes/{segment(other)}/messages/{first}?fields=uid,uidValidity"))["uidValidity"]
    source = {"mailbox": other, "uid": first}
    uid = post(
        alice,
        box,
        {
            "attachments": [
                {"source": source | {"partId": "2", "uidValidity": validity}},
                {"source": source | {"partId": "1"}, "name": "t.txt"},
                {"source": source | {"partId": "3"}},
                {"source": source, "name": "whole.eml"},
            ]
        },
    )
    message = read(alice, box, uid)
    png, plain, inner, whole = message.iter_attachments()
    assert (png.get_filename(), png.get_content_type(), png.get_payload(decode=True)) == ("ü.png", "image/png", picture)
    assert (plain.get_filename(), plain.get_content()) == ("t.txt", text)
    assert inner.get_content()["Subject"] == "ü"
    assert whole.get_content().as_bytes(policy=email.policy.SMTP) == raw(alice, other, first)

    # one that is gone, in each of the ways
    wrong = [
        ({"mailbox": other, "uid": first + 1000}, 404, "no message with UID"),
        ({"mailbox": other, "uid": first, "partId": "4"}, 404, "no part '4'"),
        ({"mailbox": "Nirgends", "uid": first}, 404, ""),
        ({"mailbox": other, "uid": first, "uidValidity": validity + 1}, 410, "UIDVALIDITY"),
    ]
    for bad, status, word in wrong:
        draft = {"attachments": [{"content": ""}, {"source": source | {"partId": "1"}}, {"source": bad}]}
        response = alice.request("POST", f"/mailboxes/{segment(box)}/messages", json_body=draft)
        refused(response, status, "attachments[2].source: ", word)
    assert uids(alice.get(f"/mailboxes/{segment(box)}/messages")) == [uid]


# ---- what must not pass ----


def strings(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all strings, names of members among them."""
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in [*strings(inner, (*path, key)), (*path, ("name of", key))]]
    if isinstance(value, list):
        return [found for n, inner in enumerate(value) for found in strings(inner, (*path, n))]
    return [path] if isinstance(value, str) else []


def spoiled(draft: Any, path: tuple[Any, ...], bad: str) -> Any:
    copy = json.loads(json.dumps(draft))
    at = copy
    for step in path[:-1]:
        at = at[step]
    last = path[-1]
    if isinstance(last, tuple):
        at[last[1] + bad] = at.pop(last[1])
    else:
        at[last] += bad
    return copy


FULL_DRAFT = {
    "from": [{"name": "n", "email": "a@x"}],
    "sender": [{"name": "n", "email": "a@x"}],
    "replyTo": [{"name": "n", "email": "a@x"}],
    "to": [{"name": "n", "email": "a@x"}],
    "cc": [{"name": "n", "email": "a@x"}],
    "bcc": [{"name": "n", "email": "a@x"}],
    "subject": "s",
    "text": "t",
    "html": "h",
    "inReplyTo": ["a@b"],
    "references": ["a@b"],
    "headers": {"X-Name": "v"},
    "sentAt": "2026-01-31T12:34:56+05:30",
    "messageId": ["m@x"],
    "keywords": {"$draft": True},
    "receivedAt": "2026-01-31T12:34:56+05:30",
    "attachments": [
        {"name": "n", "type": "text/plain; a=b", "disposition": "inline", "cid": "c@x", "content": "AAAA"},
        {"source": {"mailbox": "INBOX", "uid": 1, "partId": "1"}},
    ],
}


@pytest.mark.parametrize("bad", ["\r\nX-Evil: 1\r\n", "\nX-Evil: 1", "\rX-Evil: 1", "\r\n\r\nX-Evil: 1", "\u0000X-Evil: 1"])
def test_no_string_begins_a_header(alice: Client, box: str, bad: str) -> None:
    texts = {("text",), ("html",)}
    n_refused = 0
    for path in strings(FULL_DRAFT):
        if path in texts and "\0" not in bad:
            continue
        response = alice.request("POST", f"/mailboxes/{segment(box)}/messages", json_body=spoiled(FULL_DRAFT, path, bad))
        refused(response, 400)
        n_refused += 1
    assert n_refused > 60
    assert uids(alice.get(f"/mailboxes/{segment(box)}/messages")) == []
    if "\0" not in bad:
        message = read(alice, box, post(alice, box, {"text": f"t{bad}", "html": f"h{bad}"}))
        assert all(part["X-Evil"] is None for part in message.walk())


def test_no_field_of_a_form_begins_a_header(alice: Client, box: str) -> None:
    for field in ("from", "to", "cc", "bcc", "subject", "filename", "type"):
        for bad in (b"a@x\r\nX-Evil: 1", b"a@x\nX-Evil: 1", b"a@x\0"):
            if field == "filename":
                bad = bad.replace(b"\r", b"%0D").replace(b"\n", b"%0A")
                part = b'Content-Disposition: form-data; name="f"; filename="' + bad + b'"\r\n\r\nx'
            elif field == "type":
                part = b'Content-Disposition: form-data; name="f"; filename="x"\r\nContent-Type: text/plain; ' + bad + b"\r\n\r\nx"
            else:
                part = f'Content-Disposition: form-data; name="{field}"\r\n\r\n'.encode() + bad
            body = b"--b\r\n" + part + b"\r\n--b--\r\n"
            target = f"/mailboxes/{segment(box)}/messages"
            response = alice.request("POST", target, body, {"Content-Type": "multipart/form-data; boundary=b"})
            if field == "type" and b"\r\n" in bad:
                continue  # another field of the part's own header, which is not looked at; the type is bad all the same
            refused(response, 400)
    assert uids(alice.get(f"/mailboxes/{segment(box)}/messages")) == []


def test_pages_of_others(alice: Client, box: str) -> None:
    target = f"/mailboxes/{segment(box)}/messages"
    for kind in ("multipart/form-data; boundary=b", "application/x-www-form-urlencoded", "text/plain", "application/json"):
        headers = {"Content-Type": kind, "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
        refused(alice.request("POST", target, b"--b--", headers), 403)
    assert uids(alice.get(target)) == []


# ---- large ones ----


def test_large(alice: Client, box: str) -> None:
    content = os.urandom(6 * 1024 * 1024)
    target = f"/mailboxes/{segment(box)}/messages"
    uid = post(alice, box, {"attachments": [{"name": "big", "content": encoded(content)}]})
    part = alice.get(f"{target}/{uid}/parts/1")
    assert part.status == 200 and part.body == content
    form = b'--b\r\nContent-Disposition: form-data; name="f"; filename="big"\r\n\r\n' + content + b"\r\n--b--\r\n"
    response = alice.request("POST", target, form, {"Content-Type": "multipart/form-data; boundary=b"})
    assert response.status == 201
    assert alice.get(f"{target}/{response.json()['uid']}/parts/1").body == content


def test_too_large_when_encoded(mail_server: ImapServer, start_gateway: StartGateway, box: str) -> None:
    """A form within --max-body whose message would be larger."""
    gateway = start_gateway(*tls_options(mail_server), "--max-body", str(1024 * 1024))
    client = gateway.client("alice", "secret")
    form = b'--b\r\nContent-Disposition: form-data; name="f"; filename="big"\r\n\r\n' + b"x" * 1_000_000 + b"\r\n--b--\r\n"
    target = f"/mailboxes/{segment(box)}/messages"
    refused(client.request("POST", target, form, {"Content-Type": "multipart/form-data; boundary=b"}), 413, "1048576 bytes")
    assert uids(client.get(target)) == []
    client.close()


def test_memory_comes_back(mail_server: ImapServer, start_gateway: StartGateway, release_binary: Path, box: str) -> None:
    """Of large messages nothing is left, whichever worker had them."""
    gateway = start_gateway(*tls_options(mail_server), program=release_binary)
    client = gateway.client("alice", "secret")
    draft = {"attachments": [{"name": "big", "content": encoded(os.urandom(20 * 1024 * 1024))}]}
    post(client, box, {"text": "small"})
    before = gateway.rss_kib
    for _ in range(6):
        post(client, box, draft)
    assert gateway.rss_kib - before < 8 * 1024
    client.close()


def announce(gateway: Gateway, mailbox: str, length: int) -> socket.socket:
    """A client that says how much JSON will come, and sends little of it."""
    head = (
        f"POST /mailboxes/{segment(mailbox)}/messages HTTP/1.1\r\nHost: x\r\nAuthorization: {basic('alice', 'secret')}\r\n"
        f'Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{{"text":"'
    )
    connection = socket.create_connection((gateway.host, gateway.port), timeout=60)
    connection.sendall(head.encode())
    return connection


def test_memory_of_all(mail_server: ImapServer, start_gateway: StartGateway, box: str) -> None:
    """What all hold together has a bound; who goes over it gets 503, and memory comes back."""
    gateway = start_gateway(*tls_options(mail_server), "--max-body", str(60 * 1024 * 1024))
    client = gateway.client("alice", "secret")
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(announce(gateway, box, 60 * 1024 * 1024))
        deadline = time.monotonic() + 30
        while True:  # until the first one's share is taken
            response = client.request("POST", f"/mailboxes/{segment(box)}/messages", b" " * 30 * 1024 * 1024, {"Content-Type": "application/json"})
            if response.status == 503 or time.monotonic() > deadline:
                break
        problem = refused(response, 503, "large messages")
        assert problem["retryable"] is True and response.header("Retry-After")
        post(client, box, {"text": "a small one passes"})
        first.close()
    deadline = time.monotonic() + 30
    while True:
        response = client.request("POST", f"/mailboxes/{segment(box)}/messages", b" " * 30 * 1024 * 1024, {"Content-Type": "application/json"})
        if response.status != 503 or time.monotonic() > deadline:
            break
    refused(response, 400, "not JSON")
    client.close()


def test_leaving_at_any_point(alice: Client, gateway: Gateway, box: str) -> None:
    """A client that goes while it sends, while a worker has it, while it is appended: never more than the whole message."""
    body = json.dumps({"text": "T" * 200_000}).encode()
    head = (
        f"POST /mailboxes/{segment(box)}/messages HTTP/1.1\r\nHost: x\r\nAuthorization: {basic('alice', 'secret')}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    for n_sent in (0, 1, 1000, 100_000, len(body) - 1, len(body), len(body), len(body)):
        with socket.create_connection((gateway.host, gateway.port), timeout=60) as connection:
            connection.sendall(head + body[:n_sent])
    post(alice, box, {"subject": "after it", "text": "T"})
    for message in good(alice.get(f"/mailboxes/{segment(box)}/messages?fields=uid,subject"))["messages"]:
        text = read(alice, box, message["uid"]).get_content()
        assert text.rstrip("\r\n") in ("T", "T" * 200_000)


def test_a_draft_is_saved_again(alice: Client, mail_server: ImapServer, box: str) -> None:
    """PUT: the new one takes the place and the keywords of the old one, and nothing else goes."""
    target = f"/mailboxes/{segment(box)}/messages"
    other = post(alice, box, {"subject": "other", "text": "T"})
    uid = post(alice, box, {"subject": "first", "text": "T", "keywords": {"$draft": True, "Work": True}})
    shown = alice.get(f"{target}/{uid}?fields=uid,keywords")
    form = b'--b\r\nContent-Disposition: form-data; name="subject"\r\n\r\nthird\r\n--b--\r\n'
    saves = [(json.dumps({"subject": "second", "text": "T"}).encode(), "application/json"), (form, "multipart/form-data; boundary=b")]
    for body, kind in saves:
        response = alice.request("PUT", f"{target}/{uid}", body, {"Content-Type": kind})
        assert response.status == 201, response.body
        uid = response.json()["uid"]
        assert response.header("Location") == f"{target}/{uid}"
    assert read(alice, box, uid)["Subject"] == "third"
    assert uids(alice.get(target)) == [uid, other]
    with second_client(mail_server, box) as client:
        assert flags_of(client, uid) >= {"\\Draft", "Work"}
    late = alice.request("PUT", f"{target}/{uid}", b"{}", {"Content-Type": "application/json", "If-Match": shown.header("ETag") or ""})
    refused(late, 412)
    assert uids(alice.get(target)) == [uid, other]
