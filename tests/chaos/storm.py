"""Everything at once: random operations through the gateway and past it, while the gateway is killed and started again.

At the end every actor's messages must be what it was told (model.py), and who followed `/changes` and `/events` must know
exactly what is there. The order of what is asked is the seed's for each actor; how the actors interleave is chance.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from actors import FullActor, ImapActor
from dovecot import Dovecot, Options
from followers import ChangesFollower, EventsFollower, Follower, as_keywords
from gateway import Gateway
from http_client import Client
from oracle import Content, NotThere, Oracle
from proxy import wait_for

USER, PASSWORD = "alice", "secret"
SHARED = ["INBOX", "Work", "Work/Old", "Trash"]
SERVER = frozenset({"MOVE", "UIDPLUS"})
N_ACTORS = 3
SETTLE_SECONDS = 120.0  # four rounds of a watch that has to ask
RAWLOG = os.environ.get("CHAOS_RAWLOG", "")  # a folder for what all IMAP sessions said, of a storm that failed
PACE = 0.002  # between the second client's steps


class ServerBroke(Exception):
    """What went wrong is not the gateway's: it says nothing, and wants another try."""


class Program:
    """The gateway that is up now."""

    def __init__(self, binary: Path, dovecot: Dovecot) -> None:
        self._make = lambda: Gateway(binary, ["--imap-url", dovecot.imaps_url, "--imap-ca-file", str(dovecot.ca_file)])
        self.gateway = self._make().start()
        self.n_kills = 0

    def client(self) -> Client:
        return self.gateway.client(USER, PASSWORD)

    def kill(self) -> None:
        self.gateway.kill()
        self.n_kills += 1
        self.gateway = self._make().start()


class Budget:
    """How many operations are left, for several actors."""

    def __init__(self, n: int) -> None:
        self.n_done = 0
        self._n = n
        self._lock = threading.Lock()

    def take(self) -> bool:
        with self._lock:
            if self.n_done >= self._n:
                return False
            self.n_done += 1
            return True

    def stop(self) -> None:
        with self._lock:
            self._n = 0


