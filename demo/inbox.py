"""The demo's INBOX, in the order of arrival. UID 7 is the one with the invoice, which the documentation uses."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from mime import attachment, fields, html, inline_image, message, multipart, pdf, png, rfc822, text, word
from odd import odd_messages
from seed import Message

SEEN = "\\Seen"
FLAGGED = "\\Flagged"
ANSWERED = "\\Answered"

ANN = "Ann Keller <ann@example.test>"
TOM = "Tom Okafor <tom@example.test>"
MARIE = "=?utf-8?Q?Marie_Lef=C3=A8vre?= <marie@example.test>"
BILLING = "Northwind Hosting <billing@northwind.example>"


def logo() -> bytes:
    def colour(x: int, y: int) -> tuple[int, int, int]:
        is_post = x % 16 in (6, 7, 8, 9) or y in (10, 11, 20, 21)
        return (46, 92, 64) if is_post else (238, 243, 236)

    return png(96, 32, colour)


def chart() -> bytes:
    heights = (12, 20, 16, 34, 28, 44, 52)
    return png(140, 60, lambda x, y: (200, 84, 60) if x % 20 > 4 and 60 - y < heights[x // 20] else (252, 250, 246))


def inbox(now: datetime) -> Iterator[Message]:
    def at(days: float) -> datetime:
        return now - timedelta(days=days)

    def arrived(days: float, raw: bytes, *flags: str) -> Message:
        return Message(raw, flags, at(days) + timedelta(seconds=4))

    yield arrived(
        118,
        message(
            at(118),
            "welcome",
            "Welcome to your demo mailbox",
            "Gatepost <hello@example.test>",
            text(
                "Everything in here is made up, and made anew each time the demo starts: \n"
                "change it, break it, delete it.\n\n"
                "This paragraph is format=flowed (RFC 3676), so a reader may rewrap it to \n"
                "the width of its window, and the lines that end in a space go on.\n\n"
                "> A quoted line, and one that was \n> flowed in the quote.\n\n-- \nGatepost\n",
                "utf-8",
                "8bit",
                "plain",
                "format=flowed",
            ),
        ),
        SEEN,
    )
    yield arrived(104, newsletter(at(104)), SEEN)
    yield arrived(
        97,
        message(
            at(97),
            "list-4711",
            "[imap-friends] Pipelining and untagged answers",
            'Kim Larsen via imap-friends <imap-friends@lists.example>',
            text(
                "Does anybody rely on the order of FETCH answers when two commands are in flight?\n\n"
                "Ours come interleaved, and that is allowed.\n\nKim\n"
                "_______________________________________________\n"
                "imap-friends mailing list\nhttps://lists.example/imap-friends\n"
            ),
            "List-Id: Friends of IMAP <imap-friends.lists.example>",
            "List-Post: <mailto:imap-friends@lists.example>",
            "List-Unsubscribe: <https://lists.example/leave?u=42>, <mailto:leave@lists.example>",
            "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
            "Reply-To: Kim Larsen <kim@example.test>",
            "Precedence: list",
            to="imap-friends@lists.example",
        ),
        SEEN,
    )
    yield arrived(
        91,
        message(
            at(91),
            "jp-1",
            "",
            word("山田 太郎", "iso-2022-jp") + " <yamada@example.test>",
            text(
                "デモ様\n\n来週の打ち合わせの件、火曜日の午後三時でいかがでしょうか。\n"
                "資料は前日までにお送りします。\n\n山田\n",
                "iso-2022-jp",
                "7bit",
            ),
        ).replace(b"Subject: \n", f"Subject: {word('打ち合わせの日程について', 'iso-2022-jp')}\n".encode()),
        SEEN,
    )
    yield arrived(
        83,
        message(
            at(83),
            "ru-1",
            "",
            word("Ирина Волкова", "koi8-r") + " <irina@example.test>",
            text(
                "Здравствуйте!\n\nВысылаю отчёт за квартал, как договаривались.\n"
                "Если появятся вопросы, звоните после обеда.\n\nИрина\n",
                "koi8-r",
            ),
        ).replace(b"Subject: \n", f"Subject: {word('Отчёт за третий квартал', 'koi8-r')}\n".encode()),
        SEEN,
        FLAGGED,
    )
    yield arrived(
        76,
        message(
            at(76),
            "porto-1",
            "Porto in the spring?",
            ANN,
            text("Hello both,\n\nwho is in for four days in Porto, end of April?\nI found a flat with a terrace.\n\nAnn\n"),
            to="demo@example.test, Tom Okafor <tom@example.test>",
        ),
        SEEN,
        ANSWERED,
    )
    yield arrived(
        75,
        message(
            at(75),
            "invoice-117",
            "Your invoice 2024-117",
            BILLING,
            multipart(
                "mixed",
                text(
                    "Dear customer,\n\nattached is invoice 2024-117 over 48,50 €.\n"
                    "It will be charged within fourteen days.\n\nNorthwind Hosting\n",
                    "utf-8",
                    "quoted-printable",
                ),
                attachment(
                    'application/pdf; name="invoice-2024-117.pdf"',
                    "invoice-2024-117.pdf",
                    pdf("Northwind Hosting", "Invoice 2024-117", "", "One small server, a month     48.50 EUR"),
                    "Content-Description: Invoice",
                ),
            ),
        ),
        "$Important",
    )
    yield arrived(
        74,
        message(
            at(74),
            "porto-2",
            "Re: Porto in the spring?",
            TOM,
            text("Count me in. The 25th would suit me best.\n\n> who is in for four days in Porto, end of April?\n"),
            "In-Reply-To: <porto-1@example.test>",
            "References: <porto-1@example.test>",
            to="Ann Keller <ann@example.test>, demo@example.test",
        ),
        SEEN,
    )
    yield arrived(
        68,
        message(
            at(68),
            "cp1252-1",
            "“Smart” quotes – and €",
            MARIE,
            text(
                "Bonjour,\n\nvoilà le résumé : “c’est prêt” – il ne manque que l’œuvre n° 3…\n"
                "Le tout pour 120 €.\n\nMarie\n",
                "windows-1252",
                "quoted-printable",
            ),
        ),
        SEEN,
    )
    yield arrived(
        63,
        message(
            at(63),
            "cn-1",
            "",
            word("王小明", "gb18030") + " <wang@example.test>",
            text("您好：\n\n附件中的数据已经更新，请查收。四字节字符也在这里：𠮷、㐀、€。\n\n王小明\n", "gb18030", "base64"),
        ).replace(b"Subject: \n", f"Subject: {word('数据更新通知', 'gb18030')}\n".encode()),
        SEEN,
    )
    yield arrived(57, minutes(at(57)), SEEN, "project-x")
    yield arrived(52, invitation(at(52), now + timedelta(days=9)), FLAGGED)
    yield arrived(48, forwarded(at(48), at(60)), SEEN, "$Forwarded")
    yield arrived(
        45,
        message(
            at(45),
            "porto-3",
            "Re: Porto in the spring?",
            ANN,
            multipart(
                "alternative",
                text("The 25th it is. I booked the flat, see the picture.\n\nAnn\n"),
                multipart(
                    "related",
                    html('<p>The 25th it is. I booked the flat:</p><p><img src="cid:flat@porto" alt="the flat"></p><p>Ann</p>'),
                    inline_image("flat.png", png(64, 48, lambda x, y: (60 + 4 * (y // 2), 150, 210 - 2 * y)), "flat@porto"),
                ),
            ),
            "In-Reply-To: <porto-2@example.test>",
            "References: <porto-1@example.test> <porto-2@example.test>",
            to="Tom Okafor <tom@example.test>, demo@example.test",
        ),
        SEEN,
        FLAGGED,
    )
    yield from odd_messages(at, arrived)
    yield arrived(
        2.2,
        message(
            at(2.2),
            "porto-4",
            "Re: Porto in the spring?",
            TOM,
            text("Tickets are booked too: out at 7:40, back on the 29th.\n\nTom\n"),
            "In-Reply-To: <porto-3@example.test>",
            "References: <porto-1@example.test> <porto-2@example.test>\n <porto-3@example.test>",
            to="Ann Keller <ann@example.test>, demo@example.test",
        ),
        "project-x",
    )
    yield arrived(
        0.6,
        message(
            at(0.6),
            "lunch",
            "Lunch? 🍜",
            ANN,
            text("Noon at the noodle place? 👩‍💻🏳️‍🌈\n\nA.\n", "utf-8", "base64"),
        ),
    )


def newsletter(date: datetime) -> bytes:
    page = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><style>body{font-family:sans-serif;color:#222}td{padding:4px 12px}</style></head>
<body><p><img src="cid:logo@news" alt="Fence Post" width="96" height="32"></p>
<h1>The week in numbers</h1><p>More letters than ever: <b>up 18&nbsp;%</b>.</p>
<p><img src="cid:chart@news" alt="letters a day" width="280"></p>
<table><tr><td>Monday</td><td>1&thinsp;204</td></tr><tr><td>Sunday</td><td>5&thinsp;211</td></tr></table>
<p><a href="https://news.example/week/12">Read on</a>
<img src="https://news.example/pixel.gif?u=42" width="1" height="1" alt=""></p></body></html>
"""
    return message(
        date,
        "news-12",
        "The week in numbers, with pictures",
        '"The Fence Post" <news@news.example>',
        multipart(
            "alternative",
            text("THE WEEK IN NUMBERS\n\nMore letters than ever: up 18 %.\n\nRead on: https://news.example/week/12\n"),
            multipart(
                "related",
                html(page),
                inline_image("logo.png", logo(), "logo@news"),
                inline_image("chart.png", chart(), "chart@news"),
                parameters='; type="text/html"',
            ),
        ),
        "List-Unsubscribe: <https://news.example/leave/42>",
    )


