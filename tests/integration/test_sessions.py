"""Sessions: how many there are, who shares them, and that nobody ever gets another's mail."""

from __future__ import annotations

import contextlib
import imaplib
import os
import random
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import seed
from conftest import StartGateway, private_server, tls_options
from dovecot import Dovecot, Options
from gateway import Gateway
from http_client import Client, Response, basic
from imap_server import ImapServer
from proxy import Proxy, plain_options, together, wait_for

PASSWORD = "right horse"
N_CANARIES = 16
MAILBOXES = ["INBOX", "Box1", "Box2", "Box3", "Box4", "Box5"]
NAMES = ["reuse", "crowd", "pipeline", "wrong", "changed", "idle", "timing"]


def canary(user: str) -> str:
    """In every message of this user, and in nobody else's."""
    return f"canary-of-{user}-x"


def fill(server: ImapServer, user: str, mailboxes: list[str]) -> None:
    """In each mailbox three messages with the user's canary; UID 1 names its mailbox."""
    with seed.session(server.imap_port, user, server.users[user]) as client:
        for mailbox in map(server.mailbox, mailboxes):
            if mailbox != "INBOX":
                seed.create(client, mailbox)
            text = f"{canary(user)} in {mailbox}"
            seed.append(client, mailbox, [seed.plain(n, subject=text, body=text) for n in range(3)])


@pytest.fixture(scope="module")
def server() -> Iterator[ImapServer]:
    canaries = [f"user{n}" for n in range(N_CANARIES)]
    with private_server({name: PASSWORD for name in NAMES + canaries}, Options(max_userip_connections=100)) as server:
        for name in NAMES + canaries:
            fill(server, name, MAILBOXES if name in ("crowd", "pipeline") else ["INBOX"])
        yield server


@pytest.fixture(scope="module")
def program(binary: Path, server: ImapServer) -> Iterator[Gateway]:
    with Gateway(binary, tls_options(server)) as gateway:
        yield gateway


