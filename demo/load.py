"""Fills a mailbox with the demo: load(port, user, password)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "integration"))

import seed  # noqa: E402
from inbox import inbox  # noqa: E402
from others import others  # noqa: E402


def demo_messages(now: datetime) -> Iterator[tuple[str, seed.Message]]:
    for message in inbox(now):
        yield "INBOX", message
    yield from others(now)


def load(
    port: int, user: str, password: str, now: datetime | None = None, full_name: Callable[[str], str] = str, *, has_keywords: bool = True
) -> int:
    """Returns how many messages there are. Dates lie in the months before now, to the hour. full_name says how the
    server calls a mailbox; has_keywords that it keeps those of one's own."""
    moment = (now or datetime.now(timezone.utc)).replace(minute=0, second=0, microsecond=0)
    by_mailbox: dict[str, list[seed.Message]] = {}
    for mailbox, message in demo_messages(moment):
        if not has_keywords:
            message = replace(message, flags=tuple(flag for flag in message.flags if flag.startswith("\\")))
        by_mailbox.setdefault(mailbox, []).append(message)
    with seed.session(port, user, password) as client:
        for mailbox in ("Work", "Work/2024", "Résumés", "日本語"):
            seed.create(client, full_name(mailbox))
        for mailbox, messages in by_mailbox.items():
            seed.append(client, full_name(mailbox), messages)
    return sum(len(messages) for messages in by_mailbox.values())
