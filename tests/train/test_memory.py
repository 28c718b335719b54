"""What a step frees stays for the next one, and goes back at the end."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from finetune.train.memory import freed_memory_kept

PIECE, PIECES = 16 << 20, 12  # bytes of one, too small to be a mapping of its own
PAGES = PIECE * PIECES // resource.getpagesize()


def step() -> int:
    """How many pages the system has to hand out for memory that is written to and freed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [torch.ones(PIECE, dtype=torch.uint8) for _ in range(PIECES)]
    del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    """Bytes of memory that the process has."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * resource.getpagesize()


def test_a_step_is_handed_no_page_that_the_one_before_it_had_and_all_go_back_at_the_end() -> None:
    with freed_memory_kept():
        # A step may find its pieces in other places than the one before it, and need one more.
        assert min(step() for _ in range(6)) < PAGES // 20
        kept = resident()
    assert resident() < kept - PIECE * PIECES // 2


def test_it_goes_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), freed_memory_kept():
        step()
        kept = resident()
        _ = 1 // 0
    assert resident() < kept - PIECE * PIECES // 2