def n_upstream(gateway: Gateway, port: int) -> int:
    """The gateway's connections to this port, as the kernel has them now."""
    remote = f"0100007F:{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {f"socket:[{row[9]}]" for row in rows if row[2] == remote and row[3] == "01"}
    n_found = 0
    for descriptor in Path(f"/proc/{gateway.pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            n_found += os.readlink(descriptor) in inodes
    return n_found


def busy_and_sampled(works: list[Callable[[], None]], sample: Callable[[], int]) -> list[int]:
    """Runs the works at the same time; the samples that were taken meanwhile."""
    samples = []
    with ThreadPoolExecutor(len(works)) as pool:
        futures = [pool.submit(work) for work in works]
        while not all(future.done() for future in futures):
            samples.append(sample())
    for future in futures:
        future.result()
    return samples


def subjects(response: Response) -> list[str]:
    assert response.status == 200, response.body
    return [message["subject"] for message in response.json()["messages"]]


def list_target(mailbox: str) -> str:
    return f"/mailboxes/{mailbox}/messages?fields=uid,subject"


def test_a_thousand_requests_make_one_login(program: Gateway, server: ImapServer) -> None:
    client = program.client("reuse", PASSWORD)
    for n in range(1000):
        target = ("/mailboxes/INBOX/messages?limit=1&fields=uid", "/messages/1?fields=uid", "/messages/2/raw")[n % 3]
        assert client.get(target).status == 200
        if n % 100 == 99:
            client.close()  # the IMAP session belongs to the credential, not to the HTTP connection
    if isinstance(server, Dovecot):
        assert server.logins("reuse") == 2, "the seeding's and the pool's"
    client.close()


def test_fifty_clients_stay_within_the_limit(program: Gateway, server: ImapServer) -> None:
    def work(number: int) -> None:
        client = program.client("crowd", PASSWORD)
        for n in range(6):
            mailbox = server.mailbox(MAILBOXES[(number + n) % len(MAILBOXES)])
            for subject in subjects(client.get(list_target(mailbox))):
                assert f"{canary('crowd')} in {mailbox} " in subject
            raw = client.get(f"/mailboxes/{mailbox}/messages/1/raw")
            assert raw.status == 200 and f"in {mailbox}\r\n".encode() in raw.body
        client.close()

    works = [lambda number=number: work(number) for number in range(50)]
    of_others = n_upstream(program, server.imaps_port)
    samples = busy_and_sampled(works, lambda: n_upstream(program, server.imaps_port) - of_others)
    assert 2 <= max(samples) <= 4, samples
    if isinstance(server, Dovecot):
        assert server.logins("crowd") <= len(MAILBOXES) + 4 + 1  # the seeding was one


def test_one_session_carries_many_requests_at_once(start_gateway: StartGateway, server: ImapServer) -> None:
    """Before the server's first answer is there, every command is on the one connection."""
    with Proxy(server.host, server.imap_port) as proxy:
        gateway = start_gateway(*plain_options(proxy), "--imap-sessions-per-account", "1")
        clients = [gateway.client("pipeline", PASSWORD) for _ in range(12)]
        assert subjects(clients[0].get(list_target("INBOX")))
        proxy.pause()
        before = len(proxy.links[0].sent)

        def fetches() -> int:
            return len(re.findall(rb"(?m)^\S+ (?:NOOP|UID FETCH)\b", proxy.links[0].sent[before:]))

        with ThreadPoolExecutor(len(clients)) as pool:
            futures = [pool.submit(client.get, f"/messages/{n % 3 + 1}?fields=subject") for n, client in enumerate(clients)]
            try:
                wait_for(lambda: fetches() >= len(clients), "a command of each request on the wire")
            finally:
                proxy.resume()
            for n, future in enumerate(futures):
                assert future.result().json()["subject"] == f"{canary('pipeline')} in INBOX {n % 3}"
        assert len(proxy.links) == 1


def test_requests_on_one_mailbox_share_its_selection(start_gateway: StartGateway, server: ImapServer) -> None:
    with Proxy(server.host, server.imap_port) as proxy:
        gateway = start_gateway(*plain_options(proxy))
        client = gateway.client("pipeline", PASSWORD)
        for _ in range(5):
            for mailbox in map(server.mailbox, ("Box1", "Box2")):
                assert f"in {mailbox} " in subjects(client.get(list_target(mailbox)))[0]
        selects = re.findall(rb"(?m)^\S+ (?:EXAMINE|SELECT) (\S+)", proxy.sent)
        # One after another needs one session, which may go from mailbox to mailbox but not more often than asked.
        assert len(proxy.links) <= 2 and len(selects) <= 10


def test_requests_on_one_message_do_not_take_each_others_rows(start_gateway: StartGateway, server: ImapServer) -> None:
    """On one session, where each sees the FETCH responses that the others asked for."""
    gateway = start_gateway(*tls_options(server), "--imap-sessions-per-account", "1")
    client = gateway.client("pipeline", PASSWORD)
    targets = [
        "/messages/2",
        "/messages/2?fields=uid,subject",
        "/messages/2?fields=uid,size,keywords",
        "/messages/2/raw",
        "/messages/2/text",
        "/messages/2/parts/1",
        "/messages/2/headers",
        "/mailboxes/INBOX/messages?uid=2&fields=uid,receivedAt,from",
    ]
    alone = {target: client.get(target) for target in targets}
    assert all(response.status == 200 for response in alone.values())
    client.close()

    def work(number: int) -> None:
        mine = gateway.client("pipeline", PASSWORD)
        for n in range(30):
            target = targets[(number + n * (number + 1)) % len(targets)]
            response = mine.get(target)
            assert (response.status, response.body) == (200, alone[target].body), target
        mine.close()

    together(*(lambda number=number: work(number) for number in range(8)))


def test_wrong_password_is_never_served_from_a_warm_session(program: Gateway, server: ImapServer) -> None:
    """A hundred times in all, on connections that carry both passwords in turns: authentication is of the request."""
    wrong = ["wrong", PASSWORD + " ", PASSWORD[:-1], PASSWORD.upper(), PASSWORD + "\u00e9"]
    client = program.client("wrong", PASSWORD)
    assert subjects(client.get(list_target("INBOX")))
    client.close()

    def work(number: int) -> None:
        mine = program.client("wrong", PASSWORD)
        for n in range(5):
            # Mostly passwords that nobody else tries at this moment: each is a login of its own.
            password = wrong[n % len(wrong)] + ("" if n < 2 else f" {number}")
            refused = mine.get(list_target("INBOX"), {"Authorization": basic("wrong", password)})
            statuses[refused.status] += 1
            assert b"canary" not in refused.body
            assert refused.header("WWW-Authenticate") or refused.status != 401
            assert len(subjects(mine.get(list_target("INBOX")))) == 3
        mine.close()

    statuses: Counter[int] = Counter()
    together(*(lambda number=number: work(number) for number in range(20)))
    # The first twenty go to the server; the password itself is served all the time.
    assert set(statuses) <= {401, 429} and statuses[401] >= 20 and statuses[429] > 0, statuses
    # A failed login with another password takes nothing away from the sessions of the right one.
    if isinstance(server, Dovecot):
        assert server.logins("wrong") <= 1 + 4, "the seeding's and the pool's"


def log_in(server: ImapServer, user: str, password: str) -> bool:
    try:
        with seed.session(server.imap_port, user, password):
            return True
    except imaplib.IMAP4.error:
        return False


def test_idle_sessions_log_out_and_a_changed_password_takes_hold(start_gateway: StartGateway, server: ImapServer) -> None:
    gateway = start_gateway(*tls_options(server), "--imap-idle-timeout", "1")
    old = gateway.client("changed", PASSWORD)
    assert subjects(old.get(list_target("INBOX")))
    assert n_upstream(gateway, server.imaps_port) == 1
    server.set_password("changed", "new one")
    wait_for(lambda: log_in(server, "changed", "new one"), "the server to know the new password")
    new = gateway.client("changed", "new one")
    assert subjects(new.get(list_target("INBOX")))
    wait_for(lambda: n_upstream(gateway, server.imaps_port) == 0, "the idle sessions' end")
    if isinstance(server, Dovecot):
        server.wait_for_log(r"imap\(changed\).*Logged out")
        assert not re.search(r"imap\(changed\).*Connection closed", server.log()), "an idle session did not log out"
    refused = old.get(list_target("INBOX"))
    assert refused.status == 401 and b"canary" not in refused.body
    assert subjects(new.get(list_target("INBOX")))
    server.set_password("changed", PASSWORD)
    old.close()
    new.close()


def leave_in_the_middle(gateway: Gateway, user: str, chance: random.Random) -> None:
    """A client that goes away after some bytes of the answer, or before the first."""
    target = chance.choice((list_target("INBOX"), "/messages/1", "/messages/2/raw", "/mailboxes"))
    request = f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(user, PASSWORD)}\r\n\r\n".encode()
    with socket.create_connection((gateway.host, gateway.port)) as connection:
        connection.sendall(request[: chance.choice((len(request), len(request), chance.randrange(len(request))))])
        n_wanted = chance.choice((0, 0, 1, 300))
        if n_wanted:
            connection.settimeout(1)
            with contextlib.suppress(TimeoutError):
                connection.recv(n_wanted)


