"""What a step frees stays for the next one, and goes back at the end."""

from __future__ import annotations

import ctypes
import resource
from pathlib import Path

import pytest
import torch

from finetune.train.memory import freed_memory_kept, told_by_user

PIECE, PIECES = 16 << 20, 12  # bytes of one, too small to be a mapping of its own
LIBRARY = ctypes.CDLL(None)
pytestmark = [
    pytest.mark.skipif(not hasattr(LIBRARY, "malloc_trim"), reason="the C library is not glibc"),
    pytest.mark.skipif(told_by_user(), reason="glibc was told when to give memory back"),
]


@pytest.fixture(autouse=True)
def on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


def step() -> int:
    """How many pages the system has to hand out for memory that is written to and freed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [torch.ones(PIECE, dtype=torch.uint8) for _ in range(PIECES)]
    del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def step_anew() -> int:
    """The pages of a step that nothing was kept for: few where they are huge."""
    LIBRARY.malloc_trim(0)
    return step()


def resident() -> int:
    """Bytes of memory that the process has."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * resource.getpagesize()


def test_a_step_is_handed_no_page_that_the_one_before_it_had_and_all_go_back_at_the_end() -> None:
    anew = step_anew()
    assert anew >= PIECES
    with freed_memory_kept():
        # A step may find its pieces in other places than the one before it, and need one more.
        assert min(step() for _ in range(6)) < anew / 20
        kept = resident()
    assert resident() < kept - PIECE * PIECES // 2


def test_it_goes_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), freed_memory_kept():
        step()
        kept = resident()
        _ = 1 // 0
    assert resident() < kept - PIECE * PIECES // 2


class Library:
    """A C library that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, ...]] = []

    def mallopt(self, *words: int) -> None:
        self.told.append(words)

    def malloc_trim(self, *words: int) -> None:
        self.told.append(words)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    found = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda _: found)
    return found


def test_a_training_on_a_gpu_is_left_alone(monkeypatch: pytest.MonkeyPatch, library: Library) -> None:
    monkeypatch.delenv("ACCELERATE_USE_CPU")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with freed_memory_kept():
        pass
    assert library.told == []


@pytest.mark.parametrize(
    ("name", "value", "alone"),
    [
        ("MALLOC_TRIM_THRESHOLD_", "1000000", True),
        ("MALLOC_MMAP_THRESHOLD_", "1000000", True),
        ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=1000000", True),
        ("GLIBC_TUNABLES", "glibc.pthread.rseq=0", False),
    ],
)
def test_who_tells_glibc_when_to_give_memory_back_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, library: Library, name: str, value: str, alone: bool
) -> None:
    monkeypatch.setenv(name, value)
    with freed_memory_kept():
        assert (library.told == []) is alone
