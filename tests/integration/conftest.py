"""Fixtures: an IMAP server for the whole session with alice, bob and demo, and a gateway in front of it.

The server is Dovecot, or what --server says. A test that asks for `mail_server` is for all of them; one that asks for
`dovecot` looks into Dovecot itself, and is skipped with others. --without=CAPABILITY,… is a Dovecot that does not
offer these.

GATEPOST_BIN names the program (default build/asan/gatepost). GATEPOST_RELEASE_BIN names one without
sanitizers, for tests that measure memory; they are skipped without it.
"""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "demo"), str(ROOT / "tests" / "chaos")]

from courier import Courier  # noqa: E402
from cyrus import Cyrus  # noqa: E402
from dovecot import Dovecot, Options, without  # noqa: E402
from gateway import Gateway  # noqa: E402
from http_client import Client  # noqa: E402
from imap_server import ImapServer  # noqa: E402
from mailutils import Mailutils  # noqa: E402

SERVERS: dict[str, type[ImapServer]] = {"dovecot": Dovecot, "cyrus": Cyrus, "courier": Courier, "mailutils": Mailutils}
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


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--server", choices=list(SERVERS), help="the server that all tests run against (dovecot)")
    parser.addoption("--without", default="", help="capabilities that Dovecot is not to offer, as MOVE,IDLE")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*abilities): skipped where the server lacks one; what is done then is in test_interop.py")
    _tested.kind = SERVERS[config.getoption("--server") or "dovecot"]
    if _tested.kind is not Dovecot:
        Dovecot.start = _skip_own_dovecot  # type: ignore[method-assign]


class _tested:
    kind: type[ImapServer] = Dovecot


def private_server(users: dict[str, str], options: Options | None = None) -> ImapServer:
    """One more of the kind that is tested, with users of its own. What Dovecot has to be told for many connections needs
    no word with others; any other option makes it a test of Dovecot."""
    if _tested.kind is Dovecot or options != (options and Options(max_userip_connections=options.max_userip_connections)):
        return Dovecot(users=users, options=options)
    return _tested.kind(users)


def _skip_own_dovecot(server: Dovecot) -> None:
    """What a test sees of a Dovecot that it makes for itself says nothing about another server."""
    made = ", ".join(field.name for field in dataclasses.fields(Options) if getattr(server.options, field.name) != field.default)
    pytest.skip(f"makes a Dovecot of its own ({made or 'as usual'})")


def open_server(config: pytest.Config, kind: str | None = None, capability: str | None = None) -> ImapServer:
    """A new one of the kind that is tested, or of another; the caller starts it. With a list of capabilities it is Dovecot,
    or the test is skipped."""
    chosen = SERVERS[kind or config.getoption("--server") or "dovecot"]
    gone = [word for word in config.getoption("--without").split(",") if word]
    if capability is not None:
        return Dovecot(users=dict(USERS), options=Options(capability=capability))
    if gone and chosen is Dovecot:
        return Dovecot(users=dict(USERS), options=Options(capability=without(*gone)))
    return chosen(dict(USERS))


def only_dovecot(server: ImapServer) -> Dovecot:
    if not isinstance(server, Dovecot):
        pytest.skip("looks into Dovecot itself: its log, its commands, or how it stores mail")
    return server


@pytest.fixture(scope="session")
def mail_server(request: pytest.FixtureRequest) -> Iterator[ImapServer]:
    with open_server(request.config) as one:
        yield one


@pytest.fixture(scope="module", autouse=True)
def module_abilities(request: pytest.FixtureRequest) -> None:
    """Before what a module has is made."""
    skip_where_it_lacks(request)


@pytest.fixture(autouse=True)
def abilities(request: pytest.FixtureRequest) -> None:
    skip_where_it_lacks(request)


def skip_where_it_lacks(request: pytest.FixtureRequest) -> None:
    for marker in request.node.iter_markers("needs"):
        server: ImapServer = request.getfixturevalue("mail_server")
        for ability in marker.args:
            if not server.has(ability):
                pytest.skip(f"{server.title} lacks {ability}: test_interop.py has what is done instead")


@pytest.fixture(scope="session")
def dovecot(mail_server: ImapServer) -> Dovecot:
    return only_dovecot(mail_server)


@pytest.fixture(scope="session")
def demo_mailbox(mail_server: ImapServer) -> ImapServer:
    """The same server, once the demo's messages are in demo's mailboxes."""
    from load import load

    load(mail_server.imap_port, "demo", USERS["demo"], full_name=mail_server.mailbox, has_keywords=mail_server.keeps_keywords)
    return mail_server


@pytest.fixture
def own_mail_server(request: pytest.FixtureRequest) -> Iterator[ImapServer]:
    """For a test that stops, freezes or fills its server."""
    with open_server(request.config) as one:
        yield one


@pytest.fixture
def own_dovecot(own_mail_server: ImapServer) -> Dovecot:
    return only_dovecot(own_mail_server)


def tls_options(server: ImapServer) -> list[str]:
    return ["--imap-url", server.imaps_url, "--imap-ca-file", str(server.ca_file)]


@pytest.fixture(scope="session")
def gateway(binary: Path, mail_server: ImapServer) -> Iterator[Gateway]:
    """Shared by tests that leave no trace in it; implicit TLS with verification."""
    with Gateway(binary, tls_options(mail_server)) as program:
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
def demo(gateway: Gateway, demo_mailbox: ImapServer) -> Iterator[Client]:
    client = gateway.client("demo", USERS["demo"])
    yield client
    client.close()


@pytest.fixture
def anybody(gateway: Gateway) -> Iterator[Client]:
    client = gateway.client()
    yield client
    client.close()


# Dovecot 2.3 breaks its own files now and then, and says so: in its log, or as it ends the session.
DOVECOT_BROKE = re.compile(r"IMAP session state is inconsistent|imap\([^)]*\).*(Panic: |Corrupted )")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """A test that failed while Dovecot broke says nothing of the gateway: it is run once more, and that is said."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    broke = next((found for one in reports if one.failed and (found := DOVECOT_BROKE.search(text_of(one)))), None)
    if broke:
        item.warn(pytest.PytestWarning(f"run again, as Dovecot broke: {broke[0]}"))
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def text_of(report: pytest.TestReport) -> str:
    return "\n".join([report.longreprtext, *(text for _, text in report.sections)])


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A failure shows what the gateways and servers of the test had to say."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if not report.failed:
        return
    for name, value in getattr(item, "funcargs", {}).items():
        if isinstance(value, (Gateway, ImapServer)):
            log = value.log if isinstance(value, Gateway) else value.log()
            report.sections.append((f"log of {name}", log[-6000:]))
