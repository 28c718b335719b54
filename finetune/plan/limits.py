"""What a plan is made for: a device, its number formats and its room, and what is assumed because it can not be counted."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from finetune.errors import RecipeError
from finetune.model import autocast_dtype, on_cpu, weight_dtype
from finetune.recipe import ModelSection

GIB = 1 << 30
CARDS = (8, 12, 16, 24, 40, 48, 80)  # GiB
CONTEXT = GIB // 2  # what CUDA, cuBLAS and the kernels hold on a GPU before the first tensor: assumed, not counted
LIBRARIES = 700 << 20  # torch, transformers and Python in main memory, before the first tensor: assumed
SPARE = 0.05  # share of what comes and goes that the allocator loses to holes: assumed, not counted
# Share of a GPU that stays free: cards report 0.9 to 2.4 % less than their name says, and what the allocator lost in public reports of
# full cards was up to 2 % more than what comes and goes (docs/plan.md).
RESERVE = 0.03
_UNITS = {"mib": 1 << 20, "gib": GIB, "mb": 10**6, "gb": 10**9, "m": 1 << 20, "g": GIB}


class Formats(NamedTuple):
    """Number formats: of weights that are not quantised, and of multiplications (None: that of the weights)."""

    weights: torch.dtype
    products: torch.dtype | None


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU, or this machine's CPU; `size` in bytes, None when only the need is asked."""

    gpu: bool
    size: int | None

    @property
    def name(self) -> str:
        room = "" if self.size is None else f" with {self.size / GIB:.1f} GiB"
        return f"{'a GPU' if self.gpu else 'this CPU'}{room}"

    @property
    def room(self) -> int | None:
        """Bytes that a training may take: on a GPU all but a reserve."""
        return self.size if self.size is None or not self.gpu else int(self.size * (1 - RESERVE))

    @property
    def context(self) -> int:
        """Bytes that are taken before training holds its first tensor."""
        return CONTEXT if self.gpu else LIBRARIES


def spread() -> bool:
    """Whether the launcher of this process spreads the model over several: kernels that need it whole are off."""
    return any(os.environ.get(f"ACCELERATE_USE_{name}") == "true" for name in ("FSDP", "DEEPSPEED"))


def here() -> Device:
    """The device that `train` takes on this machine."""
    if on_cpu():
        return Device(gpu=False, size=main_memory())
    return Device(gpu=True, size=torch.cuda.mem_get_info()[1])


def card(text: str) -> Device:
    """A GPU of a stated size, for example 24GiB. Raises RecipeError for what is no size."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    unit = _UNITS.get(found[2].lower() or "gib") if found else None
    if found is None or unit is None or not float(found[1]):
        raise RecipeError(f"--gpu: found {text!r}, which is no size; write for example --gpu 24GiB")
    return Device(gpu=True, size=int(float(found[1]) * unit))


def main_memory() -> int:
    """The bytes of main memory this process may use: the machine's, or less where a control group says so."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
    texts = [path.read_text().strip() for path in limits if path.exists()]
    return min([whole, *(int(text) for text in texts if text.isdigit())])


def formats(section: ModelSection, device: Device) -> Formats:
    """Number formats on a device; a GPU that is not in this machine multiplies in bfloat16."""
    if device.gpu == (not on_cpu()):
        return Formats(weight_dtype(section), autocast_dtype(section))
    asked: torch.dtype = torch.bfloat16 if section.dtype == "auto" else getattr(torch, section.dtype)
    return Formats(asked, None if asked == torch.float32 else asked)
