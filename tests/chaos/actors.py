"""Who changes mailboxes: through the gateway, and past it. Each with messages of its own (model.py)."""

from __future__ import annotations

import imaplib
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.client import HTTPException
from urllib.parse import quote

import seed
from http_client import Client, Response
from model import Model, Wrong
from oracle import Seen

KEYWORDS = {"$seen": "\\Seen", "$flagged": "\\Flagged", "$answered": "\\Answered", "work": "work", "later": "later"}


def segment(name: str) -> str:
    return quote(name, safe="!'()*~-_.")


def message(mailbox: str, uid: int, rest: str = "") -> str:
    return f"/mailboxes/{segment(mailbox)}/messages/{uid}{rest}"


def raw_message(message_id: str, size: int = 0) -> bytes:
    text = f"From: chaos@example.test\r\nSubject: {message_id}\r\nMessage-ID: {message_id}\r\n\r\n" + "x" * size + "\r\n"
    return text.encode()


def with_flags(seen: Seen, add: set[str], remove: set[str] | frozenset[str] = frozenset()) -> Seen:
    return Seen(seen.id, frozenset((seen.flags | add) - remove))


class HttpActor:
    """Asks the gateway, believes what it says, and says so when that cannot be."""

    def __init__(self, name: str, client: Callable[[], Client], mailboxes: list[str], seed_number: int, server: frozenset[str]) -> None:
        self.model = Model(name)
        self.chance = random.Random(f"{seed_number} {name}")
        self.mailboxes = mailboxes
        self.server = server  # MOVE, UIDPLUS: what it has
        self.can_fail = False  # servers and gateways that break: answers may be lost, and requests refused with 502 and 503
        self.counts: Counter[str] = Counter()
        self.operations: dict[str, int] = {"keywords": 6, "keyword": 4, "move": 4, "copy": 3, "delete": 3, "purge": 2}
        self._client = client
        self._connection: Client | None = None

    # One operation.

    def step(self) -> None:
        name = self.chance.choices(list(self.operations), list(self.operations.values()))[0]
        self.counts[name] += 1
        getattr(self, f"do_{name}")()

    def pick(self, *, but_not: str = "") -> tuple[str, int, Seen] | None:
        places = [(mailbox, uid) for mailbox, content in self.model.have.items() if mailbox != but_not for uid in content]
        if not places:
            return None
        mailbox, uid = self.chance.choice(sorted(places))
        return mailbox, uid, self.model.have[mailbox][uid]

    def other(self, mailbox: str) -> str:
        return self.chance.choice([one for one in self.mailboxes if one != mailbox])

    def send(self, method: str, target: str, json_body: object = None, body: bytes | None = None, headers: dict[str, str] | None = None) -> Response | None:
        """None: the connection broke, and nobody knows."""
        try:
            if self._connection is None:
                self._connection = self._client()
            return self._connection.request(method, target, body, headers, json_body=json_body)
        except (OSError, HTTPException):
            self.close()
            if not self.can_fail:
                raise
            return None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def judge(self, response: Response | None, *, also: tuple[int, ...] = ()) -> str:
        """done, nothing, or unknown; Wrong for an answer that has no business here."""
        if response is None:
            self.counts["unknown"] += 1
            return "unknown"
        if response.status < 300:
            return "done"
        problem = response.json()
        if response.status in also:
            return "nothing"
        if not self.can_fail or response.status not in (502, 503, 504, 429):
            raise Wrong(f"{self.model.owner}: {response.status} {response.body!r}")
        self.counts["unknown" if "outcome" in problem else "failed"] += 1
        return "unknown" if "outcome" in problem else "nothing"

    # What can be asked.

    def do_keywords(self) -> None:
        picked = self.pick()
        if picked is None:
            return
        mailbox, uid, seen = picked
        names = self.chance.sample(sorted(KEYWORDS), self.chance.randrange(1, 4))
        wanted = {name: self.chance.choice([True, None]) for name in names}
        add = {KEYWORDS[name] for name, value in wanted.items() if value}
        remove = {KEYWORDS[name] for name, value in wanted.items() if not value}
        how = self.judge(self.send("PATCH", message(mailbox, uid), {"keywords": wanted}))
        new = with_flags(seen, add, remove)
        if how == "done":
            self.model.put(mailbox, uid, new)
        elif how == "unknown":
            self.model.doubt(mailbox, uid, [[(mailbox, seen)], [(mailbox, with_flags(seen, add))], [(mailbox, new)]], f"keywords {wanted}")

    def do_keyword(self) -> None:
        picked = self.pick()
        if picked is None:
            return
        mailbox, uid, seen = picked
        name, method = self.chance.choice(sorted(KEYWORDS)), self.chance.choice(["PUT", "DELETE"])
        how = self.judge(self.send(method, message(mailbox, uid, f"/keywords/{name}")))
        new = with_flags(seen, {KEYWORDS[name]}) if method == "PUT" else with_flags(seen, set(), {KEYWORDS[name]})
        if how == "done":
            self.model.put(mailbox, uid, new)
        elif how == "unknown":
            self.model.doubt(mailbox, uid, [[(mailbox, seen)], [(mailbox, new)]], f"{method} {name}")

    def do_copy(self) -> None:
        picked = self.pick()
        if picked is None:
            return
        mailbox, uid, seen = picked
        to = self.other(mailbox)
        response = self.send("POST", message(mailbox, uid, "/copy"), {"mailbox": to})
        how = self.judge(response)
        if how == "done":
            assert response is not None
            self.model.put(to, response.json()["uid"], seen)
        elif how == "unknown":
            self.model.doubt_new(to, seen, f"copy to {to}")

    def do_move(self) -> None:
        picked = self.pick()
        if picked is not None:
            mailbox, uid, seen = picked
            to = self.other(mailbox)
            self._move(mailbox, uid, seen, to, self.send("PATCH", message(mailbox, uid), {"mailbox": to}))

    def do_delete(self) -> None:
        picked = self.pick(but_not="Trash")
        if picked is not None:
            mailbox, uid, seen = picked
            self._move(mailbox, uid, seen, "Trash", self.send("DELETE", message(mailbox, uid)))

    def _move(self, mailbox: str, uid: int, seen: Seen, to: str, response: Response | None) -> None:
        how = self.judge(response)
        marked = with_flags(seen, {"\\Deleted"})
        if how == "unknown":
            outcomes = [[(mailbox, seen)], [(to, seen)]]
            if "MOVE" not in self.server:
                outcomes += [[(mailbox, seen), (to, seen)], [(mailbox, marked), (to, seen)]]
            self.model.doubt(mailbox, uid, outcomes, f"move to {to}")
        elif how == "done":
            assert response is not None
            body = response.json() if response.body else {}
            new = body.get("uid")
            location = response.header("Location")
            if new is None and location is not None:
                new = int(location.rpartition("/")[2])
            self.model.take(mailbox, uid)
            self.model.put(to, new, seen)
            if "remains" in body:
                assert "MOVE" not in self.server and "UIDPLUS" not in self.server
                self.model.put(mailbox, uid, marked)

    def do_purge(self) -> None:
        picked = self.pick()
        if picked is None:
            return
        mailbox, uid, seen = picked
        # In the trash a delete is for good without being told so.
        rest = "" if mailbox == "Trash" and self.chance.random() < 0.5 else "?permanent=1"
        how = self.judge(self.send("DELETE", message(mailbox, uid, rest)), also=() if "UIDPLUS" in self.server else (422,))
        if how == "done":
            self.model.take(mailbox, uid)
        elif how == "unknown":
            self.model.doubt(mailbox, uid, [[(mailbox, seen)], [(mailbox, with_flags(seen, {"\\Deleted"}))], []], "permanent delete")


