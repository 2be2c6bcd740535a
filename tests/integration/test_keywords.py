"""Keywords: PATCH of a message, PUT and DELETE of one keyword, and who was first."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
import seed
from gateway import Gateway
from http_client import Client, Response
from imap_server import ImapServer
from mail_tools import expunge, flags_of, good, new_mailbox, refused, second_client, segment, store, uids

pytestmark = pytest.mark.needs("keywords")

SYSTEM = {"$seen": "\\Seen", "$flagged": "\\Flagged", "$answered": "\\Answered", "$draft": "\\Draft", "$deleted": "\\Deleted"}


@pytest.fixture
def mailbox(mail_server: ImapServer) -> str:
    return new_mailbox(mail_server, [seed.Message(seed.plain(n).raw, flags) for n, flags in enumerate([(), ("\\Seen",), ("old",)])])


def message(mailbox: str, uid: int = 1, rest: str = "") -> str:
    return f"/mailboxes/{segment(mailbox)}/messages/{uid}{rest}"


def patched(client: Client, target: str, keywords: dict[str, bool | None]) -> dict[str, bool]:
    reply: dict[str, bool] = good(client.patch(target, {"keywords": keywords}))["keywords"]
    return reply


def test_set_and_clear(alice: Client, mail_server: ImapServer, mailbox: str) -> None:
    target = message(mailbox)
    with second_client(mail_server, mailbox) as other:
        assert patched(alice, target, {"$seen": True, "project-x": True}) == {"$seen": True, "project-x": True}
        assert flags_of(other, 1) - {"\\Recent"} == {"\\Seen", "project-x"}
        assert patched(alice, target, {"$seen": None, "$flagged": True}) == {"$flagged": True, "project-x": True}
        assert flags_of(other, 1) - {"\\Recent"} == {"\\Flagged", "project-x"}
        assert patched(alice, target, {"project-x": False}) == {"$flagged": True}
        assert patched(alice, target, {}) == {"$flagged": True}
        assert good(alice.patch(target, {}))["keywords"] == {"$flagged": True}
        assert flags_of(other, 1) - {"\\Recent"} == {"\\Flagged"}
        assert flags_of(other, 2) - {"\\Recent"} == {"\\Seen"}


@pytest.mark.parametrize("keyword", SYSTEM)
def test_system_flags(alice: Client, mail_server: ImapServer, mailbox: str, keyword: str) -> None:
    with second_client(mail_server, mailbox) as other:
        for name in (keyword, keyword.upper(), quote(keyword)):
            assert good(alice.put(message(mailbox, 3, f"/keywords/{name}")))["keywords"] == {keyword: True, "old": True}
            assert SYSTEM[keyword] in flags_of(other, 3)
            assert good(alice.delete(message(mailbox, 3, f"/keywords/{name}")))["keywords"] == {"old": True}
            assert SYSTEM[keyword] not in flags_of(other, 3)


def test_put_and_delete_are_idempotent(alice: Client, mailbox: str) -> None:
    for _ in range(2):
        assert good(alice.put(message(mailbox, 1, "/keywords/$Label1")))["keywords"] == {"$label1": True}
    for _ in range(2):
        assert good(alice.delete(message(mailbox, 1, "/keywords/$LABEL1")))["keywords"] == {}
    assert good(alice.delete(message(mailbox, 1, "/keywords/never-seen")))["keywords"] == {}


def test_both_addresses(alice: Client, mailbox: str) -> None:
    short = f"/messages/1?mailbox={quote(mailbox)}"
    assert patched(alice, short, {"a": True}) == {"a": True}
    assert good(alice.put(f"/messages/1/keywords/b?mailbox={quote(mailbox)}"))["keywords"] == {"a": True, "b": True}
    reply = good(alice.get(message(mailbox)))
    assert reply["keywords"] == {"a": True, "b": True}
    assert good(alice.patch(short, {}))["href"] == message(mailbox) == reply["href"]


def test_read_your_writes(gateway: Gateway, alice: Client, mail_server: ImapServer, mailbox: str) -> None:
    """At once, by every way to look, on other connections too."""
    other = gateway.client("alice", "secret")
    where = f"/mailboxes/{segment(mailbox)}"
    for round_trip in range(10):
        is_set = round_trip % 2 == 0
        response = alice.patch(message(mailbox), {"keywords": {"$flagged": is_set, "rr": is_set}})
        expected = {"$flagged": True, "rr": True} if is_set else {}
        assert good(response)["keywords"] == expected
        for client in (other, alice):
            assert good(client.get(message(mailbox, rest="?fields=keywords"))) == {"keywords": expected}
            assert (1 in uids(client.get(f"{where}/messages?flagged=1"))) == is_set
            assert (1 in uids(client.get(f"{where}/messages?keyword=rr"))) == is_set
            listed = {m["uid"]: m["keywords"] for m in good(client.get(f"{where}/messages"))["messages"]}
            assert listed[1] == expected
            assert client.get(message(mailbox)).header("ETag") == response.header("ETag")
    before = good(alice.get(where))["unreadEmails"]
    alice.put(message(mailbox, 1, "/keywords/$seen"))
    assert good(alice.get(where))["unreadEmails"] == before - 1
    other.close()


def test_fields_of_the_reply(alice: Client, mailbox: str) -> None:
    body = {"keywords": {"x": True}}
    assert good(alice.patch(message(mailbox, rest="?fields=uid,keywords"), body)) == {"uid": 1, "keywords": {"x": True}}
    for name in ("headers", "bodyValues", "preview"):
        refused(alice.patch(message(mailbox, rest=f"?fields={name}"), body), 400, name)
    refused(alice.put(message(mailbox, 1, "/keywords/x?fields=colour")), 400, "colour")


# ---- conditional ----


def test_if_match(alice: Client, mail_server: ImapServer, mailbox: str) -> None:
    etag = alice.get(message(mailbox)).header("ETag") or ""
    response = alice.patch(message(mailbox), {"keywords": {"a": True}}, {"If-Match": etag})
    assert good(response)["keywords"] == {"a": True}
    newer = response.header("ETag") or ""
    assert newer != etag and alice.get(message(mailbox)).header("ETag") == newer
    refused(alice.patch(message(mailbox), {"keywords": {"b": True}}, {"If-Match": etag}), 412)
    refused(alice.put(message(mailbox, 1, "/keywords/b"), {"If-Match": etag}), 412)
    refused(alice.delete(message(mailbox, 1, "/keywords/a"), {"If-Match": etag}), 412)
    assert good(alice.get(message(mailbox)))["keywords"] == {"a": True}
    assert good(alice.put(message(mailbox, 1, "/keywords/b"), {"If-Match": f'"x", {newer}'}))["keywords"] == {"a": True, "b": True}
    assert good(alice.delete(message(mailbox, 1, "/keywords/b"), {"If-Match": "*"}))["keywords"] == {"a": True}


def test_if_match_when_another_client_was_first(alice: Client, mail_server: ImapServer, mailbox: str) -> None:
    etag = alice.get(message(mailbox)).header("ETag") or ""
    with second_client(mail_server, mailbox) as other:
        store(other, "1", "+FLAGS", "\\Answered")
        response = alice.patch(message(mailbox), {"keywords": {"$seen": True}}, {"If-Match": etag})
        problem = refused(response, 412)
        assert flags_of(other, 1) - {"\\Recent"} == {"\\Answered"}
        # The reply says what there is now: enough to decide and to try again.
        now = alice.get(message(mailbox))
        assert response.header("ETag") == now.header("ETag")
        assert problem["current"] == {key: good(now)[key] for key in ("uid", "uidValidity", "modseq", "keywords")}
        assert alice.put(message(mailbox, 1, "/keywords/again"), {"If-Match": response.header("ETag") or ""}).status == 200
        store(other, "2", "+FLAGS", "\\Answered")  # another message does not matter
        etag = alice.get(message(mailbox)).header("ETag") or ""
        store(other, "2", "-FLAGS", "\\Answered")
        assert "$seen" in good(alice.patch(message(mailbox), {"keywords": {"$seen": True}}, {"If-Match": etag}))["keywords"]


def test_set_and_clear_with_if_match_are_one_change(alice: Client, mailbox: str) -> None:
    """The second STORE must not take the first one's own change for somebody else's."""
    alice.put(message(mailbox, 1, "/keywords/a"))
    etag = alice.get(message(mailbox)).header("ETag") or ""
    response = alice.patch(message(mailbox), {"keywords": {"a": None, "b": True}}, {"If-Match": etag})
    assert good(response)["keywords"] == {"b": True}


def test_nothing_changed_keeps_the_etag(alice: Client, mailbox: str) -> None:
    etag = alice.get(message(mailbox)).header("ETag")
    assert alice.patch(message(mailbox), {}).header("ETag") == etag
    assert alice.patch(message(mailbox), {"keywords": {}}).header("ETag") == etag


# ---- bodies ----


def test_types(alice: Client, mailbox: str) -> None:
    body = b'{"keywords":{"t":true}}'
    for kind in (
        "application/json",
        "application/json; charset=utf-8",
        'APPLICATION/JSON; charset="UTF-8"',
        "application/merge-patch+json",
        "application/x-www-form-urlencoded",
    ):
        assert good(alice.request("PATCH", message(mailbox), body, {"Content-Type": kind}))["keywords"] == {"t": True}
    for kind in ("text/plain", "application/xml", "application/json; charset=latin-1", "", "json", "multipart/form-data; boundary=x"):
        response = alice.request("PATCH", message(mailbox), body, {"Content-Type": kind})
        refused(response, 415, kind)
        assert response.header("Accept-Patch") == "application/merge-patch+json, application/json"
    assert alice.request("PATCH", message(mailbox), body, {}).status == 415
    for header in ({"Origin": "{own}"}, {"Sec-Fetch-Site": "same-origin"}):
        header = {name: value.replace("{own}", f"http://{alice.host}:{alice.port}") for name, value in header.items()}
        form = {"Content-Type": "application/x-www-form-urlencoded"} | header
        refused(alice.request("PATCH", message(mailbox), body, form), 415)
        assert good(alice.request("PATCH", message(mailbox), body, {"Content-Type": "application/json"} | header))
    refused(alice.request("PATCH", message(mailbox), body, {"Content-Type": "application/json", "Content-Encoding": "gzip"}), 415)


BAD_BODIES: list[tuple[bytes, str]] = [
    (b"", "empty"),
    (b"{", "JSON"),
    (b"[]", "object"),
    (b"null", "object"),
    (b"{}{}", "JSON"),
    (b'{"keywords":[]}', "keywords"),
    (b'{"keywords":null}', "keywords"),
    (b'{"keywords":"$seen"}', "keywords"),
    (b'{"keywords":{"$seen":1}}', "$seen"),
    (b'{"keywords":{"$seen":"true"}}', "$seen"),
    (b'{"keywords":{"":true}}', "keyword"),
    (b'{"keywords":{"a b":true}}', "a b"),
    (b'{"keywords":{"\\\\Seen":true}}', "Seen"),
    (b'{"keywords":{"a\\r\\nb":true}}', "keyword"),
    (b'{"keywords":{"a(b":true}}', "a(b"),
    (b'{"keywords":{"a]":true}}', "a]"),
    (b'{"keywords":{"\xc3\xbc":true}}', "ü"),
    (b'{"keywords":{"' + b"k" * 201 + b'":true}}', "kkk"),
    (b'{"keywords":{"a":true,"a":false}}', "JSON"),
    (b'{"keywords":{},"subject":"x"}', "subject"),
    (b'{"Keywords":{}}', "Keywords"),
    (b'{"mailbox":null}', "mailbox"),
    (b'{"mailbox":{"role":"trash"}}', "mailbox"),
    (b'{"mailbox":"a\\u0007b"}', "mailbox"),
    (b'{"keywords":{"\xff":true}}', "UTF-8"),
    (b'{"keywords":{"a\\u0000b":true}}', ""),
    (b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", "nested"),
    (json.dumps({"keywords": {f"k{n}": True for n in range(65)}}).encode(), "64"),
]


@pytest.mark.parametrize(("body", "named"), BAD_BODIES, ids=[body[:40].decode("latin-1") for body, _ in BAD_BODIES])
def test_bad_bodies_are_named(alice: Client, mail_server: ImapServer, mailbox: str, body: bytes, named: str) -> None:
    refused(alice.request("PATCH", message(mailbox), body, {"Content-Type": "application/json"}), 400, named)
    with second_client(mail_server, mailbox) as other:
        assert flags_of(other, 1) <= {"\\Recent"}


@pytest.mark.parametrize("keyword", ["%5CSeen", "a%20b", "a%28b", "a%0D%0Ab", "%22", "%7B5%7D", "%2A", "%C3%BC", "a%5D", "k" * 201])
def test_bad_keywords_in_the_path(alice: Client, mail_server: ImapServer, mailbox: str, keyword: str) -> None:
    for method in ("PUT", "DELETE"):
        refused(alice.request(method, message(mailbox, 1, f"/keywords/{keyword}")), 400, "keyword")
    with second_client(mail_server, mailbox) as other:
        assert flags_of(other, 1) <= {"\\Recent"}


@pytest.mark.parametrize("keyword", ["$flagged", "a.b", "a+b", "[x", "$", "0", "k" * 50, "a&b", "x=1", "~", "a:b"])
def test_good_keywords_in_the_path(alice: Client, mail_server: ImapServer, mailbox: str, keyword: str) -> None:
    response = alice.put(message(mailbox, 1, f"/keywords/{quote(keyword, safe='$')}"))
    if any(keyword == one or one in keyword for one in mail_server.refused_keywords):
        refused(response, 422)
        assert good(alice.get(message(mailbox)))["keywords"] == {}
        return
    body = good(response)
    assert body["keywords"] == {keyword.lower(): True}
    assert uids(alice.get(f"/mailboxes/{segment(mailbox)}/messages?keyword={quote(keyword)}")) == [1]
    assert good(alice.delete(message(mailbox, 1, f"/keywords/{quote(keyword)}")))["keywords"] == {}


@pytest.mark.parametrize("keyword", ["k" * 51, "k" * 200, "NIL"])
def test_what_the_server_does_not_keep_is_422(alice: Client, mail_server: ImapServer, mailbox: str, keyword: str) -> None:
    """Dovecot refuses long ones, and takes NIL for no keyword at all; Courier refuses that, and Cyrus keeps all."""
    response = alice.put(message(mailbox, 1, f"/keywords/{keyword}"))
    if response.status == 200 and mail_server.title != "Dovecot":
        assert response.json()["keywords"] == good(alice.get(message(mailbox)))["keywords"] == {keyword.lower(): True}
        return
    problem = refused(response, 422)
    assert ("imap" in problem) == (keyword != "NIL" or mail_server.title == "Courier")
    assert good(alice.get(message(mailbox)))["keywords"] == {}


def test_many_keywords_at_once(alice: Client, mailbox: str) -> None:
    wanted = {f"k{n}": True for n in range(20)}
    assert patched(alice, message(mailbox), wanted) == wanted
    assert patched(alice, message(mailbox), dict.fromkeys(wanted)) == {}


def test_a_body_that_is_too_large(alice: Client, mailbox: str) -> None:
    body = b'{"keywords":{"a":true}}' + b" " * (1 << 20)
    refused(alice.request("PATCH", message(mailbox), body, {"Content-Type": "application/json"}), 413, "1048576")
    assert good(alice.get(message(mailbox)))["keywords"] == {}


# ---- what is not there ----


def answers(client: Client, mailbox: str, uid: int, query: str = "") -> list[Response]:
    target = f"/mailboxes/{segment(mailbox)}/messages/{uid}"
    return [
        client.patch(target + query, {"keywords": {"a": True}}),
        client.put(f"{target}/keywords/a{query}"),
        client.delete(f"{target}/keywords/a{query}"),
    ]


def test_not_found_and_gone(alice: Client, mail_server: ImapServer, mailbox: str) -> None:
    for response in answers(alice, mailbox, 99):
        refused(response, 404, "99")
    for response in answers(alice, "Nowhere", 1):
        refused(response, 404, "Nowhere")
    for response in answers(alice, mailbox, 1, "?uidValidity=1"):
        refused(response, 410, "UIDVALIDITY")
    for response in answers(alice, mailbox, 1, "?nonesuch=1"):
        refused(response, 400, "nonesuch")
    with second_client(mail_server, mailbox) as other:
        expunge(other, [2])
        for response in answers(alice, mailbox, 2):
            refused(response, 404, "2")


def test_deleted_is_a_keyword_and_expunges_nothing(alice: Client, mail_server: ImapServer, mailbox: str) -> None:
    assert patched(alice, message(mailbox), {"$deleted": True}) == {"$deleted": True}
    assert uids(alice.get(f"/mailboxes/{segment(mailbox)}/messages")) == [3, 2, 1]
    with second_client(mail_server, mailbox) as other:
        assert other.uid("SEARCH", "ALL")[1] == [b"1 2 3"]


# ---- cross-origin ----


def test_origins(alice: Client, mailbox: str) -> None:
    own = f"http://{alice.host}:{alice.port}"
    target = message(mailbox, 1, "/keywords/o")
    assert alice.put(target, {"Origin": own}).status == 200
    for origin in ("null", "https://elsewhere.example", own + ".elsewhere.example", own.replace("http:", "https:")):
        for method in ("PUT", "DELETE"):
            refused(alice.request(method, target, headers={"Origin": origin}), 403, "origin")
        refused(alice.patch(message(mailbox), {"keywords": {"o": None}}, {"Origin": origin}), 403)
        assert alice.get(message(mailbox), {"Origin": origin}).status == 200
    assert good(alice.get(message(mailbox)))["keywords"] == {"o": True}
