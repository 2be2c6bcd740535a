"""Copies, moves and removals by the thousand, while a second client marks other messages as deleted and unmarks them.

An EXPUNGE of what is marked, or a CLOSE, would take those along; a sequence number that moved would hit the wrong one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import seed
from actors import HttpActor, Marker, raw_message
from dovecot import Dovecot, Options
from gateway import Gateway
from oracle import Oracle, Seen

FULL = "IMAP4rev1 SASL-IR ENABLE IDLE UNSELECT CHILDREN NAMESPACE LIST-EXTENDED LIST-STATUS CONDSTORE QRESYNC ESEARCH LITERAL+ SPECIAL-USE UIDPLUS MOVE"


def without(*gone: str) -> str:
    return " ".join(one for one in FULL.split() if one not in gone)


KINDS = {
    "all": FULL,
    "no MOVE": without("MOVE"),
    "no UIDPLUS": without("UIDPLUS", "MOVE"),
    "MOVE without UIDPLUS": without("UIDPLUS"),
    "no CONDSTORE, QRESYNC, ESEARCH": without("CONDSTORE", "QRESYNC", "ESEARCH"),
    "bare": "IMAP4rev1",
}
USER, PASSWORD = "alice", "secret"
MAILBOXES = ["INBOX", "Work", "Work/Old", "Trash"]
N_OF_OTHERS, N_OF_ACTOR = 12, 8  # in each mailbox
CHECK_EACH = 100  # operations


def run_marks(binary: Path, kind: str, *, n_operations: int, seed_number: int, say: Callable[[str], None] = lambda text: None) -> None:
    server = frozenset(KINDS[kind].split()) & {"MOVE", "UIDPLUS"}
    with Dovecot(users={USER: PASSWORD}, options=Options(capability=KINDS[kind])) as dovecot, Oracle(dovecot.imap_port, USER, PASSWORD) as oracle:
        marker = Marker("other", dovecot.imap_port, USER, PASSWORD, MAILBOXES, seed_number)
        options = ["--imap-url", dovecot.imaps_url, "--imap-ca-file", str(dovecot.ca_file)]
        with Gateway(binary, options) as gateway:
            actor = HttpActor("gateway", lambda: gateway.client(USER, PASSWORD), MAILBOXES, seed_number, server)
            fill(dovecot, oracle, marker, actor)
            marker.start()
            try:
                for n in range(1, n_operations + 1):
                    actor.step()
                    if sum(map(len, actor.model.have.values())) < len(MAILBOXES) * 2:
                        add_messages(dovecot, oracle, actor)
                    if n % CHECK_EACH == 0 or n == n_operations:
                        check(oracle, marker, actor)
                        say(f"{kind}: {n} operations, {marker.n_marks} marks, {dict(actor.counts)}")
            finally:
                marker.stop()
                actor.close()
            assert marker.n_marks > 0


def fill(dovecot: Dovecot, oracle: Oracle, marker: Marker, actor: HttpActor) -> None:
    with seed.session(dovecot.imap_port, USER, PASSWORD) as client:
        for mailbox in MAILBOXES:
            if mailbox not in ("INBOX", "Trash"):
                seed.create(client, mailbox)
            ids = [marker.model.new_id() for _ in range(N_OF_OTHERS)]
            own = [actor.model.new_id() for _ in range(N_OF_ACTOR)]
            # side by side, so that a wrong range would hit the other's
            mixed = [one for pair in zip(ids, own + [""] * N_OF_OTHERS) for one in pair if one]
            seed.append(client, mailbox, [seed.Message(raw_message(one), ("\\Flagged",)) for one in mixed])
    for mailbox in MAILBOXES:
        for uid, seen in oracle.content(mailbox).items():
            (marker if marker.model.owns(seen.id) else actor).model.put(mailbox, uid, seen)


def add_messages(dovecot: Dovecot, oracle: Oracle, actor: HttpActor) -> None:
    """More to work on, behind the gateway's back."""
    new = {actor.model.new_id() for _ in range(N_OF_ACTOR)}
    with seed.session(dovecot.imap_port, USER, PASSWORD) as client:
        seed.append(client, "INBOX", [seed.Message(raw_message(one)) for one in sorted(new)])
    for uid, seen in oracle.content("INBOX").items():
        if seen.id in new:
            actor.model.put("INBOX", uid, seen)


def check(oracle: Oracle, marker: Marker, actor: HttpActor) -> None:
    contents = oracle.contents(MAILBOXES)
    actor.model.check(contents)
    # Whether the marker's are marked at this moment is its own affair; that they are there, and what else they have, is not.
    for mailbox, content in contents.items():
        others = {uid: Seen(seen.id, seen.flags - {"\\Deleted"}) for uid, seen in content.items() if marker.model.owns(seen.id)}
        assert others == marker.model.have[mailbox], f"{mailbox}: what was never named has changed"
        strangers = [seen for seen in content.values() if not marker.model.owns(seen.id) and not actor.model.owns(seen.id)]
        assert not strangers, strangers
