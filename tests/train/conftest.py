"""Runs whose rows are made on the spot, so that training is tested without git."""

from __future__ import annotations

from pathlib import Path

import pytest
from training_runs import Prepare, preparing


@pytest.fixture(autouse=True, scope="session")
def tiny_matrices(one_thread: None) -> None:
    pass


@pytest.fixture
def prepare(tiny_base: Path, tmp_path: Path) -> Prepare:
    """A recipe on the tiny base whose build is done: 40 training samples, 10 held out. Exact arithmetic unless it says otherwise."""
    return preparing(tiny_base, tmp_path / "runs")
