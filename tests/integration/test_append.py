"""Messages that are appended as they arrive: refused before they are sent, cut at every place, and never twice."""

from __future__ import annotations

import contextlib
import random
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import seed
from conftest import USERS, StartGateway, tls_options
from dovecot import Dovecot, Options
from http_client import Client, basic
from imap_server import ImapServer
from mail_tools import segment
from proxy import Proxy, plain_options, settled

MIB = 1024 * 1024
RFC822 = {"Content-Type": "message/rfc822"}
USER, PASSWORD = "alice", USERS["alice"]

QUOTA = """
mail_plugins = quota
protocol imap {
  mail_plugins = quota imap_quota
}
plugin {
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:storage=1M
}
"""


def message(number: int, size: int = 400) -> bytes:
    head = (
        f"From: Ann <ann@example.test>\r\nTo: bob@example.test\r\nSubject: number {number}\r\n"
        f"Message-ID: <{number}.append@example.test>\r\nDate: Mon, 1 Jan 2024 10:00:00 +0000\r\n\r\n"
    ).encode()
    line = b"The quick brown fox jumps over the lazy dog, and so on.\r\n"
    return head + line * max(1, (size - len(head)) // len(line))


@pytest.fixture
def proxy(own_mail_server: ImapServer) -> Iterator[Proxy]:
    with Proxy(own_mail_server.host, own_mail_server.imap_port) as proxy:
        yield proxy


@pytest.fixture
def client(start_gateway: StartGateway, proxy: Proxy) -> Iterator[Client]:
    client = start_gateway(*plain_options(proxy)).client(USER, PASSWORD)
    yield client
    client.close()


def ids(server: ImapServer, mailbox: str = "INBOX") -> list[int]:
    """The numbers of the messages that are there, behind the gateway's back."""
    with seed.session(server.imap_port, USER, PASSWORD) as imap:
        imap.select(seed.quoted(mailbox), readonly=True)
        _, rows = imap.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
    return sorted(int(found[1]) for row in rows if isinstance(row, tuple) for found in [re.search(rb"<(\d+)\.append", row[1])] if found)


def head(size: int, *fields: str, target: str = "/mailboxes/INBOX/messages") -> bytes:
    lines = [f"POST {target} HTTP/1.1", "Host: x", f"Authorization: {basic(USER, PASSWORD)}"]
    lines += ["Content-Type: message/rfc822", f"Content-Length: {size}", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


# ---- what is appended is what was sent


@pytest.mark.parametrize("size", [1, 400, 70_000, 3 * MIB])
def test_bytes_stay_as_they_are(client: Client, own_mail_server: ImapServer, size: int) -> None:
    raw = message(1, size)
    keywords = {"$seen": True, "blue": True}
    reply = client.request("POST", "/mailboxes/INBOX/messages?keywords=$seen,blue&receivedAt=2020-02-29T23:59:58Z", raw, RFC822)
    if not own_mail_server.keeps_keywords:
        assert reply.status == 422 and "keywords" in reply.json()["detail"] and ids(own_mail_server) == []
        del keywords["blue"]
        reply = client.request("POST", "/mailboxes/INBOX/messages?keywords=$seen&receivedAt=2020-02-29T23:59:58Z", raw, RFC822)
    assert reply.status == 201
    place = reply.json()
    if place["uid"] is None:  # the server does not tell it, and what it made of the message is another one
        assert not own_mail_server.can("UIDPLUS") and ids(own_mail_server) == [1]
        return
    assert place == {"mailbox": "INBOX", "uid": place["uid"], "uidValidity": place["uidValidity"]}
    href = reply.header("Location")
    assert href == f"/mailboxes/INBOX/messages/{place['uid']}"
    assert own_mail_server.as_sent(client.get(f"{href}/raw").body) == raw
    shown = client.get(href).json()
    assert shown["keywords"] == keywords
    assert shown["receivedAt"] == "2020-02-29T23:59:58Z" and shown["uidValidity"] == place["uidValidity"]


def test_any_octets(client: Client, own_mail_server: ImapServer) -> None:
    raw = b"Subject: octets\r\n\r\n" + bytes(range(1, 256)) * 40 + b"\r\n.\r\n+ x\r\nA1 LOGOUT\r\n{5}\r\n"
    reply = client.request("POST", "/messages", raw, RFC822)
    if reply.status == 422:  # Cyrus takes no line that ends in LF alone
        assert "bare newlines" in reply.json()["imap"]["text"] and ids(own_mail_server) == []
        raw = raw.replace(b"\n", b"").replace(b"\r", b"\r\n")
        reply = client.request("POST", "/messages", raw, RFC822)
    assert reply.status == 201
    uid = reply.json()["uid"] or 1  # null where the server does not tell, and it cannot be found
    with seed.session(own_mail_server.imap_port, USER, PASSWORD) as imap:
        imap.select(readonly=True)
        stored = imap.uid("FETCH", str(uid), "(BODY.PEEK[])")[1][0][1]
    assert client.get(f"/messages/{uid}/raw").body == stored
    # Every server stores lines with CRLF; a CR that ends none is not kept by all.
    assert own_mail_server.as_sent(stored).replace(b"\r", b"") == raw.replace(b"\r", b"")


def test_roles_and_names(client: Client, own_mail_server: ImapServer) -> None:
    own, drafts = own_mail_server.mailbox("Réunion/A&B"), own_mail_server.mailbox("Drafts")
    assert client.request("POST", "/mailboxes", json_body={"name": own}).status == 201
    for target, name in (("/mailboxes/@drafts/messages", drafts), (f"/messages?mailbox={segment(own)}", own)):
        reply = client.request("POST", target, message(2), RFC822)
        assert reply.status == 201 and reply.json()["mailbox"] == name
        assert ids(own_mail_server, name) == [2]


@pytest.mark.parametrize("capability", [None, "IMAP4rev1", "IMAP4rev1 LITERAL+", "IMAP4rev1 UIDPLUS LITERAL-"])
def test_any_server_says_or_shows_where(start_gateway: StartGateway, capability: str | None) -> None:
    with Dovecot(users=dict(USERS), options=Options(capability=capability)) as server:
        client = start_gateway(*tls_options(server)).client(USER, PASSWORD)
        for number in range(3):
            assert client.request("POST", "/messages", message(number), RFC822).json()["uid"] == number + 1
        client.close()


def test_chunked(client: Client, own_mail_server: ImapServer) -> None:
    raw = message(3, 100_000)
    fields = f"Host: x\r\nAuthorization: {basic(USER, PASSWORD)}\r\nContent-Type: message/rfc822\r\n"
    start = f"POST /messages HTTP/1.1\r\n{fields}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(raw[at : at + 999]), raw[at : at + 999]) for at in range(0, len(raw), 999))
    assert client.exchange(start + chunks + b"0\r\n\r\n").startswith(b"HTTP/1.1 201 ")
    assert ids(own_mail_server) == [3]
    large = b"100000\r\n" + b"x" * MIB + b"\r\n1\r\nx\r\n0\r\n\r\n"
    answer = client.exchange(start + large)
    assert answer.startswith(b"HTTP/1.1 413 ") and b"Content-Length" in answer.partition(b"\r\n\r\n")[2]


def test_curl(client: Client, own_mail_server: ImapServer, tmp_path: Path) -> None:
    file = tmp_path / "x.eml"
    file.write_bytes(message(4, 2 * MIB))
    url = f"http://{client.host}:{client.port}/mailboxes/INBOX/messages"
    common = ["curl", "-s", "-u", f"{USER}:{PASSWORD}", "-H", "Content-Type: message/rfc822"]
    for way in (["--data-binary", f"@{file}"], ["-X", "POST", "-T", str(file)]):
        done = subprocess.run([*common, *way, url], capture_output=True, text=True, check=True)
        assert '"uid":' in done.stdout
    assert ids(own_mail_server) == [4, 4]


# ---- refused before it is sent


def until_final(connection: socket.socket) -> bytes:
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = connection.recv(65536)
        if not data:
            break
        answer += data
    return answer


@pytest.fixture(scope="module")
def full() -> Iterator[Dovecot]:
    """Takes 1 MiB, and says so only when it is asked."""
    if Dovecot(users={}).version >= (2, 4):
        pytest.skip("the quota's configuration is 2.3's")
    with Dovecot(users=dict(USERS), options=Options(extra=QUOTA)) as server:
        yield server


@pytest.mark.parametrize(
    ("target", "size", "status"),
    [("/mailboxes/Nowhere/messages", 1000, 404), ("/messages", 2 * MIB, 507), ("/messages?keywords=(", 1000, 400), ("/messages", 60 * MIB, 413)],
)
def test_who_waits_learns_before_it_is_sent(start_gateway: StartGateway, full: Dovecot, target: str, size: int, status: int) -> None:
    gateway = start_gateway(*tls_options(full))
    with socket.create_connection((gateway.host, gateway.port), timeout=30) as connection:
        connection.sendall(head(size, "Expect: 100-continue", target=target))
        answer = until_final(connection)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
    assert ids(full) == []


def test_who_waits_is_told_to_go_on(start_gateway: StartGateway, own_mail_server: ImapServer) -> None:
    gateway = start_gateway(*tls_options(own_mail_server))
    raw = message(5)
    with socket.create_connection((gateway.host, gateway.port), timeout=30) as connection:
        connection.sendall(head(len(raw), "Expect: 100-continue"))
        assert until_final(connection) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(raw)
        assert until_final(connection).startswith(b"HTTP/1.1 201 ")
    assert ids(own_mail_server) == [5]


def test_who_does_not_wait_can_read_the_refusal(start_gateway: StartGateway, full: Dovecot) -> None:
    client = start_gateway(*tls_options(full)).client(USER, PASSWORD)
    refused = client.request("POST", "/messages", message(6, 5 * MIB), RFC822)
    assert refused.status == 507 and refused.json()["imap"]["code"] == "OVERQUOTA"
    # on the same connection
    assert client.request("POST", "/messages", message(7), RFC822).status == 201
    assert client.n_connects == 1
    client.close()


def test_append_limit(start_gateway: StartGateway) -> None:
    with Dovecot(users=dict(USERS), options=Options(capability="IMAP4rev1 UIDPLUS APPENDLIMIT=1000")) as server:
        client = start_gateway(*tls_options(server)).client(USER, PASSWORD)
        assert client.request("POST", "/messages", message(8, 900), RFC822).status == 201
        refused = client.request("POST", "/messages", message(9, 5000), RFC822)
        assert refused.status == 413 and "1000" in refused.json()["detail"]
        client.close()


# ---- memory


@pytest.mark.needs("speed")
def test_memory_is_constant(start_gateway: StartGateway, release_binary: Path, own_mail_server: ImapServer) -> None:
    gateway = start_gateway(*tls_options(own_mail_server), "--max-body", str(300 * MIB), program=release_binary)
    client = gateway.client(USER, PASSWORD)
    assert client.request("POST", "/messages", message(10, 3 * MIB), RFC822).status == 201
    gateway.reset_peak()
    before = gateway.rss_kib
    assert client.request("POST", "/messages", message(11, 200 * MIB), RFC822).status == 201
    assert gateway.peak_rss_kib - before < 4096
    client.close()


@pytest.mark.needs("speed")
def most_in_buffers() -> int:
    """What the kernel may take of an upload on its two connections, in bytes."""
    return sum(2 * int(Path(f"/proc/sys/net/ipv4/{name}").read_text().split()[2]) for name in ("tcp_rmem", "tcp_wmem"))


def test_a_slow_server_stops_the_reading(start_gateway: StartGateway, release_binary: Path, own_mail_server: ImapServer, proxy: Proxy) -> None:
    """What the server has not taken stays with the client."""
    raw = message(13, most_in_buffers() + 8 * MIB)
    gateway = start_gateway(*plain_options(proxy), "--max-body", str(len(raw)), program=release_binary)
    client = gateway.client(USER, PASSWORD)
    assert client.request("POST", "/messages", message(12), RFC822).status == 201
    gateway.reset_peak()
    before = gateway.rss_kib
    sent = 0
    with socket.create_connection((gateway.host, gateway.port), timeout=30) as connection:
        connection.sendall(head(len(raw), "Expect: 100-continue"))
        assert until_final(connection) == b"HTTP/1.1 100 Continue\r\n\r\n"
        proxy.pause_up()
        connection.setblocking(False)

        def push() -> int:
            nonlocal sent
            with contextlib.suppress(BlockingIOError):
                sent += connection.send(raw[sent : sent + MIB])
            return sent

        assert settled(push, "the upload") < len(raw)
        assert gateway.peak_rss_kib - before < 4096
        proxy.resume_up()
        connection.setblocking(True)
        connection.sendall(raw[sent:])
        assert until_final(connection).startswith(b"HTTP/1.1 201 ")
    assert ids(own_mail_server) == [12, 13]
    client.close()


# ---- cut


def test_a_client_that_leaves_leaves_nothing(client: Client, own_mail_server: ImapServer) -> None:
    chance = random.Random(5)
    raw = message(14, 300_000)
    whole = head(len(raw)) + raw
    for round_ in range(25):
        n_bytes = len(whole) - 1 - (chance.randrange(len(whole) - 1) if round_ else 0)
        with socket.create_connection((client.host, client.port), timeout=30) as connection:
            connection.sendall(whole[:n_bytes])
            if chance.random() < 0.5:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    # each of them has been seen to have gone: the account's sessions serve others
    assert client.request("POST", "/messages", message(15), RFC822).status == 201
    assert client.get("/mailboxes/INBOX").json()["totalEmails"] == 1
    assert ids(own_mail_server) == [15]


@pytest.mark.needs("speed")
def test_short_requests_go_on_beside_uploads(client: Client, own_mail_server: ImapServer) -> None:
    assert client.request("POST", "/messages", message(16), RFC822).status == 201
    raw = message(17, MIB)
    connections = [socket.create_connection((client.host, client.port), timeout=30) for _ in range(3)]
    for connection in connections:
        connection.sendall(head(len(raw)) + raw[:-1])
    started = time.monotonic()
    for _ in range(20):
        assert client.get("/messages/1?fields=subject").status == 200
    assert time.monotonic() - started < 5
    for connection in connections:
        connection.sendall(raw[-1:])
        assert until_final(connection).startswith(b"HTTP/1.1 201 ")
        connection.close()
    assert ids(own_mail_server) == [16, 17, 17, 17]


def places_to_cut(raw: bytes) -> list[int]:
    """Bytes of the gateway's on the session that appends, from the command on."""
    return [1, 30, 60, 75, 100, len(raw) // 2, len(raw), len(raw) + 60, len(raw) + 75, len(raw) + 200]


@pytest.mark.parametrize("place", range(10))
def test_a_server_that_is_cut_is_told_as_it_is(client: Client, proxy: Proxy, own_mail_server: ImapServer, place: int) -> None:
    raw = message(18 + place, 20_000)
    assert client.get("/mailboxes/INBOX").status == 200  # a warm session
    proxy.cut_up_after(places_to_cut(raw)[place])
    reply = client.request("POST", "/messages", raw, RFC822)
    proxy.cut_never()
    found = ids(own_mail_server)
    if reply.status == 201:
        assert found == [18 + place] and (reply.json()["uid"] is not None or not own_mail_server.can("UIDPLUS"))
    else:
        problem = reply.json()
        assert reply.status == 502 and problem["retryable"] is True
        assert found == [] or problem["outcome"] == "unknown"
        assert found == []


@pytest.mark.parametrize("n_bytes", [1, 5, 20, 60, 100])
def test_an_answer_that_is_cut_is_found_out(client: Client, proxy: Proxy, own_mail_server: ImapServer, n_bytes: int) -> None:
    """The server has done it, and says so to nobody."""
    raw = message(30, 20_000)
    assert client.get("/mailboxes/INBOX").status == 200
    proxy.cut_down_behind(b"+ OK", n_bytes)
    reply = client.request("POST", "/messages", raw, RFC822)
    proxy.cut_never()
    assert reply.status == 201 and reply.json()["uid"] in ((1,) if own_mail_server.can("UIDPLUS") else (1, None))
    assert ids(own_mail_server) == [30]


# ---- again, under a key


@pytest.mark.parametrize("seed_", range(12))
def test_a_key_makes_it_one(client: Client, proxy: Proxy, own_mail_server: ImapServer, seed_: int) -> None:
    """Cut anywhere, either way, and sent again until it is confirmed: it is there once."""
    chance = random.Random(seed_)
    raw = message(40 + seed_, chance.choice([500, 20_000, 200_000]))
    headers = RFC822 | {"Idempotency-Key": f"key-{seed_}"}
    assert client.get("/mailboxes/INBOX").status == 200
    for _ in range(6):
        if chance.random() < 0.5:
            proxy.cut_up_after(chance.randrange(1, len(raw) + 200), with_reset=chance.random() < 0.5)
        else:
            proxy.cut_down_behind(b"+ OK", chance.randrange(1, 120), with_reset=chance.random() < 0.5)
        reply = client.request("POST", "/messages", raw, headers)
        if reply.status == 201:
            break
        assert reply.status == 502 and reply.json()["retryable"] is True
        proxy.cut_never()
    proxy.cut_never()
    first = client.request("POST", "/messages", raw, headers)
    again = client.request("POST", "/messages", raw, headers)
    assert first.status == again.status == 201 and first.json() == again.json()
    assert again.header("Idempotent-Replayed") == "true"
    assert ids(own_mail_server) == [40 + seed_]
    assert own_mail_server.as_sent(client.get(f"{again.header('Location')}/raw").body) == raw


def test_a_key_is_for_one_request_and_one_account(client: Client, own_mail_server: ImapServer) -> None:
    headers = RFC822 | {"Idempotency-Key": "one"}
    assert client.request("POST", "/messages", message(60), headers).status == 201
    assert client.request("POST", "/messages", message(61), headers).status == 422
    assert client.request("POST", "/mailboxes/@drafts/messages", message(60), headers).status == 422
    bob = Client(client.host, client.port, "bob", USERS["bob"])
    assert bob.request("POST", "/messages", message(62), headers).header("Idempotent-Replayed") is None
    bob.close()
    once = {"name": own_mail_server.mailbox("Once")}
    made = [client.request("POST", "/mailboxes", json_body=once, headers={"Idempotency-Key": "two"}) for _ in range(2)]
    assert [one.status for one in made] == [201, 201] and made[0].body == made[1].body
    assert made[1].header("Location") == made[0].header("Location") and made[1].header("ETag") == made[0].header("ETag")
    assert ids(own_mail_server) == [60]


# ---- in the place of another


@pytest.mark.parametrize("capability", [None, "IMAP4rev1 UIDPLUS", "IMAP4rev1"])
def test_a_draft_is_replaced(start_gateway: StartGateway, capability: str | None) -> None:
    with Dovecot(users=dict(USERS), options=Options(capability=capability)) as server:
        client = start_gateway(*tls_options(server)).client(USER, PASSWORD)
        base = "/mailboxes/@drafts/messages"
        place = client.request("POST", f"{base}?keywords=$draft,$seen,mine", message(70), RFC822).json()
        other = client.request("POST", f"{base}?keywords=$deleted", message(71), RFC822).json()
        etag = client.get(f"{base}/{place['uid']}").header("ETag")
        stale = client.request("PUT", f"{base}/{place['uid']}", message(72), RFC822 | {"If-Match": 'W/"1.1.1"'})
        assert stale.status == 412 and ids(server, "Drafts") == [70, 71]
        reply = client.request("PUT", f"{base}/{place['uid']}", message(72, 50_000), RFC822 | {"If-Match": etag or ""})
        assert reply.status == 201, reply.body
        href = reply.header("Location") or ""
        assert client.get(href).json()["keywords"] == {"$draft": True, "$seen": True, "mine": True}
        assert client.get(f"{href}/raw").body == message(72, 50_000)
        # exactly the old one went; another that was marked did not
        old = client.get(f"{base}/{place['uid']}")
        assert client.get(f"{base}/{other['uid']}").status == 200
        if capability == "IMAP4rev1":
            assert reply.json()["remains"]["uid"] == place["uid"] and old.json()["keywords"]["$deleted"] is True
        else:
            assert old.status == 404 and "remains" not in reply.json()
        assert client.request("PUT", f"{base}/4000000000", message(73), RFC822).status == 404
        client.close()


# ---- many at once


@pytest.mark.parametrize("capability", [None, "IMAP4rev1 UIDPLUS"])
def test_an_mbox_file(start_gateway: StartGateway, tmp_path: Path, capability: str | None) -> None:
    """As Python's mailbox module writes it."""
    import mailbox

    box = mailbox.mbox(tmp_path / "x.mbox")
    numbers = list(range(80, 200))
    for number in numbers:
        one = mailbox.mboxMessage(message(number, 400 if number % 10 else 100_000).replace(b"\r\n", b"\n") + b"From here on it was quoted.\n")
        one.set_from("ann@example.test", time.gmtime(1704103200 + number))
        box.add(one)
    box.close()
    raw = (tmp_path / "x.mbox").read_bytes()
    with Dovecot(users=dict(USERS), options=Options(capability=capability)) as server:
        client = start_gateway(*tls_options(server)).client(USER, PASSWORD)
        reply = client.request("POST", "/mailboxes/INBOX/messages?keywords=$seen", raw, {"Content-Type": "application/mbox"})
        assert reply.status == 200, reply.body
        result = reply.json()
        assert result["failed"] == [] and [one["index"] for one in result["appended"]] == list(range(len(numbers)))
        assert ids(server) == numbers
        for entry in (result["appended"][0], result["appended"][57]):
            number = numbers[entry["index"]]
            shown = client.get(f"/messages/{entry['uid']}").json()
            assert shown["messageId"] == [f"{number}.append@example.test"] and shown["keywords"] == {"$seen": True}
            assert shown["receivedAt"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1704103200 + number))
            assert client.get(f"/messages/{entry['uid']}/raw").body.endswith(b"\r\nFrom here on it was quoted.\r\n")
        client.close()


def test_an_mbox_file_beyond_the_quota(start_gateway: StartGateway) -> None:
    if Dovecot(users={}).version >= (2, 4):
        pytest.skip("the quota's configuration is 2.3's")
    raw = b"".join(b"From x Mon Jan  1 10:00:00 2024\n" + message(n, 30_000).replace(b"\r\n", b"\n") + b"\n" for n in range(200, 260))
    with Dovecot(users=dict(USERS), options=Options(extra=QUOTA)) as server:
        client = start_gateway(*tls_options(server)).client(USER, PASSWORD)
        result = client.request("POST", "/messages", raw, {"Content-Type": "application/mbox"}).json()
        assert result["appended"] and result["failed"]
        assert sorted(one["index"] for part in result.values() for one in part) == list(range(60))
        assert all(one["problem"]["status"] == 507 for one in result["failed"])
        assert ids(server) == [200 + one["index"] for one in result["appended"]]
        client.close()


@pytest.mark.needs("speed")
def test_an_mbox_file_in_constant_memory(start_gateway: StartGateway, release_binary: Path, own_mail_server: ImapServer) -> None:
    gateway = start_gateway(*tls_options(own_mail_server), "--max-body", str(100 * MIB), program=release_binary)
    client = gateway.client(USER, PASSWORD)
    one = b"From x Mon Jan  1 10:00:00 2024\n" + message(300, 60_000).replace(b"\r\n", b"\n") + b"\n"
    assert client.request("POST", "/messages", one * 5, {"Content-Type": "application/mbox"}).status == 200
    gateway.reset_peak()
    before = gateway.rss_kib
    result = client.request("POST", "/messages", one * 700, {"Content-Type": "application/mbox"})
    assert result.status == 200 and len(result.json()["appended"]) == 700
    assert gateway.peak_rss_kib - before < 8192
    client.close()
