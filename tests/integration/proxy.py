"""What stands between the gateway and its server: a TCP proxy that counts, slices, pauses and cuts, servers
that are wrong on purpose, and the patience to wait for something without sleeping for a fixed time.

    with Proxy(dovecot.host, dovecot.imap_port) as proxy:
        gateway = start_gateway(*plain_options(proxy))
        proxy.pause()       # nothing from the server reaches the gateway
        proxy.n_down        # bytes from the server that did
        proxy.links[0].sent # what the gateway sent on its first connection
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

from certificates import ServerCertificate

T = TypeVar("T")

PATIENCE_SECONDS = 30.0  # far above what anything takes: only a hang exceeds it
CHUNK = 65536
MAX_TRANSCRIPT = 4 * 1024 * 1024


def wait_for(ready: Callable[[], T], what: str, seconds: float = PATIENCE_SECONDS) -> T:
    """What ready() returns, as soon as that is true."""
    deadline = time.monotonic() + seconds
    while True:
        result = ready()
        if result:
            return result
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.01)


def settled(value: Callable[[], int], what: str, quiet_seconds: float = 0.5, seconds: float = PATIENCE_SECONDS) -> int:
    """The value once it has stayed the same for a while."""
    deadline = time.monotonic() + seconds
    last, since = value(), time.monotonic()
    while time.monotonic() - since < quiet_seconds:
        time.sleep(0.01)
        now = value()
        if now != last:
            last, since = now, time.monotonic()
        assert time.monotonic() < deadline, f"{what} did not settle within {seconds:g} s: {now}"
    return last


def together(*works: Callable[[], T]) -> list[T]:
    """Runs them at the same time, each in a thread; the first failure is raised once all have ended."""
    with ThreadPoolExecutor(len(works)) as pool:
        futures = [pool.submit(work) for work in works]
    return [future.result() for future in futures]


def plain_options(server: object) -> list[str]:
    """For a server or a proxy: clear text, so that the proxy can read along."""
    return ["--imap-url", server.imap_url, "--imap-security", "none"]  # type: ignore[attr-defined]


class Link:
    """One connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.sent = bytearray()  # by the gateway
        self.received = bytearray()  # what the server's answers begin with
        self.is_open = True
        self.flows = asyncio.Event()
        self.flows.set()
        self._writers = (client, server)

    def end(self, with_reset: bool) -> None:
        self.is_open = False
        self.flows.set()
        for writer in self._writers:
            if with_reset:
                with contextlib.suppress(OSError):
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            else:
                writer.close()


