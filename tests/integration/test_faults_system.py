"""Faults of the machine below the gateway: names, descriptors, memory, disks, clocks, signals, and single calls that fail.

Those between the gateway and the server are in test_faults.py, those of writes in test_truth.py. FAULTS_ALL=1 (./test
faults) runs the long form of each.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from http.client import HTTPException, IncompleteRead
from pathlib import Path

import pytest
import seed
from conftest import StartGateway, only_dovecot, private_server, tls_options
from dovecot import Dovecot, Options
from gateway import Gateway
from http_client import Client, Response, basic
from imap_server import ImapServer, free_port, own_address
from mail_tools import segment
from misfortune import Misfortune
from proxy import Proxy, Scripted, plain_options, settled, together, wait_for
from test_faults import LONG_BODY, MESSAGES, PASSWORD, Load, assert_alive, cpu_seconds, fill, ok, problem

pytestmark = pytest.mark.needs("speed")

IS_LONG = os.environ.get("FAULTS_ALL") == "1"
N_SIGNALS = 100 if IS_LONG else 10
EAI_AGAIN, EAI_NONAME = -3, -2
RAW = b"Subject: put\r\n\r\nkept?\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[ImapServer]:
    with private_server({"alice": PASSWORD, "bob": PASSWORD}, Options(max_userip_connections=100)) as server:
        for user in server.users:
            fill(server, user)
        with seed.session(server.imap_port, "alice", PASSWORD) as client:
            seed.append(client, "INBOX", [seed.plain(9, body=LONG_BODY)])
        yield server


@pytest.fixture
def misfortune(binary: Path, tmp_path: Path) -> Iterator[Misfortune]:
    with Misfortune(binary, tmp_path) as one:
        yield one


# ---- reset in mid-FETCH


@pytest.mark.parametrize("with_reset", [False, True], ids=["closed", "reset"])
def test_reset_in_mid_fetch_before_the_status_line(start_gateway: StartGateway, server: ImapServer, with_reset: bool) -> None:
    with Proxy(server.host, server.imap_port) as proxy:
        gateway = start_gateway(*plain_options(proxy))
        client = gateway.client("alice", PASSWORD)
        whole = client.get("/messages/4/raw")
        assert whole.status == 200 and len(whole.body) > len(LONG_BODY)
        n_before = len(proxy.links)
        proxy.cut_down_behind(b"BODY[]", 1000, with_reset=with_reset)
        assert client.get("/messages/4/raw").body == whole.body
        assert len(proxy.links) <= n_before + 1, "one retry"
        client.close()


@pytest.mark.parametrize("with_reset", [False, True], ids=["closed", "reset"])
def test_reset_in_mid_fetch_after_the_status_line(start_gateway: StartGateway, server: ImapServer, with_reset: bool) -> None:
    with Proxy(server.host, server.imap_port) as proxy:
        gateway = start_gateway(*plain_options(proxy))
        client = gateway.client("alice", PASSWORD)
        whole = client.get("/messages/4/raw").body
        proxy.cut_after(3 << 20, with_reset=with_reset)
        response = client.open("GET", "/messages/4/raw")
        assert response.status == 200
        with pytest.raises(IncompleteRead) as broken:
            response.read()
        part = broken.value.partial
        assert 0 < len(part) < len(whole)
        assert whole.startswith(part)
        client.close()
        again = gateway.client("alice", PASSWORD)
        assert again.get("/messages/4/raw").body == whole
        again.close()


# ---- many sessions lost at once


def test_server_restart_with_many_sessions(start_gateway: StartGateway) -> None:
    users = {f"user{n}": PASSWORD for n in range(40 if IS_LONG else 12)}
    with private_server(users) as server:
        for user in users:
            fill(server, user)
        gateway = start_gateway(*tls_options(server))
        clients = {user: gateway.client(user, PASSWORD) for user in users}
        for user, client in clients.items():
            assert client.get(MESSAGES).json()["messages"][0]["subject"] == f"for {user} 2"
        server.stop()  # BYE to each
        server.start()
        replies = together(*(lambda client=client: client.get(MESSAGES) for client in clients.values()))
        for user, reply in zip(clients, replies, strict=True):
            assert reply.status == 200, reply.body
            assert reply.json()["messages"][0]["subject"] == f"for {user} 2"
        if isinstance(server, Dovecot):
            assert max(server.logins(user) for user in users) <= 3, "seeded, logged in, logged in again"
        for client in clients.values():
            client.close()


def test_bye_in_between_is_invisible(start_gateway: StartGateway, server: ImapServer) -> None:
    gateway = start_gateway(*tls_options(server))
    client = gateway.client("bob", PASSWORD)
    for target in (MESSAGES, "/mailboxes", "/messages/2/raw"):
        assert client.get(target).status == 200
        only_dovecot(server).doveadm("kick", "bob")
        assert client.get(target).status == 200
    client.close()


# ---- names


def test_dns_failing(start_gateway: StartGateway, server: ImapServer, misfortune: Misfortune) -> None:
    options = ["--imap-url", f"imaps://localhost:{server.imaps_port}", "--imap-ca-file", str(server.ca_file)]
    gateway = start_gateway(*options, environment=misfortune.environment)
    client = gateway.client("alice", PASSWORD)
    for error in (EAI_AGAIN, EAI_NONAME):
        misfortune.resolving(error=error)
        for target in (MESSAGES, "/messages/1/raw"):
            problem(client.get(target), 503, "name")
        assert_alive(gateway)
    misfortune.resolving()
    assert wait_for(lambda: ok(client.get(MESSAGES)), "the name")
    misfortune.resolving(error=EAI_AGAIN)
    assert client.get(MESSAGES).status == 200, "who has a session needs no name"
    client.close()


def test_dns_slow(start_gateway: StartGateway, server: ImapServer, misfortune: Misfortune) -> None:
    """Longer than the connection may take: 504, and the loop waits for nothing."""
    options = ["--imap-url", f"imaps://localhost:{server.imaps_port}", "--imap-ca-file", str(server.ca_file)]
    gateway = start_gateway(*options, "--imap-connect-timeout", "1", environment=misfortune.environment)
    misfortune.resolving(ms=2500)
    clients = [gateway.client(user, PASSWORD) for user in ("alice", "bob")]
    healthy = gateway.client()
    started = time.monotonic()
    for reply in together(*(lambda one=one: one.get(MESSAGES) for one in clients), lambda: healthy.get("/healthz"))[:-1]:
        problem(reply, 504, "in time")
    assert time.monotonic() - started < 15
    misfortune.resolving()
    for one in clients:
        assert wait_for(lambda one=one: ok(one.get(MESSAGES)), "the name")
        one.close()
    healthy.close()


# ---- memory and disks


def test_memory_exhausted(release_binary: Path, start_gateway: StartGateway, server: ImapServer) -> None:
    """Not a byte more of address space: what does not fit is 503 or breaks off, and the program goes on."""
    gateway = start_gateway(*tls_options(server), program=release_binary)
    alice = gateway.client("alice", PASSWORD)
    assert alice.get(MESSAGES).status == 200
    limit_memory(gateway, kib_of_address_space(gateway) + 1024)
    statuses = set()
    crowd = [gateway.client("alice", PASSWORD) for _ in range(8)]
    for _ in range(3 if not IS_LONG else 30):
        for found in together(*(lambda one=one: outcome(one, "/messages/4/raw") for one in crowd)):
            statuses.add(found)
    assert statuses <= {200, 503, 502, "broken"}, statuses
    assert gateway.is_running
    limit_memory(gateway, None)
    assert wait_for(lambda: ok(alice.get(MESSAGES)), "the memory")
    assert len(alice.get("/messages/4/raw").body) > len(LONG_BODY)
    assert_alive(gateway)
    for one in (alice, *crowd):
        one.close()


def outcome(client: Client, target: str) -> int | str:
    try:
        response = client.get(target)
        if response.status != 200:
            assert response.header("WWW-Authenticate") is None
        return response.status
    except (HTTPException, OSError):
        client.close()
        return "broken"


def kib_of_address_space(gateway: Gateway) -> int:
    match = re.search(r"VmSize:\s+(\d+) kB", Path(f"/proc/{gateway.pid}/status").read_text())
    assert match is not None
    return int(match[1])


def limit_memory(gateway: Gateway, kib: int | None) -> None:
    _, hard = resource.prlimit(gateway.pid, resource.RLIMIT_AS)
    resource.prlimit(gateway.pid, resource.RLIMIT_AS, (hard if kib is None else kib * 1024, hard))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small tmpfs")
def test_disk_exhausted_at_the_server(start_gateway: StartGateway, tmp_path: Path) -> None:
    """What does not fit is refused, and says so; reading goes on, and so does writing once there is room."""
    with small_disk(Path("/tmp") / f"gp-disk-{os.getpid()}", "6m") as disk:
        with Dovecot(users={"alice": PASSWORD}, directory=disk / "d") as server:
            fill(server, "alice")
            gateway = start_gateway(*tls_options(server))
            client = gateway.client("alice", PASSWORD)
            body = b"Subject: large\r\n\r\n" + b"x" * 76 + b"\r\n" * 1 + (b"y" * 76 + b"\r\n") * 20_000
            fields = {"Content-Type": "message/rfc822"}
            replies = [client.request("POST", "/mailboxes/INBOX/messages", body, fields) for _ in range(6)]
            assert {reply.status for reply in replies} - {201}, "the disk was not full"
            n_put = sum(reply.status == 201 for reply in replies)
            for reply in replies:
                assert reply.status in (201, 422, 502, 503, 507), reply.body
                assert reply.status == 201 or reply.json()["type"].startswith("/problems/")
            assert client.get(MESSAGES).json()["total"] == 3 + n_put
            assert_alive(gateway)
            client.close()


@contextlib.contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    path.mkdir()
    try:
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(path)], capture_output=True)
        if mounted.returncode != 0:
            pytest.skip(f"no tmpfs here: {mounted.stderr.decode().strip()}")
        try:
            yield path
        finally:
            subprocess.run(["umount", "-l", str(path)], check=True)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def start_with_log(binary: Path, server: ImapServer, log: int, *options: str) -> tuple[subprocess.Popen[bytes], Client]:
    """Nobody reads its log: it listens where it was told to."""
    host = own_address()
    port = free_port(host)
    arguments = [str(binary), "--listen", f"{host}:{port}", *tls_options(server), *options]
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
    client = Client(host, port, "alice", PASSWORD)
    wait_for(lambda: process.poll() is not None or is_listening(host, port), "the gateway")
    return process, client


def is_listening(host: str, port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection((host, port), timeout=5).close()
        return True
    return False


@pytest.mark.parametrize("how", ["closed", "full", "full disk"])
def test_log_pipe_closed(binary: Path, server: ImapServer, how: str) -> None:
    """Nor is a log that nobody reads, or that has no room, anything to wait for."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 8192)
    with open("/dev/full", "wb") as full:
        process, client = start_with_log(
            binary, server, full.fileno() if how == "full disk" else writer, "--log-level", "debug" if how == "full" else "info"
        )
    os.close(writer)
    try:
        if how == "closed":
            os.close(reader)
        for _ in range(20 if how == "full" else 5):  # debug lines by the dozen: the pipe has 8 KiB
            assert client.get(MESSAGES).status == 200
            assert client.get("/mailboxes").status == 200
        if how == "full":
            os.set_blocking(reader, False)
            text = bytearray(os.read(reader, 1 << 20))  # there is room again
            assert len(text) > 4000, "it was not full"
            assert client.get(MESSAGES).status == 200
            wait_for(lambda: b"lines were dropped" in read_more(reader, text), "what was dropped")
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0
    finally:
        client.close()
        if process.poll() is None:
            process.kill()
            process.wait()
        with contextlib.suppress(OSError):
            os.close(reader)


