"""Useful (learnt) tokens a second of LoRA training on the embedded base model, beside `trl sft` and beside the same engine without packing.

    python benchmarks/train_demo.py name=/path/to/repository [--steps 6] [--rounds 2] [override ...]

The samples are those of `finetune build`. Each side trains in a process of its own, as its command does, one after the other and again:
    ours        packed rows, the engine of `finetune train`
    unpacked    the same engine, a sample a row
    trl         SFTTrainer as `trl sft --use_peft --use_cpu` makes it, its defaults, on the same samples as text (prompt and completion
                where the recipe learns answers), with the same LoRA and as many rows in a step
Two steps go before the measured ones. A side says CPU-seconds, since machines are busy; peak memory is the process's, its data
prepared. Beside them stands the matrix rate, measured in the same process as ours, for the shapes of the model. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from meter import Meter

WARM = 2  # steps before the measured ones
SIDES = ("ours", "unpacked", "trl")
SETTINGS = ("adapter.r=16", "adapter.alpha=32", "train.batch_size=8", "train.accumulation=1", "train.gradient_checkpointing=false")


def main() -> None:
    options = _options()
    if options.side:
        print(json.dumps(SIDE[options.side](Path(options.repository), options.steps)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        for side, packing in (("ours", "true"), ("unpacked", "false")):
            made(Path(scratch), side, options.repository, (f"data.packing={packing}", *options.overrides))
        found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
        for turn in range(options.rounds):
            for side in SIDES if turn % 2 == 0 else SIDES[::-1]:
                command = [sys.executable, __file__, scratch, "--side", side, "--steps", str(options.steps)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                found[side].append(json.loads(done.stdout.splitlines()[-1]))
    print(json.dumps(told(found), indent=1))


def told(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Means over the rounds, and the ratios."""
    means = {side: {key: statistics.mean(each[key] for each in rounds) for key in rounds[0]} for side, rounds in found.items()}
    ours = means["ours"]
    ratios = {
        f"ours over {side}": {
            "learnt_tokens_per_cpu_second": round(ours["learnt_per_cpu_s"] / means[side]["learnt_per_cpu_s"], 2),
            "peak_memory": round(ours["peak_bytes"] / means[side]["peak_bytes"], 2),
        }
        for side in SIDES[1:]
    }
    return {"rounds": found, "load": os.getloadavg()[0], "ratios": ratios}


def made(scratch: Path, side: str, repository: str, overrides: tuple[str, ...]) -> None:
    from finetune.data.build import build
    from finetune.recipe import parse_recipe

    settings = (f"runs={scratch}", f"data.repositories=[{repository}]", "data.row_length=512", "train.max_steps=1000", "train.epochs=1000")
    build(parse_recipe("", [*settings, *SETTINGS, *overrides], name=side))


def watched(trainer: Any, steps: int, beside: Callable[[], None] = lambda: None) -> Meter:
    meter = Meter(trainer, lambda: (time.process_time(), time.perf_counter()), warm=WARM, beside=beside)
    meter.watch(steps)
    return meter