def test_no_foreign_canary(start_gateway: StartGateway, server: ImapServer) -> None:
    """Many accounts at once, more than the pool has sessions, while clients leave at random."""
    gateway = start_gateway(*tls_options(server), "--imap-sessions", str(N_CANARIES // 2))

    def work(number: int) -> None:
        chance = random.Random(number)
        client = gateway.client()
        for _ in range(25):
            user = f"user{chance.randrange(N_CANARIES)}"
            if chance.random() < 0.3:
                leave_in_the_middle(gateway, user, chance)
                continue
            authorization = {"Authorization": basic(user, PASSWORD)}
            uid = chance.randrange(1, 4)
            kind = chance.randrange(3)
            if kind == 0:
                response = client.get(list_target("INBOX"), authorization)
                assert len(subjects(response)) == 3
            elif kind == 1:
                response = client.get(f"/messages/{uid}", authorization)
                assert str(response.json()["subject"]).endswith(f" {uid - 1}"), response.body
            else:
                response = client.get(f"/messages/{uid}/raw", authorization)
            assert response.status == 200, response.body
            found = set(re.findall(rb"canary-of-\w+-x", response.body))
            assert found == {canary(user).encode()}, f"{user} got {found}"
        client.close()

    samples = busy_and_sampled(
        [lambda number=number: work(number) for number in range(16)], lambda: n_upstream(gateway, server.imaps_port)
    )
    assert max(samples) <= N_CANARIES // 2, "more sessions than --imap-sessions"
    assert wait_for(lambda: gateway.client().get("/healthz").status == 200, "health")


def test_server_limit_makes_requests_queue(start_gateway: StartGateway) -> None:
    with Dovecot(users={"alice": PASSWORD}, options=Options(max_userip_connections=2)) as server:
        fill(server, "alice", MAILBOXES)
        wait_for(lambda: server.n_sessions("alice") == 0, "the end of seeding")
        gateway = start_gateway(*tls_options(server))

        def work(number: int) -> None:
            client = gateway.client("alice", PASSWORD)
            for n in range(5):
                mailbox = server.mailbox(MAILBOXES[(number + n) % len(MAILBOXES)])
                assert f"in {mailbox} " in subjects(client.get(list_target(mailbox)))[0]
            client.close()

        # Somebody else holds one of the two, so that the gateway gets one, though it would like to have four.
        with seed.session(server.imap_port, "alice", PASSWORD):
            together(*(lambda number=number: work(number) for number in range(20)))
            assert server.logins("alice") <= 3, "the seeding's, the other client's and the pool's"

            def n_refused() -> int:
                return len(re.findall("Maximum number of connections", server.log()))

            wait_for(lambda: n_refused() >= 1, "the server's word that there were too many")
            assert n_refused() <= 3, "the account's limit was not learnt"


def test_no_session_at_all_is_not_401(start_gateway: StartGateway) -> None:
    """Another client has taken every connection that the server grants."""
    with Dovecot(users={"alice": PASSWORD}, options=Options(max_userip_connections=1)) as server:
        gateway = start_gateway(*tls_options(server), "--request-timeout", "10")
        client = gateway.client("alice", PASSWORD)
        with seed.session(server.imap_port, "alice", PASSWORD):
            refused = client.get("/mailboxes")
            assert refused.status in (429, 503), refused.body
            assert refused.header("Retry-After") and refused.json()["retryable"] is True
        wait_for(lambda: server.n_sessions("alice") == 0, "the other client's end")
        assert client.get("/mailboxes").status == 200
        client.close()


def test_pool_limit_evicts_the_idle(start_gateway: StartGateway, server: ImapServer) -> None:
    users = [f"user{n}" for n in range(8)]
    gateway = start_gateway(*tls_options(server), "--imap-sessions", "2")

    def work(user: str) -> None:
        client = gateway.client(user, PASSWORD)
        for _ in range(5):
            assert all(canary(user) in subject for subject in subjects(client.get(list_target("INBOX"))))
        client.close()

    for user in users:
        work(user)
        assert n_upstream(gateway, server.imaps_port) <= 2
    samples = busy_and_sampled([lambda user=user: work(user) for user in users], lambda: n_upstream(gateway, server.imaps_port))
    assert max(samples) <= 2


def timing(response: Response) -> dict[str, float]:
    field = response.header("Server-Timing")
    assert field is not None
    entries = [re.fullmatch(r"(\w+);dur=(\d+(?:\.\d+)?)", entry.strip()) for entry in field.split(",")]
    assert all(entries), field
    return {entry[1]: float(entry[2]) for entry in entries if entry}


def test_server_timing(program: Gateway, server: ImapServer) -> None:
    client = program.client("timing", PASSWORD)
    for target in ("/mailboxes", list_target("INBOX"), "/messages/1", "/messages/1/raw", "/messages/99", "/nowhere", "/"):
        response = client.get(target, {"X-Request-Id": "given-by-a-caller"})
        spent = timing(response)
        assert set(spent) == {"queue", "imap", "total"}
        assert spent["queue"] + spent["imap"] <= spent["total"] + 2, spent  # the queue is counted in whole milliseconds
        assert spent["total"] < 30_000
        assert (spent["imap"] > 0) == (target not in ("/nowhere", "/")), f"{target}: {spent}"
        assert response.header("X-Request-Id") == "given-by-a-caller"
    client.close()


def test_server_timing_tells_the_queue_from_the_server(start_gateway: StartGateway, server: ImapServer) -> None:
    """The one session's SELECT waits for the server: who wants another mailbox is queued, who asked first is not."""
    with Proxy(server.host, server.imap_port) as proxy:
        gateway = start_gateway(*plain_options(proxy), "--imap-sessions-per-account", "1")
        clients: list[Client] = [gateway.client("pipeline", PASSWORD) for _ in range(2)]
        one, two, three = (list_target(server.mailbox(name)) for name in ("Box1", "Box2", "Box3"))
        assert subjects(clients[0].get(one))
        before = proxy.n_up
        proxy.pause()
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(clients[0].get, two)
            wait_for(lambda: proxy.n_up > before, "the first request's command")
            second = pool.submit(clients[1].get, three)
            wait_for(lambda: not second.done() and gateway.client().get("/healthz").status == 200, "the second request")
            enough = time.monotonic() + 0.3
            wait_for(lambda: time.monotonic() > enough, "a wait that can be measured")
            proxy.resume()
            asked, queued = timing(first.result()), timing(second.result())
        assert asked["queue"] < 200 < asked["imap"], asked
        assert queued["queue"] > 200 > queued["imap"], queued
