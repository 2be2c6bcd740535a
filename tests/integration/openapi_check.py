"""Judges replies by openapi.yaml: is the status documented, the type, every header field, every member?

    check = Description.load()
    check.reply("GET", "/messages/7", response)
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from http_client import Response

ROOT = Path(__file__).resolve().parents[2]
METHODS = ("get", "put", "post", "patch", "delete")
# What HTTP itself needs, and CORS, which depends on the Origin of the request and not on the resource.
FREE_HEADERS = re.compile(r"(Date|Connection|Keep-Alive|Content-Length|Content-Type|Transfer-Encoding|Access-Control-.*)", re.I)

formats = jsonschema.FormatChecker(formats=())


@formats.checks("date-time", raises=ValueError)
def _is_time(value: object) -> bool:
    if not isinstance(value, str):
        return True
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", value):
        return False
    datetime.fromisoformat(value.replace("Z", "+00:00"))
    return True


@formats.checks("date", raises=ValueError)
def _is_date(value: object) -> bool:
    if isinstance(value, str):
        date.fromisoformat(value)
    return True


@formats.checks("uri-reference")
def _is_uri_reference(value: object) -> bool:
    return not isinstance(value, str) or re.fullmatch(r"[!#-;=?-\[\]_a-z~]*", value) is not None


@dataclass(frozen=True)
class Operation:
    path: str
    method: str
    body: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.body["operationId"])


class Description:
    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document

    @classmethod
    def load(cls) -> Description:
        return cls(yaml.safe_load((ROOT / "openapi.yaml").read_text(encoding="utf-8")))

    def operations(self) -> Iterator[Operation]:
        for path, item in self.document["paths"].items():
            for method in METHODS:
                if method in item:
                    yield Operation(path, method.upper(), item[method])

    def resolve(self, value: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in value:
            at: Any = self.document
            for step in value["$ref"].removeprefix("#/").split("/"):
                at = at[step]
            value = at
        return value

    def parameters(self, operation: Operation) -> list[dict[str, Any]]:
        return [self.resolve(one) for one in operation.body.get("parameters", [])]

    def find(self, method: str, target: str) -> Operation:
        """The operation that a raw request target belongs to; HEAD is GET's."""
        segments = target.split("?")[0].split("/")
        for operation in self.operations():
            pattern = operation.path.split("/")
            if operation.method == method.replace("HEAD", "GET") and len(pattern) == len(segments):
                if all(p == s or (p.startswith("{") and s) for p, s in zip(pattern, segments)):
                    return operation
        raise AssertionError(f"{method} {target} is not in openapi.yaml")

    def errors(self, schema: dict[str, Any], value: Any) -> list[str]:
        """What is wrong with a value; empty when nothing is."""
        whole = {"allOf": [schema], "components": self.document["components"]}
        validator = jsonschema.Draft202012Validator(whole, format_checker=formats)
        return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]

    def conforms(self, name: str, value: Any) -> None:
        errors = self.errors({"$ref": f"#/components/schemas/{name}"}, value)
        assert not errors, f"{name}: " + "\n".join(errors)

    def reply(self, method: str, target: str, response: Response) -> Operation:
        operation = self.find(method, target)
        where = f"{method} {target[:100]} -> {response.status}"
        documented = operation.body["responses"]
        assert str(response.status) in documented, f"{where}: the status is not documented; {response.body[:300]!r}"
        entry = self.resolve(documented[str(response.status)])
        self._headers(where, entry.get("headers", {}), response)
        self._content(where, method, entry.get("content", {}), response)
        return operation

    def problem(self, method: str, response: Response) -> dict[str, Any]:
        """A problem of what has no operation: a method or path that is none."""
        for name in ("X-Request-Id", "Server-Timing", "X-Content-Type-Options", "Cache-Control", "Vary"):
            header = self.document["components"]["headers"][name.replace("-", "")]
            self._header(f"{method} -> {response.status}", name, header, response)
        assert response.type == "application/problem+json"
        if method == "HEAD":
            assert response.body == b""
            return {}
        return self._problem(str(response.status), response)

    def _problem(self, where: str, response: Response) -> dict[str, Any]:
        body: dict[str, Any] = response.json()
        self.conforms("Problem", body)
        assert body["status"] == response.status, where
        assert body["requestId"] == response.header("X-Request-Id"), where
        return body

    def _header(self, where: str, name: str, header: dict[str, Any], response: Response) -> None:
        header = self.resolve(header)
        value = response.header(name)
        if value is None:
            assert not header.get("required"), f"{where}: {name} is missing"
        else:
            errors = self.errors(header["schema"], value)
            assert not errors, f"{where}: {name}: {errors}"

    def _headers(self, where: str, headers: dict[str, Any], response: Response) -> None:
        for name, header in headers.items():
            self._header(where, name, header, response)
        known = {name.lower() for name in headers}
        for name, value in response.headers:
            assert name.lower() in known or FREE_HEADERS.fullmatch(name), f"{where}: {name}: {value} is not documented"

    def _content(self, where: str, method: str, content: dict[str, Any], response: Response) -> None:
        kind = response.header("Content-Type")
        if not content:
            assert response.body == b"" and kind is None, f"{where}: a body or a type that is not documented"
            return
        assert kind in content or (kind and "*/*" in content), f"{where}: {kind} is not among {list(content)}"
        schema = content[kind if kind in content else "*/*"].get("schema", {})
        if method == "HEAD":
            assert response.body == b"", f"{where}: HEAD with a body"
        elif kind == "application/problem+json":
            self._problem(where, response)
        elif kind == "application/json":
            errors = self.errors(schema, response.json())
            assert not errors, f"{where}: " + "\n".join(errors)


def with_stranger(value: Any) -> Iterator[tuple[str, Any]]:
    """The value with an unknown member put into one of its objects, for each of them."""

    def walk(at: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
        if isinstance(at, dict):
            yield path
            for key, child in at.items():
                yield from walk(child, (*path, key))
        elif isinstance(at, list):
            for index, child in enumerate(at):
                yield from walk(child, (*path, index))

    for path in walk(value, ()):
        changed = copy.deepcopy(value)
        at = changed
        for step in path:
            at = at[step]
        at["aStranger"] = "unknown"
        yield "/".join(map(str, path)), changed
