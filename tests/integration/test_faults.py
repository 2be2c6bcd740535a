"""What goes wrong between the gateway and the IMAP server, and that the gateway says which, and goes on."""

from __future__ import annotations

import base64
import contextlib
import re
import resource
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

import pytest
import seed
from certificates import Authority, ServerCertificate
from conftest import StartGateway, private_server, tls_options
from dovecot import Dovecot, Options, free_port
from gateway import Gateway
from http_client import Client, Response, basic
from imap_server import ImapServer
from proxy import PATIENCE_SECONDS, BlackHole, Conversation, Proxy, Scripted, plain_options, settled, together, wait_for

pytestmark = pytest.mark.needs("speed")

PASSWORD = "a secret to keep"
SECRETS = (PASSWORD.encode(), base64.b64encode(f"\0alice\0{PASSWORD}".encode()), base64.b64encode(PASSWORD.encode()))
SHORT = ["--imap-connect-timeout", "1", "--request-timeout", "2"]
MESSAGES = "/mailboxes/INBOX/messages?fields=uid,subject"
LONG_BODY = "A line that is repeated until it is long.\r\n" * 200_000  # 8 MiB


@pytest.fixture(scope="module")
def server() -> Iterator[ImapServer]:
    with private_server({"alice": PASSWORD, "bob": PASSWORD}) as server:
        for user in server.users:
            fill(server, user)
        with seed.session(server.imap_port, "alice", PASSWORD) as client:
            seed.append(client, "INBOX", [seed.plain(9, body=LONG_BODY)])
        yield server


@pytest.fixture
def proxy(server: ImapServer) -> Iterator[Proxy]:
    with Proxy(server.host, server.imap_port) as proxy:
        yield proxy


@pytest.fixture
def mortal() -> Iterator[ImapServer]:
    """One that may be frozen, killed and restarted."""
    with private_server({"alice": PASSWORD}, Options(max_userip_connections=100)) as server:
        fill(server, "alice")
        yield server


def short(server: ImapServer) -> list[str]:
    """Deadlines that a busy machine keeps: Cyrus starts a process for each connection."""
    return ["--imap-connect-timeout", "5", "--request-timeout", "8"] if server.title == "Cyrus" else SHORT


def fill(server: ImapServer, user: str) -> None:
    with seed.session(server.imap_port, user, PASSWORD) as client:
        seed.append(client, "INBOX", [seed.plain(n, subject=f"for {user}") for n in range(3)])


def assert_alive(gateway: Gateway, *, ready: int = 200) -> None:
    """Whatever happens upstream, the program itself answers."""
    client = gateway.client()
    started = time.monotonic()
    assert client.get("/healthz").status == 200
    assert client.get("/readyz").status == ready
    assert time.monotonic() - started < 5
    client.close()


def problem(response: Response, statuses: int | tuple[int, ...], detail: str) -> None:
    wanted = (statuses,) if isinstance(statuses, int) else statuses
    assert response.status in wanted, response.body
    body = response.json()
    assert body["status"] == response.status and body["retryable"] is True
    assert re.search(detail, body["detail"], re.IGNORECASE), body["detail"]
    assert response.header("WWW-Authenticate") is None
    if response.status == 503:
        assert response.header("Retry-After")


# ---- unreachable


def test_refused(start_gateway: StartGateway) -> None:
    gateway = start_gateway("--imap-url", f"imap://127.0.0.1:{free_port()}", "--imap-security", "none", *SHORT)
    client = gateway.client("alice", PASSWORD)
    for _ in range(3):
        problem(client.get("/mailboxes"), 503, "refused")
        problem(client.get("/messages/1/raw"), 503, "refused")
    assert_alive(gateway)
    client.close()


def test_black_hole(start_gateway: StartGateway) -> None:
    with BlackHole() as hole:
        gateway = start_gateway(*plain_options(hole), "--imap-connect-timeout", "1")
        client = gateway.client("alice", PASSWORD)
        started = time.monotonic()
        problem(client.get("/mailboxes"), 504, "in time|timed out|time-?out")
        assert time.monotonic() - started < 15  # its limit is one second, the request's would be sixty
        assert_alive(gateway)
        client.close()


