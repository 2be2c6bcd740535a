"""Who changes mailboxes: through the gateway, and past it. Each with messages of its own (model.py)."""

from __future__ import annotations

import imaplib
import random
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from http.client import HTTPException
from urllib.parse import quote

import seed
from http_client import Client, Response
from model import Model, Wrong
from oracle import Seen

KEYWORDS = {"$seen": "\\Seen", "$flagged": "\\Flagged", "$answered": "\\Answered", "work": "work", "later": "later"}
RESTART_SECONDS = 30.0  # a gateway that was killed is back long before


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
        self.history: deque[str] = deque(maxlen=200)  # what was asked and said, for a verdict of Wrong
        self._client = client
        self._connection: Client | None = None

    # One operation.

    def step(self) -> None:
        name = self.chance.choices(list(self.operations), list(self.operations.values()))[0]
        self.counts[name] += 1
        try:
            getattr(self, f"do_{name}")()
        except Wrong as error:
            raise Wrong("\n".join([*self.history, str(error)])) from None

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
        deadline = time.monotonic() + RESTART_SECONDS
        while True:
            try:
                if self._connection is None:
                    self._connection = self._client()
                response = self._connection.request(method, target, body, headers, json_body=json_body)
                now = f"{time.time() % 86400:.3f}"
                self.history.append(f"{now} {method} {target} {json_body or ''} -> {response.status} {response.body[:300]!r} {response.header('Location') or ''}")
                return response
            except ConnectionRefusedError:
                self.close()
                if not self.can_fail or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)  # it is being started again
            except (OSError, HTTPException):
                self.close()
                if not self.can_fail:
                    raise
                self.history.append(f"{method} {target} {json_body or ''} -> the connection broke")
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
        if response.status in also:
            return "nothing"
        problem = response.json()
        if not self.can_fail or (response.status not in (502, 503, 504, 429) and "outcome" not in problem):
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