def minutes(date: datetime) -> bytes:
    """Alternative inside mixed; file names after RFC 2231, in pieces, and after RFC 2047 where they should not be."""
    table = "Punkt;Wer;Bis\nBudget prüfen;Jörg;1. März\nRäume buchen;Zoë;15. März\n".encode()
    return message(
        date,
        "minutes-3",
        "Protokoll der Sitzung vom Dienstag – Änderungswünsche bitte bis Freitag an mich, danke schön!",
        word("Jörg Müßig") + " <joerg@example.test>",
        multipart(
            "mixed",
            multipart(
                "alternative",
                text("Hallo zusammen,\n\nanbei Protokoll und Tabelle.\n\nJörg\n", "iso-8859-1", "quoted-printable"),
                html("<p>Hallo zusammen,</p><p>anbei <b>Protokoll</b> und Tabelle.</p><p>Jörg</p>", "iso-8859-1"),
            ),
            attachment(
                "application/pdf",
                None,
                pdf("Protokoll", "1. Budget", "2. Raeume"),
            ).replace(
                b"Content-Disposition: attachment\n",
                b"Content-Disposition: attachment;\n"
                b" filename*0*=utf-8'de'Protokoll%20der%20Sitzung%20;\n"
                b" filename*1*=%C3%BCber%20R%C3%A4ume%20;\n"
                b' filename*2="und Budget.pdf"\n',
            ),
            attachment("text/csv; charset=utf-8", None, table).replace(
                b"Content-Disposition: attachment\n",
                b'Content-Disposition: attachment; filename="=?utf-8?Q?Aufgaben_f=C3=BCr_M=C3=A4rz.csv?="\n',
            ),
        ),
        "Importance: high",
        to='demo@example.test, "Verteiler, alle" <all@example.test>',
    )


