"""LoRA training of the shape of StarCoder 2 3B on one CUDA GPU over a repository's samples, beside `trl sft` with its defaults.

    python benchmarks/train_gpu.py name=/path/to/repository --tokenizer tokenizer.json [--folder FOLDER] [--steps 10] [override ...]

Random weights: time and memory are those of the real model, the loss says nothing. The samples are those of `finetune build`. Each side
is a process of its own:
    bf16, nf4       packed rows of 4,096, two a step, checkpointing, the engine of `finetune train`
    bf16 without checkpointing
    unpacked        bf16, a sample a row, rows of up to 4,096, eight a step
    trl             SFTTrainer as `trl sft --use_peft` makes it: float32 weights under bf16, eight samples of up to 1,024 tokens, padded
    trl bf16        the same with bf16 weights
Three steps go before the measured ones. Says learnt tokens a second, torch's peak of allocated bytes beside what `finetune plan` counts,
and the step's products as a share of the bf16 matrix rate, measured in the same process. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from meter import Meter
from plan_error import real_trainer
from qlora_3b import HIDDEN, INNER, write_base
from train_demo import texts

WARM = 3  # steps before the measured ones
SETTINGS = ("adapter.r=16", "adapter.alpha=32", "data.row_length=4096", "train.max_steps=1000", "train.epochs=1000", "train.accumulation=1")
SIDES = {
    "bf16": ("train.batch_size=2",),
    "nf4": ("train.batch_size=2", "model.quantization=nf4", "train.optimizer=paged_adamw_8bit"),
    "bf16 without checkpointing": ("train.batch_size=2", "train.gradient_checkpointing=false"),
    "unpacked": ("train.batch_size=8", "data.packing=false"),
    "trl": ("train.batch_size=8", "data.packing=false"),
    "trl bf16": ("train.batch_size=8", "data.packing=false"),
}


def main() -> None:
    options = _options()
    if options.side:
        print(json.dumps(measured(options)))
        return
    if not torch.cuda.is_available():
        sys.exit("torch sees no CUDA GPU")
    found: dict[str, Any] = {"device": torch.cuda.get_device_name(0), "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        if not (folder / "base" / "config.json").exists():
            write_base(folder / "base", options.tokenizer)
        for side in options.sides:
            command = [sys.executable, __file__, options.repository, "--folder", str(folder), "--side", side, "--steps", str(options.steps)]
            done = subprocess.run([*command, *options.overrides], check=False, capture_output=True, text=True)
            found[side] = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"failed": done.stderr[-1500:]}
            print(f"{side}: {found[side]}", file=sys.stderr, flush=True)
    print(json.dumps(found, indent=1))


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """One side's figures."""
    recipe = built(options)
    trainer = trl(recipe, options) if options.side.startswith("trl") else real_trainer(recipe, options.folder / "staging")
    found = watched(trainer, options.steps)
    return found if options.side.startswith("trl") else found | shares(recipe, found)


def built(options: argparse.Namespace) -> Any:
    from finetune.data.build import build
    from finetune.recipe import parse_recipe
    from finetune.run import run_of

    name = "samples" if "data.packing=false" in SIDES[options.side] else "rows"
    settings = (f"runs={options.folder / 'runs'}", f"model.path={options.folder / 'base'}", f"data.repositories=[{options.repository}]")
    rows = parse_recipe("", [*settings, *SETTINGS, f"data.packing={str(name == 'rows').lower()}", *options.overrides], name=name)
    if not run_of(rows).done("build"):
        build(rows)
    return parse_recipe("", [*settings, *SETTINGS, *SIDES[options.side], *options.overrides], name=name)


def trl(recipe: Any, options: argparse.Namespace) -> Any:
    """SFTTrainer as trl's script makes it."""
    from finetune.quiet import quiet_libraries

    quiet_libraries()
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from finetune.base import read_base
    from finetune.model import load_tokenizer
    from finetune.plan.limits import formats, here
    from finetune.plan.stand_in import on_meta
    from finetune.run import run_of

    base = read_base(recipe.model)
    tokenizer = load_tokenizer(base)
    shapes: Any = on_meta(base, recipe, formats(recipe.model, here()))
    arguments = SFTConfig(
        output_dir=str(options.folder / "trl"),
        max_steps=1000,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        model_init_kwargs={"dtype": "bfloat16" if options.side.endswith("bf16") else "float32"},
    )
    samples = Dataset.from_list([*texts(run_of(recipe).data / "train", tokenizer)])
    peft_config = shapes.peft_config["default"]
    return SFTTrainer(model=str(base.path), args=arguments, train_dataset=samples, processing_class=tokenizer, peft_config=peft_config)


def watched(trainer: Any, steps: int) -> dict[str, float]:
    """What the measured steps of a trainer come to."""
    meter = Meter(trainer, clock, warm=WARM)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    meter.watch(steps)
    seconds, (free, whole) = sum(meter.seconds()), torch.cuda.mem_get_info()
    return {
        "learnt_per_s": round(meter.learnt / seconds),
        "learnt_per_step": round(meter.learnt / steps),
        "seconds_per_step": round(seconds / steps, 4),
        "peak_bytes": torch.cuda.max_memory_allocated(),
        "reserved_bytes": torch.cuda.max_memory_reserved(),
        "of_the_card_bytes": whole - free,
    }


def clock() -> tuple[float]:
    torch.cuda.synchronize()
    return (time.perf_counter(),)


def shares(recipe: Any, found: dict[str, float]) -> dict[str, Any]:
    """What the plan counts beside what torch counted, and the products of a step beside the matrix rate."""
    from finetune.plan import planned
    from finetune.plan.limits import here

    at, rate = planned(recipe, here()), matrix_rate()
    return {
        "plan_bytes": at.highest.size,
        "plan_error": round(at.highest.size / found["peak_bytes"] - 1, 4),
        "bf16_tflop_per_s": round(rate, 1),
        "share_of_bf16_rate": round(at.flops / 1e12 / found["seconds_per_step"] / rate, 3),
    }


def matrix_rate() -> float:
    """TFLOP/s of the widest layer's product in bf16."""
    x_TI, weight_OI = (torch.randn(rows, HIDDEN, device="cuda", dtype=torch.bfloat16) for rows in (8192, INNER))
    for _ in range(5):
        torch.nn.functional.linear(x_TI, weight_OI)
    torch.cuda.synchronize()
    started, turns = time.perf_counter(), 40
    for _ in range(turns):
        torch.nn.functional.linear(x_TI, weight_OI)
    torch.cuda.synchronize()
    return 2 * len(x_TI) * HIDDEN * INNER * turns / (time.perf_counter() - started) / 1e12


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", help="a git repository, name=/path where its folder's name is no name")
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json of StarCoder 2; without it, one token a byte")
    parser.add_argument("--folder", type=Path, help="where base and rows are kept; without it, a temporary folder")
    parser.add_argument("--steps", type=int, default=10, help="measured steps")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", help="for example data.learn=answer")
    return parser.parse_intermixed_args()


if __name__ == "__main__":
    main()