@pytest.mark.parametrize(
    "security, greeting",
    [("none", b""), ("none", b"* OK not wh"), ("starttls", b""), ("starttls", b"* OK hi\r\n"), ("tls", b"")],
    ids=["silent", "half a greeting", "silent, STARTTLS", "greeting only", "no TLS"],
)
def test_greeting_hangs(start_gateway: StartGateway, security: str, greeting: bytes) -> None:
    def script(conversation: Conversation) -> None:
        conversation.say(greeting)
        conversation.hear_all()

    with Scripted(script) as scripted:
        options = ["--imap-url", scripted.imap_url, "--imap-security", security, "--imap-connect-timeout", "1"]
        gateway = start_gateway(*options)
        clients = [gateway.client("alice", PASSWORD) for _ in range(4)]
        n_descriptors = []
        for _ in range(2):
            started = time.monotonic()
            for response in together(*(lambda client=client: client.get("/mailboxes") for client in clients)):
                problem(response, 504, "in time|timed out|time-?out|did not")
            assert time.monotonic() - started < 15
            n_descriptors.append(settled(lambda: gateway.n_descriptors, "the connections' end", 0.2))
        assert n_descriptors[1] <= n_descriptors[0], "connections were left behind"
        assert not any(secret in scripted.heard for secret in SECRETS)
        for client in clients:
            client.close()
        assert_alive(gateway)


@pytest.mark.parametrize("what", ["/mailboxes", MESSAGES, "/messages/1", "/messages/1/raw", "/mailboxes/Sent/messages"])
def test_silent_in_the_middle(start_gateway: StartGateway, mortal: ImapServer, what: str) -> None:
    gateway = start_gateway(*tls_options(mortal), *short(mortal))
    client = gateway.client("alice", PASSWORD)
    what = what.replace("Sent", mortal.mailbox("Sent"))
    wait_for(lambda: ok(client.get(what)), "a first answer within so short a time")
    mortal.freeze()
    started = time.monotonic()
    problem(client.get(what), 504, "IMAP")
    assert time.monotonic() - started < 15
    assert_alive(gateway)
    mortal.thaw()
    # The slot is free, and what the server says late reaches nobody.
    for target in (what, MESSAGES):
        response = wait_for(lambda target=target: ok(client.get(target)), "the server's return")
        assert response.status == 200
    client.close()


def ok(response: Response) -> Response | None:
    assert response.status != 401, response.body
    return response if response.status == 200 else None


def test_silent_server_frees_every_slot(start_gateway: StartGateway, mortal: ImapServer) -> None:
    """As many requests as there are sessions and more hang; afterwards all of them work, and none is lost."""
    gateway = start_gateway(*tls_options(mortal), *short(mortal))
    clients = [gateway.client("alice", PASSWORD) for _ in range(12)]
    everybody = [lambda client=client: client.get(MESSAGES) for client in clients]
    wait_for(lambda: all(ok(response) for response in together(*everybody)), "first answers within so short a time")
    mortal.freeze()
    for response in together(*(lambda client=client: client.get(MESSAGES) for client in clients)):
        problem(response, (503, 504), "IMAP")
    mortal.thaw()
    wait_for(lambda: ok(clients[0].get(MESSAGES)), "the server's return")
    for _ in range(3):
        for response in together(*(lambda client=client: client.get(MESSAGES) for client in clients)):
            assert [message["subject"] for message in response.json()["messages"]] == ["for alice 2", "for alice 1", "for alice 0"]
    for client in clients:
        client.close()


def test_one_silent_account_does_not_hold_up_another(start_gateway: StartGateway, server: ImapServer) -> None:
    with Proxy(server.host, server.imap_port) as proxy:
        gateway = start_gateway(*plain_options(proxy))
        alice, bob = gateway.client("alice", PASSWORD), gateway.client("bob", PASSWORD)
        assert alice.get(MESSAGES).status == 200
        n_before = proxy.links[0]
        with ThreadPoolExecutor(1) as pool:
            proxy.hold(n_before)
            waiting = pool.submit(alice.get, MESSAGES)
            for _ in range(20):
                subjects = [message["subject"] for message in bob.get(MESSAGES).json()["messages"]]
                assert subjects == ["for bob 2", "for bob 1", "for bob 0"]
            assert not waiting.done()
            proxy.release(n_before)
            assert waiting.result().status == 200
        alice.close()
        bob.close()


