"""GGUF export of the shape of StarCoder 2 3B: merge, conversion and quantising, each in a process of its own.

    python benchmarks/gguf_3b.py --base FOLDER [--scratch FOLDER] [--types q8_0,q4_k_m] [--skip-merge]

FOLDER is a base of that shape (benchmarks/qlora_3b.py --folder makes one of random weights). Needs 16 GB of disk in the scratch folder.
`copy` is the limit: the same bytes read and written. Peak memory counts pages of mapped files, which the system takes back at will;
`anonymous` is what it can not take back, sampled ten times a second. The comparison with the adapter is not part of it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from finetune.base import read_base
from finetune.export import gguf
from finetune.export.tools import Workshop
from finetune.exporters import CONVERTED, Merged
from finetune.methods import save_adapter
from finetune.recipe import Recipe
from finetune.run import Run, open_run


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        folder = Path(name)
        run = random_run(folder / "runs", options.base)
        merged, half = folder / "merged", folder / "half"
        merged.mkdir()
        half.mkdir()
        if not options.skip_merge:
            measured("copy", lambda: copy(options.base, folder / "copy"), folder / "copy")
            shutil.rmtree(folder / "copy")
            measured("merge", lambda: merge(run, merged), merged)
        source = options.base.resolve() if options.skip_merge else merged
        step = gguf.write_model(source, half, read_base(run.recipe.model), kind="f16", name="shape")
        step = step.model_copy(update={"pre": "starcoder"})  # the shape's tokenizer is a stand-in; nothing is cut with it here
        measured("convert f16", lambda: gguf.run([step], folder), half)
        shutil.rmtree(merged)
        for kind in options.types.split(","):
            target = folder / f"{kind}.gguf"
            task = gguf.Quantisation(source=half / gguf.MODEL, target=target, type=kind)
            measured(f"quantise {kind}", lambda task=task: gguf.run([task], folder), target)
            target.unlink()


def random_run(folder: Path, base_folder: Path) -> Run:
    """A run with an adapter of rank 16 on every linear layer, all of it random."""
    import torch
    from transformers import AutoModelForCausalLM

    from finetune.model import read_config

    run = open_run(Recipe.model_validate({"name": "shape", "runs": str(folder), "model": {"path": str(base_folder), "dtype": "bfloat16"}}))
    base = read_base(run.recipe.model)
    torch.manual_seed(0)
    with torch.device("meta"):
        tuned = run.recipe.adapter(AutoModelForCausalLM.from_config(read_config(base)), base.family)
    gathered = {name: 0.01 * torch.randn(weight.shape) for name, weight in tuned.state_dict().items() if ".lora_" in name}
    run.adapter.mkdir()
    save_adapter(tuned, run.adapter, base, gathered=gathered)
    return run


def merge(run: Run, folder: Path) -> None:
    with Workshop(run, read_base(run.recipe.model)) as tools:
        tools.merge(folder, Merged(dtype=CONVERTED["f16"]))


def copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target)
    os.sync()


def measured(name: str, work: Callable[[], None], result: Path) -> None:
    """Prints what the work took, in a process of its own."""
    done = multiprocessing.get_context("fork").Queue()

    def run() -> None:
        started, most = time.monotonic(), [0]
        watch = threading.Thread(target=_watch, args=(most,), daemon=True)
        watch.start()
        work()
        usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        cpu = sum(one.ru_utime + one.ru_stime for one in usage)
        done.put(
            {"seconds": time.monotonic() - started, "cpu_seconds": cpu, "peak": max(one.ru_maxrss for one in usage) * 1024, "own": most[0]}
        )

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{name}: exit code {process.exitcode}")
    found = done.get()
    size = sum(path.stat().st_size for path in result.rglob("*")) if result.is_dir() else result.stat().st_size
    row = {"step": name, "seconds": round(found["seconds"], 1), "cpu_seconds": round(found["cpu_seconds"], 1)}
    row |= {"peak_gb": round(found["peak"] / 1e9, 2), "anonymous_gb": round(found["own"] / 1e9, 2), "written_gb": round(size / 1e9, 2)}
    print(json.dumps(row), flush=True)


def _watch(most: list[int]) -> None:
    """The most anonymous memory of this process and its children."""
    while True:
        pids = [os.getpid(), *(int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())]
        total = 0
        for pid in pids:
            try:
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            except OSError:
                continue
            total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
        most[0] = max(most[0], total)
        time.sleep(0.1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="GGUF export of the 3B shape")
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, default=None)
    parser.add_argument("--types", default="q8_0,q4_k_m")
    parser.add_argument("--skip-merge", action="store_true", help="convert the base itself")
    return parser.parse_args()


if __name__ == "__main__":
    main()
