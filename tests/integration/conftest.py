"""Fixtures: a Dovecot for the whole session with alice, bob and demo, and a gateway in front of it.

GATEPOST_BIN names the program (default build/asan/gatepost). GATEPOST_RELEASE_BIN names one without
sanitizers, for tests that measure memory; they are skipped without it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "demo"), str(ROOT / "tests" / "chaos")]

from dovecot import Dovecot  # noqa: E402
from gateway import Gateway  # noqa: E402
from http_client import Client  # noqa: E402

USERS = {"alice": "secret", "bob": "pass word ü", "demo": "demo"}

StartGateway = Callable[..., Gateway]


@pytest.fixture(scope="session")
def binary() -> Path:
    path = Path(os.environ.get("GATEPOST_BIN", ROOT / "build" / "asan" / "gatepost")).resolve()
    if not path.exists():
        pytest.fail(f"{path} is not there: build it, or say where by GATEPOST_BIN")
    return path


@pytest.fixture(scope="session")
def release_binary() -> Path:
    path = os.environ.get("GATEPOST_RELEASE_BIN")
    if not path or not Path(path).exists():
        pytest.skip("GATEPOST_RELEASE_BIN is not given")
    return Path(path).resolve()


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    with Dovecot(users=dict(USERS)) as server:
        yield server


@pytest.fixture(scope="session")
def demo_mailbox(dovecot: Dovecot) -> Dovecot:
    """The same server, once the demo's messages are in demo's mailboxes."""
    from load import load

    load(dovecot.imap_port, "demo", USERS["demo"])
    return dovecot


@pytest.fixture
def own_dovecot() -> Iterator[Dovecot]:
    """For a test that stops, freezes or fills its server."""
    with Dovecot(users=dict(USERS)) as server:
        yield server


def tls_options(server: Dovecot) -> list[str]:
    return ["--imap-url", server.imaps_url, "--imap-ca-file", str(server.ca_file)]


@pytest.fixture(scope="session")
def gateway(binary: Path, dovecot: Dovecot) -> Iterator[Gateway]:
    """Shared by tests that leave no trace in it; implicit TLS with verification."""
    with Gateway(binary, tls_options(dovecot)) as program:
        yield program


@pytest.fixture
def start_gateway(binary: Path) -> Iterator[StartGateway]:
    """start_gateway(*options, environment={}, program=PATH) for a test of its own; stopped and judged after it."""
    started: list[Gateway] = []

    def start(*options: str, environment: dict[str, str] | None = None, program: Path | None = None) -> Gateway:
        started.append(Gateway(program or binary, list(options), environment))
        return started[-1].start()

    yield start
    errors = []
    for one in started:
        try:
            one.stop()
        except AssertionError as error:
            errors.append(str(error))
    assert not errors, "\n".join(errors)


@pytest.fixture
def alice(gateway: Gateway) -> Iterator[Client]:
    client = gateway.client("alice", USERS["alice"])
    yield client
    client.close()


@pytest.fixture
def demo(gateway: Gateway, demo_mailbox: Dovecot) -> Iterator[Client]:
    client = gateway.client("demo", USERS["demo"])
    yield client
    client.close()


@pytest.fixture
def anybody(gateway: Gateway) -> Iterator[Client]:
    client = gateway.client()
    yield client
    client.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A failure shows what the gateways and servers of the test had to say."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if not report.failed:
        return
    for name, value in getattr(item, "funcargs", {}).items():
        if isinstance(value, (Gateway, Dovecot)):
            log = value.log if isinstance(value, Gateway) else value.log()
            report.sections.append((f"log of {name}", log[-6000:]))
