"""Copying, moving and removing messages; and that nothing else ever goes."""

from __future__ import annotations

import imaplib
import random
import re
import threading
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import seed
from conftest import StartGateway, tls_options
from dovecot import Dovecot, Options
from gateway import Gateway
from http_client import Client, Response
from imap_server import ImapServer
from mail_tools import flags_of, good, new_mailbox, refused, second_client, segment, store, uids

pytestmark = pytest.mark.needs("UIDPLUS")

FULL = "IMAP4rev1 SASL-IR ENABLE IDLE UNSELECT CHILDREN NAMESPACE LIST-EXTENDED CONDSTORE QRESYNC ESEARCH LITERAL+ SPECIAL-USE"
SERVERS = {
    "all": f"{FULL} UIDPLUS MOVE",
    "no MOVE": f"{FULL} UIDPLUS",
    "no UIDPLUS": FULL,
    "MOVE without UIDPLUS": f"{FULL} MOVE",
    "bare": "IMAP4rev1",
}
# What must never go to such a server; and to none of them an EXPUNGE without UIDs, or a CLOSE.
FORBIDDEN = {"all": [], "no MOVE": [b" MOVE "], "no UIDPLUS": [b"EXPUNGE"], "MOVE without UIDPLUS": [b"EXPUNGE"], "bare": [b"EXPUNGE", b" MOVE "]}


@pytest.fixture
def source(mail_server: ImapServer) -> str:
    return new_mailbox(mail_server, [seed.plain(n) for n in range(5)])


@pytest.fixture
def target(mail_server: ImapServer) -> str:
    return new_mailbox(mail_server, [seed.plain(9)], name="Ziel & mehr/Ü {}")


def message(mailbox: str, uid: int, rest: str = "") -> str:
    return f"/mailboxes/{segment(mailbox)}/messages/{uid}{rest}"


def copy(client: Client, mailbox: str, uid: int, target: str, headers: dict[str, str] | None = None) -> Response:
    return client.request("POST", message(mailbox, uid, "/copy"), headers=headers, json_body={"mailbox": target})


def ids(server: ImapServer, mailbox: str) -> dict[int, str]:
    """UID to Message-ID of what is there, as another client sees it."""
    with second_client(server, mailbox) as client:
        return ids_of(client)


