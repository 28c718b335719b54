"""A LoRA step on the shape of StarCoder 2 3B at 512 tokens with checkpointing, on bf16 and on nf4 weights, beside TRL's step on the same.

    python benchmarks/train_3b_step.py [--layers 30] [--rows 512] [--steps 2] [--weights none nf4] [--dtype bfloat16]

Random weights: time and memory are those of the real model. --layers takes so many of its blocks, for a busy machine; head and embedding
stay whole. Each side is a process of its own. With --dtype bfloat16 both have bf16 weights (half the memory of TRL's default); with auto
each takes its own default: ours the format that this machine multiplies faster, TRL float32 weights under bf16. TRL's other defaults stay.
A step goes before the measured ones. Says tokens a CPU-second, the step's products as a share of the matrix rates measured in the same
process (work of blocks computed again included), and the process's peak memory. Prints one JSON object.
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
from pathlib import Path
from typing import Any

from plan_error import real_trainer
from qlora_3b import HIDDEN, INNER, LAYERS, prepare, write_base

WARM = 1  # steps before the measured ones
SETTINGS = ("train.max_steps=100", "train.optimizer=adamw_8bit")


def main() -> None:
    options = _options()
    if options.side:
        print(json.dumps(_SIDES[options.side](options)))
        return
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        if not (folder / "base" / "config.json").exists():
            write_base(folder / "base", None, layers=options.layers)
        for weights in options.weights:
            for side in _SIDES:
                command = [sys.executable, __file__, "--folder", str(folder), "--side", side, "--weights", weights]
                command += [
                    "--rows",
                    str(options.rows),
                    "--steps",
                    str(options.steps),
                    "--layers",
                    str(options.layers),
                    "--dtype",
                    options.dtype,
                ]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                found[f"{side} {weights}"] = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(found | {"layers": options.layers, "load": os.getloadavg()[0]}, indent=1))


def ours(options: argparse.Namespace) -> dict[str, Any]:
    """The engine of `finetune train`; it measures and saves nothing between the steps."""
    from finetune.plan import planned
    from finetune.plan.limits import here

    recipe = recipe_of(options)
    trainer = real_trainer(recipe, options.folder / "staging")
    found = timed(trainer, options)
    work = planned(recipe, here()).flops / 1e9
    rates = {name: matrix_rate(options.rows, name) for name in ("bfloat16", "float32")}
    shares = {f"share_of_{name}_rate": round(work / found["cpu_s_per_step"] / rate, 3) for name, rate in rates.items()}
    return found | {"gflop_per_step": round(work)} | {f"{name}_gflop_per_cpu_s": round(rate, 1) for name, rate in rates.items()} | shares


def trl(options: argparse.Namespace) -> dict[str, Any]:
    """SFTTrainer on the same row, of which every token but the first is learnt."""
    from finetune.quiet import quiet_libraries

    quiet_libraries()
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from finetune.base import read_base
    from finetune.data.store import stream_rows
    from finetune.model import load_tokenizer, quantization_config, weight_dtype
    from finetune.plan.limits import formats, here
    from finetune.plan.stand_in import on_meta
    from finetune.run import open_run

    recipe = recipe_of(options)
    base = read_base(recipe.model)
    shapes: Any = on_meta(base, recipe, formats(recipe.model, here()))
    rows = [ids for ids, _ in stream_rows(open_run(recipe).data / "train")]
    arguments = SFTConfig(
        output_dir=str(options.folder / "trl"),
        use_cpu=True,
        per_device_train_batch_size=1,
        max_steps=100,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        model_init_kwargs={"dtype": "bfloat16" if options.dtype == "bfloat16" else "float32"},
    )
    trainer = SFTTrainer(
        model=str(base.path),
        args=arguments,
        train_dataset=Dataset.from_list([{"input_ids": row, "labels": row} for row in rows]),
        processing_class=load_tokenizer(base),
        quantization_config=quantization_config(recipe.model, weight_dtype(recipe.model)),
        peft_config=shapes.peft_config["default"],
    )
    return timed(trainer, options)


def recipe_of(options: argparse.Namespace) -> Any:
    overrides = (*SETTINGS, f"model.dtype={options.dtype}", f"model.quantization={options.weights[0]}")
    return prepare(options.folder / "base", options.folder / "runs", row_length=options.rows, overrides=overrides)


def timed(trainer: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Train for the warm steps and the measured ones."""
    from transformers import TrainerCallback

    took: list[tuple[float, float]] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.cpu, self.wall = time.process_time(), time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            took.append((time.process_time() - self.cpu, time.perf_counter() - self.wall))

    trainer.add_callback(Clock())
    trainer.args.max_steps = WARM + options.steps
    trainer.train()
    cpu, wall = (statistics.median(each[part] for each in took[WARM:]) for part in (0, 1))
    return {
        "cpu_s_per_step": round(cpu, 2),
        "wall_s_per_step": round(wall, 2),
        "tokens_per_cpu_s": round(options.rows / cpu, 2),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
    }


def matrix_rate(rows: int, dtype: str) -> float:
    """GFLOP a CPU-second of the widest layer's product."""
    import torch

    x_TI, weight_OI = (torch.randn(each, HIDDEN).to(getattr(torch, dtype)) for each in (rows, INNER))
    took = []
    for _ in range(7):
        started = time.process_time()
        torch.nn.functional.linear(x_TI, weight_OI)
        took.append(time.process_time() - started)
    return 2 * rows * HIDDEN * INNER / statistics.median(took) / 1e9


_SIDES = {"ours": ours, "trl": trl}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the base model is kept; without it, a temporary folder")
    parser.add_argument("--layers", type=int, default=LAYERS, help="blocks")
    parser.add_argument("--rows", type=int, default=512, help="tokens in a row")
    parser.add_argument("--steps", type=int, default=2, help="measured steps")
    parser.add_argument("--weights", nargs="+", choices=("none", "nf4"), default=["none", "nf4"])
    parser.add_argument("--dtype", choices=("auto", "bfloat16"), default="bfloat16")
    parser.add_argument("--side", choices=("ours", "trl"), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