def read_more(descriptor: int, text: bytearray) -> bytearray:
    with contextlib.suppress(BlockingIOError):
        text += os.read(descriptor, 1 << 20)
    return text


# ---- the clock


@pytest.mark.parametrize("hours", [1, -1])
def test_clock_jumps_by_an_hour(start_gateway: StartGateway, server: ImapServer, misfortune: Misfortune, hours: int) -> None:
    """Deadlines are the monotonic clock's: neither early nor late, and sessions stay."""
    with Proxy(server.host, server.imap_port) as proxy:
        gateway = start_gateway(*plain_options(proxy), "--request-timeout", "3", environment=misfortune.environment)
        client, other = gateway.client("alice", PASSWORD), gateway.client("bob", PASSWORD)
        assert client.get(MESSAGES).status == other.get(MESSAGES).status == 200
        link = proxy.links[0]
        proxy.hold(link)
        started = time.monotonic()

        def wait() -> Response:
            return client.get(MESSAGES)

        def jump() -> Response:
            wait_for(lambda: link.sent.count(b"NOOP") > 0, "the request on its way")
            misfortune.clock_offset(hours * 3600)
            return other.get(MESSAGES)

        late, undisturbed = together(wait, jump)
        problem(late, 504, "IMAP")
        assert 2.5 < time.monotonic() - started < 20
        assert undisturbed.status == 200
        assert len(proxy.links) == 2, "the other's session has gone"
        proxy.release(link)
        assert client.get(MESSAGES).status == 200
        assert any(line[11:13] != time.strftime("%H", time.gmtime()) for line in gateway.log.splitlines()[-1:]), "no jump"
        client.close()
        other.close()


