"""Changes of many messages at once: which ones, what is told of each, and that nothing else ever goes."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
import seed
from conftest import StartGateway, tls_options
from dovecot import Dovecot, Options
from gateway import Gateway
from http_client import Client, Response, basic
from imap_server import ImapServer
from mail_tools import expunge, flags_of, good, new_mailbox, refused, second_client, segment, store, uids
from proxy import PATIENCE_SECONDS, Proxy, plain_options, settled
from test_move import FORBIDDEN, SERVERS, ids, ids_of

RUN = 500  # messages that are changed by one command


@pytest.fixture
def source(mail_server: ImapServer) -> str:
    return new_mailbox(mail_server, [seed.plain(n) for n in range(12)])


@pytest.fixture
def target(mail_server: ImapServer) -> str:
    return new_mailbox(mail_server, [seed.plain(9)], name="Ziel & mehr/Ü {}")


def many(mailbox: str, **parameters: Any) -> str:
    return f"/mailboxes/{segment(mailbox)}/messages?{urlencode(parameters)}"


def told(response: Response) -> tuple[int, list[int], dict[int, int]]:
    """How many were matched, which were changed, and the status of each that was not."""
    body = good(response)
    changed = body["updated"] if "updated" in body else body["destroyed"]
    problems = body["notUpdated"] if "notUpdated" in body else body["notDestroyed"]
    assert body["matched"] == len(changed) + len(problems)
    assert changed == sorted(set(changed))
    for problem in problems.values():
        assert problem["type"].startswith("/problems/") and problem["title"] and isinstance(problem["retryable"], bool)
    return body["matched"], changed, {int(uid): problem["status"] for uid, problem in problems.items()}


# ---- which messages


@pytest.mark.needs("keywords")
def test_keywords_of_what_a_filter_picks(alice: Client, mail_server: ImapServer, source: str) -> None:
    before = set(uids(alice.get(many(source, seen=0))))
    assert before == {1, 4, 7, 10}
    assert told(alice.patch(many(source, seen=0), {"keywords": {"$seen": True, "work": True}})) == (4, sorted(before), {})
    assert uids(alice.get(many(source, seen=0))) == []
    with second_client(mail_server, source) as other:
        assert flags_of(other, 4) - {"\\Recent"} == {"\\Seen", "work"}
        assert "work" not in flags_of(other, 5)
    assert told(alice.patch(many(source, keyword="work", uid="1:4"), {"keywords": {"work": None}})) == (2, [1, 4], {})
    assert uids(alice.get(many(source, keyword="work"))) == [10, 7]


def test_short_address(alice: Client, source: str) -> None:
    response = alice.patch(f"/messages?{urlencode({'mailbox': source, 'uid': '3'})}", {"keywords": {"$flagged": True}})
    assert told(response) == (1, [3], {})


@pytest.mark.needs("one view")
def test_what_is_not_there(alice: Client, mail_server: ImapServer, source: str) -> None:
    with second_client(mail_server, source) as other:
        expunge(other, [3, 5])
    change = {"keywords": {"$flagged": True}}
    assert told(alice.patch(many(source, uid="2:5,99"), change)) == (5, [2, 4], {3: 404, 5: 404, 99: 404})
    # Only what is named one by one can be missed.
    assert told(alice.patch(many(source, uid="2:5,99", flagged=1), change)) == (2, [2, 4], {})
    assert told(alice.patch(many(source, uid="2:5,99:*"), change))[1] == [2, 4]
    assert told(alice.patch(many(source, uid="2:1200"), change))[1:] == ([2, 4, 6, 7, 8, 9, 10, 11, 12], {})
    assert told(alice.patch(many(source, uid="*"), change)) == ((1, [12], {}) if mail_server.finds_last_uid else (0, [], {}))


def test_dry_run_changes_nothing(alice: Client, mail_server: ImapServer, source: str, target: str) -> None:
    before = ids(mail_server, source)
    assert good(alice.delete(many(source, all=1, dryRun=1))) == {"matched": 12, "destroyed": [], "notDestroyed": {}}
    assert good(alice.delete(many(source, all=1, dryRun=1, permanent=1)))["matched"] == 12
    dry = alice.patch(many(source, seen=0, dryRun=1), {"mailbox": target, "keywords": {"$seen": True}})
    assert good(dry) == {"matched": 4, "updated": [], "notUpdated": {}}
    assert ids(mail_server, source) == before and len(ids(mail_server, target)) == 1
    assert len(uids(alice.get(many(source, seen=0)))) == 4


@pytest.mark.needs("keywords")
def test_filters_that_imap_cannot_search_for(alice: Client, source: str) -> None:
    moment = good(alice.get(f"/mailboxes/{segment(source)}/messages/6"))["receivedAt"]
    listed = uids(alice.get(many(source, after=moment)))
    assert listed == list(range(12, 5, -1))
    assert told(alice.patch(many(source, after=moment), {"keywords": {"new": True}}))[1] == sorted(listed)
    assert told(alice.patch(many(source, before=moment), {"keywords": {"old": True}}))[1] == [1, 2, 3, 4, 5]
    assert told(alice.patch(many(source, hasAttachment=1), {"keywords": {"x": True}})) == (0, [], {})


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize(
    "query, hint",
    [
        ("", "all=1"),
        ("dryRun=1", "all=1"),
        ("minSize=0", "all=1"),
        ("uid=x", "uid"),
        ("uid=0", "uid"),
        ("seen=0&limit=3", "limit"),
        ("seen=0&fields=uid", "fields"),
        ("seen=0&sort=size", "sort"),
        ("seen=0&body=text", "body"),
        ("seen=0&unchangedSince=x", "unchangedSince"),
        ("sen=0", "sen"),
        ("seen=0&all=2", "all"),
    ],
)
def test_bad_requests_change_nothing(alice: Client, mail_server: ImapServer, source: str, method: str, query: str, hint: str | None) -> None:
    before = ids(mail_server, source)
    body = {"keywords": {"x": True}} if method == "PATCH" else None
    problem = refused(alice.request(method, f"/mailboxes/{segment(source)}/messages?{query}", json_body=body), 400)
    assert hint is None or hint in problem["detail"]
    assert ids(mail_server, source) == before


def test_bad_bodies(alice: Client, mail_server: ImapServer, source: str) -> None:
    nowhere = mail_server.mailbox("Nowhere")
    for body in ({"keywords": {"a b": True}}, {"keywords": []}, {"mailbox": ""}, {"mailbox": "a\r\nb"}, {"x": 1}, {"mailbox": None}):
        refused(alice.patch(many(source, all=1), body), 400)
    refused(alice.patch(many(source, uid=1), {"mailbox": nowhere}), 404, nowhere)
    refused(alice.patch(many(nowhere, all=1), {"mailbox": source}), 404)
    refused(alice.patch(many(source, all=1, uidValidity=1), {"keywords": {"x": True}}), 410)
    refused(alice.patch(many(source, uid=1), {"keywords": {"x": True}}, {"If-Match": '"abc"'}), 400, "unchangedSince")


def test_unchanged_since(alice: Client, mail_server: ImapServer, source: str, target: str) -> None:
    modseq = good(alice.get(f"/mailboxes/{segment(source)}"))["highestModseq"]
    if not mail_server.can("CONDSTORE"):
        before = ids(mail_server, source)
        assert modseq is None
        refused(alice.patch(many(source, uid="3:6", unchangedSince=1), {"keywords": {"$flagged": True}}), 422, "unchangedSince")
        refused(alice.delete(many(source, uid="3:6", unchangedSince=1)), 422, "unchangedSince")
        assert ids(mail_server, source) == before and uids(alice.get(many(source, flagged=1))) == []
        return
    with second_client(mail_server, source) as other:
        store(other, "4,6", "+FLAGS", "\\Answered")
    change = {"keywords": {"$flagged": True, "$seen": False}}
    assert told(alice.patch(many(source, uid="3:6", unchangedSince=modseq), change)) == (4, [3, 5], {4: 412, 6: 412})
    # What we changed ourselves is changed since.
    assert told(alice.patch(many(source, uid="2:3", unchangedSince=modseq), {"mailbox": target})) == (2, [2], {3: 412})
    assert told(alice.delete(many(source, uid="1,4", unchangedSince=modseq))) == (2, [1], {4: 412})
    assert told(alice.delete(many(source, uid="7,6", unchangedSince=modseq, permanent=1))) == (2, [7], {6: 412})
    with second_client(mail_server, source) as other:
        assert "\\Flagged" not in flags_of(other, 4) and "\\Deleted" not in flags_of(other, 6)


# ---- moving and removing


@pytest.mark.needs("UIDPLUS")
def test_move(alice: Client, mail_server: ImapServer, source: str, target: str) -> None:
    before = ids(mail_server, source)
    body = good(alice.patch(many(source, uid="2:4,9"), {"mailbox": target, "keywords": {"$flagged": True}}))
    assert body["updated"] == [2, 3, 4, 9]
    moved = body["moved"]
    assert moved["mailbox"] == target and moved["uidValidity"] == good(alice.get(f"/mailboxes/{segment(target)}"))["uidValidity"]
    there = ids(mail_server, target)
    assert {uid: there[copy] for uid, copy in ((int(uid), copy) for uid, copy in moved["uids"].items())} == {uid: before[uid] for uid in (2, 3, 4, 9)}
    assert ids(mail_server, source) == {uid: one for uid, one in before.items() if uid not in (2, 3, 4, 9)}
    with second_client(mail_server, target) as other:
        assert "\\Flagged" in flags_of(other, moved["uids"]["9"])


@pytest.mark.needs("UIDPLUS")
def test_delete(alice: Client, mail_server: ImapServer, source: str) -> None:
    before = ids(mail_server, source)
    with second_client(mail_server, source) as other:
        store(other, "1,3,5", "+FLAGS", "\\Deleted")
        assert told(alice.delete(many(source, uid="2,4"))) == (2, [2, 4], {})
        assert told(alice.delete(many(source, uid="6:7", permanent=1))) == (2, [6, 7], {})
        assert ids_of(other) == {uid: one for uid, one in before.items() if uid not in (2, 4, 6, 7)}
    in_trash = set(ids(mail_server, mail_server.mailbox("Trash")).values())
    assert {before[2], before[4]} <= in_trash and not {before[6], before[7]} & in_trash


@pytest.mark.needs("UIDPLUS")
def test_emptying_the_trash(start_gateway: StartGateway, own_mail_server: ImapServer) -> None:
    client = start_gateway(*tls_options(own_mail_server)).client("alice", "secret")
    with seed.session(own_mail_server.imap_port, "alice", "secret") as imap:
        trash = own_mail_server.mailbox("Trash")
        seed.append(imap, trash, [seed.plain(n) for n in range(3)])
    assert told(client.delete(many(trash, all=1))) == (3, [1, 2, 3], {})
    assert ids(own_mail_server, trash) == {}
    assert told(client.delete("/mailboxes/@trash/messages?all=1")) == (0, [], {})


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, Dovecot]]:
    options = Options(capability=SERVERS[request.param], rawlog=True)
    with Dovecot(users={"alice": "secret"}, options=options) as one:
        yield request.param, one


def test_servers(start_gateway: StartGateway, server: tuple[str, Dovecot]) -> None:
    """While a second client has marked others as deleted, nothing but what was named goes."""
    kind, dovecot = server
    source = new_mailbox(dovecot, [seed.plain(n) for n in range(12)])
    target = new_mailbox(dovecot)
    before = ids(dovecot, source)
    client = start_gateway(*tls_options(dovecot)).client("alice", "secret")
    has_uids = "UIDPLUS" in SERVERS[kind]
    with second_client(dovecot, source) as other:
        store(other, "2,4,6", "+FLAGS", "\\Deleted")
        flagged = told(client.patch(many(source, uid="1,3"), {"keywords": {"$flagged": True}}))
        moved = client.patch(many(source, uid="1,3"), {"mailbox": target})
        deleted = client.delete(many(source, uid="5,7"))
        purged = client.delete(many(source, uid="8:9", permanent=1))
        left = ids_of(other)
        assert flagged == (2, [1, 3], {})
        assert told(moved) == (2, [1, 3], {}) and told(deleted) == (2, [5, 7], {})
        assert set(left) >= {2, 4, 6, 10, 11, 12}, "what others marked, or nobody named, is gone"
        assert set(ids(dovecot, target).values()) == {before[1], before[3]}
        assert {before[5], before[7]} <= set(ids(dovecot, "Trash").values())
        if has_uids:
            assert set(left) == {2, 4, 6, 10, 11, 12} and told(purged) == (2, [8, 9], {})
            assert "remains" not in moved.json()
        else:
            refused(purged, 422, "UIDPLUS")
            assert "\\Deleted" not in flags_of(other, 8)
            remains = [] if kind == "MOVE without UIDPLUS" else [1, 3]
            assert moved.json().get("remains", []) == remains
            assert all("\\Deleted" in flags_of(other, uid) for uid in remains)
    log = dovecot.rawlog("alice")
    for word in (*FORBIDDEN[kind], b" CLOSE\r"):
        assert word not in log.upper(), word
    for line in log.upper().splitlines():
        assert b"EXPUNGE" not in line or b"UID EXPUNGE " in line, line


@pytest.mark.parametrize("kind", ["all", "no MOVE"])
def test_a_second_client_marks_others_in_the_middle(start_gateway: StartGateway, kind: str) -> None:
    """Marks come and go all the while; what is never named is never touched."""
    with Dovecot(users={"alice": "secret"}, options=Options(capability=SERVERS[kind])) as dovecot:
        source = new_mailbox(dovecot)
        n_messages = 3 * RUN
        seed.append_many(dovecot.imap_port, "alice", "secret", source, (seed.plain(n) for n in range(n_messages)))
        target = new_mailbox(dovecot)
        before = ids(dovecot, source)
        gateway = start_gateway(*tls_options(dovecot))
        others = list(range(2, n_messages + 1, 2))
        is_over = threading.Event()
        failures: list[BaseException] = []

        def mark() -> None:
            chance = random.Random(1)
            try:
                with second_client(dovecot, source) as other:
                    while not is_over.is_set():
                        some = ",".join(map(str, chance.sample(others, 40)))
                        store(other, some, chance.choice(["+FLAGS", "-FLAGS"]), "\\Deleted")
            except BaseException as error:
                failures.append(error)

        marker = threading.Thread(target=mark)
        marker.start()
        try:
            client = gateway.client("alice", "secret")
            odd = [uid for uid in before if uid % 2]
            kinds = [odd[0::3], odd[1::3], odd[2::3]]
            for keyword, named in zip(("a", "b", "c"), kinds):
                with second_client(dovecot, source) as other:
                    store(other, ",".join(map(str, named)), "+FLAGS", keyword)
            assert told(client.patch(many(source, keyword="a"), {"mailbox": target, "keywords": {"$flagged": True}}))[1] == kinds[0]
            assert told(client.delete(many(source, keyword="b")))[1] == kinds[1]
            assert told(client.delete(many(source, keyword="c", permanent=1)))[1] == kinds[2]
        finally:
            is_over.set()
            marker.join()
        assert not failures
        assert ids(dovecot, source) == {uid: before[uid] for uid in others}
        assert sorted(ids(dovecot, target).values()) == sorted(before[uid] for uid in kinds[0])


# ---- many


@pytest.mark.needs("UIDPLUS")
def test_many(start_gateway: StartGateway, own_mail_server: ImapServer) -> None:
    source, n_messages = new_mailbox(own_mail_server), 5 * RUN + 3
    seed.append_many(own_mail_server.imap_port, "alice", "secret", source, (seed.plain(n) for n in range(n_messages)))
    client = start_gateway(*tls_options(own_mail_server)).client("alice", "secret")
    everything = list(range(1, n_messages + 1))
    assert told(client.patch(many(source, all=1), {"keywords": {"$flagged": True, "$seen": None}})) == (n_messages, everything, {})
    assert good(client.get(many(source, flagged=1, seen=0, limit=1)))["total"] == n_messages
    assert told(client.delete(many(source, all=1))) == (n_messages, everything, {})
    assert good(client.get(many(source, limit=1)))["total"] == 0
    assert good(client.get("/mailboxes/@trash/messages?limit=1"))["total"] == n_messages


@pytest.mark.parametrize("kind", ["all", "no MOVE"])
def test_cut_in_the_middle(start_gateway: StartGateway, kind: str) -> None:
    """Wherever the connection is cut: no message is lost, none twice, and what is told of each is true."""
    with Dovecot(users={"alice": "secret"}, options=Options(capability=SERVERS[kind])) as dovecot, Proxy(dovecot.host, dovecot.imap_port) as proxy:
        gateway: Gateway = start_gateway(*plain_options(proxy))
        client = gateway.client("alice", "secret")
        chance, n_partial = random.Random(5), 0
        # What is told of a MOVE is short, with QRESYNC; of a STORE it is long.
        for turn, offset in enumerate([*range(60, 900, 100), *(chance.randrange(900, 40_000) for _ in range(4))]):
            source, target, n_messages = new_mailbox(dovecot), new_mailbox(dovecot), 2 * RUN + 200
            seed.append_many(dovecot.imap_port, "alice", "secret", source, (seed.plain(n) for n in range(n_messages)))
            before = ids(dovecot, source)
            assert client.get(many(source, limit=1)).status == 200
            proxy.cut_after(offset, with_reset=turn % 2 == 1)
            response = client.patch(many(source, all=1), {"mailbox": target})
            proxy.cut_never()
            there = sorted(ids(dovecot, target).values())
            with second_client(dovecot, source) as other:
                left = ids_of(other)
            assert sorted({*left.values(), *there}) == sorted(before.values()), "a message is lost"
            if response.status != 200:
                problem = refused(response, 502)
                assert there == [] or problem["outcome"] == "unknown"
                continue
            body = good(response)
            told(response)
            n_partial += bool(body["notUpdated"])
            for uid in body["updated"]:
                assert uid not in left and before[uid] in there
            for uid, problem in body["notUpdated"].items():
                if "outcome" not in problem:
                    assert int(uid) in left, "it is said not to have been moved"
        assert n_partial > 0


@pytest.mark.needs("UIDPLUS")
def test_client_that_leaves(start_gateway: StartGateway, own_mail_server: ImapServer) -> None:
    """At any moment: what was sent is done, no message is lost, and the next request gets its own answer."""
    n_messages = 3 * RUN
    source = new_mailbox(own_mail_server)
    seed.append_many(own_mail_server.imap_port, "alice", "secret", source, (seed.plain(n) for n in range(n_messages)))
    before = sorted(ids(own_mail_server, source).values())
    gateway = start_gateway(*tls_options(own_mail_server))
    client = gateway.client("alice", "secret")
    for n in range(10):
        target = new_mailbox(own_mail_server)
        body = json.dumps({"mailbox": target}).encode()
        head = (
            f"PATCH {many(source, all=1)} HTTP/1.1\r\nHost: x\r\nAuthorization: {basic('alice', 'secret')}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection((client.host, client.port), timeout=PATIENCE_SECONDS) as connection:
            connection.sendall(head.encode() + body)
            connection.settimeout(0.004 * n + 0.001)
            with contextlib.suppress(TimeoutError):
                connection.recv(1)
        n_left = settled(lambda: good(client.get(many(source, limit=1)))["total"], "the mailbox")
        there = ids(own_mail_server, target)
        if not own_mail_server.can("MOVE") and len(there) + n_left > n_messages:
            # Gone between COPY and UID EXPUNGE: some are in both, and none in neither.
            assert sorted({*there.values(), *ids(own_mail_server, source).values()}) == before
            break
        assert len(there) + n_left == n_messages
        assert sorted([*there.values(), *ids(own_mail_server, source).values()]) == before
        assert told(client.patch(many(target, all=1), {"mailbox": source}))[0] == len(there)