class Marker:
    """A second client that marks its own messages as deleted, and takes the marks away again, all the while."""

    def __init__(self, name: str, port: int, user: str, password: str, mailboxes: list[str], seed_number: int) -> None:
        self.model = Model(name)
        self.mailboxes = mailboxes
        self.chance = random.Random(f"{seed_number} {name}")
        self.n_marks = 0
        self.failure: BaseException | None = None
        self._account = (port, user, password)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join(60)
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            with seed.session(*self._account) as client:
                while not self._is_over.is_set():
                    self._mark(client)
        except BaseException as error:  # noqa: BLE001
            self.failure = error

    def _mark(self, client: imaplib.IMAP4) -> None:
        mailbox = self.chance.choice(self.mailboxes)
        own = sorted(self.model.have[mailbox])
        if not own:
            return
        client.select(seed.quoted(mailbox))
        for _ in range(self.chance.randrange(1, 6)):
            some = ",".join(map(str, self.chance.sample(own, min(len(own), self.chance.randrange(1, 6)))))
            status, data = client.uid("STORE", some, self.chance.choice(["+FLAGS.SILENT", "-FLAGS.SILENT"]), "(\\Deleted)")
            assert status == "OK", data
            self.n_marks += 1
            time.sleep(self.chance.random() * 0.004)


def uid_of(answer: list[bytes]) -> int:
    match = re.search(rb"APPENDUID \d+ (\d+)", b" ".join(answer))
    assert match is not None, answer
    return int(match[1])
