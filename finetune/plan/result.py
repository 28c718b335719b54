"""What a plan says, as data. Sizes in bytes, lengths in tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from finetune.plan.limits import Device


class Term(NamedTuple):
    """One part of the memory at the highest moment of a step, and what it is or how it was counted."""

    name: str
    size: int
    how: str


@dataclass(frozen=True, slots=True)
class Fit:
    """What a GPU of `size` bytes takes of a recipe: the longest row at its batch size, the most rows at its row length.

    None: not even the least.
    """

    size: int
    row_length: int | None
    batch_size: int | None


@dataclass(frozen=True, slots=True)
class Proposal:
    """Settings that fit a GPU of `size` bytes, the fastest first that is known to; `overrides` are what to type."""

    size: int
    overrides: tuple[str, ...]
    method: str
    quantization: str
    gradient_checkpointing: bool
    row_length: int
    batch_size: int
    accumulation: int
    needed: int
    why: str


@dataclass(frozen=True, slots=True)
class Hours:
    """How long the steps take at a rate, and where the rate comes from."""

    hours: float
    tokens_per_s: float
    source: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a recipe needs on a device, before anything is loaded.

    `terms` add up to `size`; `moments` are the highest points of the stages of a step without what is assumed. Steps, tokens and work
    (floating point operations of all steps) are None as long as nothing is built; `hours` is None without a rate. `trainable`
    numbers are trained of `total`, `share` of the blocks' linear weights has an adapter.
    """

    device: Device
    terms: tuple[Term, ...]
    moments: tuple[tuple[str, int], ...]
    highest: str
    trainable: int
    total: int
    share: float
    tokens_per_step: int
    steps: int | None
    tokens: int | None
    work_per_token: float
    hours: Hours | None
    fits: tuple[Fit, ...]
    proposals: tuple[Proposal, ...]

    @property
    def size(self) -> int:
        """The sum of the parts."""
        return sum(term.size for term in self.terms)

    @property
    def work(self) -> float | None:
        """Floating point operations of all steps."""
        return None if self.tokens is None else self.tokens * self.work_per_token

    @property
    def enough(self) -> bool | None:
        """Whether the device has the room, beside its reserve; None when its size is not known."""
        return None if self.device.room is None else self.size <= self.device.room
