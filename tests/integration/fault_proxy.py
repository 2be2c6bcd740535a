"""A proxy that spoils one byte stream at one chosen byte, in either direction.

    with FaultProxy(dovecot.host, dovecot.imap_port) as proxy:
        proxy.arm(DOWN, 17, CUT)    # from now on counted: 17 more bytes of the server's reach the gateway
        …                           # a request
        proxy.disarm()              # True when it came to that byte; the server has finished what it had got

CUT ends the connection right behind the byte; the server is left to finish what it has received, and its end is
waited for by disarm(), so that what a test sees afterwards is final. SWALLOW lets nothing through from there on, and
the connection stays open. HOLD does the same until go_on().
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from enum import Enum

from proxy import CHUNK, MAX_TRANSCRIPT, Link, Proxy, wait_for

UP, DOWN = "up", "down"  # to the server, from the server


class Action(Enum):
    CUT = "cut"
    SWALLOW = "swallow"
    HOLD = "hold"


@dataclass
class Fault:
    direction: str
    n_left: int  # bytes, or lines
    action: Action
    in_lines: bool
    short_by: int  # bytes before the end of the line
    has_come: bool = False


class FaultProxy(Proxy):
    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._fault: Fault | None = None
        self._goes_on = asyncio.Event()
        self._cut_links: set[Link] = set()  # whose server has not finished yet
        self.bytes_up = bytearray()  # since arm()

    def arm(self, direction: str, n: int, action: Action, *, in_lines: bool = False, short_by: int = 0) -> None:
        """Behind the n-th byte; or behind the n-th line's end, or so many bytes before it."""
        self._call(lambda: self._arm(Fault(direction, n, action, in_lines, short_by)))

    def disarm(self) -> bool:
        """Whether the stream came to its byte. What the server does about it is over."""
        fault = self._fault
        self._call(self._disarm)
        wait_for(lambda: not self._cut_links, "the server to finish what it had received")
        return fault is not None and fault.has_come

    @property
    def has_come(self) -> bool:
        return self._fault is not None and self._fault.has_come

    def go_on(self) -> None:
        """Lets through what is on hold."""
        self._call(self._goes_on.set)

    # On the loop.

    def _arm(self, fault: Fault) -> None:
        self.bytes_up.clear()
        self._goes_on.clear()
        self._fault = fault

    def _disarm(self) -> None:
        self._fault = None
        self._goes_on.set()

    def _until_fault(self, direction: str, data: bytes) -> tuple[bytes, bytes, Action | None]:
        """What passes, what is behind the byte, and what happens there."""
        fault = self._fault
        if fault is None or fault.has_come or fault.direction != direction:
            return data, b"", None
        n_here = data.count(b"\n") if fault.in_lines else len(data)
        if n_here < fault.n_left:
            fault.n_left -= n_here
            return data, b"", None
        fault.has_come = True
        at = fault.n_left
        if fault.in_lines:
            at = sum(len(line) + 1 for line in data.split(b"\n")[: fault.n_left]) - fault.short_by
        return data[:at], data[at:], fault.action

    async def _up(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                self.bytes_up += data
                link.sent += data[: max(0, MAX_TRANSCRIPT - len(link.sent))]
                if not await self._pass(UP, link, data, writer):
                    return
        self._half_closed(link)

    async def _down(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                # Of a connection that was cut, the rest is read until the server has done.
                if link not in self._cut_links and not await self._pass(DOWN, link, data, writer):
                    break
        if link in self._cut_links:
            self._cut_links.discard(link)
            link._writers[1].close()
        self._half_closed(link)

    async def _pass(self, direction: str, link: Link, data: bytes, writer: asyncio.StreamWriter) -> bool:
        passes, behind, action = self._until_fault(direction, data)
        if direction == DOWN:
            self.n_down += len(data)
        writer.write(passes)
        await writer.drain()
        if action is Action.CUT:
            self._cut(link)
            return direction == DOWN
        if action is not None:
            await self._goes_on.wait()
            if action is Action.SWALLOW:
                return False
            writer.write(behind)
            await writer.drain()
        return True

    def _cut(self, link: Link) -> None:
        """The gateway sees its connection end; the server sees the end of its input, and may finish."""
        client, server = link._writers
        link.is_open = False
        self._cut_links.add(link)
        client.close()
        with contextlib.suppress(OSError, RuntimeError):
            server.write_eof()
