"""GET /events: what a second client does is told as the right event, and a client that comes back misses nothing."""

from __future__ import annotations

import contextlib
import imaplib
import itertools
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from conftest import USERS, StartGateway, open_server, tls_options
from dovecot import Dovecot, Options, dovecot_version
from event_stream import EventStream
from gateway import Gateway
from http_client import basic
from imap_server import ImapServer
from test_changes import MESSAGE, SERVERS

pytestmark = pytest.mark.needs("one view")

NUMBERS = itertools.count(1)
PASSWORD = USERS["alice"]


@pytest.fixture(scope="module", params=list(SERVERS))
def server(request: pytest.FixtureRequest) -> Iterator[ImapServer]:
    with open_server(request.config, capability=SERVERS[request.param]) as started:
        yield started


@pytest.fixture
def program(server: ImapServer, start_gateway: StartGateway) -> Gateway:
    return start_gateway(*tls_options(server))


@contextlib.contextmanager
def imap_client(server: ImapServer, mailbox: str | None = None) -> Iterator[imaplib.IMAP4]:
    connection = imaplib.IMAP4(server.host, server.imap_port)
    connection.login("alice", PASSWORD)
    if server.settles_late:
        connection.select("INBOX")
    if mailbox:
        connection.create(mailbox)
        connection.append(mailbox, "", "", MESSAGE)
        connection.append(mailbox, "", "", MESSAGE)
        connection.select(mailbox)
    try:
        yield connection
    finally:
        connection.logout()


def new_mailbox(server: ImapServer) -> str:
    return server.mailbox(f"Events{next(NUMBERS)}")


def open_stream(gateway: Gateway, *mailboxes: str, last_id: str | None = None) -> EventStream:
    query = "&".join(f"mailbox={quote(name, safe='@')}" for name in mailboxes)
    return EventStream(gateway, f"/events?{query}" if query else "/events", "alice", PASSWORD, last_id)


def hold(program: Gateway, target: str) -> socket.socket:
    """A request that nobody reads the answer of."""
    held = socket.create_connection((program.host, program.port))
    held.sendall(f"GET {target} HTTP/1.1\r\nHost: gateway\r\nAuthorization: {basic('alice', PASSWORD)}\r\n\r\n".encode())
    return held


def test_a_hundred_streams_of_an_account(server: ImapServer, program: Gateway) -> None:
    """The next one is told, others do not notice, and one that ends makes room."""
    if not server.can("NOTIFY"):
        pytest.skip("the cap has nothing to do with the server")
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(hold(program, "/events?mailbox=@inbox")) for _ in range(100)]
        for one in held:
            assert one.recv(12) == b"HTTP/1.1 200"
        client = stack.enter_context(contextlib.closing(program.client("alice", PASSWORD)))
        refused = client.get("/events?mailbox=@inbox")
        assert refused.status == 429 and "100" in refused.json()["detail"], refused.body
        with EventStream(program, "/events", "bob", USERS["bob"]) as other:
            assert other.ready().status == 200
        held[0].close()
        while True:  # the close is seen with one of the loop's next turns
            with open_stream(program, "@inbox") as again:
                again.wait(lambda stream=again: stream.status != 0)
                if again.status == 200:
                    break


def test_every_kind(server: ImapServer, program: Gateway) -> None:
    mailbox = new_mailbox(server)
    with imap_client(server, mailbox) as imap, open_stream(program, mailbox, "@inbox") as stream:
        stream.ready()
        assert stream.status == 200 and stream.headers["content-type"] == "text/event-stream"
        assert stream.retry_ms is not None and stream.last_id.startswith("1~")
        uid_validity = int(imap.response("UIDVALIDITY")[1][0])
        imap.append(mailbox, "", "", MESSAGE)
        created = stream.wait_for("created")
        assert created.data == {"mailbox": mailbox, "uidValidity": uid_validity, "uids": [3]}
        changed = stream.wait_for("mailbox").data
        assert changed["name"] == mailbox and changed["totalEmails"] == 3 and changed["href"] == f"/mailboxes/{mailbox}"
        imap.store("1:2", "+FLAGS", "\\Seen")
        assert stream.wait_for("updated").data["uids"] == [1, 2]
        assert stream.wait_for("mailbox").data["unreadEmails"] == 1
        imap.store("2", "+FLAGS", "\\Deleted")
        stream.wait_for("updated")
        imap.expunge()
        assert stream.wait_for("destroyed").data["uids"] == [2]
        imap.append("INBOX", "", "", MESSAGE)
        assert stream.wait_for("created", "INBOX", seconds=60).data["uids"]  # asked for every 30 s where it is not told


