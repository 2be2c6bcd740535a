"""What one actor's messages must be, by what it did to them and what it was told.

Each message belongs to one actor, by its Message-ID, and nobody else touches it: so however many actors work at once, each
knows exactly what is to be found of its own. What became of a write whose answer was lost is a Doubt: one of several
things, decided by the next look.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from oracle import Content, Seen

Places = Counter[tuple[str, Seen]]  # mailbox and message, and how often


@dataclass(frozen=True)
class Doubt:
    """What one copy of a message may have become: one of these."""

    id: str
    outcomes: tuple[tuple[tuple[str, Seen], ...], ...]
    cause: str


class Wrong(AssertionError):
    pass


class Model:
    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.have: dict[str, Content] = defaultdict(dict)  # mailbox: UID: message
        self.unlocated: list[tuple[str, Seen]] = []  # there, but the server did not say at which UID
        self.doubts: list[Doubt] = []
        self.released: dict[str, frozenset[str]] = {}  # ids that may be gone, or be in these mailboxes
        self._n_made = 0

    def new_id(self) -> str:
        self._n_made += 1
        return f"<{self.owner}-{self._n_made}@chaos.test>"

    def owns(self, message_id: str) -> bool:
        return message_id.startswith(f"<{self.owner}-")

    # Changes that are certain.

    def put(self, mailbox: str, uid: int | None, seen: Seen) -> None:
        if uid is None:
            self.unlocated.append((mailbox, seen))
        else:
            self.have[mailbox][uid] = seen

    def take(self, mailbox: str, uid: int) -> Seen:
        return self.have[mailbox].pop(uid)

    def doubt(self, mailbox: str, uid: int, outcomes: Iterable[Iterable[tuple[str, Seen]]], cause: str) -> None:
        seen = self.take(mailbox, uid)
        self.doubts.append(Doubt(seen.id, tuple(tuple(one) for one in outcomes), cause))

    def doubt_new(self, mailbox: str, seen: Seen, cause: str) -> None:
        self.doubts.append(Doubt(seen.id, ((), ((mailbox, seen),)), cause))

    def release(self, mailbox: str, *names: str) -> None:
        """The mailbox may be there under one of these names, or not at all."""
        for seen in self.have.pop(mailbox, {}).values():
            self.released[seen.id] = self.released.get(seen.id, frozenset()) | frozenset(names)
        for place, seen in [one for one in self.unlocated if one[0] == mailbox]:
            self.unlocated.remove((place, seen))
            self.released[seen.id] = self.released.get(seen.id, frozenset()) | frozenset(names)

    # The look.

    def expected(self) -> dict[str, Places]:
        """By id, without what is in doubt."""
        result: dict[str, Places] = defaultdict(Counter)
        for mailbox, content in self.have.items():
            for seen in content.values():
                result[seen.id][(mailbox, seen)] += 1
        for mailbox, seen in self.unlocated:
            result[seen.id][(mailbox, seen)] += 1
        return result

    def check(self, contents: Mapping[str, Content]) -> None:
        """Raises Wrong when what is there is not what must be; else doubts end, and every UID is known."""
        actual: dict[str, Places] = defaultdict(Counter)
        for mailbox, content in contents.items():
            for seen in content.values():
                if self.owns(seen.id):
                    actual[seen.id][(mailbox, seen)] += 1
        expected = self.expected()
        doubts: dict[str, list[Doubt]] = defaultdict(list)
        for doubt in self.doubts:
            doubts[doubt.id].append(doubt)
        for one in sorted(set(actual) | set(expected) | set(doubts)):
            if one in self.released:
                continue
            if not any(actual[one] == expected[one] + Counter(itertools.chain(*chosen)) for chosen in itertools.product(*(d.outcomes for d in doubts[one]))):
                raise Wrong(f"{one}:\n  is       {dict(actual[one])}\n  expected {dict(expected[one])}\n  doubts   {doubts[one]}")
        self.doubts.clear()
        self.unlocated.clear()
        self.have.clear()
        for mailbox, content in contents.items():
            for uid, seen in content.items():
                if self.owns(seen.id) and seen.id not in self.released:
                    self.have[mailbox][uid] = seen