def invitation(date: datetime, start: datetime) -> bytes:
    stamp = "%Y%m%dT%H0000Z"
    event = (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Example//Planner//EN\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\n"
        f"UID:review-7@example.test\r\nDTSTAMP:{date.strftime(stamp)}\r\nDTSTART:{start.strftime(stamp)}\r\n"
        f"DTEND:{(start + timedelta(hours=1)).strftime(stamp)}\r\nSUMMARY:Design review\r\nLOCATION:Room 4 / video\r\n"
        "ORGANIZER;CN=Ann Keller:mailto:ann@example.test\r\n"
        "ATTENDEE;RSVP=TRUE;CN=Demo Person:mailto:demo@example.test\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    return message(
        date,
        "review-7",
        "Invitation: Design review",
        ANN,
        multipart(
            "mixed",
            multipart(
                "alternative",
                text("Design review, one hour, room 4 or by video. Please answer.\n"),
                html("<p><b>Design review</b>, one hour, room 4 or by video. Please answer.</p>"),
                text(event, "utf-8", "8bit", "calendar", "method=REQUEST"),
            ),
            attachment('application/ics; name="invite.ics"', "invite.ics", event.encode()),
        ),
    )


def forwarded(date: datetime, original: datetime) -> bytes:
    inner = message(
        original,
        "offer-1",
        "Angebot für zwölf Stühle",
        word("Möbel Grün") + " <kontakt@gruen.example>",
        multipart(
            "mixed",
            text("Guten Tag,\n\nunser Angebot finden Sie im Anhang.\n", "utf-8", "quoted-printable"),
            attachment("application/pdf", "angebot.pdf", pdf("Angebot", "12 Stuehle     1188.00 EUR")),
        ),
        to="ann@example.test",
    )
    return message(
        date,
        "fwd-1",
        "Fwd: Angebot für zwölf Stühle",
        ANN,
        multipart(
            "mixed",
            text("What do you think? The original is attached as it came.\n\nAnn\n"),
            rfc822(inner, 'Content-Disposition: attachment; filename="Angebot.eml"'),
        ),
    )
