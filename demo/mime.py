"""Builds messages byte by byte: the demo wants both what mail programs write and what they should not."""

from __future__ import annotations

import base64
import quopri
import struct
import zlib
from datetime import datetime
from email.header import Header
from email.utils import format_datetime

ME = "Demo Person <demo@example.test>"


def fields(*lines: str | bytes) -> bytes:
    """Header lines, raw: what is passed as bytes is kept, however wrong."""
    return b"".join((line if isinstance(line, bytes) else line.encode("ascii")) + b"\n" for line in lines)


def word(text: str, charset: str = "utf-8") -> str:
    """RFC 2047, folded where needed; ASCII stays as it is."""
    if text.isascii():
        return text
    return Header(text, charset, maxlinelen=70).encode(linesep="\n")


def b64(data: bytes) -> bytes:
    return base64.encodebytes(data)


def text(
    content: str, charset: str | None = "utf-8", encoding: str = "8bit", subtype: str = "plain", *extra: str
) -> bytes:
    """A text part, headers and all."""
    data = content.encode(charset or "utf-8")
    label = f"; charset={charset}" if charset else ""
    kind = f"Content-Type: text/{subtype}{label}" + "".join(f"; {parameter}" for parameter in extra)
    if encoding == "base64":
        data = b64(data)
    elif encoding == "quoted-printable":
        data = quopri.encodestring(data)
    return fields(kind, f"Content-Transfer-Encoding: {encoding}") + b"\n" + data


def html(content: str, charset: str = "utf-8", encoding: str = "quoted-printable") -> bytes:
    return text(content, charset, encoding, "html")


def attachment(kind: str, name: str | None, data: bytes, *extra: str, disposition: str = "attachment") -> bytes:
    """A base64 part; name is put in as an ASCII filename, extra are whole header lines."""
    where = f'Content-Disposition: {disposition}; filename="{name}"' if name else f"Content-Disposition: {disposition}"
    return fields(f"Content-Type: {kind}", where, "Content-Transfer-Encoding: base64", *extra) + b"\n" + b64(data)


def inline_image(name: str, data: bytes, content_id: str) -> bytes:
    return attachment("image/png", name, data, f"Content-ID: <{content_id}>", disposition="inline")


def rfc822(message: bytes, *extra: str) -> bytes:
    return fields("Content-Type: message/rfc822", *extra) + b"\n" + message


def multipart(subtype: str, *parts: bytes, parameters: str = "", preamble: str = "") -> bytes:
    """The boundary comes from the content, so that each run writes the same bytes."""
    boundary = f"=_{subtype}_{zlib.crc32(b''.join(parts)):08x}"
    head = fields(f'Content-Type: multipart/{subtype}; boundary="{boundary}"{parameters}') + b"\n" + preamble.encode()
    line = b"--" + boundary.encode()
    return head + b"".join(line + b"\n" + part.rstrip(b"\n") + b"\n" for part in parts) + line + b"--\n"


def message(date: datetime, identity: str, subject: str, sender: str, body: bytes, *extra: str, to: str = ME) -> bytes:
    """body begins with its own MIME headers; extra are whole header lines."""
    return (
        fields(
            f"From: {sender}",
            f"To: {to}",
            f"Subject: {word(subject)}",
            f"Date: {format_datetime(date)}",
            f"Message-ID: <{identity}@example.test>",
            "MIME-Version: 1.0",
            *extra,
        )
        + body
    )


def png(width: int, height: int, colour_at) -> bytes:  # type: ignore[no-untyped-def]
    """colour_at(x, y) gives (red, green, blue)."""
    rows = b"".join(b"\0" + bytes(v for x in range(width) for v in colour_at(x, y)) for y in range(height))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def pdf(*lines: str) -> bytes:
    """One page of text that any viewer opens."""
    shown = "".join(f"({line}) Tj T* " for line in lines).encode("latin-1")
    stream = b"BT /F1 14 Tf 18 TL 72 720 Td " + shown + b"ET"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>\nstream\n" % len(stream) + stream + b"\nendstream",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    out = bytearray(b"%PDF-1.4\n")
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n" % number + content + b"\nendobj\n"
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)
