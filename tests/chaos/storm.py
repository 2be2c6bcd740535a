"""Everything at once: random operations through the gateway and past it, while the gateway is killed and started again.

At the end every actor's messages must be what it was told (model.py), and who followed `/changes` and `/events` must know
exactly what is there. The order of what is asked is the seed's for each actor; how the actors interleave is chance.
"""

from __future__ import annotations

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
SETTLE_SECONDS = 60.0
PACE = 0.002  # between the second client's steps


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
    has_events: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> Counter[str]:
    with Dovecot(users={USER: PASSWORD}, options=Options(max_userip_connections=100)) as dovecot, Oracle(dovecot.imap_port, USER, PASSWORD) as oracle:
        for name in SHARED:
            if name not in ("INBOX", "Trash"):
                oracle.client.create(f'"{name}"')
        program = Program(binary, dovecot)
        try:
            return _run(program, dovecot, oracle, Budget(n_operations), n_operations, n_kills, seed_number, has_events, say)
        except BaseException:
            program.gateway.kill()
            print(program.gateway.log[-3000:])
            raise


def _run(
    program: Program,
    dovecot: Dovecot,
    oracle: Oracle,
    budget: Budget,
    n_operations: int,
    n_kills: int,
    seed_number: int,
    has_events: bool,
    say: Callable[[str], None],
) -> Counter[str]:
    actors = [FullActor(f"http{n}", program.client, SHARED, seed_number, SERVER) for n in range(N_ACTORS)]
    second = ImapActor("imap", dovecot.imap_port, USER, PASSWORD, SHARED, seed_number)
    changes = [ChangesFollower(program.client, mailbox) for mailbox in SHARED]
    events = EventsFollower(program.client) if has_events else None
    followers: list[Follower] = [*changes, *([events] if events else [])]
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
    if events:
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
    deadline = time.monotonic() + SETTLE_SECONDS
    last: dict[str, Content] | None = None
    since = 0.0
    while last is None or time.monotonic() - since < 1:
        try:
            now = oracle.contents(oracle.mailboxes())
        except NotThere:
            # Dovecot lists a mailbox for a moment after it was removed.
            if time.monotonic() > deadline:
                raise
            now = None
        if now is None or now != last:
            last, since = now, time.monotonic()
        time.sleep(0.1)
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
