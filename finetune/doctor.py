"""What works on this machine, what is missing, and the line to type."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from finetune.base import DEMO
from finetune.deploy import llama
from finetune.quiet import quiet_libraries

if TYPE_CHECKING:
    from rich.table import Table

Standing = Literal["works", "missing", "limited"]
_GIB = 1 << 30
_LIBRARIES = ("transformers", "peft", "accelerate", "datasets", "gradio")
_GIT = (2, 32)  # GIT_CONFIG_GLOBAL, with which git reads a repository without the settings of whoever runs it
_TESTS_ALONE = "only the playground's own tests need it"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at; `cure` is what to type or know, empty when it works."""

    name: str
    standing: Standing
    found: str
    cure: str = ""


def doctor() -> list[Check]:
    """Looks at everything the road needs, in the order in which it is needed; what can be tried is tried."""
    with suppress(ImportError, OSError):  # what is not there can say nothing
        quiet_libraries()
    looks = {
        "git": _git,
        "hyperscan": _hyperscan,
        "fastokens": _fastokens,
        "torch": _torch,
        "bitsandbytes": _four_bit,
        "libraries": _libraries,
        "optuna": _study,
        "engine for serving": _engine,
        "bubblewrap": _sandbox,
        "chromium": _chromium,
        "room": _room,
    }
    return [check for name, look in looks.items() for check in _tried(name, look)]


def _tried(name: str, look: Callable[[], Iterator[Check]]) -> list[Check]:
    """What a look finds; a library that can not be imported, or lacks one of the system's, is one that is missing."""
    try:
        return [*look()]
    except OSError as error:
        broken = name if "torch" in sys.modules else "torch"  # what most others stand on, and what comes with libraries of its own
        return [Check(name, "missing", _short(error), f"pip install --force-reinstall {broken}")]
    except ImportError as error:
        package = (error.name or name).partition(".")[0]
        return [Check(name, "missing", _short(error), f"pip install --force-reinstall {package}")]


def table(checks: list[Check]) -> Table:
    """The checks for reading."""
    from rich.markup import escape
    from rich.table import Table

    colours = {"works": "green", "limited": "yellow", "missing": "red"}
    grid = Table("what", "", "found", "what to do")
    for check in checks:
        grid.add_row(check.name, f"[{colours[check.standing]}]{check.standing}[/]", escape(check.found), escape(check.cure))
    return grid


def _git() -> Iterator[Check]:
    if shutil.which("git") is None:
        yield Check("git", "missing", "no git on the path", "install git: `finetune build` reads repositories with it")
        return
    done = _run(["git", "--version"])
    version = done.stdout.strip()
    if done.returncode:
        found = _short(done.stderr or done.stdout) or f"it ended with {done.returncode}"
        yield Check("git", "missing", found, f"{shutil.which('git')} does not run; install git anew: `finetune build` needs it")
        return
    if git_version(version) < _GIT:
        yield Check("git", "missing", version, f"install git {_GIT[0]}.{_GIT[1]} or later: `finetune build` reads repositories with it")
        return
    yield Check("git", "works", version)


def git_version(text: str) -> tuple[int, ...]:
    """The numbers in what `git --version` says; (0,) where there are none.

    >>> git_version("git version 2.39.5 (Apple Git-154)")
    (2, 39, 5)
    """
    found = re.search(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in found[0].split(".")) if found else (0,)


def _hyperscan() -> Iterator[Check]:
    """All rules for secrets compiled into one automaton, and a made-up token found by it."""
    from finetune.data.secrets.screen import hyperscan_screen

    try:
        looks = hyperscan_screen()(b"token = 'ghp_" + b"a1B2" * 9 + b"'\n")
    except (ImportError, RuntimeError, OSError) as error:
        yield Check("hyperscan", "limited", _short(error), "pip install hyperscan; without it secrets are found all the same, slower")
        return
    if looks:
        yield Check("hyperscan", "works", f"{metadata.version('hyperscan')}, found a made-up token")
    else:
        yield Check(
            "hyperscan",
            "missing",
            "it found no made-up token",
            "pip install --force-reinstall hyperscan; until then: pip uninstall hyperscan",
        )