def test_mailboxes_come_and_go(server: ImapServer, program: Gateway) -> None:
    if not server.can("NOTIFY"):
        pytest.skip("without NOTIFY they are asked for every 30 s")
    mailbox = new_mailbox(server)
    with imap_client(server) as imap, open_stream(program) as stream:
        stream.ready()
        imap.create(mailbox)
        assert stream.wait_for("mailbox", mailbox).data["totalEmails"] == 0
        imap.append(mailbox, "", "", MESSAGE)
        assert stream.wait_for("created", mailbox).data["uids"] == [1]
        imap.rename(mailbox, f"{mailbox}-new")
        names = {stream.wait_for("mailbox").data["name"] for _ in range(2)}
        while f"{mailbox}-new" not in names or mailbox not in names:
            names.add(stream.wait_for("mailbox").data["name"])
        assert any(one.kind == "mailbox" and one.data == {"name": mailbox, "deleted": True} for one in stream.events)
        imap.delete(f"{mailbox}-new")
        stream.wait(lambda: stream.events[-1].data == {"name": f"{mailbox}-new", "deleted": True}, what="deleted")


def test_resume(server: ImapServer, start_gateway: StartGateway) -> None:
    """At another gateway: the first one is killed without a word."""
    mailbox = new_mailbox(server)
    first = start_gateway(*tls_options(server))
    with imap_client(server, mailbox) as imap:
        with open_stream(first, mailbox, "INBOX") as stream:
            stream.ready()
            imap.append(mailbox, "", "", MESSAGE)
            assert stream.wait_for("created").data["uids"] == [3]
            first.kill()
            stream.wait(lambda: stream.is_ended)
        imap.append(mailbox, "", "", MESSAGE)
        imap.store("1", "+FLAGS", "\\Flagged")
        imap.store("2", "+FLAGS", "\\Deleted")
        imap.expunge()
        second = start_gateway(*tls_options(server))
        with open_stream(second, mailbox, "INBOX", last_id=stream.last_id) as stream:
            stream.ready()
            told = [(one.kind, one.data["uids"]) for one in stream.events if "uids" in one.data]
            assert sorted(told) == [("created", [4]), ("destroyed", [2]), ("updated", [1])]
            assert not [one for one in stream.events if one.kind == "reset"]
        with open_stream(second, mailbox, "INBOX", last_id=stream.last_id) as again:
            again.ready()
            assert [one.kind for one in again.events] == ["ready"]
            imap.append(mailbox, "", "", MESSAGE)
            assert again.wait_for("created").data["uids"] == [5]


def test_what_came_and_went_is_told_as_gone(server: ImapServer, program: Gateway) -> None:
    """A client that reads the mailbox while its stream begins may have seen it; where the server can, it is told."""
    mailbox = new_mailbox(server)
    with imap_client(server, mailbox) as imap:
        with open_stream(program, mailbox) as stream:
            stream.ready()
        imap.append(mailbox, "", "", MESSAGE)
        imap.noop()
        imap.store("3", "+FLAGS", "\\Deleted")
        imap.expunge()
        with open_stream(program, mailbox, last_id=stream.last_id) as again:
            again.ready()
            # Once somebody asks for mod-sequences, Dovecot may give all older messages a new one: "updated" is no lie.
            told = [(one.kind, one.data["uids"]) for one in again.events if "uids" in one.data and one.kind != "updated"]
            # Cyrus leaves out what is younger than the moment that it is asked about.
            assert told == ([("destroyed", [3])] if server.can("QRESYNC") and server.title != "Cyrus" else [])


def test_who_comes_back_is_told_before_ready(server: ImapServer, program: Gateway) -> None:
    """Right after another client's APPEND Dovecot's LIST still has the old STATUS: it is not believed."""
    mailbox = new_mailbox(server)
    with imap_client(server, mailbox) as imap:
        with open_stream(program, mailbox) as stream:
            stream.ready()
        last_id = stream.last_id
        for uid in range(3, 8):
            assert imap.append(mailbox, "", "", MESSAGE)[0] == "OK"
            with open_stream(program, mailbox, last_id=last_id) as again:
                again.ready()
                told = [one.data["uids"] for one in again.events[: again.index("ready")] if one.kind == "created"]
                assert told == [[uid]]
            last_id = again.last_id


def test_what_another_request_has_open_is_not_missed(server: ImapServer, start_gateway: StartGateway) -> None:
    """Of the mailbox that a session has open STATUS tells what the session has been told, which is old."""
    mailbox = new_mailbox(server)
    program = start_gateway(*tls_options(server), "--imap-sessions-per-account", "1")
    client = program.client("alice", PASSWORD)
    with imap_client(server, mailbox) as imap:
        with open_stream(program) as stream:
            stream.ready()
        assert client.get(f"/mailboxes/{quote(mailbox)}/messages").status == 200
        imap.append(mailbox, "", "", MESSAGE)
        with open_stream(program, last_id=stream.last_id) as again:
            again.ready()
            assert again.wait_for("created", mailbox).data["uids"] == [3]


