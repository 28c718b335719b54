"""What works on this machine, what is missing, and the line to type."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Literal

from finetune.quiet import quiet_libraries

if TYPE_CHECKING:
    from rich.table import Table

Standing = Literal["works", "missing", "limited"]
_GIB = 1 << 30
_LIBRARIES = ("transformers", "peft", "accelerate", "datasets", "gradio")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at; `cure` is what to type or know, empty when it works."""

    name: str
    standing: Standing
    found: str
    cure: str = ""


def doctor() -> list[Check]:
    """Looks at everything the road needs, in the order in which it is needed."""
    quiet_libraries()
    return [*_git(), *_torch(), *_four_bit(), *_libraries(), *_sandbox(), *_room()]


def table(checks: list[Check]) -> Table:
    """The checks for reading."""
    from rich.table import Table

    colours = {"works": "green", "limited": "yellow", "missing": "red"}
    grid = Table("what", "", "found", "what to do")
    for check in checks:
        grid.add_row(check.name, f"[{colours[check.standing]}]{check.standing}[/]", check.found, check.cure)
    return grid


def _git() -> Iterator[Check]:
    if shutil.which("git") is None:
        yield Check("git", "missing", "no git on the path", "install git: `finetune build` reads repositories with it")
        return
    version = subprocess.run(["git", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    yield Check("git", "works", version)


def _torch() -> Iterator[Check]:
    import torch

    threads = f"{torch.__version__}, {torch.get_num_threads()} threads"
    able = torch.cpu.get_capabilities()
    if able.get("avx512_bf16") or able.get("amx_bf16"):
        yield Check("torch on the CPU", "works", f"{threads}, bfloat16 in hardware")
    else:
        yield Check(
            "torch on the CPU", "limited", f"{threads}, no bfloat16 in hardware", "training steps run in float32, 2 to 4 times as long"
        )
    if not torch.cuda.is_available():
        built = torch.version.cuda
        cure = (
            "check the driver with nvidia-smi"
            if built
            else "for an NVIDIA GPU install a CUDA build of torch; the demo base trains on a CPU"
        )
        yield Check("GPU", "limited", "none seen" if built else "this torch is built for the CPU alone", cure)
        return
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        half = torch.cuda.is_bf16_supported(including_emulation=False)
        note = "" if half else "it has no bfloat16: float16 is used"
        yield Check(f"GPU {index}", "works", f"{device.name}, {device.total_memory / _GIB:.0f} GiB", note)


def _four_bit() -> Iterator[Check]:
    """A real 4-bit multiplication, forward and back, on the device that would train."""
    import torch
    from bitsandbytes.nn.modules import Linear4bit

    device = "cuda" if torch.cuda.is_available() else "cpu"
    version = metadata.version("bitsandbytes")
    try:
        layer = Linear4bit(64, 64, compute_dtype=torch.bfloat16, quant_type="nf4").to(device)
        layer.support_avx512bf16_for_cpu = False
        given = torch.ones(1, 64, device=device, requires_grad=True)
        layer(given).sum().backward()
    except (RuntimeError, OSError, NotImplementedError) as error:
        text = " ".join(str(error).split())[:120]
        yield Check("bitsandbytes nf4", "missing", f"{version}: {text}", "write model.quantization=none, or install bitsandbytes anew")
        return
    yield Check("bitsandbytes nf4", "works", f"{version}, a 4-bit layer trained on {device}")


def _libraries() -> Iterator[Check]:
    for name in _LIBRARIES:
        try:
            yield Check(name, "works", metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Check(name, "missing", "not installed", f"pip install {name}")


def _sandbox() -> Iterator[Check]:
    if shutil.which("bwrap") is None:
        cure = "install bubblewrap (apt install bubblewrap); only tests that run a model's code need it"
        yield Check("bubblewrap", "limited", "no bwrap on the path", cure)
        return
    command = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        cure = "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1); only tests that run a model's code need it"
        yield Check("bubblewrap", "limited", done.stderr.strip()[:120], cure)
    else:
        yield Check("bubblewrap", "works", "runs a program without network and without writing")


def _room() -> Iterator[Check]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") / _GIB
    standing: Standing = "works" if memory >= 4 else "limited"
    yield Check(
        "memory", standing, f"{memory:.0f} GiB, {free:.0f} free", "" if memory >= 4 else "the demo base needs 2 GiB, 3B in 4 bit 10"
    )
    disk = shutil.disk_usage(".").free / _GIB
    yield Check(
        "disk here", "works" if disk >= 5 else "limited", f"{disk:.0f} GiB free", "" if disk >= 5 else "write runs=FOLDER on a larger disk"
    )
