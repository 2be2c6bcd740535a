"""The gateway's own TLS, and --healthcheck over it and without it."""

from __future__ import annotations

import http.client
import ssl
import subprocess
from pathlib import Path

import pytest
from certificates import Authority
from conftest import StartGateway
from gateway import Gateway, gateway_environment

NOWHERE = ["--imap-url", "imap://127.0.0.1:1", "--imap-security", "none"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def healthcheck(binary: Path, *options: str) -> int:
    command = [str(binary), "--healthcheck", *NOWHERE, *options]
    return subprocess.run(command, env=gateway_environment(), capture_output=True, timeout=60).returncode


def listen(program: Gateway) -> list[str]:
    return ["--listen", f"{program.host}:{program.port}"]


def test_https(start_gateway: StartGateway, binary: Path, authority: Authority) -> None:
    certificate = authority.issue()
    tls = ["--tls-cert", str(certificate.chain), "--tls-key", str(certificate.key)]
    program = start_gateway(*NOWHERE, *tls)
    client = http.client.HTTPSConnection(
        program.host, program.port, timeout=60, context=ssl.create_default_context(cafile=str(authority.certificate))
    )
    client.request("GET", "/healthz")
    assert client.getresponse().read() and client.sock.version() in ("TLSv1.2", "TLSv1.3")  # type: ignore[union-attr]
    client.close()
    assert healthcheck(binary, *listen(program), *tls) == 0
    assert healthcheck(binary, *listen(program)) != 0, "clear text to a TLS port"


def test_http(start_gateway: StartGateway, binary: Path, authority: Authority, tmp_path: Path) -> None:
    program = start_gateway(*NOWHERE)
    certificate = authority.issue()
    tls = ["--tls-cert", str(certificate.chain), "--tls-key", str(certificate.key)]
    assert healthcheck(binary, *listen(program)) == 0
    assert healthcheck(binary, *listen(program), *tls) != 0, "TLS to a port in clear text"
    path = tmp_path / "socket"
    assert healthcheck(binary, "--listen", f"unix:{path}") != 0, "nobody is there"


def test_files_that_cannot_be_used(binary: Path, authority: Authority, tmp_path: Path) -> None:
    one, other = authority.issue(), authority.issue()
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    broken = tmp_path / "broken"
    broken.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    for certificate, key in [
        (one.chain, other.key),
        (tmp_path / "missing", one.key),
        (one.chain, tmp_path / "missing"),
        (empty, one.key),
        (broken, one.key),
        (one.chain, empty),
        (tmp_path, one.key),
    ]:
        command = [str(binary), *NOWHERE, "--listen", "127.0.0.1:0", "--tls-cert", str(certificate), "--tls-key", str(key)]
        done = subprocess.run(command, env=gateway_environment(), capture_output=True, text=True, timeout=60)
        assert done.returncode == 2, (certificate, key, done.stderr)
        assert done.stderr.count("\n") == 1, done.stderr