def test_streams_that_wait_for_a_session_do_not_stop_the_clock(start_gateway: StartGateway, proxy: Proxy) -> None:
    """More downloads than sessions, and the server says nothing more: every request still has its deadline."""
    gateway = start_gateway(*plain_options(proxy), "--request-timeout", "7")
    client = gateway.client("alice", PASSWORD)
    assert client.get(MESSAGES).status == 200
    proxy.pause()
    clients = [gateway.client("alice", PASSWORD) for _ in range(6)]
    before, started = cpu_seconds(gateway), time.monotonic()
    for response in together(*(lambda one=one: one.get("/messages/1/raw") for one in clients)):
        problem(response, 504, "IMAP")
    assert time.monotonic() - started < 30
    assert cpu_seconds(gateway) - before < 1, "it spins"
    proxy.resume()
    assert wait_for(lambda: ok(client.get(MESSAGES)), "the server's return")
    for one in (client, *clients):
        one.close()


# ---- lost


@pytest.mark.parametrize("with_reset", [False, True], ids=["closed", "reset"])
def test_lost_idle_session_is_invisible(start_gateway: StartGateway, proxy: Proxy, with_reset: bool) -> None:
    gateway = start_gateway(*plain_options(proxy))
    client = gateway.client("alice", PASSWORD)
    assert client.get(MESSAGES).status == 200
    for n in range(5):
        proxy.cut(with_reset=with_reset)
        assert client.get((MESSAGES, "/mailboxes", "/messages/2", "/messages/2/raw", "/messages/2/text")[n]).status == 200
        assert len(proxy.links) == n + 2, "one retry, and no more"
    client.close()