# ---- signals


def test_sighup_a_hundred_times(start_gateway: StartGateway, server: ImapServer) -> None:
    gateway = start_gateway(*tls_options(server))
    load = Load(gateway, 4, MESSAGES + "&uid=1:3")
    wait_for(lambda: load.n(200) > 5, "the load")
    for _ in range(100):
        gateway.signal(signal.SIGHUP)
        time.sleep(0.001)
    n_good = load.n(200)
    wait_for(lambda: load.n(200) > n_good + 5, "service to go on")
    load.stop()
    assert set(load.statuses) == {200}, load.statuses


def test_sigkill_a_hundred_times(release_binary: Path, server: ImapServer) -> None:
    """Ready again, and what was told as done is there, once."""
    mailbox = server.mailbox("Killed")
    with seed.session(server.imap_port, "alice", PASSWORD) as session:
        seed.create(session, mailbox)
    host = own_address()
    port = free_port(host)
    told = 0
    slowest = 0.0
    for n in range(N_SIGNALS):
        gateway = Gateway(release_binary, ["--listen", f"{host}:{port}", *tls_options(server)])
        started = time.monotonic()
        gateway.start()
        client = gateway.client("alice", PASSWORD)
        assert client.get("/readyz").status == 200
        slowest = max(slowest, time.monotonic() - started)
        body = RAW.replace(b"put", b"number %d" % n)
        reply = client.request("POST", f"/mailboxes/{mailbox}/messages", body, {"Content-Type": "message/rfc822"})
        assert reply.status == 201, reply.body
        told += 1
        gateway.kill()
        client.close()
    with Gateway(release_binary, ["--listen", f"{host}:{port}", *tls_options(server)]) as gateway:
        client = gateway.client("alice", PASSWORD)
        found = client.get(f"/mailboxes/{segment(mailbox)}/messages?limit=200&fields=subject").json()
        assert sorted(one["subject"] for one in found["messages"]) == sorted(f"number {n}" for n in range(N_SIGNALS))
        client.close()
    if IS_LONG:
        assert slowest < 2, f"ready only after {slowest:.1f} s"


