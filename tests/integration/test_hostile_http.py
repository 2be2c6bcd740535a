"""Clients that mean harm: what they send is refused or is data, and never a command to the IMAP server."""

from __future__ import annotations

import functools
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import seed
from conftest import StartGateway, private_server, tls_options
from gateway import Gateway
from http_client import Client, basic
from imap_server import ImapServer
from proxy import PATIENCE_SECONDS, Link, Proxy, plain_options, together, wait_for

PASSWORD = "secret"
USERS = ("alice", "bob")
AUTH = f"Authorization: {basic('alice', PASSWORD)}\r\n".encode()
MESSAGES = "/mailboxes/INBOX/messages"
HEADER_DEADLINE = 20.0  # GP_HEADER_DEADLINE_MS


@pytest.fixture(scope="module")
def server() -> Iterator[ImapServer]:
    with private_server({user: PASSWORD for user in USERS}) as server:
        for user in USERS:
            with seed.session(server.imap_port, user, PASSWORD) as client:
                seed.append(client, "INBOX", [seed.plain(n, subject=f"canary-{user}") for n in range(3)])
        yield server


@pytest.fixture(scope="module")
def proxy(server: ImapServer) -> Iterator[Proxy]:
    with Proxy(server.host, server.imap_port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def program(binary, proxy: Proxy) -> Iterator[Gateway]:  # type: ignore[no-untyped-def]
    """All of alice's requests go over one connection, which the proxy writes down."""
    with Gateway(binary, [*plain_options(proxy), "--imap-sessions-per-account", "1"]) as gateway:
        yield gateway


@pytest.fixture
def alice(program: Gateway) -> Iterator[Client]:
    client = program.client("alice", PASSWORD)
    yield client
    client.close()


# ---- guesses


def test_brute_force(start_gateway: StartGateway, server: ImapServer) -> None:
    """Twenty at once, then no more, whoever asks; the one who was let in before stays in. A name that there is
    not is told like a wrong password, to the byte."""

    program = start_gateway(*tls_options(server))

    def guess(number: int) -> tuple[int, str | None]:
        client = program.client("bob", f"guess {number}")
        reply = client.get("/mailboxes")
        client.close()
        return reply.status, reply.header("Retry-After")

    known = program.client("bob", PASSWORD)
    assert known.get("/mailboxes").status == 200
    answers = together(*(functools.partial(guess, number) for number in range(24)))
    assert sorted(status for status, _ in answers) == [401] * 20 + [429] * 4
    assert all(status == 401 or 0 < int(seconds or 0) <= 60 for status, seconds in answers)
    assert known.get("/mailboxes").status == 200

    def body(user: str) -> bytes:
        client = program.client(user, "wrong")
        reply = client.get("/mailboxes", headers={"X-Request-Id": "same"})
        client.close()
        assert reply.status == 401
        return reply.body

    assert body("alice") == body("carol")
    known.close()


# ---- what does not come to an end


class SlowClient:
    """Sends a byte of its request each second, until the other side has enough."""

    def __init__(self, gateway: Gateway, request: bytes, *, at_once: int = 0) -> None:
        self.answer = b""
        self.seconds = 0.0
        self._request, self._at_once = request, at_once
        self._address = (gateway.host, gateway.port)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        self._thread.join(HEADER_DEADLINE + PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "nobody closed a connection that sends a byte a second"

    def _run(self) -> None:
        started = time.monotonic()
        with socket.create_connection(self._address, timeout=1) as connection:
            connection.sendall(self._request[: self._at_once])
            for at in range(self._at_once, len(self._request)):
                try:
                    connection.sendall(self._request[at : at + 1])
                    data = connection.recv(65536)  # its timeout makes the pace
                    self.answer += data
                    if not data:
                        break
                except TimeoutError:
                    continue
                except OSError:
                    break
        self.seconds = time.monotonic() - started


@pytest.fixture(scope="module")
def slow_clients(program: Gateway) -> dict[str, SlowClient]:
    """They run while the other tests do."""
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    endless = b"X-Endless: " + b"a" * 300
    return {
        "line": SlowClient(program, b"GET /healthz" + b"a" * 300),
        "fields": SlowClient(program, head + endless, at_once=len(head)),
        "second request": SlowClient(program, head + b"\r\n" + head + endless, at_once=2 * len(head) + 2),
    }


def test_slow_headers_begin(slow_clients: dict[str, SlowClient]) -> None:
    """The rest of it is test_slow_headers_end, when the deadline has passed."""
    assert len(slow_clients) == 3


# ---- smuggling

SECOND = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n"

SMUGGLING: dict[str, bytes] = {
    "length and chunked": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\n",
    "the same length twice": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "a list of lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0, 0\r\n\r\n",
    "signed length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +0\r\n\r\n",
    "negative length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "hexadecimal length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x0\r\n\r\n",
    "huge length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551616\r\n\r\n",
    "other coding": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "two codings": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "coding in a list": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    "chunked in 1.0": b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space before the colon": b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length : 40\r\n\r\n",
    "tab in a name": b"GET / HTTP/1.1\r\nHost: x\r\nContent\tLength: 40\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "bad host": b"GET / HTTP/1.1\r\nHost: x@y\r\n\r\n",
    "two credentials": b"GET / HTTP/1.1\r\nHost: x\r\n" + AUTH + AUTH + b"\r\n",
    "absolute target of a user": b"GET http://x@y/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "no slash": b"GET readyz HTTP/1.1\r\nHost: x\r\n\r\n",
    "space in the target": b"GET /health z HTTP/1.1\r\nHost: x\r\n\r\n",
    "NUL in the target": b"GET /healthz\x00/../readyz HTTP/1.1\r\nHost: x\r\n\r\n",
    "8 bits in the target": b"GET /health\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "method is no token": b"G@T / HTTP/1.1\r\nHost: x\r\n\r\n",
    "other version": b"GET / HTTP/3.7\r\nHost: x\r\n\r\n",
    "control in a value": b"GET / HTTP/1.1\r\nHost: x\r\nX-Id: a\x01b\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nHost: x\r\nX-Id: a\0b\r\n\r\n",
    "NUL in a name": b"GET / HTTP/1.1\r\nHost: x\r\nX\0Id: a\r\n\r\n",
    "NUL in a length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\0 40\r\n\r\n",
    "NUL in a length that is not the last": b"POST / HTTP/1.1\r\nContent-Length: 0\0 40\r\nHost: x\r\n\r\n",
    "NUL in the method": b"GET\0X / HTTP/1.1\r\nHost: x\r\n\r\n",
    "two spaces in the line": b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
    "folded length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n 40\r\n\r\n",
    "folded length that is not the last": b"POST / HTTP/1.1\r\nContent-Length:\r\n 40\r\nHost: x\r\n\r\n",
    "folded coding": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\n\r\n",
    "folded value": b"GET / HTTP/1.1\r\nHost: x\r\nX-Id: a\r\n b\r\n\r\n",
    "folded with a tab": b"GET / HTTP/1.1\r\nHost: x\r\nX-Id: a\r\n\tContent-Length\r\n\r\n",
    "bare LF behind the line": b"GET / HTTP/1.1\nHost: x\r\n\r\n",
    "bare LF behind a field": b"GET / HTTP/1.1\r\nHost: x\nContent-Length: 0\r\n\r\n",
    "bare LF behind the fields": b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\n\r\n",
    "bare LF at the end": b"GET / HTTP/1.1\r\nHost: x\r\n\n",
    "CR in a value": b"GET / HTTP/1.1\r\nHost: x\r\nX-Id: a\rX-Other: b\r\n\r\n",
}


def statuses(answer: bytes) -> list[int]:
    """Of every reply on a connection; bodies are JSON, which does not begin a line so."""
    return [int(status) for status in re.findall(rb"(?m)^HTTP/1\.1 (\d{3}) ", answer)]


def test_absolute_form(program: Gateway) -> None:
    """RFC 9112 section 3.2.2: what one says to a proxy; the host in it counts, and Host does not."""
    request = b"GET http://x.example/healthz HTTP/1.1\r\nHost: y.example\r\n"
    last = request + b"Connection: close\r\n"
    assert statuses(program.client().exchange(request + b"\r\n" + last + b"\r\n")) == [200, 200]
    write = last.replace(b"GET", b"DELETE").replace(b"healthz", b"messages/1")
    own, other = (program.client().exchange(write + b"Origin: http://%b.example\r\n\r\n" % name) for name in (b"x", b"y"))
    assert (statuses(own), statuses(other)) == ([401], [403])


@pytest.mark.parametrize("name", SMUGGLING)
def test_smuggling(program: Gateway, name: str) -> None:
    """A refusal, and what stands behind it is not read as a request."""
    answer = program.client().exchange(SMUGGLING[name] + SECOND, half_close=True)
    found = statuses(answer)
    # libmicrohttpd closes without a word on what it cannot even split; what it refuses itself, 0.9.75 heads twice.
    assert len(set(found)) <= 1, answer
    assert b"ready" not in answer
    assert all(400 <= status < 500 or status == 505 for status in found), answer
    if found:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"\r\nConnection: close" in head
        if b"application/problem+json" in head:
            assert json.loads(body)["status"] == found[0]


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost:x\r\nX-Empty:\r\nX-Id:\t a \t \r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nCookie: a=b; c=\"d\"\r\nX-Long: " + b"a" * 5000 + b"\r\n\r\n",
        b"GET /healthz?x=1 HTTP/1.1\r\nX-Id: a\r\nX-Id: b\r\nHost: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost:8080\r\nX-Id: a b\tc\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 0\r\n\r\n",
        b"GET /healthz?x=1&x=2 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
    ],
)
def test_what_is_not_smuggling(program: Gateway, request_bytes: bytes) -> None:
    """The twins: the same connection carries on."""
    answer = program.client().exchange(request_bytes + SECOND.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    found = statuses(answer)
    assert len(found) == 2 and found[1] == 200 and found[0] in (200, 400, 405), answer


# ---- too much


def test_too_long(program: Gateway, alice: Client, proxy: Proxy) -> None:
    before = proxy.n_up
    for target, wanted in (
        ("/messages/1?mailbox=" + "x" * 9000, 414),
        ("/" + "a/" * 5000, 414),
        ("/mailboxes/" + "%41" * 3000 + "/messages", 414),
    ):
        response = alice.get(target)
        assert response.status == wanted, response.status
    for fields, wanted_set in (
        ({f"X-{n}": "v" for n in range(150)}, {431}),
        ({"X-Long": "v" * 60_000}, {431, 413}),
    ):
        assert alice.get("/messages/1", fields).status in wanted_set
        alice.close()
    response = alice.request("PATCH", "/messages/1", b"", {"Content-Type": "application/json", "Content-Length": str(1 << 40)})
    assert response.status == 413
    assert alice.get(MESSAGES + "?" + "&".join(f"subject=s{n}" for n in range(500))).status in (400, 414)
    assert proxy.n_up == before, "something of it reached the server"
    assert alice.get("/messages/1", {f"X-{n}": "v" for n in range(50)}).status == 200


def test_endless_chunks_end(program: Gateway) -> None:
    with socket.create_connection((program.host, program.port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(
            b"PATCH /messages/1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            + AUTH
            + b"Transfer-Encoding: chunked\r\n\r\n"
        )
        chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        n_sent = 0
        try:
            while n_sent < 200:
                connection.sendall(chunk)
                n_sent += 1
        except OSError:
            pass
        assert n_sent < 150, "a body without end was read, far beyond --max-body"
    assert program.client().get("/healthz").status == 200


DEEP = '{"keywords":' * 40 + "{}" + "}" * 40
BAD_BODIES: dict[str, bytes] = {
    "empty": b"",
    "no JSON": b"keywords=1",
    "cut": b'{"keywords":{"$seen":true}',
    "two values": b'{"keywords":{"$seen":true}}{}',
    "array": b'[{"keywords":{"$seen":true}}]',
    "string": b'"keywords"',
    "deep": DEEP.encode(),
    "very deep": b"[" * 100_000,
    "very deep object": b'{"a":' * 100_000,
    "deep in a member": b'{"keywords":' + b"[" * 33 + b"]" * 33 + b"}",
    "duplicate member": b'{"keywords":{"$seen":true},"keywords":{"$seen":null}}',
    "duplicate keyword": b'{"keywords":{"$seen":true,"$seen":null}}',
    "unknown member": b'{"keyword":{"$seen":true}}',
    "number": b'{"keywords":{"$seen":1}}',
    "huge number": b'{"keywords":{"$seen":1e999999}}',
    "huge integer": b'{"keywords":{"$seen":' + b"9" * 5000 + b"}}",
    "NaN": b'{"keywords":{"$seen":NaN}}',
    "string for true": b'{"keywords":{"$seen":"true"}}',
    "not UTF-8": b'{"keywords":{"\xff":true}}',
    "overlong UTF-8": b'{"keywords":{"\xc0\xaf":true}}',
    "lone surrogate": b'{"keywords":{"\\ud800":true}}',
    "NUL in a keyword": b'{"keywords":{"a\\u0000b":true}}',
    "CR LF in a keyword": b'{"keywords":{"a\\r\\nA1 DELETE INBOX":true}}',
    "space in a keyword": b'{"keywords":{"a b":true}}',
    "parenthesis in a keyword": b'{"keywords":{"a) FLAGS (b":true}}',
    "literal in a keyword": b'{"keywords":{"{5}":true}}',
    "wildcard in a keyword": b'{"keywords":{"a*":true}}',
    "system flag of the server's": b'{"keywords":{"\\\\Recent":true}}',
    "many keywords": json.dumps({"keywords": {f"k{n}": True for n in range(5000)}}).encode(),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_bad_json(alice: Client, proxy: Proxy, name: str) -> None:
    before = proxy.n_up
    response = alice.request("PATCH", "/messages/1", BAD_BODIES[name], {"Content-Type": "application/json"})
    assert response.status in (400, 422), response.body
    assert response.json()["detail"]
    assert proxy.n_up == before, "something of it reached the server"


@pytest.mark.needs("keywords")
def test_good_json(alice: Client) -> None:
    for body in (b'{"keywords":{"$flagged":true,"fine":true}}', b' {"keywords" : {"$flagged":null,"fine":null} } '):
        response = alice.request("PATCH", "/messages/1", body, {"Content-Type": "application/json"})
        assert response.status == 200, response.body
    million = b'{"keywords":{' + b",".join(b'"k%d":true' % n for n in range(100_000)) + b"}}"
    assert alice.request("PATCH", "/messages/1", million, {"Content-Type": "application/json"}).status == 413


# ---- strings on their way to IMAP


def commands(data: bytes) -> list[tuple[bytes, list[bytes]]]:
    """A strict reading of what a client sent: each command's words, with its quoted strings and literals apart.

    Fails on what is not a whole command, on bytes that no command may hold, and on a tag that came twice.
    """
    found, at, tags = [], 0, set()
    while at < len(data):
        words, strings, is_open = b"", [], True
        while is_open:
            if data[at : at + 2] == b"\r\n":
                at, is_open = at + 2, False
            elif data[at : at + 1] == b'"':
                string = re.compile(rb'"((?:[^"\\\r\n\0]|\\["\\])*)"', re.DOTALL).match(data, at)
                assert string, data[at : at + 200]
                strings.append(re.sub(rb'\\(["\\])', rb"\1", string[1]))
                words, at = words + b'""', string.end()
            elif literal := re.compile(rb"\{(\d+)(\+?)\}\r\n").match(data, at):
                size = int(literal[1])
                strings.append(data[literal.end() : literal.end() + size])
                assert len(strings[-1]) == size and b"\0" not in strings[-1]
                words, at = words + b"{}", literal.end() + size
            else:
                byte = data[at : at + 1]
                assert byte and (b" " <= byte <= b"~"), f"{byte!r} in {data[max(0, at - 100) : at + 100]!r}"
                words, at = words + byte, at + 1
        tag, _, rest = words.partition(b" ")
        assert re.fullmatch(rb"A\d+", tag) and tag not in tags, words
        tags.add(tag)
        found.append((rest, strings))
        if rest == b"AUTHENTICATE PLAIN":
            answer = re.compile(rb"[A-Za-z0-9+/]+=*\r\n").match(data, at)
            assert answer, data[at : at + 200]
            at = answer.end()
    return found


def tagged_answers(data: bytes) -> list[bytes]:
    return re.findall(rb"(?m)^A\d+ (OK|NO|BAD)\b", data)


class Wire:
    """What one link carries from here on."""

    def __init__(self, proxy: Proxy) -> None:
        self.link: Link = next(link for link in reversed(proxy.links) if link.is_open)
        self._n_links = len(proxy.links)
        self._proxy = proxy
        self._sent, self._received = len(self.link.sent), len(self.link.received)

    def commands(self, takes_bad: bool = False) -> list[tuple[bytes, list[bytes]]]:
        """The server must have counted as many as we do, and found none of them bad."""
        assert len(self._proxy.links) == self._n_links, "the session was lost"
        found = commands(bytes(self.link.sent[self._sent :]))
        answers = wait_for(lambda: self._answers(len(found)), "the server's answers") if found else []
        assert len(answers) == len(found) and (takes_bad or b"BAD" not in answers), (found, answers)
        return found

    def _answers(self, n_wanted: int) -> list[bytes]:
        answers = tagged_answers(bytes(self.link.received[self._received :]))
        return answers if len(answers) >= n_wanted else []


HOSTILE = [
    "\r\n",
    "a\r\nA999 DELETE INBOX",
    'a"\r\nA999 LOGOUT\r\n',
    "a\nA999 LOGOUT",
    "a\rb",
    "\0",
    "a\0b",
    '"',
    'a" "b',
    "\\",
    'a\\"b',
    "{5}",
    "{5+}",
    "a {10}",
    "a {10+}",
    "{0}\r\nA999 LOGOUT\r\n",
    "~{5}",
    "(",
    ")",
    ") (DELETED",
    "*",
    "%",
    "a*b%c",
    "]",
    "NIL",
    "",
    " ",
    "\u560d\u560a",
    "\u010a\u010d",
    "\u2028",
    "\x7f",
    "\x1b[2J",
    "&",
    "&AA0ACg-",
    "&-",
    "..",
    "../../etc/passwd",
    "~root",
    "#news",
    "\U0001f600",
    "x" * 1500,
    "\u00e9" * 700,
]

PLACES: dict[str, tuple[str, str]] = {
    "mailbox": ("GET", "/mailboxes/{}"),
    "list of a mailbox": ("GET", "/mailboxes/{}/messages?limit=1"),
    "mailbox of a message": ("GET", "/messages/1?mailbox={}"),
    "raw": ("GET", "/messages/1/raw?mailbox={}"),
    "parent": ("GET", "/mailboxes?parent={}"),
    "subject": ("GET", MESSAGES + "?subject={}&limit=1"),
    "from": ("GET", MESSAGES + "?from={}"),
    "text": ("GET", MESSAGES + "?text={}"),
    "header value": ("GET", MESSAGES + "?header=X-Test:{}"),
    "header name": ("GET", MESSAGES + "?header={}:x"),
    "message id": ("GET", MESSAGES + "?messageId={}"),
    "keyword": ("GET", MESSAGES + "?keyword={}"),
    "not keyword": ("GET", MESSAGES + "?notKeyword={}"),
    "uid": ("GET", MESSAGES + "?uid={}"),
    "uid of a message": ("GET", "/messages/{}"),
    "part": ("GET", "/messages/1/parts/{}"),
    "keyword set": ("PUT", "/messages/1/keywords/{}"),
    "keyword cleared": ("DELETE", "/messages/1/keywords/{}"),
    "sort": ("GET", MESSAGES + "?sort={}"),
    "cursor": ("GET", MESSAGES + "?cursor={}"),
    "before": ("GET", MESSAGES + "?before={}"),
    "fields": ("GET", MESSAGES + "?fields={}"),
}

# What a search looks for may hold line breaks: it goes as a literal, and is looked for as it is.
CARRIES_ANY_TEXT = ("subject", "from", "text", "header value", "message id", "parent")

# What is a pattern of LIST.
PATTERNS = ("mailbox", "parent")

VERBS = {b"NOOP", b"LIST", b"STATUS", b"EXAMINE", b"SELECT", b"UID FETCH", b"FETCH", b"UID SEARCH", b"UID SORT", b"UID STORE"}
VERBS |= {b"SEARCH", b"SORT", b"MYRIGHTS", b"UNSELECT", b"NAMESPACE", b"LSUB"}


@pytest.mark.parametrize("place", PLACES)
def test_hostile_strings(program: Gateway, server: ImapServer, proxy: Proxy, alice: Client, place: str) -> None:
    """Refused before a byte is sent, or the exact bytes as one string of a command that belongs there."""
    method, pattern = PLACES[place]
    assert alice.get("/messages/1").status == 200
    for value in HOSTILE:
        if value.endswith("}") and (server.reads_braces_in == "strings" or (server.reads_braces_in and place in PATTERNS)):
            continue
        wire = Wire(proxy)
        response = alice.request(method, pattern.format(quote(value, safe="")))
        if server.is_frail and response.status in (500, 502):
            assert alice.get("/messages/1").status == 200
            continue
        assert 200 <= response.status < 500 and response.status not in (401, 403), f"{value!r}: {response.body!r}"
        sent = wire.commands(takes_bad=server.is_frail)
        for words, strings in sent:
            verb = next((verb for verb in sorted(VERBS, key=len, reverse=True) if words.startswith(verb)), None)
            assert verb, f"{value!r}: {words!r}"
        assert not any(b"A999" in words for words, _ in sent), f"{value!r}: {sent}"
        if "\0" in value or (re.search(r"[\r\n]", value) and place not in CARRIES_ANY_TEXT):
            assert response.status in (400, 404), f"{value!r}: {response.status}"
        for string in (string for _, strings in sent for string in strings if b"A999" in string):
            assert string in (value.encode(), value.strip().encode()), f"{value!r} became {string!r}"
        if response.status == 400:
            assert sent == [], f"{value!r} was refused, but {sent}"
            assert response.json()["detail"]
    assert alice.get("/messages/1").json()["subject"] == "canary-alice 0"


def test_hostile_search_finds_its_own_text(proxy: Proxy, server: ImapServer, alice: Client) -> None:
    """A string of quotes, backslashes and braces arrives as it is."""
    assert alice.get("/messages/1").status == 200
    for value in ('say "hi"', "back\\slash", "{5}", "{5+}", "(a) b", "\u00e9t\u00e9", "100%"):
        if value.endswith("}") and server.reads_braces_in == "strings":
            continue
        wire = Wire(proxy)
        assert alice.get(f"{MESSAGES}?subject={quote(value, safe='')}").status == 200
        assert any(value.encode() in strings or value.encode() in words for words, strings in wire.commands()), value


def test_bad_percent_encoding(proxy: Proxy, alice: Client) -> None:
    before = proxy.n_up
    for target in (
        "/mailboxes/%",
        "/mailboxes/%4",
        "/mailboxes/%zz",
        "/mailboxes/%00",
        "/mailboxes/%ff/messages",
        "/mailboxes/%c0%af",
        "/mailboxes/%ed%a0%80",
        "/mailboxes/INBOX%0d%0aA999%20LOGOUT",
        "/messages/1?mailbox=%",
        "/messages/1?mailbox=%ff",
        "/messages/1%00",
        "/messages/-1",
        "/messages/0",
        "/messages/4294967296",
        "/messages/1e3",
        "/messages/0x1",
        MESSAGES + "?subject=%e9",
        MESSAGES + "?limit=0",
        MESSAGES + "?limit=1001",
        MESSAGES + "?limit=1&limit=2",
        MESSAGES + "?nosuch=1",
        MESSAGES + "?uid=1:",
        MESSAGES + "?uid=0",
        MESSAGES + "?seen=yes",
    ):
        response = alice.get(target)
        assert response.status in (400, 404), f"{target}: {response.status}"
        assert response.json()["detail"], target
    assert proxy.n_up == before, "something of it reached the server"


def test_path_is_not_normalised(alice: Client) -> None:
    for target in ("/mailboxes/../healthz", "//healthz", "/healthz/", "/HEALTHZ", "/mailboxes/INBOX/../../healthz", "/./healthz"):
        assert alice.get(target).status in (400, 404), target


def test_hostile_credentials(program: Gateway, proxy: Proxy) -> None:
    """They are 401, and never more than one command's arguments."""
    n_links = len(proxy.links)
    client = program.client()
    for user, password in (
        ('a"\r\nA1 NOOP', "x"),
        ("alice\0", PASSWORD),
        ("alice", PASSWORD + "\r\n"),
        ("alice\0bob", PASSWORD),
        ("", PASSWORD),
        ("alice", ""),
    ):
        assert client.get("/mailboxes", {"Authorization": basic(user, password)}).status == 401
    for value in ("Basic", "Basic !!!", "Basic YWxpY2U=", "Bearer abc", "Negotiate", "Basic " + "QUFB" * 3000, "basic:", "\x80"):
        assert client.get("/mailboxes", {"Authorization": value}).status in (401, 431), value
    assert len(proxy.links) == n_links, "a malformed credential reached the server"
    users = ['"', "\\", "{5}", "{5+}", "a b", "(", "*", "\u00e9\u560d"]
    together(*(lambda user=user: assert_unauthorized(program, user) for user in users))
    for link in proxy.links[n_links:]:
        assert all(words.split(b" ")[0] in (b"AUTHENTICATE", b"LOGIN", b"CAPABILITY", b"LOGOUT", b"ID") for words, _ in commands(bytes(link.sent)))


def assert_unauthorized(program: Gateway, user: str) -> None:
    client = program.client(user, "x\"y\\z{5}")
    response = client.get("/mailboxes")
    assert response.status == 401, response.body
    client.close()


def test_two_accounts_on_one_connection(program: Gateway) -> None:
    """Authentication is of the request, not of the connection."""
    client = program.client()
    for n in range(60):
        user = USERS[n % 2]
        response = client.get(f"/messages/{n % 3 + 1}", {"Authorization": basic(user, PASSWORD)})
        assert response.json()["subject"] == f"canary-{user} {n % 3}"
        if n % 5 == 0:
            assert client.get("/messages/1").status == 401
        if n % 20 == 7:
            assert client.get("/messages/1", {"Authorization": basic(user, "wrong")}).status == 401
    assert client.n_connects == 1
    client.close()


def test_pipelined_requests_of_two_accounts(program: Gateway) -> None:
    requests = b"".join(
        f"GET /messages/{uid}?fields=subject HTTP/1.1\r\nHost: x\r\nAuthorization: {basic(user, PASSWORD)}\r\n".encode()
        + (b"Connection: close\r\n\r\n" if (user, uid) == ("bob", 3) else b"\r\n")
        for uid in (1, 2, 3)
        for user in USERS
    )
    answer = program.client().exchange(requests)
    found = re.findall(rb"canary-(\w+) (\d)", answer)
    assert found == [(user.encode(), b"%d" % n) for n in range(3) for user in USERS]


# ---- origins


@pytest.fixture(scope="module")
def cors(binary, server: ImapServer) -> Iterator[Gateway]:  # type: ignore[no-untyped-def]
    with Gateway(binary, [*tls_options(server), "--cors-origin", "https://app.example"]) as gateway:
        yield gateway


FOREIGN = [
    "null",
    "https://app.example.evil.test",
    "https://evilapp.example",
    "https://app.example:444",
    "http://app.example",
    "https://app.example/",
    "https://app.example@evil.test",
    "https://evil.test#https://app.example",
    "https://app.example, https://evil.test",
    "https://app.exampl\u00e9".encode().decode("latin-1"),
]


@pytest.mark.parametrize("origin", FOREIGN)
def test_foreign_origin(cors: Gateway, origin: str) -> None:
    client = cors.client("alice", PASSWORD)
    preflight = client.request("OPTIONS", "/messages/1", headers={"Origin": origin, "Access-Control-Request-Method": "PATCH"})
    assert preflight.status == 403 and preflight.header("Access-Control-Allow-Origin") is None
    reading = client.get("/messages/1", {"Origin": origin})
    assert reading.header("Access-Control-Allow-Origin") is None
    assert reading.header("Access-Control-Allow-Credentials") is None
    for method, target, body in (
        ("PATCH", "/messages/1", b'{"keywords":{"stolen":true}}'),
        ("PUT", "/messages/1/keywords/stolen", None),
        ("DELETE", "/messages/1/keywords/stolen", None),
    ):
        fields = {"Origin": origin} | ({"Content-Type": "application/json"} if body else {})
        assert client.request(method, target, body, fields).status == 403
    assert "stolen" not in client.get("/messages/1").json()["keywords"]
    client.close()


def test_allowed_origin(cors: Gateway) -> None:
    client = cors.client("alice", PASSWORD)
    origin = {"Origin": "https://app.example"}
    asking = origin | {"Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": "authorization,if-match"}
    preflight = cors.client().request("OPTIONS", "/messages/1", headers=asking)
    assert preflight.status in (200, 204)
    assert preflight.header("Access-Control-Allow-Origin") == "https://app.example"
    assert "PATCH" in (preflight.header("Access-Control-Allow-Methods") or "")
    allowed = (preflight.header("Access-Control-Allow-Headers") or "").lower()
    assert "authorization" in allowed and "if-match" in allowed and "range" in allowed
    reading = client.get("/messages/1", origin)
    assert reading.status == 200 and reading.header("Access-Control-Allow-Origin") == "https://app.example"
    assert "Origin" in (reading.header("Vary") or "")
    for target in ("/messages/99", "/nowhere", "/mailboxes/%ff"):
        assert client.get(target, origin).header("Access-Control-Allow-Origin") == "https://app.example", "problems too"
    assert client.request("PUT", "/messages/1/keywords/$draft", headers=origin).status in (200, 201, 204)
    own = {"Origin": f"http://{cors.host}:{cors.port}"}
    assert client.request("DELETE", "/messages/1/keywords/$draft", headers=own).status in (200, 204)
    client.close()


@pytest.mark.parametrize("fields", [{"Origin": "https://app.example"}, {"Sec-Fetch-Site": "cross-site"}], ids=["Origin", "Sec-Fetch-Site"])
def test_forms_of_browsers(cors: Gateway, fields: dict[str, str]) -> None:
    """The types that a form can send do not count as JSON when a browser sends them; from curl one does."""
    client = cors.client("alice", PASSWORD)
    body = b'{"keywords":{"$draft":true}}'
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        response = client.request("PATCH", "/messages/1", body, fields | {"Content-Type": content_type})
        assert response.status in (403, 415), response.body
    assert "$draft" not in client.get("/messages/1").json()["keywords"]
    curl = client.request("PATCH", "/messages/1", body, {"Content-Type": "application/x-www-form-urlencoded"})
    assert curl.status == 200
    assert client.request("DELETE", "/messages/1/keywords/$draft").status in (200, 204)
    client.close()


def test_slow_headers_end(program: Gateway, slow_clients: dict[str, SlowClient]) -> None:
    for name, slow in slow_clients.items():
        slow.wait()
        assert len(statuses(slow.answer)) <= (1 if name != "second request" else 2), slow.answer
        assert (b" 200 OK" in slow.answer) == (name == "second request")
    assert program.client().get("/healthz").status == 200
