"""The demo's other mailboxes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from mime import ME, attachment, html, message, multipart, pdf, png, rfc822, text, word
from seed import Message

SEEN = "\\Seen"
ANN = "Ann Keller <ann@example.test>"


def others(now: datetime) -> Iterator[tuple[str, Message]]:
    def put(mailbox: str, days: float, raw_for, *flags: str) -> tuple[str, Message]:  # type: ignore[no-untyped-def]
        date = now - timedelta(days=days)
        return mailbox, Message(raw_for(date), flags, date)

    yield from (put("Sent", *rest) for rest in _sent())
    yield from (put("Drafts", *rest) for rest in _drafts())
    yield from (put("Trash", *rest) for rest in _trash())
    yield from (put("Junk", *rest) for rest in _junk())
    yield from (put("Archive", *rest) for rest in _archive())
    yield from (put("Work/2024", *rest) for rest in _work())
    yield from (put("Résumés", *rest) for rest in _resumes())
    yield put(
        "日本語",
        66,
        lambda date: message(
            date, "jp-2", "旅行の写真", word("鈴木 花子") + " <suzuki@example.test>", text("写真を送ります。\n", "shift_jis")
        ),
        SEEN,
    )


def _sent():  # type: ignore[no-untyped-def]
    yield 75.5, lambda date: message(
        date, "porto-1a", "Re: Porto in the spring?", ME, text("I am in!\n\n> who is in for four days in Porto?\n"),
        "In-Reply-To: <porto-1@example.test>", "References: <porto-1@example.test>", to=ANN,
    ), SEEN  # fmt: skip
    yield 50, lambda date: message(
        date, "sent-2", "Re: Invitation: Design review", ME, text("I will be there.\n"),
        "In-Reply-To: <review-7@example.test>", "References: <review-7@example.test>", to=ANN,
    ), SEEN  # fmt: skip
    yield 21, lambda date: message(
        date, "sent-3", "The plan, drawn", ME,
        multipart(
            "mixed", text("See the sketch.\n"),
            attachment("image/png", "sketch.png", png(48, 48, lambda x, y: (255, 255, 255) if (x // 6 + y // 6) % 2 else (30, 60, 120))),
        ), to="tom@example.test",
    ), SEEN  # fmt: skip


def _drafts():  # type: ignore[no-untyped-def]
    yield 5, lambda date: message(
        date, "draft-1", "Notes for Thursday", ME, text("- budget\n- rooms\n- who brings the cake?\n"), to=""
    ).replace(b"To: \n", b""), SEEN, "\\Draft"
    yield 1, lambda date: message(
        date, "draft-2", "Re: Lunch?", ME, multipart("alternative", text("Yes, but…\n"), html("<p>Yes, <i>but…</i></p>")), to=ANN
    ), SEEN, "\\Draft"  # fmt: skip


def _trash():  # type: ignore[no-untyped-def]
    yield 40, lambda date: message(
        date, "trash-1", "Sale ends tonight", "Shop <shop@shop.example>", html("<h1>Everything must go</h1>")
    ), SEEN
    yield 12, lambda date: message(
        date, "trash-2", "Your parcel has arrived", "Parcels <no-reply@parcels.example>", text("It is at the neighbours'.\n")
    )


def _junk():  # type: ignore[no-untyped-def]
    yield 29, lambda date: message(
        date, "junk-1", "RE: RE: Urgent transfer of $12,500,000", "Barrister <barrister@mail.example>",
        text("Dear Beloved,\n\nI write to you in confidence...\n"), "X-Spam-Flag: YES", to="undisclosed-recipients:;",
    ), "$Junk"  # fmt: skip
    yield 3, lambda date: message(
        date, "junk-2", "𝓛𝓸𝓼𝓮 𝔀𝓮𝓲𝓰𝓱𝓽 ​now", "=?utf-8?Q?D=CE=BFctor_=E2=9C=94?= <doc@spam.example>",
        html('<div style="display:none">random words walrus teapot</div><p>Click!</p>'), "X-Spam-Flag: YES",
    ), "$Junk"  # fmt: skip


def _archive():  # type: ignore[no-untyped-def]
    for number, days in enumerate((170, 155, 141, 126), 1):
        yield days, lambda date, number=number: message(
            date, f"report-{number}", f"Monthly report {number}", "Reports <reports@example.test>",
            multipart(
                "mixed",
                text(f"Report number {number} is attached.\n"),
                attachment("text/csv; charset=utf-8", f"report-{number}.csv", f"day,letters\n1,{number * 31}\n2,{number * 37}\n".encode()),
            ),
        ), SEEN  # fmt: skip


def _work():  # type: ignore[no-untyped-def]
    yield 160, lambda date: message(
        date, "work-1", "Kick-off", "Zoë Brandt <zoe@example.test>".replace("Zoë Brandt", word("Zoë Brandt")),
        text("We start on Monday.\n"),
    ), SEEN, "project-x"  # fmt: skip
    yield 88, lambda date: message(
        date, "work-2", "Fwd: Fwd: Numbers", "Tom Okafor <tom@example.test>",
        multipart(
            "mixed", text("Down there somewhere are the numbers.\n"),
            rfc822(message(
                date, "work-2b", "Fwd: Numbers", ANN,
                multipart("mixed", text("See below.\n"), rfc822(message(
                    date, "work-2c", "Numbers", "Reports <reports@example.test>",
                    multipart("mixed", text("Here they are.\n"), attachment("application/pdf", "numbers.pdf", pdf("42"))),
                ))),
            )),
        ),
    ), SEEN, "project-x", "\\Flagged"  # fmt: skip
    yield 70, lambda date: message(
        date, "work-3", "Budget approved ✔", "Zoe <zoe@example.test>", text("Good news.\n", "utf-8", "base64")
    )


def _resumes():  # type: ignore[no-untyped-def]
    for days, identity, name in ((55, "cv-1", "Amélie Dupont"), (19, "cv-2", "Łukasz Wójcik")):
        yield days, lambda date, identity=identity, name=name: message(
            date, identity, f"Candidature – {name}", f"{word(name)} <{identity}@example.test>",
            multipart(
                "mixed",
                text(f"Madame, Monsieur,\n\nveuillez trouver mon résumé ci-joint.\n\n{name}\n", "utf-8", "quoted-printable"),
                attachment("application/pdf", "cv.pdf", pdf("Curriculum vitae")),
            ),
        ), "\\Flagged"  # fmt: skip