class Proxy:
    """Runs on a loop and a thread of its own; every method may be called from the test's."""

    def __init__(self, host: str, port: int, *, certificate: ServerCertificate | None = None) -> None:
        """With a certificate the gateway's side speaks TLS, and the server's clear text."""
        self.host = "127.0.0.1"
        self.port = 0
        self.links: list[Link] = []
        self.n_up = 0
        self.n_down = 0
        self.slice = CHUNK  # bytes of the server's that are passed on at once
        self._to = (host, port)
        self._certificate = certificate
        self._cut_at: int | None = None
        self._cut_up_at: int | None = None
        self._cut_behind: tuple[bytes, int] | None = None
        self._cut_on_command: bytes | None = None
        self._cuts_again = False
        self._cut_with_reset = False
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._flows = asyncio.Event()
        self._up_flows = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def imap_url(self) -> str:
        return f"imap://{self.host}:{self.port}"

    @property
    def imaps_url(self) -> str:
        return f"imaps://{self.host}:{self.port}"

    @property
    def n_open(self) -> int:
        return sum(1 for link in self.links if link.is_open)

    @property
    def sent(self) -> bytes:
        return b"".join(bytes(link.sent) for link in self.links)

    def pause(self) -> None:
        """What the server sends stays in the proxy and, when that is full, with the server."""
        self._call(self._flows.clear)

    def resume(self) -> None:
        self._call(self._flows.set)

    def pause_up(self) -> None:
        """What the gateway sends is not read: it stays with the gateway when the kernel's buffers are full."""
        self._call(self._up_flows.clear)

    def resume_up(self) -> None:
        self._call(self._up_flows.set)

    def hold(self, link: Link) -> None:
        """As pause(), of one connection."""
        self._call(link.flows.clear)

    def release(self, link: Link) -> None:
        self._call(link.flows.set)

    def cut(self, *, with_reset: bool = False) -> None:
        """Ends the connections that are open, in an orderly way or not."""
        self._call(lambda: self._end_all(with_reset))

    def cut_after(self, n_bytes: int, *, with_reset: bool = False) -> None:
        """Ends the connection on which the server's n-th byte from now on arrives, right behind that byte."""
        self._cut_with_reset = with_reset
        self._cut_at = self.n_down + n_bytes

    def cut_up_after(self, n_bytes: int, *, with_reset: bool = False) -> None:
        """Ends the connection on which the gateway's n-th byte from now on comes, when the server has that byte."""
        self._cut_with_reset = with_reset
        self._cut_up_at = self.n_up + n_bytes

    def cut_down_behind(self, text: bytes, n_bytes: int, *, with_reset: bool = False) -> None:
        """Ends the connection n bytes of the server's behind a text of the server's: of these, n - 1 pass."""
        self._cut_with_reset = with_reset
        self._cut_behind = (text, n_bytes)

    def cut_always(self, verb: bytes) -> None:
        """As cut_on_command(), each time, until cut_never()."""
        self._cut_on_command, self._cuts_again = verb, True

    def cut_never(self) -> None:
        self._cut_at = self._cut_on_command = self._cut_up_at = self._cut_behind = None
        self._cuts_again = False

    def cut_on_command(self, verb: bytes = b"", *, with_reset: bool = False) -> None:
        """Ends the connection on which the next bytes with verb in them come; the server does not see them."""
        self._cut_with_reset = with_reset
        self._cut_on_command = verb

    def close(self) -> None:
        self._call(self._stop)
        wait_for(lambda: not self._tasks, "the end of the proxy's connections")
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_SECONDS)
        self._loop.close()

    def __enter__(self) -> Proxy:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(PATIENCE_SECONDS)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # On the loop.

    def _call(self, function: Callable[[], None]) -> None:
        async def run() -> None:
            function()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(PATIENCE_SECONDS)

    async def _start(self) -> None:
        self._flows.set()
        self._up_flows.set()
        context = None
        if self._certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate.chain, self._certificate.key)
        self._loop.set_exception_handler(lambda loop, context: None)  # a refused certificate is what tests want
        self._server = await asyncio.start_server(self._serve, self.host, 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    def _stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self._flows.set()
        self._up_flows.set()
        self._end_all(with_reset=True)
        for task in self._tasks:
            task.cancel()

    def _end_all(self, with_reset: bool) -> None:
        for link in self.links:
            if link.is_open:
                link.end(with_reset)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._to)
            link = Link(writer, server_writer)
            self.links.append(link)
            for each in (writer, server_writer):
                each.transport.set_write_buffer_limits(CHUNK)
            await asyncio.gather(self._up(link, reader, server_writer), self._down(link, server_reader, writer))
        except OSError:
            writer.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _up(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._up_flows.wait()
                if self._cut_up_at is not None and self.n_up + len(data) >= self._cut_up_at:
                    writer.write(data[: self._cut_up_at - self.n_up])
                    await writer.drain()
                    self._cut_up_at = None
                    link.end(self._cut_with_reset)
                    return
                self.n_up += len(data)
                if len(link.sent) < MAX_TRANSCRIPT:
                    link.sent += data
                if self._cut_on_command is not None and self._cut_on_command in data:
                    if not self._cuts_again:
                        self._cut_on_command = None
                    link.end(self._cut_with_reset)
                    return
                writer.write(data)
                await writer.drain()
        self._half_closed(link)

    async def _down(self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._flows.wait()
                await link.flows.wait()
                if self._cut_behind is not None and self._cut_behind[0] in data:
                    end = data.index(self._cut_behind[0]) + len(self._cut_behind[0])
                    self._cut_at = self.n_down + end + self._cut_behind[1]
                    self._cut_behind = None
                for at in range(0, len(data), self.slice):
                    piece = data[at : at + self.slice]
                    is_last = self._cut_at is not None and self.n_down + len(piece) >= self._cut_at
                    if self._cut_at is not None and is_last:
                        piece = piece[: self._cut_at - self.n_down]
                        self._cut_at = None
                    self.n_down += len(piece)
                    if len(link.received) < MAX_TRANSCRIPT:
                        link.received += piece
                    writer.write(piece)
                    await writer.drain()
                    if is_last:
                        link.end(self._cut_with_reset)
                        return
        self._half_closed(link)

    def _half_closed(self, link: Link) -> None:
        if link.is_open:
            link.end(with_reset=False)


class Scripted:
    """A server that does on each connection what its script says, and keeps what it was told."""

    def __init__(self, script: Callable[[Conversation], None]) -> None:
        self.host = "127.0.0.1"
        self.conversations: list[Conversation] = []
        self._script = script
        self._listener = socket.create_server((self.host, 0))
        self._listener.settimeout(PATIENCE_SECONDS)
        self._is_over = False
        self._threads: list[threading.Thread] = []

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def imap_url(self) -> str:
        return f"imap://{self.host}:{self.port}"

    @property
    def heard(self) -> bytes:
        return b"".join(bytes(one.heard) for one in self.conversations)

    def __enter__(self) -> Scripted:
        self._spawn(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._is_over = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for conversation in self.conversations:
            conversation.end()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
        self._listener.close()

    def _spawn(self, work: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=work, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while not self._is_over:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            conversation = Conversation(connection)
            self.conversations.append(conversation)
            self._spawn(lambda conversation=conversation: self._run(conversation))  # type: ignore[misc]

    def _run(self, conversation: Conversation) -> None:
        with contextlib.suppress(OSError), conversation.connection:
            self._script(conversation)


class Conversation:
    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.heard = bytearray()

    def say(self, text: bytes) -> None:
        self.connection.sendall(text)

    def lines(self) -> Iterator[tuple[bytes, bytes]]:
        """The tag and the rest of each line, until the client closes."""
        pending = b""
        while data := self.connection.recv(CHUNK):
            self.heard += data
            pending += data
            while b"\r\n" in pending:
                line, pending = pending.split(b"\r\n", 1)
                tag, _, rest = line.partition(b" ")
                yield tag, rest

    def hear_all(self) -> None:
        """Says nothing more."""
        for _ in self.lines():
            pass

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


class BlackHole:
    """An address whose connections are never accepted: the listener's backlog is full."""

    def __enter__(self) -> BlackHole:
        self.host = "127.0.0.1"
        self._listener = socket.socket()
        self._listener.bind((self.host, 0))
        self._listener.listen(0)
        self.port = int(self._listener.getsockname()[1])
        self._fillers = [socket.socket() for _ in range(4)]
        for filler in self._fillers:
            filler.setblocking(False)
            filler.connect_ex((self.host, self.port))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for each in (*self._fillers, self._listener):
            each.close()

    @property
    def imap_url(self) -> str:
        return f"imap://{self.host}:{self.port}"