def run_storm(
    binary: Path,
    *,
    n_operations: int,
    n_kills: int,
    seed_number: int,
    with_mailboxes: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Counter[str]:
    # Dovecot 2.3 breaks its index of mailboxes when they come and go all the time. Without it there is no NOTIFY.
    extra = "mailbox_list_index = no" if with_mailboxes else ""
    options = Options(max_userip_connections=100, rawlog=bool(RAWLOG), extra=extra)
    with Dovecot(users={USER: PASSWORD}, options=options) as dovecot, Oracle(dovecot.imap_port, USER, PASSWORD) as oracle:
        for name in SHARED:
            if name not in ("INBOX", "Trash"):
                oracle.client.create(f'"{name}"')
            # Dovecot makes INBOX and Trash when they are first opened, and panics when two sessions do that at once.
            oracle.content(name)
        program = Program(binary, dovecot)
        try:
            return _run(program, dovecot, oracle, Budget(n_operations), n_operations, n_kills, seed_number, with_mailboxes, say)
        except BaseException as error:
            program.gateway.kill()
            broken = re.search("Error: .*Corrupted.*|Panic: .*", dovecot.log())
            if isinstance(error, Exception) and broken:
                raise ServerBroke(f"Dovecot broke: {broken[0]}") from error
            print(program.gateway.log[-3000:])
            print("\n".join(line for line in dovecot.log().splitlines() if re.search("Error|Warning|Panic|Fatal", line))[-3000:])
            if RAWLOG:
                shutil.copytree(dovecot.root / "rawlog", RAWLOG, dirs_exist_ok=True)
            raise


def _run(
    program: Program,
    dovecot: Dovecot,
    oracle: Oracle,
    budget: Budget,
    n_operations: int,
    n_kills: int,
    seed_number: int,
    with_mailboxes: bool,
    say: Callable[[str], None],
) -> Counter[str]:
    actors = [FullActor(f"http{n}", program.client, SHARED, seed_number, SERVER) for n in range(N_ACTORS)]
    second = ImapActor("imap", dovecot.imap_port, USER, PASSWORD, SHARED, seed_number)
    changes = [ChangesFollower(program.client, mailbox) for mailbox in SHARED]
    events = EventsFollower(program.client)
    followers: list[Follower] = [*changes, events]
    failures: list[BaseException] = []

    def work(step: Callable[[], None], goes_on: Callable[[], bool], pause: float = 0) -> None:
        try:
            while goes_on():
                step()
                time.sleep(pause)
        except BaseException as error:  # noqa: BLE001
            failures.append(error)
            budget.stop()

    for actor in actors:
        actor.can_fail = n_kills > 0
        if with_mailboxes:
            actor.operations |= {"create": 1, "rename": 1, "remove": 1}
    second.makes_mailboxes = with_mailboxes
    for follower in followers:
        follower.start()
    threads = [threading.Thread(target=work, args=(actor.step, budget.take)) for actor in actors]
    is_over = threading.Event()
    threads.append(threading.Thread(target=work, args=(second.step, lambda: not is_over.is_set(), PACE)))
    for thread in threads:
        thread.start()
    try:
        for n in range(1, n_kills + 1):
            at = n_operations * n // (n_kills + 1)
            wait_for(lambda at=at: budget.n_done >= at or failures, f"operation {at}", 3600)  # type: ignore[misc]
            if failures:
                break
            program.kill()
            say(f"{budget.n_done} operations, {second.n_steps} of the second client, {program.n_kills} kills")
        for thread in threads[:-1]:
            thread.join(3600)
    finally:
        is_over.set()
        threads[-1].join(60)
    if failures:
        raise failures[0]
    contents = settled(oracle)
    for one in (*actors, second):
        one.model.check(contents)
    for follower in changes:
        expect(follower, lambda follower=follower: follower.content, as_keywords(contents[follower.mailbox]), f"/changes of {follower.mailbox}")  # type: ignore[misc]
    expect(events, lambda: events.contents, {name: as_keywords(content) for name, content in contents.items()}, "/events")
    for follower in followers:
        follower.stop()
    for one in actors:
        one.close()
    second.close()
    program.gateway.stop()
    for follower in followers:
        follower.join()
    counts = sum((actor.counts for actor in actors), Counter())
    more = {"second client": second.n_steps, "kills": program.n_kills, "messages at the end": sum(map(len, contents.values()))}
    return counts + Counter(more) + told(followers)


def told(followers: list[Follower]) -> Counter[str]:
    return sum((Counter({f"{type(one).__name__} {name}": n for name, n in one.counts.items()}) for one in followers), Counter())


def settled(oracle: Oracle) -> dict[str, Content]:
    """What is there, once the servers of gateways that were killed have done what they had been told."""
    last: dict[str, Content] | None = None
    since = time.monotonic()
    while time.monotonic() - since < 1:
        now = {}
        for name in oracle.mailboxes():
            # Dovecot's list keeps ghosts of mailboxes that were removed while others were made.
            with contextlib.suppress(NotThere):
                now[name] = oracle.content(name)
        if now != last:
            last, since = now, time.monotonic()
        time.sleep(0.1)
    assert last is not None
    return last


def expect(follower: Follower, content: Callable[[], object], wanted: object, what: str) -> None:
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        with follower.lock:
            now = content()
            is_so = now == wanted
        if is_so:
            return
        if follower.failure is not None:
            raise follower.failure
        assert time.monotonic() < deadline, f"{what} does not come to what is there:\n{difference(now, wanted)}\n{dict(follower.counts)}"
        time.sleep(0.05)


def difference(now: object, wanted: object) -> str:
    assert isinstance(now, dict) and isinstance(wanted, dict)
    keys = [key for key in sorted(set(now) | set(wanted), key=str) if now.get(key) != wanted.get(key)]
    lines = []
    for key in keys[:10]:
        if isinstance(now.get(key), dict) and isinstance(wanted.get(key), dict):
            lines.append(f"{key}:\n{difference(now[key], wanted[key])}")
        else:
            lines.append(f"  {key}: follower {now.get(key)}, server {wanted.get(key)}")
    return "\n".join(lines)