@pytest.mark.parametrize("with_reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("verb", [b"NOOP", b"FETCH", b"EXAMINE", b"LIST"])
def test_session_lost_under_a_command_is_retried_once(
    start_gateway: StartGateway, server: ImapServer, proxy: Proxy, verb: bytes, with_reset: bool
) -> None:
    """The command was sent, and the connection ends instead of an answer."""
    target = {b"LIST": "/mailboxes", b"EXAMINE": f"/mailboxes/{server.mailbox('Sent')}/messages"}.get(verb, "/messages/2")
    gateway = start_gateway(*plain_options(proxy), "--imap-sessions-per-account", "1")
    client = gateway.client("alice", PASSWORD)
    whole = client.get("/messages/2")
    assert whole.status == 200
    proxy.cut_on_command(verb, with_reset=with_reset)
    response = client.get(target)
    assert response.status == 200 and len(proxy.links) == 2
    assert target != "/messages/2" or response.body == whole.body
    client.close()


def test_a_server_that_always_hangs_up_is_not_hammered(start_gateway: StartGateway, server: ImapServer, proxy: Proxy) -> None:
    gateway = start_gateway(*plain_options(proxy))
    client = gateway.client("alice", PASSWORD)
    assert client.get(MESSAGES).status == 200
    proxy.cut()
    n_before = len(proxy.links)
    for _ in range(5):
        proxy.cut_always(b"EXAMINE")
        problem(client.get(f"/mailboxes/{server.mailbox('Sent')}/messages"), 502, "IMAP|connection|closed|lost")
    assert len(proxy.links) - n_before <= 5 * 2, "a request is tried twice at most"
    proxy.cut_never()
    assert client.get(f"/mailboxes/{server.mailbox('Sent')}/messages").status == 200
    assert_alive(gateway)
    client.close()


class Load:
    """Clients that ask without a pause, until told to stop, and what they got."""

    def __init__(self, gateway: Gateway, n_clients: int, target: str = MESSAGES) -> None:
        self.statuses: Counter[int | str] = Counter()
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(n_clients)
        self._futures = [self._pool.submit(self._work, gateway, target, n % 2 == 0) for n in range(n_clients)]

    def n(self, status: int | str) -> int:
        return self.statuses[status]

    def stop(self) -> None:
        self._is_over.set()
        for future in self._futures:
            future.result(PATIENCE_SECONDS)
        self._pool.shutdown()

    def _work(self, gateway: Gateway, target: str, keeps_alive: bool) -> None:
        client = gateway.client("alice", PASSWORD)
        while not self._is_over.is_set():
            found: int | str
            try:
                response = client.get(target)
                found = response.status
                if found == 200:
                    assert [one["subject"] for one in response.json()["messages"]][-1] == "for alice 0"
                else:
                    response.json()
            except ConnectionRefusedError:
                found = "refused"
            except (HTTPException, OSError) as error:
                found = f"broken: {type(error).__name__}"
                client.close()
            with self._lock:
                self.statuses[found] += 1
            if found != 200:
                self._is_over.wait(0.02)
            if not keeps_alive:
                client.close()
        client.close()


def test_server_restart_under_load(start_gateway: StartGateway, mortal: ImapServer) -> None:
    gateway = start_gateway(*tls_options(mortal), "--request-timeout", "10")
    load = Load(gateway, 8)
    wait_for(lambda: load.n(200) > 50, "the load")
    for end in (mortal.kill, mortal.stop):
        end()
        wait_for(lambda: load.n(503) > 0 or load.n(502) > 0, "the failure to be noticed")
        assert_alive(gateway)
        mortal.start()
        n_good = load.n(200)
        wait_for(lambda n_good=n_good: load.n(200) > n_good + 50, "service to go on")
    load.stop()
    # Cyrus accepts connections that nobody serves yet.
    assert set(load.statuses) <= {200, 502, 503} | ({504} if mortal.title == "Cyrus" else set()), load.statuses
    assert gateway.client("alice", PASSWORD).get(MESSAGES).status == 200
    assert len(re.findall(r"(?:Login|Logged in): user=<alice>", mortal.log())) < 60, "a storm of logins"


# ---- TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def bad_certificates(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ServerCertificate]:
    stranger = Authority(tmp_path_factory.mktemp("stranger"), "Somebody else's CA")
    return {
        "self-signed": ServerCertificate(stranger.certificate, stranger.directory / "ca.key"),
        "unknown CA": stranger.issue(),
        "wrong name": authority.issue(("DNS:elsewhere.test", "IP:127.0.0.9")),
        "partial name": authority.issue(("DNS:localhost.test", "DNS:*.localhost", "DNS:local*")),
        "expired": authority.issue(expired=True),
    }


BAD_CERTIFICATES = ["self-signed", "unknown CA", "wrong name", "partial name", "expired"]


@pytest.mark.parametrize("name", BAD_CERTIFICATES)
def test_bad_certificate(
    start_gateway: StartGateway,
    server: ImapServer,
    authority: Authority,
    bad_certificates: dict[str, ServerCertificate],
    name: str,
) -> None:
    with Proxy(server.host, server.imap_port, certificate=bad_certificates[name]) as proxy:
        gateway = start_gateway("--imap-url", proxy.imaps_url, "--imap-ca-file", str(authority.certificate))
        client = gateway.client("alice", PASSWORD)
        for target in ("/mailboxes", "/messages/1/raw"):
            problem(client.get(target), 502, "certificate|verif|TLS")
        assert proxy.sent == b"", "something was said to somebody unknown"
        assert_alive(gateway)
        client.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_good_certificate(start_gateway: StartGateway, server: ImapServer, authority: Authority, host: str) -> None:
    with Proxy(server.host, server.imap_port, certificate=authority.issue()) as proxy:
        gateway = start_gateway("--imap-url", f"imaps://{host}:{proxy.port}", "--imap-ca-file", str(authority.certificate))
        client = gateway.client("alice", PASSWORD)
        assert client.get(MESSAGES).status == 200
        client.close()


@pytest.mark.parametrize("name", ["none", "wrong name", "expired"])
def test_certificate_of_starttls(
    start_gateway: StartGateway, authority: Authority, bad_certificates: dict[str, ServerCertificate], name: str
) -> None:
    certificate = authority.issue() if name == "none" else bad_certificates[name]
    with Dovecot(users={"alice": PASSWORD}, options=Options(certificate=certificate)) as server:
        with Proxy(server.host, server.imap_port) as proxy:
            gateway = start_gateway("--imap-url", proxy.imap_url, "--imap-ca-file", str(authority.certificate))
            client = gateway.client("alice", PASSWORD)
            response = client.get("/mailboxes")
            if name == "none":
                assert response.status == 200
            else:
                problem(response, 502, "certificate|verif|TLS")
                assert server.logins("alice") == 0
            assert b"STARTTLS\r\n" in proxy.sent and not any(secret in proxy.sent for secret in SECRETS)
            client.close()


def capability(words: bytes) -> bytes:
    return b"* CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=LOGIN " + words + b"\r\n"


def answering(greeting: bytes, capabilities: bytes, starttls: bytes) -> Callable[[Conversation], None]:
    """A server in clear text that would like to hear the password."""

    def script(conversation: Conversation) -> None:
        conversation.say(greeting)
        for tag, rest in conversation.lines():
            if rest == b"CAPABILITY":
                conversation.say(capability(capabilities) + tag + b" OK done\r\n")
            elif rest == b"STARTTLS":
                conversation.say(starttls.replace(b"TAG", tag))
            elif rest == b"LOGOUT":
                conversation.say(b"* BYE\r\n" + tag + b" OK done\r\n")
                return
            else:
                conversation.say(b"+ go on\r\n" + tag + b" OK [CAPABILITY IMAP4rev1] whatever you say\r\n")

    return script


@pytest.mark.parametrize(
    "greeting, capabilities, starttls",
    [
        (b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n", b"SASL-IR", b"TAG BAD unknown\r\n"),
        (b"* OK hi\r\n", b"", b"TAG BAD unknown\r\n"),
        (b"* OK hi\r\n", b"STARTTLS", b"TAG NO not today\r\n"),
        (b"* OK hi\r\n", b"STARTTLS", b"TAG BAD unknown\r\n"),
        (b"* OK hi\r\n", b"STARTTLS", b"TAG OK begin\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"),
        (b"* OK hi\r\n", b"STARTTLS", b"TAG OK begin\r\n" + b"\x15\x03\x01\x00\x02\x02\x28"),
        (b"* OK hi\r\n", b"STARTTLS", b"TAG OK begin\r\nthis is not TLS"),
        (b"* PREAUTH welcome alice\r\n", b"STARTTLS", b"TAG OK begin\r\n"),
        (b"* BYE [REFERRAL imap://elsewhere.test/] go there\r\n", b"STARTTLS", b"TAG NO\r\n"),
    ],
    ids=["stripped", "not offered", "NO", "BAD", "injected", "alert", "no TLS", "PREAUTH", "referral"],
)
def test_starttls_stripped(
    start_gateway: StartGateway, authority: Authority, greeting: bytes, capabilities: bytes, starttls: bytes
) -> None:
    with Scripted(answering(greeting, capabilities, starttls)) as scripted:
        options = ["--imap-url", scripted.imap_url, "--imap-ca-file", str(authority.certificate), *SHORT]
        gateway = start_gateway(*options)
        client = gateway.client("alice", PASSWORD)
        response = client.get("/mailboxes")
        statuses = (502, 503) if greeting.startswith(b"* BYE") else 502
        problem(response, statuses, "TLS|secure|greeting|PREAUTH|BYE|refus|closed")
        assert not any(secret in scripted.heard for secret in SECRETS), scripted.heard
        assert b"LOGIN" not in scripted.heard and b"AUTHENTICATE" not in scripted.heard
        assert_alive(gateway)
        client.close()


def test_starttls_offered(start_gateway: StartGateway, server: ImapServer) -> None:
    with Proxy(server.host, server.imap_port) as proxy:
        gateway = start_gateway("--imap-url", proxy.imap_url, "--imap-ca-file", str(server.ca_file))
        client = gateway.client("alice", PASSWORD)
        assert client.get(MESSAGES).status == 200
        assert not any(secret in proxy.sent for secret in SECRETS)
        client.close()


# ---- the end of the program


def test_sigterm_lets_requests_finish(start_gateway: StartGateway, server: ImapServer, proxy: Proxy) -> None:
    gateway = start_gateway(*plain_options(proxy))
    clients = [gateway.client("alice", PASSWORD) for _ in range(6)]
    idle, healthy, ready = gateway.client("alice", PASSWORD), gateway.client(), gateway.client()
    assert idle.get(MESSAGES).status == healthy.get("/healthz").status == ready.get("/readyz").status == 200
    before = proxy.n_up
    proxy.pause()
    with ThreadPoolExecutor(len(clients)) as pool:
        under_way = [pool.submit(client.get, f"/messages/{n % 3 + 1}/raw") for n, client in enumerate(clients)]
        wait_for(lambda: proxy.n_up > before, "the first command")
        settled(lambda: proxy.n_up, "the commands", 0.2)
        gateway.signal(signal.SIGTERM)
        wait_for(lambda: "finishing what is under way" in gateway.log, "the drain")
        assert healthy.get("/healthz").status == 200
        assert ready.get("/readyz").status == 503
        problem(idle.get(MESSAGES), 503, "shutting down|drain|stopping")
        with pytest.raises(ConnectionRefusedError):
            gateway.client().get("/healthz")
        assert not any(future.done() for future in under_way)
        proxy.resume()
        for future in under_way:
            response = future.result()
            assert response.status == 200 and b"for alice" in response.body
    assert gateway.wait() == 0
    used = [link for link in proxy.links if b" FETCH " in link.sent]
    assert used and all(link.sent.endswith(b" LOGOUT\r\n") for link in used)
    for client in (*clients, idle, healthy, ready):
        client.close()


def test_sigterm_under_load(start_gateway: StartGateway, server: ImapServer) -> None:
    gateway = start_gateway(*tls_options(server), "--imap-sessions-per-account", "4")
    load = Load(gateway, 8, MESSAGES + "&uid=1:3")
    wait_for(lambda: load.n(200) > 50, "the load")
    gateway.signal(signal.SIGTERM)
    assert gateway.wait() == 0
    wait_for(lambda: load.n("refused") > 8, "the clients to notice")
    load.stop()
    # A connection that was kept alive may be closed when its request is on the way: nothing was answered then.
    accidents = {"broken: RemoteDisconnected", "broken: ConnectionResetError", "broken: BrokenPipeError"}
    assert set(load.statuses) <= {200, 503, "refused"} | accidents, load.statuses


def stalled_download(gateway: Gateway) -> socket.socket:
    """Has its first bytes, and takes no more."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(PATIENCE_SECONDS)
    connection.connect((gateway.host, gateway.port))
    authorization = basic("alice", PASSWORD)
    connection.sendall(f"GET /messages/4/raw HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n\r\n".encode())
    assert connection.recv(15) == b"HTTP/1.1 200 OK"
    return connection


def test_second_signal_gives_up_a_stalled_download(start_gateway: StartGateway, server: ImapServer) -> None:
    gateway = start_gateway(*tls_options(server))
    with stalled_download(gateway) as connection:
        gateway.signal(signal.SIGTERM)
        wait_for(lambda: "finishing what is under way" in gateway.log, "the drain")
        assert gateway.is_running
        gateway.signal(signal.SIGTERM)
        assert gateway.wait(PATIENCE_SECONDS) == 0
        length = int(re.search(rb"Content-Length: (\d+)", head := connection.recv(1000))[1])  # type: ignore[index]
        n_read = len(head)
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(65536):
                n_read += len(data)
        assert n_read < length, "a body that was given up looks whole"


def test_sigterm_with_a_stalled_download(start_gateway: StartGateway, server: ImapServer) -> None:
    """Thirty seconds, which is what this test takes: nobody waits longer for a reader that does not read."""
    gateway = start_gateway(*tls_options(server))
    with stalled_download(gateway):
        gateway.signal(signal.SIGTERM)
        assert gateway.wait() == 0
        assert "did not end in time" in gateway.log


# ---- descriptors


def limit_descriptors(gateway: Gateway, n: int | None) -> None:
    _, hard = resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(gateway.pid, resource.RLIMIT_NOFILE, (hard if n is None else n, hard))


def cpu_seconds(gateway: Gateway) -> float:
    fields = Path(f"/proc/{gateway.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def test_no_descriptor_for_the_server(start_gateway: StartGateway, server: ImapServer) -> None:
    gateway = start_gateway(*tls_options(server))
    alice, bob = gateway.client("alice", PASSWORD), gateway.client("bob", PASSWORD)
    assert alice.get(MESSAGES).status == 200 and bob.get("/healthz").status == 200
    limit_descriptors(gateway, gateway.n_descriptors)
    response = bob.get(MESSAGES)
    assert response.status in (502, 503), response.body
    assert response.json()["retryable"] is True
    # Who has a session goes on.
    assert alice.get(MESSAGES).status == 200
    limit_descriptors(gateway, None)
    assert wait_for(lambda: ok(bob.get(MESSAGES)), "the descriptors")
    alice.close()
    bob.close()


def test_no_descriptor_for_a_client(start_gateway: StartGateway, server: ImapServer) -> None:
    gateway = start_gateway(*tls_options(server))
    alice = gateway.client("alice", PASSWORD)
    assert alice.get(MESSAGES).status == 200
    limit_descriptors(gateway, gateway.n_descriptors + 2)
    crowd = [socket.create_connection((gateway.host, gateway.port)) for _ in range(20)]
    settled(lambda: gateway.n_descriptors, "the accepting")
    for _ in range(20):
        assert alice.get(MESSAGES).status == 200
    before, started = cpu_seconds(gateway), time.monotonic()
    settled(lambda: gateway.n_descriptors, "the accepting", 1.0)
    assert cpu_seconds(gateway) - before < (time.monotonic() - started) / 2, "it spins"
    for connection in crowd:
        connection.close()
    limit_descriptors(gateway, None)
    assert_alive(gateway)
    late = gateway.client("bob", PASSWORD)
    assert late.get(MESSAGES).status == 200
    late.close()
    alice.close()
