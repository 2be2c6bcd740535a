"""The running program is confined, and works all the same. What it is forbidden is tested in tests/unit/gateway/test_sandbox.c."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import seed
from certificates import Authority
from conftest import ROOT, StartGateway, tls_options
from dovecot import Dovecot
from gateway import Gateway
from proxy import plain_options, wait_for

UNIT = ROOT / "packaging" / "gatepost.service"


def status_of(gateway: Gateway, name: str) -> str:
    text = Path(f"/proc/{gateway.pid}/status").read_text()
    match = re.search(rf"^{name}:\s+(\S+)", text, re.MULTILINE)
    assert match is not None, name
    return match[1]


def confined_calls(gateway: Gateway) -> tuple[int, int]:
    """Landlock's version and the number of system calls, as the log has them; 0 where the kernel or the build has none."""
    match = wait_for(lambda: re.search(r"sandbox: landlock=(\d+) calls=(\d+)", gateway.log), "the sandbox")
    assert match is not None
    return int(match[1]), int(match[2])


def test_what_the_process_is(start_gateway: StartGateway, release_binary: Path, dovecot: Dovecot) -> None:
    gateway = start_gateway(*tls_options(dovecot), "--sandbox", "auto", program=release_binary)
    landlock, calls = confined_calls(gateway)
    assert status_of(gateway, "NoNewPrivs") == "1"
    assert status_of(gateway, "Seccomp") == ("2" if calls else "0")
    assert ("files are not confined" in gateway.log) == (landlock == 0)
    assert ("system calls are not confined" in gateway.log) == (calls == 0)
    limits = Path(f"/proc/{gateway.pid}/limits").read_text()
    assert re.search(r"Max core file size\s+0\s+0\s", limits)
    # Not dumpable: what is of it in /proc is root's.
    assert Path(f"/proc/{gateway.pid}/limits").stat().st_uid == 0


def test_all_of_it_works(start_gateway: StartGateway, release_binary: Path, dovecot: Dovecot) -> None:
    """TLS, a charset whose decoder is loaded when it is needed, worker threads, an upload."""
    gateway = start_gateway(*tls_options(dovecot), "--sandbox", "auto", program=release_binary)
    raw = (
        b"From: a@example.test\r\nSubject: =?EUC-JP?B?pKI=?=\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=ISO-2022-JP\r\n\r\n\x1b$B$\"\x1b(B\r\n"
    )
    with seed.session(dovecot.imap_port, "alice", "secret") as client:
        seed.create(client, "Confined")
        seed.append(client, "Confined", [seed.Message(raw)])
    client = gateway.client("alice", "secret")
    message = client.get("/mailboxes/Confined/messages/1").json()
    assert message["subject"] == "あ" and message["bodyValues"]["1"]["value"].strip() == "あ"
    large = {"from": [{"email": "a@example.test"}], "text": "x" * 200_000, "subject": "large"}
    sent = client.request("POST", "/mailboxes/Confined/messages", json_body=large)
    assert sent.status == 201, sent.text
    assert client.get("/mailboxes/Confined/messages/2/raw").status == 200


def test_names_are_looked_up(start_gateway: StartGateway, release_binary: Path, dovecot: Dovecot) -> None:
    """By libuv's threads, through glibc's NSS, which reads its configuration and loads modules by then."""
    url = f"imaps://localhost:{dovecot.imaps_port}"
    options = ["--imap-url", url, "--imap-ca-file", str(dovecot.ca_file), "--sandbox", "auto"]
    gateway = start_gateway(*options, program=release_binary)
    assert gateway.client("alice", "secret").get("/mailboxes?counts=0").status == 200
    # A name that is not there is told as such, and not as a defect.
    gone = start_gateway("--imap-url", "imaps://no-such-host.invalid", "--sandbox", "auto", program=release_binary)
    answer = gone.client("alice", "secret").get("/mailboxes")
    assert answer.status in (502, 503, 504) and answer.json()["retryable"]