def test_a_named_one_that_is_gone_ends_nothing(server: ImapServer, program: Gateway) -> None:
    """Who was told so comes back, and goes on with the others."""
    if server.settles_late:
        pytest.skip(f"{server.title} does not say that what a session has open is gone")
    stays, goes = new_mailbox(server), new_mailbox(server)
    with imap_client(server, stays) as imap:
        imap.create(goes)
        with open_stream(program, stays, goes) as stream:
            stream.ready()
            imap.delete(goes)
            told = {"name": goes, "deleted": True}
            stream.wait(lambda: any(one.data == told for one in stream.events), 60, "deleted")
        with open_stream(program, stays, goes, last_id=stream.last_id) as again:
            again.ready()
            imap.append(stays, "", "", MESSAGE)
            assert again.wait_for("created", stays, 60).data["uids"] == [3]


@pytest.mark.parametrize("names", [(), ("Public/News",)])
def test_what_is_shared_is_told_too(names: tuple[str, ...], start_gateway: StartGateway) -> None:
    """NOTIFY's "personal" leaves out what LIST has."""
    where = "mail_driver = mdbox\n  mail_path = ~/public" if dovecot_version() >= (2, 4) else "location = mdbox:~/public"
    shared = f"namespace public {{\n  type = public\n  prefix = Public/\n  separator = /\n  {where}\n  subscriptions = no\n  list = yes\n}}\n"
    with Dovecot(users={"alice": PASSWORD}, options=Options(extra=shared)) as dovecot:
        program = start_gateway(*tls_options(dovecot))
        with imap_client(dovecot, "Public/News") as imap:
            with open_stream(program) as of_all, open_stream(program, *names) as stream:
                of_all.ready()
                stream.ready()
                imap.append("Public/News", "", "", MESSAGE)
                assert stream.wait_for("created", "Public/News").data["uids"] == [3]
                imap.create("Public/New")
                assert of_all.wait_for("mailbox", "Public/New")


def test_reset(server: ImapServer, start_gateway: StartGateway) -> None:
    mailbox = new_mailbox(server)
    with imap_client(server, mailbox) as imap:
        first = start_gateway(*tls_options(server))
        with open_stream(first, mailbox) as stream:
            stream.ready()
        # Dovecot corrupts a mailbox that is deleted and made anew while a session has it open.
        first.stop()
        imap.close()
        imap.delete(mailbox)
        imap.create(mailbox)
        program = start_gateway(*tls_options(server))
        with open_stream(program, mailbox, last_id=stream.last_id) as stream:
            assert stream.wait_for("reset").data == {"mailbox": mailbox}
        with open_stream(program, mailbox, last_id="of another program") as stream:
            assert stream.wait_for("reset").data == {"mailbox": mailbox}
            stream.ready()  # what was there before it is no event
            assert imap.append(mailbox, "", "", MESSAGE)[0] == "OK"
            assert stream.wait_for("created").data["uids"] == [1]


class Model:
    """What a client knows that believes the events, and nothing twice."""

    def __init__(self, uids: set[int]) -> None:
        self.uids = uids
        self.counts: Counter[tuple[str, int]] = Counter()

    def after(self, stream: EventStream) -> set[int]:
        uids = set(self.uids)
        for event in list(stream.events):
            (uids.difference_update if event.kind == "destroyed" else uids.update)(event.data.get("uids", []))
        return uids

    def take(self, stream: EventStream) -> None:
        for event in stream.events:
            assert event.kind != "reset", "history is there"
            for uid in event.data.get("uids", []):
                if event.kind == "created":
                    assert uid not in self.uids, f"{uid} was created twice"
                    self.uids.add(uid)
                elif event.kind == "destroyed":
                    # What came and went between two syncs is told as gone, for who has read the mailbox in between.
                    assert uid in self.uids or self.counts["created", uid] == 0, f"{uid} was destroyed twice"
                    self.uids.discard(uid)
                else:
                    assert uid in self.uids, f"{uid} was updated and is not known"
                self.counts[event.kind, uid] += 1


def churn(server: ImapServer, mailbox: str, seed: int, stop: threading.Event) -> None:
    """Appends, marks and expunges without a pause."""
    chance = random.Random(seed)
    with imap_client(server) as imap:
        imap.select(mailbox)
        while not stop.is_set():
            act = chance.randrange(4)
            n = len(imap.search(None, "ALL")[1][0].split())
            if act == 0 or n == 0:
                imap.append(mailbox, "", "", MESSAGE)
            elif act == 1 and n > 5:
                imap.store(str(chance.randint(1, n)), "+FLAGS.SILENT", "\\Deleted")
                imap.expunge()
            else:
                imap.store(str(chance.randint(1, n)), chance.choice(["+FLAGS.SILENT", "-FLAGS.SILENT"]), "\\Flagged")


