"""Runs whose rows are made on the spot, so that training is tested without git."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from training_runs import Prepare, preparing


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny matrices are quicker on one core, and their sums come out the same however busy the machine is."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def prepare(tiny_base: Path, tmp_path: Path) -> Prepare:
    """A recipe on the tiny base whose build is done: 40 training samples, 10 held out. Exact arithmetic unless it says otherwise."""
    return preparing(tiny_base, tmp_path / "runs")