def figures(meter: Meter) -> dict[str, float]:
    """What the measured steps of a trainer come to."""
    cpu, wall = meter.seconds(0), meter.seconds(1)
    return {
        "learnt": meter.learnt,
        "learnt_per_cpu_s": round(meter.learnt / sum(cpu), 1),
        "learnt_per_s": round(meter.learnt / sum(wall), 1),
        "cpu_s_per_step": round(statistics.median(cpu), 3),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def ours(scratch: Path, steps: int) -> dict[str, Any]:
    """The engine on packed rows, the matrix rates behind each step, and the median share of them that a step reaches."""
    beside: list[dict[str, float]] = []
    meter = engine(scratch, "ours", steps, lambda: beside.append(rates()))
    return figures(meter) | shares(scratch, meter.seconds(), beside)


def unpacked(scratch: Path, steps: int) -> dict[str, Any]:
    return figures(engine(scratch, "unpacked", steps))


def engine(scratch: Path, name: str, steps: int, beside: Callable[[], None] = lambda: None) -> Meter:
    """What `finetune train` makes of a run whose rows are built; it measures and saves nothing between the steps."""
    from transformers import set_seed

    from finetune.base import read_base
    from finetune.data.store import read_rows
    from finetune.model import load_model
    from finetune.quiet import quiet_libraries
    from finetune.run import load_run
    from finetune.train.engine import Rows, make_trainer
    from finetune.train.memory import freed_memory_kept

    quiet_libraries()
    run = load_run(scratch / name)
    base = read_base(run.recipe.model)
    model = load_model(base, run.recipe.model)
    model.config.use_cache = False
    set_seed(run.recipe.seed)
    rows = Rows(read_rows(run.data / "train").with_format("numpy"), None)
    trainer = make_trainer(run.recipe, run.recipe.adapter(model, base.family), rows, staging=scratch / "staging", fresh=False)
    trainer.args.save_strategy = "no"
    with freed_memory_kept():
        return watched(trainer, steps, beside)


def rates() -> dict[str, float]:
    """GFLOP a CPU-second of bare products of the feed-forward layer's shape, by number format."""
    import torch

    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        x_TI, weight_OI = torch.randn(4096, 256, dtype=dtype), torch.randn(1024, 256, dtype=dtype)
        took = []
        for _ in range(12):
            started = time.process_time()
            torch.nn.functional.linear(x_TI, weight_OI)
            took.append(time.process_time() - started)
        found[str(dtype).removeprefix("torch.")] = 2 * 4096 * 256 * 1024 / statistics.median(took) / 1e9
    return found


def shares(scratch: Path, seconds: Sequence[float], beside: Sequence[dict[str, float]]) -> dict[str, float]:
    """Medians over the steps: the rates behind them, and the share of each that the step's products reach."""
    from finetune.plan import planned
    from finetune.plan.limits import here
    from finetune.run import load_run

    work = planned(load_run(scratch / "ours").recipe, here()).flops / 1e9
    found = {"gflop_per_step": round(work, 1)}
    for name in beside[0]:
        found[f"{name}_gflop_per_cpu_s"] = round(statistics.median(rate[name] for rate in beside), 1)
        found[f"share_of_{name}_rate"] = round(
            statistics.median(work / took / rate[name] for took, rate in zip(seconds, beside, strict=True)), 3
        )
    return found


def trl(scratch: Path, steps: int) -> dict[str, Any]:
    """SFTTrainer as trl's script makes it."""
    from finetune.quiet import quiet_libraries

    quiet_libraries()
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from finetune.base import read_base
    from finetune.model import load_model, load_tokenizer
    from finetune.run import load_run

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    run = load_run(scratch / "unpacked")
    base = read_base(run.recipe.model)
    samples = [*texts(run.data / "train", load_tokenizer(base))]
    lora = run.recipe.adapter.config(load_model(base, run.recipe.model), base.family)
    arguments = SFTConfig(
        output_dir=str(scratch / "trl"),
        use_cpu=True,
        max_steps=1000,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        model_init_kwargs={"dtype": "float32"},
    )
    trainer = SFTTrainer(model=str(base.path), args=arguments, train_dataset=Dataset.from_list(samples), peft_config=lora)
    return figures(watched(trainer, steps))


def texts(rows: Path, tokenizer: Any) -> Iterator[dict[str, str]]:
    """Samples as trl reads them: the text where all of it is learnt, prompt and completion where a part is."""
    from finetune.data.store import stream_rows

    for ids, learnt in stream_rows(rows):
        first = learnt.index(True)
        if first <= 1:
            yield {"text": tokenizer.decode(ids)}
        else:
            yield {"prompt": tokenizer.decode(ids[:first]), "completion": tokenizer.decode(ids[first:])}


SIDE: dict[str, Callable[[Path, int], dict[str, Any]]] = {"ours": ours, "unpacked": unpacked, "trl": trl}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", help="a git repository, name=/path where its folder's name is no name")
    parser.add_argument("--steps", type=int, default=6, help="measured steps")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", help="for example data.learn=answer")
    return parser.parse_intermixed_args()


if __name__ == "__main__":
    main()