def test_nothing_is_missed_or_told_twice(server: ImapServer, program: Gateway) -> None:
    """Two clients change the mailbox all the time, while a reader loses its connection again and again."""
    mailbox = new_mailbox(server)
    stop = threading.Event()
    with imap_client(server, mailbox) as imap:
        model = Model({1, 2})
        with open_stream(program, mailbox) as stream:
            stream.ready()
        last_id = stream.last_id
        writers = [threading.Thread(target=churn, args=(server, mailbox, seed, stop)) for seed in (1, 2)]
        for writer in writers:
            writer.start()
        for pause in (0.0, 0.3, 0.01, 0.7, 0.05, 1.0):
            with open_stream(program, mailbox, last_id=last_id) as stream:
                stream.wait(lambda: stream.last_id != "")
                time.sleep(pause)
            last_id = stream.last_id
            model.take(stream)
        stop.set()
        for writer in writers:
            writer.join()
        imap.noop()
        there = {int(uid) for uid in imap.uid("SEARCH", "ALL")[1][0].split()}
        with open_stream(program, mailbox, last_id=last_id) as stream:
            # ready is where the others are; what the server has not told yet comes behind it
            stream.wait(lambda: model.after(stream) == there, what="what is there")
        model.take(stream)
        assert model.uids == there
        assert all(n == 1 for (kind, _), n in model.counts.items() if kind != "updated")


# What does not depend on how the server tells.


def test_server_goes_away(own_mail_server: ImapServer, start_gateway: StartGateway) -> None:
    gateway = start_gateway(*tls_options(own_mail_server))
    away = own_mail_server.mailbox("Away")
    with imap_client(own_mail_server, away):
        pass
    with open_stream(gateway, away) as stream:
        stream.ready()
        own_mail_server.kill()
        own_mail_server.start()
        with imap_client(own_mail_server) as imap:
            imap.append(away, "", "", MESSAGE)
            assert stream.wait_for("created", seconds=60).data["uids"] == [3]
            assert not [one for one in stream.events if one.kind == "reset"]


def test_credential_is_refused(own_mail_server: ImapServer, start_gateway: StartGateway) -> None:
    gateway = start_gateway(*tls_options(own_mail_server))
    with contextlib.closing(gateway.client("alice", "wrong")) as client:
        response = client.get("/events")
        assert response.status == 401 and response.type == "application/problem+json"
    with open_stream(gateway, "INBOX") as stream:
        stream.ready()
        own_mail_server.set_password("alice", "another")
        own_mail_server.kill()
        own_mail_server.start()
        problem = stream.wait_for("problem", seconds=60).data
        assert problem["status"] == 401 and problem["type"] == "/problems/unauthorized"
        stream.wait(lambda: stream.is_ended)
        assert stream.is_whole


def test_drain_ends_streams(own_mail_server: ImapServer, start_gateway: StartGateway) -> None:
    gateway = start_gateway(*tls_options(own_mail_server))
    with open_stream(gateway) as stream:
        stream.ready()
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        stream.wait(lambda: stream.is_ended)
        assert stream.is_whole and time.monotonic() - began < 5
    assert gateway.wait() == 0


def test_comments(mail_server: ImapServer, gateway: Gateway) -> None:
    with open_stream(gateway, "INBOX") as one, open_stream(gateway, *([] if mail_server.can("QRESYNC") else ["INBOX"])) as two:
        one.ready()
        two.ready()
        one.wait(lambda: one.n_comments > 0, 20)
        two.wait(lambda: two.n_comments > 0, 20)


def test_requests(mail_server: ImapServer, gateway: Gateway) -> None:
    with contextlib.closing(gateway.client("alice", PASSWORD)) as client:
        assert client.get("/events?mailbox=Nowhere").status == 404
        assert client.get("/events?mailbox=@flagged").status == 404
        assert client.get("/events?mailbox=@postmaster").status == 404
        assert client.get("/events?since=1").status == 400
        assert client.get("/events", {"Accept": "application/json"}).status == 406
        assert client.request("POST", "/events").status == 405
        head = client.head("/events?mailbox=INBOX")
        assert head.status == 200 and head.header("Content-Type") == "text/event-stream"
        assert client.get("/events?" + "&".join(f"mailbox={n}" for n in range(65))).status == 400


def test_last_id_in_the_query(mail_server: ImapServer, gateway: Gateway) -> None:
    name = new_mailbox(mail_server)
    with imap_client(mail_server, name) as imap:
        with open_stream(gateway, name) as stream:
            stream.ready()
        imap.append(name, "", "", MESSAGE)
        target = f"/events?mailbox={name}&lastEventId={quote(stream.last_id, safe='')}"
        with EventStream(gateway, target, "alice", PASSWORD) as again:
            assert again.wait_for("created").data["uids"] == [3]