class FullActor(HttpActor):
    """Also appends, changes many at once, and has mailboxes of its own that it makes, renames and deletes."""

    def __init__(self, name: str, client: Callable[[], Client], mailboxes: list[str], seed_number: int, server: frozenset[str]) -> None:
        super().__init__(name, client, list(mailboxes), seed_number, server)
        self.operations |= {"append": 8, "bulk_keywords": 2, "bulk_move": 2, "bulk_delete": 2}
        self.own: list[str] = []
        self._n_boxes = 0

    def do_append(self) -> None:
        mailbox, new = self.chance.choice(self.mailboxes), self.model.new_id()
        names = self.chance.sample(sorted(KEYWORDS), self.chance.randrange(0, 3))
        seen = Seen(new, frozenset(KEYWORDS[name] for name in names))
        query = f"?keywords={quote(','.join(names), safe='$,')}" if names else ""
        raw = raw_message(new, self.chance.choice([0, 100, 5000]))
        response = self.send("POST", f"/mailboxes/{segment(mailbox)}/messages{query}", body=raw, headers={"Content-Type": "message/rfc822"})
        how = self.judge(response)
        if how == "done":
            assert response is not None
            self.model.put(mailbox, response.json()["uid"], seen)
        elif how == "unknown":
            self.model.doubt_new(mailbox, seen, f"append to {mailbox}")

    # Many at once.

    def some(self) -> tuple[str, list[int]] | None:
        picked = self.pick()
        if picked is None:
            return None
        own = sorted(self.model.have[picked[0]])
        return picked[0], self.chance.sample(own, min(len(own), self.chance.randrange(1, 7)))

    def bulk(self, method: str, mailbox: str, uids: list[int], json_body: object = None, rest: str = "") -> tuple[dict[int, str], dict[int, int]]:
        """What became of each, and where it is now."""
        target = f"/mailboxes/{segment(mailbox)}/messages?uid={','.join(map(str, sorted(uids)))}{rest}"
        response = self.send(method, target, json_body)
        how = self.judge(response)
        if how != "done":
            return dict.fromkeys(uids, how), {}
        assert response is not None
        body = response.json()
        done, problems = (body["updated"], body["notUpdated"]) if method == "PATCH" else (body["destroyed"], body["notDestroyed"])
        result = dict.fromkeys(done, "done")
        for uid, problem in problems.items():
            if not self.can_fail or (problem["status"] not in (502, 503, 504, 429) and "outcome" not in problem):
                raise Wrong(f"{self.model.owner}: {uid}: {problem}")
            result[int(uid)] = "unknown" if "outcome" in problem else "nothing"
        if sorted(result) != sorted(uids):
            raise Wrong(f"{self.model.owner}: asked for {sorted(uids)}, told of {sorted(result)}")
        return result, {int(old): new for old, new in body.get("moved", {}).get("uids", {}).items()}

    def do_bulk_keywords(self) -> None:
        some = self.some()
        if some is None:
            return
        mailbox, uids = some
        name, value = self.chance.choice(sorted(KEYWORDS)), self.chance.choice([True, None])
        result, _ = self.bulk("PATCH", mailbox, uids, {"keywords": {name: value}})
        for uid, how in result.items():
            seen = self.model.have[mailbox][uid]
            new = with_flags(seen, {KEYWORDS[name]}) if value else with_flags(seen, set(), {KEYWORDS[name]})
            if how == "done":
                self.model.put(mailbox, uid, new)
            elif how == "unknown":
                self.model.doubt(mailbox, uid, [[(mailbox, seen)], [(mailbox, new)]], f"bulk {name} {value}")

    def do_bulk_move(self) -> None:
        some = self.some()
        if some is not None:
            mailbox, uids = some
            to = self.other(mailbox)
            self._bulk_move(mailbox, to, *self.bulk("PATCH", mailbox, uids, {"mailbox": to}))

    def do_bulk_delete(self) -> None:
        some = self.some()
        if some is None:
            return
        mailbox, uids = some
        if mailbox != "Trash" and self.chance.random() < 0.5:
            self._bulk_move(mailbox, "Trash", *self.bulk("DELETE", mailbox, uids))
            return
        result, _ = self.bulk("DELETE", mailbox, uids, rest="&permanent=1")
        for uid, how in result.items():
            seen = self.model.have[mailbox][uid]
            if how == "done":
                self.model.take(mailbox, uid)
            elif how == "unknown":
                outcomes = [[(mailbox, seen)], [(mailbox, with_flags(seen, {"\\Deleted"}))], []]
                self.model.doubt(mailbox, uid, outcomes, "bulk permanent delete")

    def _bulk_move(self, mailbox: str, to: str, result: dict[int, str], moved: dict[int, int]) -> None:
        for uid, how in result.items():
            seen = self.model.have[mailbox][uid]
            if how == "done":
                self.model.take(mailbox, uid)
                self.model.put(to, moved.get(uid), seen)
            elif how == "unknown":
                self.model.doubt(mailbox, uid, [[(mailbox, seen)], [(to, seen)]], f"bulk move to {to}")

    # Mailboxes.

    def new_name(self) -> str:
        self._n_boxes += 1
        return f"{self.model.owner} box {self._n_boxes}"

    def pick_own(self) -> str | None:
        """A mailbox of its own, whose messages are not in doubt."""
        doubtful = {place for doubt in self.model.doubts for outcome in doubt.outcomes for place, _ in outcome}
        free = [one for one in self.own if one not in doubtful]
        return self.chance.choice(free) if free else None

    def forget(self, name: str) -> None:
        self.own.remove(name)
        self.mailboxes.remove(name)

    def remember(self, name: str) -> None:
        self.own.append(name)
        self.mailboxes.append(name)

    def do_create(self) -> None:
        if len(self.own) >= 3:
            return
        name = self.new_name()
        if self.judge(self.send("POST", "/mailboxes", {"name": name})) == "done":
            self.remember(name)

    def do_rename(self) -> None:
        name = self.pick_own()
        if name is None:
            return
        new = self.new_name()
        how = self.judge(self.send("PATCH", f"/mailboxes/{segment(name)}", {"name": new}))
        if how == "nothing":
            return
        self.forget(name)
        if how == "unknown":
            self.model.release(name, name, new)
            return
        self.remember(new)
        self.model.have[new] = self.model.have.pop(name, {})
        self.model.unlocated = [(new if place == name else place, seen) for place, seen in self.model.unlocated]

    def do_remove(self) -> None:
        name = self.pick_own()
        if name is None:
            return
        how = self.judge(self.send("DELETE", f"/mailboxes/{segment(name)}"))
        if how == "nothing":
            return
        self.forget(name)
        if how == "unknown":
            self.model.release(name, name)
            return
        self.model.have.pop(name, None)
        self.model.unlocated = [(place, seen) for place, seen in self.model.unlocated if place != name]