def ids_of(client: imaplib.IMAP4) -> dict[int, str]:
    client.noop()
    status, data = client.uid("FETCH", "1:*", "(UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
    assert status == "OK"
    result = {}
    for one in data:
        if isinstance(one, tuple):
            uid = re.search(rb"UID (\d+)", one[0])
            assert uid is not None
            result[int(uid[1])] = one[1].split(b":", 1)[1].strip().decode()
    return result


# ---- copy ----


def test_copy(alice: Client, mail_server: ImapServer, source: str, target: str) -> None:
    before = ids(mail_server, source)
    response = copy(alice, source, 2, target)
    assert response.status == 201, response.body
    body = response.json()
    assert body == {"mailbox": target, "uid": 2, "uidValidity": good(alice.get(f"/mailboxes/{segment(target)}"))["uidValidity"]}
    assert response.header("Location") == message(target, 2)
    copied = good(alice.get(response.header("Location") or ""))
    assert copied["messageId"] == good(alice.get(message(source, 2)))["messageId"]
    assert ids(mail_server, source) == before and ids(mail_server, target)[2] == before[2]
    assert copy(alice, source, 2, source).json()["uid"] == 6  # a duplicate, where that is asked for


def test_copy_by_the_short_address(alice: Client, source: str, target: str) -> None:
    response = alice.request("POST", f"/messages/3/copy?mailbox={quote(source)}", json_body={"mailbox": target})
    assert response.status == 201 and response.json()["mailbox"] == target


def test_copy_of_what_is_not_there(alice: Client, mail_server: ImapServer, source: str, target: str) -> None:
    refused(copy(alice, source, 99, target), 404, "99")
    nowhere = mail_server.mailbox("Nowhere/Ü")
    problem = refused(copy(alice, source, 1, nowhere), 404, nowhere)
    assert problem["imap"]["code"] == "TRYCREATE"
    refused(copy(alice, nowhere, 1, target), 404, nowhere)
    refused(copy(alice, source, 1, "@trash"), 404 if not mail_server.prefix else 422)  # a name, as any other
    assert len(ids(mail_server, target)) == 1
    assert nowhere not in [one["name"] for one in good(alice.get("/mailboxes"))["mailboxes"]]


# ---- move ----


def test_move(alice: Client, mail_server: ImapServer, source: str, target: str) -> None:
    before = ids(mail_server, source)
    response = alice.patch(message(source, 3), {"mailbox": target})
    body = good(response)
    assert (body["mailbox"], body["uid"], body["href"]) == (target, 2, message(target, 2))
    assert response.header("Location") == body["href"]
    again = alice.get(body["href"])
    assert again.header("ETag") == response.header("ETag") and good(again)["keywords"] == body["keywords"]
    refused(alice.get(message(source, 3)), 404)
    assert ids(mail_server, source) == {uid: one for uid, one in before.items() if uid != 3}
    assert ids(mail_server, target)[2] == before[3]
    assert uids(alice.get(f"/mailboxes/{segment(source)}/messages")) == [5, 4, 2, 1]
    assert uids(alice.get(f"/mailboxes/{segment(target)}/messages")) == [2, 1]


def test_keywords_and_move(alice: Client, mail_server: ImapServer, source: str, target: str) -> None:
    body = good(alice.patch(message(source, 1) + "?fields=uid,keywords", {"mailbox": target, "keywords": {"$flagged": True, "x": True, "$seen": None}}))
    assert body == {"uid": 2, "keywords": {"$flagged": True, "x": True}}
    with second_client(mail_server, target) as other:
        assert flags_of(other, 2) - {"\\Recent"} == {"\\Flagged", "x"}
    nowhere = mail_server.mailbox("Nowhere")
    problem = refused(alice.patch(message(source, 2), {"mailbox": nowhere, "keywords": {"y": True}}), 404, nowhere, "keywords were changed")
    assert "outcome" not in problem
    assert "y" in good(alice.get(message(source, 2)))["keywords"]


def test_move_to_where_it_is(alice: Client, mail_server: ImapServer, source: str) -> None:
    before = ids(mail_server, source)
    response = alice.patch(message(source, 1), {"mailbox": source})
    assert good(response)["uid"] == 1 and response.header("Location") is None
    assert ids(mail_server, source) == before


def test_move_if_match(alice: Client, mail_server: ImapServer, source: str, target: str) -> None:
    old = alice.get(message(source, 1)).header("ETag") or ""
    with second_client(mail_server, source) as other:
        store(other, "1", "+FLAGS", "\\Answered")
    refused(alice.patch(message(source, 1), {"mailbox": target}, {"If-Match": old}), 412)
    refused(alice.delete(message(source, 1), {"If-Match": old}), 412)
    refused(alice.delete(message(source, 1, "?permanent=1"), {"If-Match": old}), 412)
    assert 1 in ids(mail_server, source)
    new = alice.get(message(source, 1)).header("ETag") or ""
    both = {"mailbox": target, "keywords": {"$seen": True, "$flagged": None}}
    assert good(alice.patch(message(source, 1), both, {"If-Match": new}))["uid"] == 2
    refused(alice.patch(message(source, 2, "?uidValidity=1"), {"mailbox": target}), 410)
    refused(alice.delete(message(source, 2, "?uidValidity=1")), 410)


# ---- delete ----


def test_delete_goes_to_the_trash(alice: Client, mail_server: ImapServer, source: str) -> None:
    before = ids(mail_server, source)
    response = alice.delete(message(source, 4))
    assert response.status == 204 and response.body == b""
    where = response.header("Location") or ""
    assert where.startswith(f"/mailboxes/{mail_server.mailbox('Trash')}/messages/")
    assert f"<{good(alice.get(where))['messageId'][0]}>" == before[4]
    assert ids(mail_server, source) == {uid: one for uid, one in before.items() if uid != 4}
    refused(alice.delete(message(source, 4)), 404)
    # and in the trash: gone for good
    response = alice.delete(where)
    assert response.status == 204 and response.header("Location") is None
    refused(alice.get(where), 404)


def test_delete_in_the_trash_by_its_role(alice: Client, source: str) -> None:
    where = alice.delete(message(source, 1)).header("Location") or ""
    assert alice.delete(where.replace("/Trash/", "/@trash/")).status == 204
    refused(alice.get(where), 404)


def test_delete_for_good(alice: Client, mail_server: ImapServer, source: str) -> None:
    before = ids(mail_server, source)
    with second_client(mail_server, source) as other:
        store(other, "1,3,5", "+FLAGS", "\\Deleted")
        assert alice.delete(message(source, 2, "?permanent=1")).status == 204
        assert ids_of(other) == {uid: one for uid, one in before.items() if uid != 2}
    refused(alice.delete(message(source, 2, "?permanent=1")), 404)


# ---- servers that can less ----


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, Dovecot]]:
    options = Options(capability=SERVERS[request.param], rawlog=True)
    with Dovecot(users={"alice": "secret"}, options=options) as one:
        yield request.param, one


