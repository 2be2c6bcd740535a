"""A reader of Server-Sent Events: parses as HTML's section 9.2 says, on a thread of its own, and remembers the last id."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gateway import Gateway
from http_client import basic

WAIT_SECONDS = 30.0


@dataclass(frozen=True)
class Event:
    kind: str
    data: Any
    last_id: str
    at: float  # time.monotonic()


class EventStream:
    """with EventStream(gateway, "/events?mailbox=INBOX", "alice", "secret") as stream: stream.wait_for("created")"""

    def __init__(
        self, gateway: Gateway, target: str, user: str, password: str, last_id: str | None = None, accept: str = "text/event-stream"
    ) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""  # of a reply that is no stream
        self.events: list[Event] = []
        self.last_id = last_id or ""
        self.n_comments = 0
        self.retry_ms: int | None = None
        self.is_ended = False
        self.is_whole = False  # the last chunk came
        self._changed = threading.Condition()
        self._n_taken = 0
        self._socket = socket.create_connection((gateway.host, gateway.port), timeout=WAIT_SECONDS)
        lines = [f"GET {target} HTTP/1.1", "Host: gateway", f"Authorization: {basic(user, password)}", f"Accept: {accept}"]
        if last_id is not None:
            lines.append(f"Last-Event-ID: {last_id}")
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self._socket.settimeout(None)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self, ready: Callable[[], bool], seconds: float = WAIT_SECONDS, what: str = "the stream") -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: ready() or self.is_ended, seconds) or not ready():
                raise AssertionError(f"waited in vain for {what}; status {self.status}, ended {self.is_ended}, came: {self.events} {self.body!r}")

    def wait_for(self, kind: str, mailbox: str | None = None, seconds: float = WAIT_SECONDS) -> Event:
        """The next event of this kind (and mailbox) behind the one that was waited for last."""

        def find() -> Event | None:
            for n, event in enumerate(self.events[self._n_taken :], self._n_taken):
                name = event.data.get("mailbox", event.data.get("name")) if isinstance(event.data, dict) else None
                if event.kind == kind and (mailbox is None or name == mailbox):
                    self._found = n
                    return event
            return None

        self.wait(lambda: find() is not None, seconds, f"{kind} {mailbox or ''}")
        event = find()
        assert event is not None
        self._n_taken = self._found + 1
        return event

    def ready(self) -> EventStream:
        self.wait(lambda: any(event.kind == "ready" for event in self.events), what="ready")
        return self

    def index(self, kind: str) -> int:
        """Where the first event of this kind stands."""
        return next(n for n, event in enumerate(self.events) if event.kind == kind)

    def close(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._thread.join(WAIT_SECONDS)
        self._socket.close()

    def __enter__(self) -> EventStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        try:
            reader = self._socket.makefile("rb")
            self._read_head(reader)
            if self.headers.get("transfer-encoding") != "chunked":
                body = reader.read(int(self.headers.get("content-length", "0")))
                with self._changed:
                    self.body = body
            else:
                self._read_chunks(reader)
        except (OSError, ValueError, IndexError):
            pass
        with self._changed:
            self.is_ended = True
            self._changed.notify_all()

    def _read_head(self, reader: Any) -> None:
        status = int(reader.readline().split()[1])
        headers = {}
        while (line := reader.readline().strip()) != b"":
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        with self._changed:
            self.status, self.headers = status, headers
            self._changed.notify_all()

    def _read_chunks(self, reader: Any) -> None:
        rest = b""
        self._fields: dict[str, str] = {}
        while (size := int(reader.readline(), 16)) > 0:
            rest += reader.read(size)
            reader.readline()
            *lines, rest = rest.split(b"\n")
            with self._changed:
                for line in lines:
                    self._take_line(line.decode())
                self._changed.notify_all()
        self.is_whole = True

    def _take_line(self, line: str) -> None:
        if line.startswith(":"):
            self.n_comments += 1
            return
        if line:
            name, _, value = line.partition(":")
            self._fields[name] = value.removeprefix(" ")
            return
        fields, self._fields = self._fields, {}
        if "id" in fields:
            self.last_id = fields["id"]
        if "retry" in fields:
            self.retry_ms = int(fields["retry"])
        if "data" in fields:
            data = json.loads(fields["data"])
            self.events.append(Event(fields.get("event", "message"), data, self.last_id, time.monotonic()))