def test_its_unix_socket_is_removed(start_gateway: StartGateway, release_binary: Path, dovecot: Dovecot, tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    program = subprocess.Popen(
        [str(release_binary), *plain_options(dovecot), "--listen", f"unix:{path}", "--sandbox", "auto"],
        stderr=subprocess.PIPE, text=True,
    )
    try:
        assert program.stderr is not None
        while "sandbox:" not in (line := program.stderr.readline()):
            assert line, "it ended"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
    finally:
        program.terminate()
    program.stderr.read()
    assert program.wait(40) == 0
    assert not path.exists()


def test_https_and_its_own_certificate(start_gateway: StartGateway, release_binary: Path, dovecot: Dovecot, tmp_path: Path) -> None:
    certificate = Authority(tmp_path / "ca").issue()
    files = ["--tls-cert", str(certificate.chain), "--tls-key", str(certificate.key)]
    gateway = start_gateway(*tls_options(dovecot), *files, "--sandbox", "auto", program=release_binary)
    told = subprocess.run(
        ["curl", "-sS", "--cacert", str(tmp_path / "ca" / "ca.pem"), "-k", "-u", "alice:secret", f"https://127.0.0.1:{gateway.port}/mailboxes?counts=0"],
        capture_output=True, text=True, timeout=60,
    )
    assert '"mailboxes"' in told.stdout, told


def test_off(start_gateway: StartGateway, release_binary: Path, dovecot: Dovecot) -> None:
    gateway = start_gateway(*tls_options(dovecot), "--sandbox", "off", program=release_binary)
    assert status_of(gateway, "Seccomp") == "0"
    assert "sandbox:" not in gateway.log
    assert gateway.client("alice", "secret").get("/mailboxes?counts=0").status == 200


# ---- how it is built ----


def readelf(*arguments: str) -> str:
    return subprocess.run(["readelf", "-W", *arguments], capture_output=True, text=True, check=True).stdout


def test_how_it_is_built(release_binary: Path) -> None:
    """What checksec looks for."""
    path = str(release_binary)
    assert "DYN (Position-Independent Executable file)" in readelf("-h", path)
    dynamic = readelf("-d", path)
    assert re.search(r"\(FLAGS\).*BIND_NOW", dynamic) and re.search(r"\(FLAGS_1\).*NOW.*PIE", dynamic)
    assert "RPATH" not in dynamic and "RUNPATH" not in dynamic and "TEXTREL" not in dynamic
    segments = readelf("-l", path)
    assert "GNU_RELRO" in segments
    stack = re.search(r"GNU_STACK.*", segments)
    assert stack is not None and "RWE" not in stack[0]
    assert not re.search(r"LOAD.* RWE ", segments)
    symbols = readelf("--dyn-syms", path)
    assert "__stack_chk_fail" in symbols
    assert len(set(re.findall(r"__\w+_chk\b", symbols)) - {"__stack_chk_fail"}) >= 5  # fortified
    # Only where libc's own start files are made for it does the linker say so of the whole.
    start = Path("/usr/lib/x86_64-linux-gnu/crti.o")
    if "X86-64" in readelf("-h", path) and start.exists() and "IBT" in readelf("-n", str(start)):
        assert re.search(r"x86 feature: .*IBT.*SHSTK", readelf("-n", path))


# ---- systemd ----


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)


def test_the_unit_is_good(release_binary: Path, tmp_path: Path) -> None:
    """As it is, but for the program's place."""
    text = UNIT.read_text()
    assert "ExecStart=/usr/local/bin/gatepost " in text
    unit = tmp_path / "gatepost.service"
    unit.write_text(text.replace("/usr/local/bin/gatepost", str(release_binary)))
    told = analyze("verify", "--man=no", str(unit))
    complaints = [line for line in told.stderr.splitlines() if "gatepost" in line]
    assert told.returncode == 0 and not complaints, told.stderr


def test_the_unit_confines(tmp_path: Path) -> None:
    told = analyze("security", "--offline=true", "--threshold=15", str(UNIT))
    if "unrecognized option" in told.stderr:
        pytest.skip("systemd-analyze cannot look at a file")
    assert told.returncode == 0, told.stdout[-600:] + told.stderr
