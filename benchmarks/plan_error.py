"""How near `finetune plan` comes to the bytes that torch's own allocator counts in real training steps on the CPU.

    python benchmarks/plan_error.py BASE [--row-length 512] [--layers N] [override ...]

The plan sees config.json alone and computes nothing. Beside it stands the engine of `finetune train` on real weights and rows: the
bytes that lie there before the first step (every storage that Python can reach), and the highest sum of allocations over two optimizer
steps (torch.profiler, which hears the allocator itself, inside operators too). --layers N trains the first N blocks of BASE.
Prints one JSON object.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from qlora_3b import prepare
from torch.profiler import ProfilerActivity, profile
from transformers import set_seed

from finetune.base import read_base
from finetune.data.store import read_rows
from finetune.model import load_model
from finetune.plan import planned
from finetune.plan.limits import here
from finetune.quiet import known_warnings_off, quiet_libraries
from finetune.recipe import Recipe
from finetune.run import run_of
from finetune.train.engine import Rows, RowTrainer, make_trainer

DEFAULTS = ("model.quantization=none", "train.optimizer=adamw", "train.accumulation=2")


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as scratch:
        base = shorter(options.base, Path(scratch) / "base", options.layers) if options.layers else options.base.resolve()
        overrides = (*DEFAULTS, "train.max_steps=2", *options.overrides)
        recipe = prepare(base, Path(scratch) / "runs", row_length=options.row_length, overrides=overrides)
        started = time.process_time()
        highest = planned(recipe, here()).highest
        seconds = time.process_time() - started
        lying, most = counted(recipe, Path(scratch) / "checkpoints")
    found = {
        "base": options.base.name,
        "row_length": options.row_length,
        "layers": options.layers,
        "overrides": options.overrides,
        "plan_bytes": highest.size,
        "plan_cpu_seconds": round(seconds, 1),
        "before_the_first_step": lying,
        "torch_bytes": lying + most,
        "error": round(highest.size / (lying + most) - 1, 5),
    }
    print(json.dumps(found))


def counted(recipe: Recipe, staging: Path) -> tuple[int, int]:
    """Bytes that lie there before the first step, and the most that the allocator gave out above them."""
    trainer = real_trainer(recipe, staging)
    gc.collect()
    lying = reachable()
    with known_warnings_off(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        trainer.train()
    results: Any = found.profiler
    return lying, highest_sum(sorted(allocations(results.kineto_results.experimental_event_tree())))


def real_trainer(recipe: Recipe, staging: Path) -> RowTrainer:
    """What `finetune train` makes of a recipe whose rows are built; it saves nothing."""
    quiet_libraries()
    base = read_base(recipe.model)
    model = load_model(base, recipe.model)
    model.config.use_cache = False
    set_seed(recipe.seed)
    rows = Rows(read_rows(run_of(recipe).data / "train").with_format("numpy"), None)
    trainer = make_trainer(recipe, recipe.adapter(model, base.family), rows, staging=staging, fresh=False)
    trainer.args.save_strategy = "no"
    return trainer


def reachable() -> int:
    """Bytes of every tensor in main memory that Python can reach, shared ones once."""
    storages: dict[int, int] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for each in gc.get_objects():
            if isinstance(each, torch.Tensor) and not isinstance(each, torch._subclasses.FakeTensor) and each.device.type == "cpu":
                storages[each.untyped_storage()._cdata] = each.untyped_storage().nbytes()
    return sum(storages.values())


def allocations(events: Any) -> Iterator[tuple[int, int]]:
    """When, and how many bytes were given out (or back: below 0)."""
    for event in events:
        if event.tag == torch._C._profiler._EventType.Allocation:
            yield event.start_time_ns, event.extra_fields.alloc_size
        yield from allocations(event.children)


def highest_sum(found: list[tuple[int, int]]) -> int:
    total = most = 0
    for _, size in found:
        total += size
        most = max(most, total)
    return most


def shorter(base: Path, folder: Path, layers: int) -> Path:
    """A folder with the same files but fewer blocks in its config.json: weights of the others are not read."""
    folder.mkdir()
    for path in base.resolve().iterdir():
        if path.name != "config.json" and path.is_file():
            (folder / path.name).symlink_to(path)
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": layers}), encoding="utf-8")
    return folder


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path, help="a base model folder with weights")
    parser.add_argument("--row-length", type=int, default=512, help="tokens in a row")
    parser.add_argument("--layers", type=int, help="train only the first so many blocks")
    parser.add_argument("overrides", nargs="*", help="for example model.quantization=nf4")
    return parser.parse_intermixed_args()


if __name__ == "__main__":
    main()
