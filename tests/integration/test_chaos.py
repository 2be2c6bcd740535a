"""Random operations, and that nothing but what was told ever changes or goes. The long form is ./test chaos."""

from __future__ import annotations

from pathlib import Path

import pytest
from marks import KINDS, run_marks

N_OPERATIONS = 40


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_client_marks_others_as_deleted(binary: Path, kind: str) -> None:
    run_marks(binary, kind, n_operations=N_OPERATIONS, seed_number=1)
