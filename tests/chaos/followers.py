"""Clients that follow mailboxes by what the gateway says has changed, and so must know in the end what is there."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode

from actors import segment
from http_client import Client, Response
from model import Wrong
from oracle import Content

Flags = dict[int, frozenset[str]]  # by UID, as the gateway calls them
SYSTEM = {"\\Seen": "$seen", "\\Flagged": "$flagged", "\\Answered": "$answered", "\\Draft": "$draft", "\\Deleted": "$deleted"}
PAUSE = 0.05  # after a failure
BATCH = 200  # UIDs of one request


class Again(Exception):
    """The gateway is not there, or not able: the same once more."""


class NotThere(Exception):
    """404: the mailbox has gone meanwhile."""


def as_keywords(content: Content) -> Flags:
    return {uid: frozenset(SYSTEM.get(flag, flag.lower()) for flag in seen.flags) for uid, seen in content.items()}


def checked(response: Response) -> Any:
    if response.status in (502, 503, 504, 429):
        raise Again
    if response.status == 404:
        raise NotThere
    if response.status != 200:
        raise Wrong(f"{response.status} {response.body!r}")
    return response.json()


def rows(client: Client, mailbox: str, query: dict[str, str]) -> tuple[Flags, str]:
    """All pages, and the state that the first one was of."""
    target: str | None = f"/mailboxes/{segment(mailbox)}/messages?" + urlencode({"fields": "uid,keywords", "limit": "1000"} | query, safe=",:*$")
    result: Flags = {}
    state = ""
    while target:
        body = checked(client.get(target))
        state = state or body["state"]
        result |= {row["uid"]: frozenset(row["keywords"]) for row in body["messages"]}
        target = body.get("next")
    return result, state


def fetch(client: Client, mailbox: str, uids: Iterable[int]) -> Flags:
    wanted = sorted(uids)
    result: Flags = {}
    for n in range(0, len(wanted), BATCH):
        result |= rows(client, mailbox, {"uid": ",".join(map(str, wanted[n : n + BATCH]))})[0]
    return result


class Follower:
    """A thread that follows until it is told to stop; failures of the gateway are lived with, wrong answers are not."""

    def __init__(self, client: Callable[[], Client]) -> None:
        self.failure: BaseException | None = None
        self.counts: Counter[str] = Counter()
        self.lock = threading.Lock()
        self._client = client
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()

    def join(self) -> None:
        self._thread.join(90)
        if self.failure is not None:
            raise self.failure

    def follow(self, client: Client) -> None:
        raise NotImplementedError

    def _run(self) -> None:
        client = None
        while not self._is_over.is_set():
            try:
                client = client or self._client()
                self.follow(client)
            except (OSError, HTTPException, Again):
                self.counts["failures"] += 1
                if client is not None:
                    client.close()
                client = None
                time.sleep(PAUSE)
            except BaseException as error:  # noqa: BLE001
                self.failure = error
                return


class ChangesFollower(Follower):
    def __init__(self, client: Callable[[], Client], mailbox: str, wait: int = 2) -> None:
        super().__init__(client)
        self.mailbox = mailbox
        self.content: Flags = {}
        self.state = ""
        self.wait = wait

    def follow(self, client: Client) -> None:
        if not self.state:
            content, state = rows(client, self.mailbox, {})
            with self.lock:
                self.content, self.state = content, state
            self.counts["read anew"] += 1
        query = urlencode({"since": self.state, "wait": str(self.wait), "maxChanges": "100"})
        response = client.get(f"/mailboxes/{segment(self.mailbox)}/changes?{query}")
        if response.status == 410:
            self.state = ""
            return
        body = checked(response)
        if body["oldState"] != self.state:
            raise Wrong(f"asked for {self.state}, told of {body['oldState']}")
        created, updated, destroyed = (set(body[name]) for name in ("created", "updated", "destroyed"))
        if created & updated or created & destroyed or updated & destroyed:
            raise Wrong(f"{self.mailbox}: a message is told twice in {body}")
        fetched = fetch(client, self.mailbox, created | updated)
        with self.lock:
            for uid in destroyed:
                self.content.pop(uid, None)
            for uid in created | updated:
                self.content.pop(uid, None)
            self.content |= fetched
            self.state = body["newState"]
        self.counts["answers"] += 1
        self.counts["changes"] += len(created) + len(updated) + len(destroyed)


class EventsFollower(Follower):
    """All mailboxes by one stream, which is taken up again where it broke."""

    def __init__(self, client: Callable[[], Client]) -> None:
        super().__init__(client)
        self.contents: dict[str, Flags] = {}
        self.last_id = ""

    def follow(self, client: Client) -> None:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": self.last_id} if self.last_id else {})
        is_new = not self.last_id
        response = client.open("GET", "/events", headers=headers)
        if response.status != 200:
            checked(Response(response.status, response.getheaders(), response.read()))
        self.counts["streams"] += 1
        reader = self._client()
        try:
            if is_new:
                self._read_all(reader)
            batch: list[tuple[str, Any]] = []
            for event, data, event_id in events(response):
                if event is not None:
                    batch.append((event, data))
                if event_id is not None:
                    self._apply(reader, batch)
                    batch = []
                    self.last_id = event_id
                if self._is_over.is_set():
                    return
        finally:
            reader.close()
            client.close()
        raise Again

    def _read_all(self, client: Client) -> None:
        self.counts["read anew"] += 1
        names = {one["name"] for one in checked(client.get("/mailboxes?counts=0"))["mailboxes"] if one["isSelectable"]}
        with self.lock:
            self.contents = {}
        for name in sorted(names):
            self._read(client, name)

    def _read(self, client: Client, mailbox: str) -> None:
        try:
            content, _ = rows(client, mailbox, {})
        except NotThere:
            with self.lock:
                self.contents.pop(mailbox, None)
            return
        with self.lock:
            self.contents[mailbox] = content

    def _apply(self, client: Client, batch: list[tuple[str, Any]]) -> None:
        """What has happened to a mailbox that is not there any more is over: its own event will say so."""
        for event, data in batch:
            self.counts[event] += 1
            if event == "ready":
                continue
            if event == "problem":
                if data["status"] in (502, 503, 504, 429):
                    raise Again
                raise Wrong(f"the stream ends: {data}")
            name = data.get("name") if event == "mailbox" else data["mailbox"]
            if event == "mailbox" and data.get("deleted"):
                with self.lock:
                    self.contents.pop(name, None)
            elif event == "mailbox":
                with self.lock:
                    is_known = name in self.contents
                if not is_known:
                    self._read(client, name)
            elif event == "reset":
                if name is None:
                    self._read_all(client)
                else:
                    self._read(client, name)
            elif event == "destroyed":
                with self.lock:
                    for uid in data["uids"]:
                        self.contents.get(name, {}).pop(uid, None)
            elif event in ("created", "updated"):
                try:
                    fetched = fetch(client, name, data["uids"])
                except NotThere:
                    self._read(client, name)
                    continue
                with self.lock:
                    content = self.contents.setdefault(name, {})
                    for uid in data["uids"]:
                        content.pop(uid, None)
                    content |= fetched
            else:
                raise Wrong(f"an event of an unknown kind: {event} {data}")


def events(response: Any) -> Iterator[tuple[str | None, Any, str | None]]:
    """Kind, data and id of each event; None for what it does not have."""
    kind: str | None = None
    data: list[str] = []
    event_id: str | None = None
    while raw := response.readline():
        line = raw.decode("utf-8").rstrip("\n").rstrip("\r")
        if line == "":
            if data or event_id is not None:
                yield (kind or "message" if data else None), json.loads("\n".join(data)) if data else None, event_id
            kind, data, event_id = None, [], None
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                kind = value
            elif name == "data":
                data.append(value)
            elif name == "id":
                event_id = value
