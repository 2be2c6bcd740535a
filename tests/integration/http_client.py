"""A small HTTP/1.1 client that hides nothing: one connection, raw targets, raw bytes where a test wants them."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from typing import Any

TIMEOUT_SECONDS = 90.0  # above the gateway's own deadlines


@dataclass(frozen=True)
class Response:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The only field of this name; a test that expects several reads headers itself."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    @property
    def type(self) -> str:
        return (self.header("Content-Type") or "").split(";")[0].strip().lower()

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")

    def json(self) -> Any:
        """Strict: UTF-8, no duplicate members, no NaN, and the final newline that every JSON reply has."""
        assert self.type in ("application/json", "application/problem+json"), f"{self.status} {self.type}"
        assert self.body.endswith(b"\n"), "JSON does not end in a newline"
        return json.loads(self.body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    assert len(result) == len(pairs), f"duplicate member among {[name for name, _ in pairs]}"
    return result


def _no_constant(name: str) -> Any:
    raise AssertionError(f"{name} in JSON")


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Client:
    """Keeps its connection alive between requests; opens a new one when the gateway closed it."""

    def __init__(self, host: str, port: int, user: str | None = None, password: str = "") -> None:
        self.host = host
        self.port = port
        self.authorization = None if user is None else basic(user, password)
        self.n_connects = 0
        self._connection: HTTPConnection | None = None

    def request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        json_body: Any = None,
    ) -> Response:
        response = self.open(method, target, body, headers, json_body=json_body)
        content = response.read()
        result = Response(response.status, response.getheaders(), content)
        if response.will_close:
            self.close()
        return result

    def open(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        json_body: Any = None,
    ) -> HTTPResponse:
        """The response with its body unread, for streams; read it to the end or close() the client."""
        fields = {"Accept-Encoding": "identity"}
        if self.authorization is not None:
            fields["Authorization"] = self.authorization
        if json_body is not None:
            body = json.dumps(json_body).encode()
            fields["Content-Type"] = "application/json"
        if body is not None or method in ("POST", "PUT", "PATCH"):
            fields["Content-Length"] = str(len(body or b""))
        fields.update(headers or {})
        connection = self._connect()
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in fields.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        return connection.getresponse()

    def get(self, target: str, headers: dict[str, str] | None = None) -> Response:
        return self.request("GET", target, headers=headers)

    def head(self, target: str, headers: dict[str, str] | None = None) -> Response:
        return self.request("HEAD", target, headers=headers)

    def put(self, target: str, headers: dict[str, str] | None = None) -> Response:
        return self.request("PUT", target, headers=headers)

    def delete(self, target: str, headers: dict[str, str] | None = None) -> Response:
        return self.request("DELETE", target, headers=headers)

    def patch(self, target: str, json_body: Any, headers: dict[str, str] | None = None) -> Response:
        return self.request("PATCH", target, headers=headers, json_body=json_body)

    def exchange(self, request: bytes, *, half_close: bool = False) -> bytes:
        """Sends bytes as they are on a connection of their own; what came back until the gateway closed.

        A request that keeps its connection alive needs half_close, or Connection: close in it.
        """
        with socket.create_connection((self.host, self.port), timeout=TIMEOUT_SECONDS) as connection:
            connection.sendall(request)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            return b"".join(_chunks(connection))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> HTTPConnection:
        if self._connection is None or self._connection.sock is None:
            self._connection = HTTPConnection(self.host, self.port, timeout=TIMEOUT_SECONDS)
            self._connection.connect()
            self.n_connects += 1
        return self._connection


def _chunks(connection: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            data = connection.recv(65536)
        except ConnectionResetError:
            return
        if not data:
            return
        yield data