def test_servers(start_gateway: StartGateway, server: tuple[str, Dovecot]) -> None:
    """While a second client has marked others as deleted, nothing but what was named goes."""
    kind, dovecot = server
    source = new_mailbox(dovecot, [seed.plain(n) for n in range(6)])
    target = new_mailbox(dovecot)
    before = ids(dovecot, source)
    client = start_gateway(*tls_options(dovecot)).client("alice", "secret")
    has_uids = "UIDPLUS" in SERVERS[kind]
    with second_client(dovecot, source) as other:
        store(other, "2,4", "+FLAGS", "\\Deleted")
        assert copy(client, source, 1, target).status == 201
        moved = good(client.patch(message(source, 1), {"mailbox": target}))
        deleted = client.delete(message(source, 3))
        purged = client.delete(message(source, 5, "?permanent=1"))
        left = ids_of(other)
        assert set(left) >= {2, 4, 6}, "what others marked is gone"
        assert list(ids(dovecot, target).values()).count(before[1]) == 2
        assert before[3] in ids(dovecot, "Trash").values()
        if has_uids:
            assert set(left) == {2, 4, 6}
            assert deleted.status == purged.status == 204 and moved["mailbox"] == target
        elif kind == "MOVE without UIDPLUS":
            assert set(left) == {2, 4, 5, 6}
            assert deleted.status == 204
        else:
            assert set(left) == {1, 2, 3, 4, 5, 6}
            assert deleted.status == 200 and deleted.json()["remains"]["uid"] == 3
            assert moved["remains"] == {
                "mailbox": source,
                "uid": 1,
                "uidValidity": moved["remains"]["uidValidity"],
                "href": message(source, 1),
            }
            assert all("\\Deleted" in flags_of(other, uid) for uid in (1, 3))
        if not has_uids:
            refused(purged, 422, "UIDPLUS")
            assert "\\Deleted" not in flags_of(other, 5)
    log = dovecot.rawlog("alice")
    for word in (*FORBIDDEN[kind], b" CLOSE\r"):
        assert word not in log.upper(), word
    for line in log.upper().splitlines():
        assert b"EXPUNGE" not in line or b"UID EXPUNGE " in line, line


@pytest.mark.parametrize("kind", ["all", "no MOVE"])
def test_a_second_client_marks_others_in_the_middle(start_gateway: StartGateway, kind: str) -> None:
    """Marks come and go all the while; what is never named is never touched."""
    with Dovecot(users={"alice": "secret"}, options=Options(capability=SERVERS[kind])) as dovecot:
        source = new_mailbox(dovecot, [seed.plain(n) for n in range(60)])
        target = new_mailbox(dovecot)
        before = ids(dovecot, source)
        gateway = start_gateway(*tls_options(dovecot))
        named = list(range(1, 61, 2))
        others = [uid for uid in range(1, 61) if uid not in named]
        is_over = threading.Event()
        failures: list[BaseException] = []

        def mark() -> None:
            chance = random.Random(1)
            try:
                with second_client(dovecot, source) as other:
                    while not is_over.is_set():
                        some = ",".join(map(str, chance.sample(others, 5)))
                        store(other, some, chance.choice(["+FLAGS", "-FLAGS"]), "\\Deleted")
            except BaseException as error:
                failures.append(error)

        marker = threading.Thread(target=mark)
        marker.start()
        try:
            client = gateway.client("alice", "secret")
            for n, uid in enumerate(named):
                if n % 3 == 0:
                    answer = client.patch(message(source, uid), {"mailbox": target, "keywords": {"$flagged": True}})
                else:
                    answer = client.delete(message(source, uid, "?permanent=1" if n % 3 == 2 else ""))
                assert answer.status in (200, 204), answer.body
        finally:
            is_over.set()
            marker.join()
        assert not failures
        assert ids(dovecot, source) == {uid: before[uid] for uid in others}
        assert sorted(ids(dovecot, target).values()) == sorted(before[uid] for uid in named[0::3])
        assert sorted(ids(dovecot, "Trash").values()) == sorted(before[uid] for uid in named[1::3])
