"""Bodies as streams: constant memory, back-pressure, and that a broken one is never a short success."""

from __future__ import annotations

import base64
import hashlib
import http.client
import random
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import seed
from conftest import StartGateway, private_server, tls_options
from gateway import Gateway
from http_client import Client, basic
from imap_server import ImapServer
from proxy import PATIENCE_SECONDS, Proxy, plain_options, settled, together, wait_for

pytestmark = pytest.mark.needs("speed")

USER, PASSWORD = "stream", "secret"
MIB = 1024 * 1024
WINDOW = 256 * 1024  # of one partial FETCH
# What may be on its way when a client stops reading: windows, and the kernel's buffers of three sockets.
MAX_AHEAD = 10 * MIB
BIG, HUGE, SMALL, TINY = 1, 2, 3, 4


@dataclass(frozen=True)
class Content:
    raw: bytes
    part: bytes  # part 2, decoded


def with_attachment(size: int) -> Content:
    part = random.Random(size).randbytes(size)
    head = (
        "From: Ann <ann@example.test>\r\nSubject: attachment\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="cut"\r\n\r\n'
        "--cut\r\nContent-Type: text/plain\r\n\r\nSee attachment.\r\n"
        '--cut\r\nContent-Type: application/octet-stream; name="data.bin"\r\n'
        "Content-Disposition: attachment; filename=data.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    ).encode()
    encoded = base64.encodebytes(part).replace(b"\n", b"\r\n")
    return Content(head + encoded + b"--cut--\r\n", part)


def huge_message(size: int) -> bytes:
    head = b"From: ann@example.test\r\nSubject: huge\r\nContent-Type: text/plain\r\n\r\n"
    lines = b"".join(b"%08d %s\r\n" % (n, b"abcdefghijklmnopqrstuvwxyz" * 2) for n in range(16384))
    return head + lines * (size // len(lines)) + lines[: (size - len(head)) % len(lines) // 63 * 63]


@dataclass
class Store:
    server: ImapServer
    big: Content
    huge_size: int
    huge_digest: bytes
    small: Content
    tiny: Content


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with private_server({USER: PASSWORD}) as server:
        big, small, tiny = (with_attachment(size) for size in (25 * MIB, 3 * MIB + 1, 5000))
        huge = huge_message(200 * MIB)
        raws = [big.raw, huge, small.raw, tiny.raw]
        assert seed.append_many(server.imap_port, USER, PASSWORD, "INBOX", (seed.Message(raw) for raw in raws)) == 4
        yield Store(server, big, len(huge), hashlib.sha256(huge).digest(), small, tiny)


@pytest.fixture
def proxy(store: Store) -> Iterator[Proxy]:
    with Proxy(store.server.host, store.server.imap_port) as proxy:
        yield proxy


@pytest.fixture
def client(start_gateway: StartGateway, proxy: Proxy) -> Iterator[Client]:
    client = start_gateway(*plain_options(proxy)).client(USER, PASSWORD)
    yield client
    client.close()


def digest_of(response: http.client.HTTPResponse) -> tuple[int, bytes]:
    """Length and SHA-256 of a body, read in pieces."""
    digest, n_read = hashlib.sha256(), 0
    while data := response.read(MIB):
        digest.update(data)
        n_read += len(data)
    return n_read, digest.digest()


class SlowReader:
    """A download whose reader takes only what it is told to; its socket holds little by itself."""

    def __init__(self, client: Client, target: str) -> None:
        self.connection = socket.socket()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self.connection.settimeout(PATIENCE_SECONDS)
        self.connection.connect((client.host, client.port))
        request = f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(USER, PASSWORD)}\r\n\r\n"
        self.connection.sendall(request.encode())
        self.response = http.client.HTTPResponse(self.connection)
        self.response.begin()
        assert self.response.status == 200

    def __enter__(self) -> SlowReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        self.response.close()
        self.connection.close()


# ---- memory


def test_memory_stays_flat(start_gateway: StartGateway, release_binary: Path, store: Store) -> None:
    gateway = start_gateway(*tls_options(store.server), program=release_binary)
    assert not gateway.has_sanitizer
    client = gateway.client(USER, PASSWORD)
    # What every program takes once: libraries, TLS, the first session's buffers.
    assert client.get("/mailboxes/INBOX/messages?limit=1").status == 200 and client.get(f"/messages/{TINY}/parts/2").status == 200
    before = gateway.rss_kib
    gateway.reset_peak()
    attachment = client.open("GET", f"/messages/{BIG}/parts/2")
    assert digest_of(attachment) == (25 * MIB, hashlib.sha256(store.big.part).digest())
    grown = gateway.peak_rss_kib - before
    assert grown < 4096, f"{grown} KiB for an attachment of 25 MiB"
    message = client.open("GET", f"/messages/{HUGE}/raw")
    assert digest_of(message) == (store.huge_size, store.huge_digest)
    grown = gateway.peak_rss_kib - before
    assert grown < 4096, f"{grown} KiB for a message of 200 MiB"
    client.close()


def test_memory_of_stalled_downloads(start_gateway: StartGateway, release_binary: Path, store: Store) -> None:
    """Each costs its windows, whatever the size of the message."""
    gateway = start_gateway(*tls_options(store.server), program=release_binary)
    client = gateway.client(USER, PASSWORD)
    assert client.get("/mailboxes/INBOX/messages?limit=1").status == 200
    before = gateway.rss_kib
    readers = [SlowReader(client, f"/messages/{HUGE}/raw") for _ in range(6)]
    settled(lambda: gateway.rss_kib // 64, "memory")
    grown = gateway.peak_rss_kib - before
    assert grown < 6 * 2048, f"{grown} KiB for six"
    assert client.get("/mailboxes/INBOX/messages?limit=1").status == 200
    for reader in readers:
        reader.leave()
    client.close()


# ---- back-pressure


def test_slow_reader_stops_the_reading_upstream(client: Client, proxy: Proxy, store: Store) -> None:
    with SlowReader(client, f"/messages/{BIG}/raw") as reader:
        ahead = settled(lambda: proxy.n_down, "the reading upstream")
        assert ahead < MAX_AHEAD
        # It goes on as he does, and no further.
        first = reader.response.read(8 * MIB)
        wait_for(lambda: proxy.n_down > max(ahead, 8 * MIB), "more to be read")
        assert settled(lambda: proxy.n_down, "the reading upstream") < 8 * MIB + MAX_AHEAD
        rest = reader.response.read()
    assert hashlib.sha256(first + rest).digest() == hashlib.sha256(store.big.raw).digest()


@pytest.mark.parametrize("n_sessions", ["1", "4"])
def test_short_requests_pass_a_stalled_download(start_gateway: StartGateway, store: Store, n_sessions: str) -> None:
    gateway = start_gateway(*tls_options(store.server), "--imap-sessions-per-account", n_sessions)
    client = gateway.client(USER, PASSWORD)
    with SlowReader(client, f"/messages/{HUGE}/raw") as reader:
        reader.response.read(1000)
        for _ in range(20):
            page = client.get("/mailboxes/INBOX/messages?fields=uid&limit=4")
            assert [message["uid"] for message in page.json()["messages"]] == [TINY, SMALL, HUGE, BIG]
        assert client.get(f"/messages/{TINY}/parts/2").body == store.tiny.part
    client.close()


def test_client_that_leaves_stops_the_reading_upstream(client: Client, proxy: Proxy, store: Store) -> None:
    assert client.get(f"/messages/{TINY}/raw").status == 200
    before = proxy.n_down
    reader = SlowReader(client, f"/messages/{HUGE}/raw")
    reader.response.read(MIB)
    reader.leave()
    assert settled(lambda: proxy.n_down, "the reading upstream") - before < MIB + MAX_AHEAD
    assert client.get(f"/messages/{TINY}/raw").body == store.tiny.raw
    assert client.get(f"/messages/{SMALL}/parts/2").body == store.small.part


def test_client_that_leaves_at_any_moment(client: Client, proxy: Proxy, store: Store) -> None:
    """The next user of the session gets his own bytes."""
    chance = random.Random(1)
    for _ in range(30):
        request = f"GET /messages/{SMALL}/raw HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(USER, PASSWORD)}\r\n\r\n"
        with socket.create_connection((client.host, client.port), timeout=PATIENCE_SECONDS) as connection:
            connection.sendall(request.encode())
            for _ in range(chance.choice((0, 1, 1, 4, 40))):
                connection.recv(chance.choice((1, 1000, 65536)))
        assert client.get(f"/messages/{TINY}/raw").body == store.tiny.raw
        assert client.get(f"/messages/{TINY}/parts/2").body == store.tiny.part
    assert len(proxy.links) <= 4


# ---- the bytes


def test_several_downloads_at_once(client: Client, store: Store) -> None:
    def part() -> None:
        mine = Client(client.host, client.port, USER, PASSWORD)
        assert mine.get(f"/messages/{SMALL}/parts/2").body == store.small.part
        mine.close()

    def raw() -> None:
        mine = Client(client.host, client.port, USER, PASSWORD)
        assert mine.get(f"/messages/{SMALL}/raw").body == store.small.raw
        assert mine.get(f"/messages/{TINY}/raw").body == store.tiny.raw
        mine.close()

    together(*[part, raw] * 5)


@pytest.mark.parametrize("n_bytes", [1, 7, 1000])
def test_content_does_not_depend_on_the_pieces_it_comes_in(client: Client, proxy: Proxy, store: Store, n_bytes: int) -> None:
    proxy.slice = n_bytes
    message, part = (store.small.raw, store.small.part) if n_bytes == 1000 else (store.tiny.raw, store.tiny.part)
    uid = SMALL if n_bytes == 1000 else TINY
    assert client.get(f"/messages/{uid}/raw").body == message
    assert client.get(f"/messages/{uid}/parts/2").body == part
    assert client.get(f"/messages/{uid}/parts/2?encoded=1").body == base64.encodebytes(part).replace(b"\n", b"\r\n").rstrip()


def ranges(size: int) -> list[tuple[str, slice]]:
    edges = [0, 1, 12345, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW, size - 1]
    found = [(f"bytes={first}-{first + 99}", slice(first, first + 100)) for first in edges]
    found += [(f"bytes={first}-", slice(first, None)) for first in (size - 1, size - WINDOW, 1)]
    found += [("bytes=0-0", slice(0, 1)), ("bytes=-1", slice(-1, None)), (f"bytes=-{WINDOW + 5}", slice(-WINDOW - 5, None))]
    found += [(f"bytes=-{size + 1}", slice(0, None)), (f"bytes={WINDOW - 3}-{2 * WINDOW + 3}", slice(WINDOW - 3, 2 * WINDOW + 4))]
    return found


@pytest.mark.parametrize("what", ["raw", "parts/2", "parts/2?encoded=1"])
def test_ranges_are_slices(client: Client, store: Store, what: str) -> None:
    target = f"/messages/{SMALL}/{what}"
    whole = client.get(target)
    assert whole.status == 200 and whole.header("Accept-Ranges") == "bytes"
    assert whole.body == {"raw": store.small.raw, "parts/2": store.small.part}.get(what, whole.body)
    size = len(whole.body)
    for value, wanted in ranges(size):
        part = client.get(target, {"Range": value})
        first, last, _ = wanted.indices(size)
        assert part.status == 206, value
        assert part.header("Content-Range") == f"bytes {first}-{last - 1}/{size}", value
        assert part.header("Content-Length") == str(last - first)
        assert part.body == whole.body[wanted], value
        assert part.header("ETag") == whole.header("ETag")
    for value in (f"bytes={size}-", f"bytes={size}-{size + 10}", "bytes=-0", "bytes=4294967296-"):
        unmet = client.get(target, {"Range": value})
        assert unmet.status == 416 and unmet.header("Content-Range") == f"bytes */{size}", value
    for value in ("bytes=5-4", "bytes=a-b", "lines=1-2", "bytes=", "bytes=1-2-3", "bytes=18446744073709551617-18446744073709551618"):
        other = client.get(target, {"Range": value})
        assert other.status in (200, 416) and (other.status == 416 or other.body == whole.body), value


def test_resuming(client: Client, proxy: Proxy, store: Store) -> None:
    """The connection breaks again and again; If-Range says that what comes is of the same content."""
    target, body, etag = f"/messages/{SMALL}/raw", b"", ""
    while len(body) < len(store.small.raw):
        headers = {"Range": f"bytes={len(body)}-", "If-Range": etag} if body else {}
        proxy.cut_after(MIB)
        response = client.open("GET", target, headers=headers)
        assert response.status == (206 if body else 200)
        etag = response.getheader("ETag") or ""
        try:
            body += response.read()
        except http.client.IncompleteRead as error:
            assert error.partial
            body += error.partial
        client.close()
    assert body == store.small.raw
    proxy.cut_never()
    stale = client.get(target, {"Range": "bytes=5-", "If-Range": '"another"'})
    assert stale.status == 200 and stale.body == store.small.raw


# ---- breaking


def everything(client: Client, target: str, version: str = "HTTP/1.1") -> tuple[bytes, bytes]:
    """Head and body as they are on the wire."""
    answer = client.exchange(
        f"GET {target} {version}\r\nHost: x\r\nConnection: close\r\nAuthorization: {basic(USER, PASSWORD)}\r\n\r\n".encode()
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


@pytest.mark.parametrize("with_reset", [False, True], ids=["closed", "reset"])
def test_cut_in_the_middle_is_visible(client: Client, proxy: Proxy, store: Store, with_reset: bool) -> None:
    assert client.get(f"/messages/{TINY}/raw").status == 200
    proxy.cut_after(2 * MIB, with_reset=with_reset)
    head, body = everything(client, f"/messages/{SMALL}/raw")
    assert head.startswith(b"HTTP/1.1 200 ") and f"Content-Length: {len(store.small.raw)}".encode() in head
    assert 0 < len(body) < len(store.small.raw) and store.small.raw.startswith(body)

    proxy.cut_after(2 * MIB, with_reset=with_reset)
    head, body = everything(client, f"/messages/{SMALL}/parts/2")
    assert head.startswith(b"HTTP/1.1 200 ") and b"Transfer-Encoding: chunked" in head
    assert body and not body.endswith(b"0\r\n\r\n"), "the last chunk says that the content is whole"

    assert client.get(f"/messages/{SMALL}/parts/2").body == store.small.part


def test_cut_before_the_first_byte_is_invisible(client: Client, proxy: Proxy, store: Store) -> None:
    assert client.get(f"/messages/{TINY}/raw").status == 200
    for target, content in ((f"/messages/{SMALL}/raw", store.small.raw), (f"/messages/{SMALL}/parts/2", store.small.part)):
        n_links = len(proxy.links)
        proxy.cut_after(100_000)  # less than the first window
        assert client.get(target).body == content
        assert len(proxy.links) == n_links + 1


def test_cut_at_many_places_is_never_a_short_success(client: Client, proxy: Proxy, store: Store) -> None:
    chance = random.Random(3)
    n_broken = 0
    for _ in range(25):
        is_raw = chance.random() < 0.5
        whole = store.small.raw if is_raw else store.small.part
        proxy.cut_after(chance.randrange(1, 4 * MIB), with_reset=chance.random() < 0.5)
        response = client.open("GET", f"/messages/{SMALL}/{'raw' if is_raw else 'parts/2'}")
        try:
            body = response.read()
            assert response.status != 200 or body == whole
        except http.client.IncompleteRead:
            n_broken += 1
        client.close()
    assert n_broken > 0
    proxy.cut_never()
    assert client.get(f"/messages/{SMALL}/raw").body == store.small.raw


# ---- HEAD


@pytest.mark.parametrize("what", ["raw", "parts/2", "parts/2?encoded=1", "text", "headers"])
def test_head_is_the_head_alone(client: Client, what: str) -> None:
    """On the connection that carries it, nothing follows but the next answer."""
    target = f"/messages/{SMALL}/{what}"
    get = client.get(target)
    fields = f"Host: x\r\nAuthorization: {basic(USER, PASSWORD)}\r\n"
    answer = client.exchange(
        f"HEAD {target} HTTP/1.1\r\n{fields}\r\nGET /healthz HTTP/1.1\r\n{fields}Connection: close\r\n\r\n".encode()
    )
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    # Where the length is not known the gateway may close the connection to show where the head ends.
    assert rest.startswith(b"HTTP/1.1 200 ") or (rest == b"" and b"\r\nConnection: close" in head), rest[:100]
    for name in ("Content-Type", "ETag", "Content-Disposition"):
        field = get.header(name)
        assert field is None or f"\r\n{name}: {field}".encode() in head
    length = re.search(rb"(?i)\r\nContent-Length: (\d+)", head)
    assert length is None or int(length[1]) == len(get.body)
    assert what != "raw" or length is not None


def test_head_reads_no_body_upstream(client: Client, proxy: Proxy) -> None:
    assert client.get(f"/messages/{TINY}/raw").status == 200
    before = proxy.n_down
    for target in (f"/messages/{HUGE}/raw", f"/messages/{BIG}/parts/2"):
        assert client.head(target).status == 200
    assert proxy.n_down - before < 10_000