# ---- the n-th read, write, connect, socket, accept

CALLS = {
    "read": errno.ECONNRESET,
    "write": errno.EPIPE,
    "connect": errno.ENETUNREACH,
    "socket": errno.EMFILE,
    "accept": errno.EMFILE,
}


@pytest.mark.parametrize("is_lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("call", CALLS)
def test_nth_call_fails(
    start_gateway: StartGateway, server: ImapServer, misfortune: Misfortune, call: str, is_lasting: bool
) -> None:
    """A few requests while the n-th of these calls fails, for n = 1, 2, … until they are through without it."""
    with Proxy(server.host, server.imap_port) as proxy:
        gateway = start_gateway(*plain_options(proxy), "--request-timeout", "10", environment=misfortune.environment)
        step = 1 if IS_LONG else 7
        for n in range(1, 10_000, step):
            proxy.cut()
            settled(lambda: proxy.n_open, "the sessions", 0.01)
            misfortune.fail(call, n, CALLS[call], is_lasting=is_lasting)
            requests(gateway)
            n_struck = misfortune.n_struck
            misfortune.rest()
            client = gateway.client("alice", PASSWORD)
            assert wait_for(lambda client=client: ok(client.get(MESSAGES)), f"service after {call} {n}")
            client.close()
            if n_struck == 0:
                break
        assert n > 1, "it never struck"
        n_descriptors = gateway.n_descriptors
        assert n_descriptors < 60, "descriptors were left behind"
        assert cpu_is_quiet(gateway), "it spins"


def requests(gateway: Gateway) -> None:
    """One of each kind; an HTTP connection may break, as a client's can."""
    client = gateway.client("alice", PASSWORD)
    append = {"Content-Type": "message/rfc822"}
    for method, target, body, fields in (
        ("GET", MESSAGES, None, {}),
        ("GET", "/messages/1/raw", None, {}),
        ("PATCH", "/messages/1", b'{"keywords":{"$flagged":true}}', {"Content-Type": "application/json"}),
        ("POST", "/mailboxes/@sent/messages", RAW, append),
    ):
        try:
            client_timeout(client)
            reply = client.request(method, target, body, fields)
            assert reply.status in (200, 201, 404, 502, 503, 504), reply.body
            if reply.status >= 400:
                assert reply.json()["type"].startswith("/problems/")
        except (HTTPException, OSError):
            client.close()
    client.close()


def client_timeout(client: Client) -> None:
    """A connection that the gateway does not accept is not waited for as long as an answer."""
    connection = client._connect()
    if connection.sock is not None:
        connection.sock.settimeout(1.5 if client.n_connects > 0 and connection is not None else None)


def cpu_is_quiet(gateway: Gateway) -> bool:
    before = cpu_seconds(gateway)
    time.sleep(0.5)
    return cpu_seconds(gateway) - before < 0.25


# ---- more than it can carry


@pytest.mark.skipif(not IS_LONG or shutil.which("wrk") is None, reason="only ./test faults measures, with wrk")
def test_twice_the_load_it_can_carry(release_binary: Path, start_gateway: StartGateway, server: ImapServer) -> None:
    """With twice the clients that give the most replies, there are nearly as many; none is wrong."""
    gateway = start_gateway(*tls_options(server), program=release_binary)
    goodput = {n: replies_per_second(gateway, n) for n in (8, 16, 32, 64)}
    best = max(goodput, key=lambda n: goodput[n])
    assert replies_per_second(gateway, 2 * best) >= 0.9 * goodput[best], goodput
    assert_alive(gateway)


def replies_per_second(gateway: Gateway, n_clients: int) -> float:
    target = f"{gateway.url}/mailboxes/INBOX/messages?fields=uid"
    arguments = ["wrk", "-t1", f"-c{n_clients}", "-d5s", "-H", f"Authorization: {basic('alice', PASSWORD)}", target]
    text = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout
    total = re.search(r"(\d+) requests in ([\d.]+)s", text)
    assert total is not None, text
    wrong = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return (int(total[1]) - (int(wrong[1]) if wrong else 0)) / float(total[2])
