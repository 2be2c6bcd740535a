"""Messages as they should not be and yet are: each is a kind that real mailboxes hold."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from datetime import datetime

from mime import attachment, fields, html, message, multipart, pdf, rfc822, text
from seed import Message

SEEN = "\\Seen"
ROBOT = "Robot <robot@example.test>"

At = Callable[[float], datetime]
Arrived = Callable[..., Message]


def odd_messages(at: At, arrived: Arrived) -> Iterator[Message]:
    yield from _headers(at, arrived)
    yield from _charsets(at, arrived)
    yield from _structures(at, arrived)


def _subject(date: datetime, identity: str, subject: bytes, body: str) -> bytes:
    """subject is the whole header field, raw."""
    raw = message(date, identity, "", ROBOT, text(body))
    return raw.replace(b"Subject: \n", subject + b"\n")


def _headers(at: At, arrived: Arrived) -> Iterator[Message]:
    encoded = base64.b64encode("日本の朝ごはん".encode())
    # 日 is three bytes: the first encoded word ends inside 本.
    first, second = base64.b64encode("日本の朝ごはん".encode()[:5]), base64.b64encode("日本の朝ごはん".encode()[5:])
    yield arrived(
        41,
        _subject(
            at(41),
            "split-word",
            b"Subject: =?utf-8?B?" + first + b"?=\n =?utf-8?B?" + second + b"?=",
            "The subject is cut inside a character, as some senders do: 日本の朝ごはん.\n",
        ),
        SEEN,
    )
    yield arrived(
        39,
        _subject(
            at(39),
            "broken-words",
            b"Subject: =?x-klingon?Q?tlhIngan=20Hol?= =?utf-8?B?" + encoded[:9] + b"?= =?utf-8?Q?never ended",
            "An unknown charset, base64 that is cut off, and an encoded word without an end.\n",
        ),
    )
    yield arrived(
        37,
        _subject(
            at(37),
            "raw-utf8",
            "Subject: Café crème à emporter — raw UTF-8 in a header".encode(),
            "No RFC 2047 anywhere: the header is plain UTF-8.\n",
        ),
        SEEN,
    )
    yield arrived(
        35,
        _subject(
            at(35),
            "raw-latin1",
            "Subject: Grüße aus Köln (Latin-1, unlabelled)".encode("latin-1"),
            "The header is Latin-1, and nothing says so.\n",
        ).replace(b"From: Robot", "From: Jürgen".encode("latin-1")),
        SEEN,
    )
    yield arrived(
        33,
        fields("Date: not a date", "From: nobody in particular", "To: undisclosed-recipients:;", "Cc: <>, @, ,;")
        + b"\nNo subject, no MIME, no Message-ID, and a date that is none.\n",
    )
    many = ", ".join(f"Person {n} <person{n}@example.test>" for n in range(1, 121))
    yield arrived(
        32,
        message(
            at(32),
            "crowd",
            "Everybody at once",
            "Office (the second floor) <office@example.test>",
            text("A hundred and twenty recipients, and a group.\n"),
            "Cc: Team: ann@example.test, tom@example.test;, " + many.replace(", ", ",\n "),
        ),
        SEEN,
    )


def _charsets(at: At, arrived: Arrived) -> Iterator[Message]:
    latin1 = fields("Content-Type: text/plain", "Content-Transfer-Encoding: 8bit") + b"\n"
    yield arrived(
        30,
        message(at(30), "no-charset", "No charset, and eight bits", ROBOT, latin1)
        + "Älter als MIME: dies ist Latin-1, aber niemand sagt es.\n".encode("latin-1"),
        SEEN,
    )
    mislabelled = fields("Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit") + b"\n"
    yield arrived(
        28,
        message(at(28), "wrong-charset", "It says UTF-8 and is not", ROBOT, mislabelled)
        + "“Naïve” – labelled as UTF-8, written as windows-1252.\n".encode("cp1252"),
    )
    unknown = fields("Content-Type: text/plain; charset=x-unknown-8bit", "Content-Transfer-Encoding: 8bit") + b"\n"
    yield arrived(
        26,
        message(at(26), "unknown-charset", "An unknown charset", ROBOT, unknown) + b"Bytes: \xe4\xf6\xfc \x80\xff.\n",
        SEEN,
    )
    yield arrived(
        24,
        message(
            at(24),
            "rtl",
            "שלום, מה שלומך?",
            "=?windows-1255?B?" + base64.b64encode("דנה".encode("cp1255")).decode() + "?= <dana@example.test>",
            text("שלום,\n\nנתראה מחר בשש.\n\nדנה\n", "windows-1255", "base64"),
        ),
    )
    yield arrived(
        22,
        message(
            at(22),
            "utf16",
            "Notes in UTF-16",
            ROBOT,
            multipart(
                "mixed",
                text("The notes are attached, in UTF-16.\n"),
                attachment("text/plain; charset=utf-16", "notes.txt", "Ünïcödé ✓\r\n".encode("utf-16")),
            ),
        ),
        SEEN,
    )


def _structures(at: At, arrived: Arrived) -> Iterator[Message]:
    yield arrived(
        20,
        message(
            at(20),
            "hostile-html",
            "You have won!!!",
            '"PayPa1 Support" <support@phish.example>',
            html(
                "<html><body onload=\"alert('load')\"><script>alert('script')</script>"
                '<p>Click <a href="javascript:alert(1)">here</a> or <a href="https://phish.example/">here</a>.</p>'
                '<img src="https://phish.example/track.png" onerror="alert(2)">'
                '<form action="https://phish.example/"><input name="password"></form>'
                '<iframe src="https://phish.example/frame"></iframe></body></html>'
            ),
        ),
        "$Phishing",
    )
    yield arrived(
        18,
        message(
            at(18),
            "hostile-names",
            "Attachments with names to be careful with",
            ROBOT,
            multipart(
                "mixed",
                text("A path, quotes and a header injection, as file names.\n"),
                attachment("application/octet-stream", "../../etc/passwd", b"root:x:0:0::/:/bin/sh\n"),
                attachment("application/octet-stream", 'say \\"hi\\"; rm.txt', b"hi\n"),
                attachment("application/octet-stream", None, b"evil\n").replace(
                    b"Content-Disposition: attachment",
                    b"Content-Disposition: attachment; filename*=utf-8''a%0D%0ASet-Cookie:%20x=y.txt",
                ),
            ),
        ),
    )
    nested = text("At the bottom of eight multiparts.\n")
    for _ in range(8):
        nested = multipart("mixed", nested)
    yield arrived(16, message(at(16), "nested", "Boxes in boxes", ROBOT, nested), SEEN)
    unclosed = multipart("mixed", text("The last boundary is missing.\n"), attachment("image/gif", "x.gif", b"GIF89a"))
    yield arrived(15, message(at(15), "unclosed", "Cut off", ROBOT, unclosed[: unclosed.rindex(b"--=_")]), SEEN)
    yield arrived(
        13,
        message(
            at(13),
            "bounce",
            "Undelivered Mail Returned to Sender",
            "Mail Delivery System <MAILER-DAEMON@example.test>",
            multipart(
                "report",
                text("Your message could not be delivered to <nobody@example.test>: user unknown.\n"),
                fields("Content-Type: message/delivery-status")
                + b"\nReporting-MTA: dns; mail.example.test\n\nFinal-Recipient: rfc822; nobody@example.test\n"
                + b"Action: failed\nStatus: 5.1.1\n",
                rfc822(
                    message(at(13), "lost", "Are you there?", "demo@example.test", text("Hello?\n"), to="nobody@example.test")
                ),
                parameters="; report-type=delivery-status",
            ),
            "Auto-Submitted: auto-replied",
        ),
    )
    yield arrived(
        11,
        message(
            at(11),
            "signed",
            "Signed",
            "Tom Okafor <tom@example.test>",
            multipart(
                "signed",
                text("This text is signed; the signature is for show.\n", "us-ascii", "7bit"),
                fields('Content-Type: application/pgp-signature; name="signature.asc"')
                + b"\n-----BEGIN PGP SIGNATURE-----\n\niHUEABYKAB0WIQ\n-----END PGP SIGNATURE-----\n",
                parameters='; micalg=pgp-sha256; protocol="application/pgp-signature"',
            ),
        ),
        SEEN,
    )
    log = "".join(f"{n:05d} 12:{n // 60 % 60:02d}:{n % 60:02d} job {n * 7919 % 9973} finished: ok\n" for n in range(4000))
    yield arrived(9, message(at(9), "long-log", "Nightly log (long)", ROBOT, text(log, "us-ascii", "7bit")), SEEN)
    yield arrived(
        8,
        message(
            at(8),
            "only-pdf",
            "Scan",
            "Scanner <scanner@example.test>",
            attachment('application/pdf; name="scan.pdf"', "scan.pdf", pdf("Page 1")),
        ),
    )
    yield arrived(6, message(at(6), "empty", "Empty", ROBOT, fields("Content-Type: text/plain") + b"\n"), SEEN)
    yield arrived(
        4,
        message(
            at(4),
            "uu",
            "An attachment from the eighties",
            ROBOT,
            fields("Content-Type: text/plain", "Content-Transfer-Encoding: x-uuencode")
            + b"\nbegin 644 hello.txt\n-2&5L;&\\L('=O<FQD\"@``\n`\nend\n",
        ),
    )
