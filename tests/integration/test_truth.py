"""The answer to a write tells the truth, wherever the connection to the server breaks.

Each write is cut at bytes of the server's answers and of the gateway's commands, one byte after another; an IMAP client
of its own then says what became of it:

    2xx                       it happened, all of it, once
    an error                  it did not happen, none of it
    … "outcome":"unknown"     it happened or not, or in part where IMAP has no single command; once at most

and nothing else changed. TRUTH_STEP=1 tries every byte (./test truth); the default suite takes some of them.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import seed
from conftest import StartGateway, private_server
from dovecot import Dovecot, Options
from fault_proxy import DOWN, UP, Action, FaultProxy
from gateway import Gateway
from http_client import Client, Response
from imap_server import ImapServer
from mail_tools import expunge, new_mailbox, second_client, segment, store
from oracle import Content, Oracle, Seen
from proxy import plain_options
from test_move import SERVERS

STEP = int(os.environ.get("TRUTH_STEP", "0"))  # 0: what fits into the default suite
STRIPES = range(6 if STEP else 1)  # of all the bytes: so many tests share them, since they mostly wait
N_IN_BOX = 12  # messages that one mailbox offers to writes before another one takes its place
KINDS = ["all", "no MOVE", "no UIDPLUS", "MOVE without UIDPLUS"]
HAS_MOVE = ("all", "MOVE without UIDPLUS")


def without_condstore(capability: str) -> str:
    return " ".join(one for one in capability.split() if one not in ("CONDSTORE", "QRESYNC"))


def flags(seen: Seen, *, add: str = "", remove: str = "") -> Seen:
    return Seen(seen.id, (seen.flags | set(add.split())) - set(remove.split()))


@dataclass
class State:
    """Both mailboxes before a write, or as they may be after it."""

    source: Content
    target: Content

    def minus(self, uid: int) -> State:
        return State({key: one for key, one in self.source.items() if key != uid}, self.target)

    def plus(self, seen: Seen, uid: int) -> State:
        return State(self.source, self.target | {uid: seen})

    def changed(self, uid: int, seen: Seen) -> State:
        return State(self.source | {uid: seen}, self.target)


@dataclass
class Write:
    name: str
    send: Callable[[Client, str, int, str], Response]  # (client, source, uid, target)
    steps: Callable[[State, int, int, str], list[State]]  # (before, uid, new uid, kind): after each step; the last is success
    kinds: list[str] = field(default_factory=lambda: KINDS)
    target: str | None = None  # a mailbox with this name, not one of the test's


def message(mailbox: str, uid: int, rest: str = "") -> str:
    return f"/mailboxes/{segment(mailbox)}/messages/{uid}{rest}"


def moved(state: State, uid: int, new: int, kind: str, add: str = "") -> list[State]:
    seen = flags(state.source[uid], add=add)
    begun = state.changed(uid, seen)
    if kind in HAS_MOVE:
        return [*([begun] if add else []), begun.minus(uid).plus(seen, new)]
    copied = begun.plus(seen, new)
    marked = copied.changed(uid, flags(seen, add="\\Deleted"))
    whole = [marked.minus(uid)] if kind == "no MOVE" else []
    return [*([begun] if add else []), copied, marked, *whole]


def purged(state: State, uid: int, new: int, kind: str) -> list[State]:
    return [state.changed(uid, flags(state.source[uid], add="\\Deleted")), state.minus(uid)]


WRITES = [
    Write(
        "copy",
        lambda client, box, uid, to: client.request("POST", message(box, uid, "/copy"), json_body={"mailbox": to}),
        lambda state, uid, new, kind: [state.plus(state.source[uid], new)],
        ["all", "no UIDPLUS"],
    ),
    Write("move", lambda client, box, uid, to: client.patch(message(box, uid), {"mailbox": to}), moved),
    Write(
        "keywords and move",
        lambda client, box, uid, to: client.patch(message(box, uid), {"mailbox": to, "keywords": {"$flagged": True}}),
        lambda state, uid, new, kind: moved(state, uid, new, kind, "\\Flagged"),
        ["all"],
    ),
    Write("delete", lambda client, box, uid, to: client.delete(message(box, uid)), moved, target="Trash"),
    Write("permanent delete", lambda client, box, uid, to: client.delete(message(box, uid, "?permanent=1")), purged, ["all"]),
    Write(
        "keyword PUT",
        lambda client, box, uid, to: client.put(message(box, uid, "/keywords/one")),
        lambda state, uid, new, kind: [state.changed(uid, flags(state.source[uid], add="one"))],
        ["all", "no CONDSTORE"],
    ),
    Write(
        "keyword DELETE",
        lambda client, box, uid, to: client.delete(message(box, uid, "/keywords/$answered")),
        lambda state, uid, new, kind: [state.changed(uid, flags(state.source[uid], remove="\\Answered"))],
        ["all"],
    ),
    Write(
        "keywords both ways",
        lambda client, box, uid, to: client.patch(message(box, uid), {"keywords": {"$seen": True, "$answered": None}}, {"If-Match": "*"}),
        lambda state, uid, new, kind: [
            state.changed(uid, flags(state.source[uid], add="\\Seen")),
            state.changed(uid, flags(state.source[uid], add="\\Seen", remove="\\Answered")),
        ],
        ["all"],
    ),
]
CASES = [(write, kind) for write in WRITES for kind in write.kinds]


class Stage:
    """A server, the proxy in front of it, a gateway with one session, and mailboxes that are taken new when they are used up."""

    def __init__(self, kind: str, server: ImapServer, proxy: FaultProxy, gateway: Gateway, oracle: Oracle) -> None:
        self.kind = kind
        self.server, self.proxy, self.oracle = server, proxy, oracle
        self.client = gateway.client("alice", "secret")
        self.uids: list[int] = []
        self.source = self.target = ""
        self.n_down = 0  # bytes of the server's in the last write

    def next_uid(self, target: str | None) -> int:
        if not self.uids:
            self.delete_mailboxes({self.source, self.target} - {"", self.server.mailbox(target or "")})
            answered = [seed.Message(seed.plain(n).raw, ("\\Answered",)) for n in range(N_IN_BOX)]
            self.source = new_mailbox(self.server, [*answered, seed.plain(98), seed.plain(99)])
            self.target = self.server.mailbox(target) if target else new_mailbox(self.server, [seed.plain(97)])
            if target:  # all of it is read before and after each write
                with second_client(self.server, self.target) as other:
                    expunge(other, self.oracle.content(self.target))
            with second_client(self.server, self.source) as other:
                store(other, f"{N_IN_BOX + 1}", "+FLAGS", "\\Deleted")  # somebody else's, that is none of our business
            self.uids = list(range(1, N_IN_BOX + 1))
        return self.uids.pop(0)

    def delete_mailboxes(self, names: set[str]) -> None:
        """The list of mailboxes, which is cut as well, must not grow faster than the cuts come on."""
        with seed.session(self.server.imap_port, "alice", self.server.users["alice"]) as other:
            for name in names:
                assert other.delete(seed.quoted(name))[0] == "OK"

    def state(self) -> State:
        return State(self.oracle.content(self.source), self.oracle.content(self.target))

    def try_write(self, write: Write, direction: str, offset: int, action: Action, **how: Any) -> bool:
        """One write with one fault, judged. False: the write was over before that byte."""
        uid = self.next_uid(write.target)
        warm = self.client.get(message(self.source, uid) + "?fields=uid")
        assert warm.status == 200, warm.body
        before, new = self.state(), self.oracle.status(self.target, "UIDNEXT")
        steps = write.steps(before, uid, new, self.kind)
        self.proxy.arm(direction, offset, action, **how)
        n_down = self.proxy.n_down
        later = threading.Timer(0.3, self.proxy.go_on)
        if action is Action.HOLD:
            later.start()
        response = write.send(self.client, self.source, uid, self.target)
        has_come = self.proxy.disarm()
        later.cancel()
        self.n_down = self.proxy.n_down - n_down
        after = self.state()
        where = f"{write.name}, {self.kind}, {action.value} {direction} at {offset}: {response.status} {response.body!r}\nsent: {bytes(self.proxy.bytes_up)!r}"
        if response.status < 300:
            assert after == steps[-1], f"{where}\na success, but it is not so: {after}"
        elif "outcome" in response.json():
            assert after in [before, *steps], f"{where}\nnone of what may have become of it: {after}"
        else:
            assert after == before, f"{where}\nan error, but something happened: {after}"
        assert response.status < 300 or has_come, where
        assert response.status < 300 or response.status in (502, 504), where
        assert action is not Action.HOLD or response.status < 300, f"{where}\nonly late, and yet an error"
        return has_come


@pytest.fixture(scope="module")
def servers(request: pytest.FixtureRequest) -> Iterator[dict[str, ImapServer]]:
    """By what they can; another server than Dovecot is of one kind."""
    running: dict[str, ImapServer] = {}
    capabilities = SERVERS | {"no CONDSTORE": without_condstore(SERVERS["all"])}
    try:
        if request.config.getoption("--server") not in (None, "dovecot"):
            other = private_server({"alice": "secret"})
            other.start()
            running["all" if other.can("MOVE") else "no MOVE" if other.can("UIDPLUS") else "bare"] = other
        else:
            for kind in sorted({kind for _, kind in CASES}):
                running[kind] = Dovecot(users={"alice": "secret"}, options=Options(capability=capabilities[kind]))
                running[kind].start()
        yield running
    finally:
        for one in running.values():
            one.close()


@pytest.fixture
def stage(request: pytest.FixtureRequest, servers: dict[str, ImapServer], start_gateway: StartGateway) -> Iterator[Stage]:
    if request.param not in servers:
        pytest.skip(f"a Dovecot with other capabilities ({request.param})")
    server = servers[request.param]
    with FaultProxy(server.host, server.imap_port) as proxy, Oracle(server.imap_port, "alice", "secret") as oracle:
        gateway = start_gateway(*plain_options(proxy), "--imap-sessions-per-account", "1", "--request-timeout", "4")
        yield Stage(request.param, server, proxy, gateway, oracle)


def ids(cases: list[tuple[Write, str]]) -> list[str]:
    return [f"{write.name}-{kind}" for write, kind in cases]


def each(cases: list[tuple[Write, str]]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return pytest.mark.parametrize(("write", "stage"), cases, ids=ids(cases), indirect=["stage"])


@pytest.mark.parametrize("stripe", STRIPES)
@each(CASES)
def test_cut_in_the_answers(stage: Stage, write: Write, stripe: int) -> None:
    """Behind each byte of what the server says, from the first to the last; in short, behind one of 67."""
    first = 1 + STEP * stripe if STEP else random.Random(write.name + stage.kind).randrange(1, 40)
    offsets = itertools.count(first, STEP * len(STRIPES) or 67)
    n_cuts = sum(1 for _ in itertools.takewhile(lambda offset: stage.try_write(write, DOWN, offset, Action.CUT), offsets))
    assert n_cuts > 1, "nothing was cut"


@each([case for case in CASES if STEP or case[1] in ("all", "no MOVE")])
def test_cut_in_the_commands(stage: Stage, write: Write) -> None:
    """Behind each command, when the server has it whole, and one byte earlier, when it has not."""
    assert not stage.try_write(write, UP, 10**9, Action.CUT), "the twin: nothing is cut"
    n_cuts = 0
    for n in itertools.count(1):
        if not stage.try_write(write, UP, n, Action.CUT, in_lines=True):
            break
        n_cuts += stage.try_write(write, UP, n, Action.CUT, in_lines=True, short_by=1)
    assert n_cuts >= 2, "nothing was cut"


@each([case for case in CASES if STEP or (case[0].name, case[1]) in (("move", "no MOVE"), ("keyword PUT", "all"))])
def test_silence_and_delay(stage: Stage, write: Write) -> None:
    """An answer that does not come within the deadline, and one that comes late but does."""
    stage.try_write(write, DOWN, 10**9, Action.CUT)
    assert not stage.try_write(write, DOWN, 10**9, Action.CUT)
    n_down = stage.n_down
    for offset in (n_down // 2, n_down - 10):
        assert stage.try_write(write, DOWN, offset, Action.SWALLOW)
    stage.try_write(write, DOWN, 10**9, Action.CUT)
    assert any([stage.try_write(write, DOWN, offset, Action.HOLD) for offset in (1, n_down // 2, n_down - 10)])