class ImapActor:
    """A second client: it appends, flags, moves, copies and removes messages of its own, and makes mailboxes, past the gateway."""

    def __init__(self, name: str, port: int, user: str, password: str, mailboxes: list[str], seed_number: int) -> None:
        self.model = Model(name)
        self.mailboxes = list(mailboxes)
        self.chance = random.Random(f"{seed_number} {name}")
        self.n_steps = 0
        self.makes_mailboxes = False
        self.own: list[str] = []
        self._n_boxes = 0
        self.client = imaplib.IMAP4("127.0.0.1", port, timeout=60)
        self.client.login(user, password)

    def close(self) -> None:
        self.client.shutdown()

    def step(self) -> None:
        self.n_steps += 1
        works = [self.append, self.append, self.flag, self.flag, self.flag, self.move, self.copy, self.expunge]
        self.chance.choice([*works, self.mailbox] if self.makes_mailboxes else works)()

    def expect(self, result: tuple[str, list[bytes]]) -> list[bytes]:
        status, data = result
        if status != "OK":
            raise Wrong(f"the IMAP server refused the second client: {data!r}")
        return data

    def code(self, pattern: bytes) -> list[int]:
        """The numbers in the response code of the last command."""
        for name in ("COPYUID", "APPENDUID"):
            data = self.client.untagged_responses.pop(name, None)
            if data and name.encode() in pattern:
                return [int(number) for number in re.findall(rb"\d+", data[-1])]
        raise Wrong(f"no {pattern!r}")

    def select_some(self) -> tuple[str, int, Seen] | None:
        places = sorted((mailbox, uid) for mailbox, content in self.model.have.items() for uid in content)
        if not places:
            return None
        mailbox, uid = self.chance.choice(places)
        self.expect(self.client.select(seed.quoted(mailbox)))
        return mailbox, uid, self.model.have[mailbox][uid]

    def append(self) -> None:
        mailbox, new = self.chance.choice(self.mailboxes), self.model.new_id()
        flags = frozenset(self.chance.sample(sorted(KEYWORDS.values()), self.chance.randrange(0, 3)))
        data = self.expect(self.client.append(seed.quoted(mailbox), " ".join(flags), None, raw_message(new)))  # type: ignore[arg-type]
        self.model.put(mailbox, uid_of(data), Seen(new, flags))

    def flag(self) -> None:
        picked = self.select_some()
        if picked is None:
            return
        mailbox, uid, seen = picked
        flag = self.chance.choice([*KEYWORDS.values(), "\\Deleted", "\\Draft"])
        how = self.chance.choice(["+", "-"])
        self.expect(self.client.uid("STORE", str(uid), f"{how}FLAGS", f"({flag})"))
        self.model.put(mailbox, uid, with_flags(seen, {flag}) if how == "+" else with_flags(seen, set(), {flag}))

    def move(self) -> None:
        self._copy("MOVE")

    def copy(self) -> None:
        self._copy("COPY")

    def _copy(self, verb: str) -> None:
        picked = self.select_some()
        if picked is None:
            return
        mailbox, uid, seen = picked
        to = self.chance.choice([one for one in self.mailboxes if one != mailbox])
        imaplib.Commands.setdefault("MOVE", ("SELECTED",))
        data = self.expect(self.client.uid(verb, str(uid), seed.quoted(to)))
        del data
        numbers = self.code(b"COPYUID")
        if verb == "MOVE":
            self.model.take(mailbox, uid)
        self.model.put(to, numbers[-1], seen)

    def expunge(self) -> None:
        picked = self.select_some()
        if picked is None:
            return
        mailbox, uid, _ = picked
        self.expect(self.client.uid("STORE", str(uid), "+FLAGS.SILENT", "(\\Deleted)"))
        self.expect(self.client.uid("EXPUNGE", str(uid)))
        self.model.take(mailbox, uid)

    def mailbox(self) -> None:
        """Makes one, or renames or removes one that it has made."""
        if self.chance.random() < 0.5 or not self.own:
            if len(self.own) < 2:
                self._n_boxes += 1
                name = f"{self.model.owner} box {self._n_boxes}"
                self.expect(self.client.create(seed.quoted(name)))
                self.own.append(name)
                self.mailboxes.append(name)
            return
        name = self.chance.choice(self.own)
        self.own.remove(name)
        self.mailboxes.remove(name)
        self.expect(self.client.select("INBOX"))  # not the one that goes
        if self.chance.random() < 0.5:
            self.expect(self.client.delete(seed.quoted(name)))
            self.model.have.pop(name, None)
            return
        self._n_boxes += 1
        new = f"{self.model.owner} box {self._n_boxes}"
        self.expect(self.client.rename(seed.quoted(name), seed.quoted(new)))
        self.own.append(new)
        self.mailboxes.append(new)
        self.model.have[new] = self.model.have.pop(name, {})


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