def _fastokens() -> Iterator[Check]:
    """The demo base's tokenizer by the fast library, against the usual one."""
    from finetune.data.tokens import TextTokenizer

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        engine = TextTokenizer(json.loads((DEMO / "tokenizer.json").read_text(encoding="utf-8"))).engine
    if engine == "fastokens":
        yield Check("fastokens", "works", f"{metadata.version('fastokens')}, the same ids as tokenizers")
    else:
        found = _short(said[-1].message) if said else "not used"
        yield Check("fastokens", "limited", found, "pip install fastokens; without it a build takes longer, with the same ids")


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
        yield Check(
            "bitsandbytes nf4", "missing", f"{version}: {_short(error)}", "write model.quantization=none, or install bitsandbytes anew"
        )
        return
    yield Check("bitsandbytes nf4", "works", f"{version}, a 4-bit layer trained on {device}")


def _libraries() -> Iterator[Check]:
    for name in _LIBRARIES:
        try:
            yield Check(name, "works", metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Check(name, "missing", "not installed", f"pip install {name}")


def _study() -> Iterator[Check]:
    """A study written to a database and read back."""
    try:
        import optuna
        from optuna.storages import RDBStorage
        from optuna.study import StudyDirection

        optuna.logging.set_verbosity(optuna.logging.ERROR)  # it tells each new study on stderr
        with tempfile.TemporaryDirectory() as folder:
            storage = RDBStorage(f"sqlite:///{folder}/study.db")
            number = storage.create_new_study([StudyDirection.MINIMIZE], "doctor")
            assert storage.get_study_name_from_id(number) == "doctor"
            storage.engine.dispose()
    except (ImportError, RuntimeError, OSError) as error:
        yield Check("optuna", "missing", _short(error), "pip install optuna; `finetune sweep` keeps its study with it")
        return
    yield Check("optuna", "works", f"{metadata.version('optuna')}, a study kept in SQLite")


def _engine() -> Iterator[Check]:
    """What `finetune serve` would start."""
    found = [name for name, there in (("vLLM", shutil.which("vllm") is not None), ("llama.cpp", llama.installed())) if there]
    if found:
        yield Check("engine for serving", "works", " and ".join(found))
    else:
        cure = "pip install 'octotune[deploy]' for llama.cpp, or pip install vllm; only `finetune serve` and GGUF need it"
        yield Check("engine for serving", "limited", "none installed", cure)


def _chromium() -> Iterator[Check]:
    path = shutil.which("chromium")
    if path is None:
        yield Check("chromium", "limited", "none on the path", f"apt install chromium; {_TESTS_ALONE}")
        return
    done = _run([path, "--version"])
    if done.returncode:
        yield Check("chromium", "limited", _short(done.stderr), f"apt install --reinstall chromium; {_TESTS_ALONE}")
    else:
        yield Check("chromium", "works", done.stdout.strip())


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """A program's end; one that the system can not even start has failed."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def _short(said: object) -> str:
    return " ".join(str(said).split())[:120]


def _sandbox() -> Iterator[Check]:
    if shutil.which("bwrap") is None:
        cure = "install bubblewrap (apt install bubblewrap); only tests that run a model's code need it"
        yield Check("bubblewrap", "limited", "no bwrap on the path", cure)
        return
    done = _run(["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"])
    if done.returncode:
        cure = "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1); only tests that run a model's code need it"
        yield Check("bubblewrap", "limited", _short(done.stderr), cure)
    else:
        yield Check("bubblewrap", "works", "runs a program without network and without writing")


def _room() -> Iterator[Check]:
    from finetune.plan.limits import main_memory

    memory, free = main_memory() / _GIB, _free_memory()
    told = f"{memory:.0f} GiB" + ("" if free is None else f", {free / _GIB:.0f} available")
    enough = memory >= 4
    yield Check("memory", "works" if enough else "limited", told, "" if enough else "the demo base needs 2 GiB, 3B in 4 bit 10")
    disk = shutil.disk_usage(".").free / _GIB
    roomy = disk >= 5
    yield Check("disk here", "works" if roomy else "limited", f"{disk:.0f} GiB free", "" if roomy else "write runs=FOLDER on a larger disk")


def _free_memory() -> int | None:
    """Bytes that can be had without swapping; None where the system does not say."""
    path = Path("/proc/meminfo")
    found = re.search(r"^MemAvailable:\s+(\d+) kB", path.read_text(), re.MULTILINE) if path.exists() else None
    return None if found is None else int(found[1]) << 10
