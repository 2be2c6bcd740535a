"""Random operations, and that nothing but what was told ever changes or goes. The long form is ./test chaos."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT
from marks import KINDS, run_marks
from soak import load_program, run_accounts, run_races
from storm import ServerBroke, run_storm

N_OPERATIONS = 40


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_client_marks_others_as_deleted(binary: Path, kind: str) -> None:
    run_marks(binary, kind, n_operations=N_OPERATIONS, seed_number=1)


def test_everything_at_once_and_a_kill(binary: Path) -> None:
    """What everybody was told is so, and who followed /changes and /events knows what is there."""
    for seed_number in (1, 2, 3):
        try:
            counts = run_storm(binary, n_operations=300, n_kills=1, seed_number=seed_number)
        except ServerBroke as error:
            print(error)
            continue
        assert counts["kills"] == 1 and counts["ChangesFollower changes"] > 50 and counts["EventsFollower created"] > 10
        return
    pytest.skip("Dovecot broke, three times")


@pytest.fixture
def load_binary() -> Path:
    path = load_program(ROOT)
    if not path.exists():
        pytest.skip("chaos_load is not built")
    return path


def test_nobody_is_told_anothers_mail(binary: Path, load_binary: Path) -> None:
    """With fewer sessions than accounts, clients that leave, and connections that are reset."""
    counts = run_accounts(binary, load_binary, seed_number=1, n_responses=1500, n_accounts=16, n_connections=24)
    assert counts["foreign"] == counts["wrong"] == 0
    assert counts["cancels"] >= 150 and counts["resets"] + counts["ends"] >= 15 and counts["fetches"] >= 1500


def test_a_uid_is_never_another_message(binary: Path, load_binary: Path) -> None:
    """While a second client expunges, appends, renames and makes mailboxes anew."""
    for seed_number in (1, 2, 3):
        try:
            counts = run_races(binary, load_binary, seed_number=seed_number, n_fetches=5000)
        except ServerBroke as error:
            print(error)
            continue
        assert counts["wrong"] == counts["foreign"] == 0 and counts["second client"] > 50
        return
    pytest.skip("Dovecot gave a UID twice, three times")
