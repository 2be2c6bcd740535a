"""Servers that cannot show who they are: 502, and not a byte of a password."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import Authority, ServerCertificate
from gateway import Gateway
from mail_tools import refused

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
PATIENCE_SECONDS = 60.0
# GeneralNames: one dNSName "localhost\\0.evil.test"
NUL_IN_NAME = "DER:" + ":".join(f"{byte:02x}" for byte in b"\x30\x16\x82\x14localhost\x00.evil.test")


class TlsServer:
    """An IMAP server that shows the certificate of the hour, and keeps what it was told."""

    def __init__(self) -> None:
        self.certificate: ServerCertificate | None = None
        self.newest = ssl.TLSVersion.TLSv1_3
        self.told: list[bytes] = []
        self.names: list[str | None] = []
        self.n_connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.close()

    def _context(self) -> ssl.SSLContext:
        assert self.certificate is not None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("ALL:@SECLEVEL=0")  # so that it could speak the oldest
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = self.newest
        context.load_cert_chain(self.certificate.chain, self.certificate.key)
        context.sni_callback = lambda _socket, name, _context: self.names.append(name)
        return context

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.n_connections += 1
            connection.settimeout(PATIENCE_SECONDS)
            try:
                with self._context().wrap_socket(connection, server_side=True) as secured:
                    secured.sendall(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hello\r\n")
                    line = secured.recv(4096)
                    self.told.append(line)
                    secured.sendall(line.split(b" ")[0] + b" NO [AUTHENTICATIONFAILED] no\r\n" if line else b"")
                    secured.recv(4096)
            except OSError:
                connection.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server() -> Iterator[TlsServer]:
    server = TlsServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def program(binary: Path, server: TlsServer, authority: Authority) -> Iterator[Gateway]:
    options = ["--imap-url", f"imaps://localhost:{server.port}", "--imap-ca-file", str(authority.certificate)]
    with Gateway(binary, options) as gateway:
        yield gateway


def ask(program: Gateway, user: str, status: int) -> object:
    client = program.client(user, "pass")
    reply = client.get("/mailboxes")
    client.close()
    return refused(reply, status)


def test_a_good_one(program: Gateway, server: TlsServer, authority: Authority) -> None:
    """The twin of all below: the password is sent, and the name is told before (SNI)."""
    server.certificate = authority.issue(("DNS:localhost",))
    ask(program, "good", 401)
    assert server.told[-1].endswith(base64.b64encode(b"\0good\0pass") + b"\r\n")
    assert server.names[-1] == "localhost"
    server.certificate = authority.issue(("DNS:other.test", "DNS:LOCALHOST"), common_name="other.test")
    ask(program, "second-name", 401)


BAD = {
    "self-signed": {"names": ("DNS:localhost",), "self_signed": True},
    "unknown root": {"names": ("DNS:localhost",)},
    "wrong name": {"names": ("DNS:example.test",)},
    "empty name": {"names": ("DER:30:02:82:00",)},
    "no name": {"names": (), "common_name": "x"},
    "name only in CN": {"names": (), "common_name": "localhost"},
    "CN beside other names": {"names": ("DNS:example.test",), "common_name": "localhost"},
    "expired": {"names": ("DNS:localhost",), "expired": True},
    "NUL in SAN": {"names": (NUL_IN_NAME,)},
    "partial wildcard": {"names": ("DNS:local*", "DNS:*host", "DNS:l*t")},
    "wildcard for all": {"names": ("DNS:*",)},
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_one(program: Gateway, server: TlsServer, authority: Authority, tmp_path: Path, what: str) -> None:
    signer = Authority(tmp_path / "other") if what == "unknown root" else authority
    server.certificate = signer.issue(**BAD[what])  # type: ignore[arg-type]
    n_told, n_connections = len(server.told), server.n_connections
    started = time.monotonic()
    problem = ask(program, what.replace(" ", "-"), 502)
    assert "certificate" in problem["detail"]  # type: ignore[index]
    assert server.n_connections > n_connections, "nobody was asked"
    assert [line for line in server.told[n_told:] if line] == []
    assert time.monotonic() - started < PATIENCE_SECONDS


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2])
def test_old_tls(program: Gateway, server: TlsServer, authority: Authority, newest: ssl.TLSVersion) -> None:
    server.certificate = authority.issue(("DNS:localhost",))
    server.newest = newest
    try:
        ask(program, newest.name, 401 if newest == ssl.TLSVersion.TLSv1_2 else 502)
    finally:
        server.newest = ssl.TLSVersion.TLSv1_3

