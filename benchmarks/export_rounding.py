"""What rounding and another merge base cost: KL(adapter || export) of random adapters on the embedded model.

    python benchmarks/export_rounding.py

Five minutes on two cores. The tolerances in finetune/export/tolerance.py stand on its figures.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from finetune.base import read_base
from finetune.data.render import Encoder
from finetune.data.store import write_rows
from finetune.export import export
from finetune.methods import save_adapter
from finetune.model import load_model
from finetune.recipe import Recipe
from finetune.records import IGNORED, PackedRow
from finetune.run import Run, open_run

ROW = 256
CASES = [("none", "original"), ("nf4", "dequantized"), ("nf4", "original")]


def main() -> None:
    print("quantization  into         dtype     adapter  KL to export  KL to base  top-1")
    for quantization, into in CASES:
        for dtype, size in [("bfloat16", 0.005), ("bfloat16", 0.02), ("bfloat16", 0.05), ("float16", 0.02), ("float32", 0.02)]:
            with tempfile.TemporaryDirectory() as folder:
                options = {"kind": "merged", "dtype": dtype, "merge_base": into, "tolerance": 100.0, "verify_tokens": 8 * ROW}
                run = random_run(Path(folder), quantization, size, options)
                (found,) = export(run.recipe)
            print(
                f"{quantization:12}  {into:11}  {dtype:8}  {size:<7}  {found.kl:.2e}      {found.effect:.2e}    {found.top1:.4f}",
                flush=True,
            )


def random_run(folder: Path, quantization: str, size: float, options: dict[str, object]) -> Run:
    """A run on code of the standard library whose LoRA B matrices are normal numbers of this size."""
    import torch

    model = {"quantization": quantization, "dtype": "float32"}
    run = open_run(
        Recipe.model_validate({"name": "random", "runs": str(folder), "model": model, "data": {"row_length": ROW}, "export": options})
    )
    base = read_base(run.recipe.model)
    ids = Encoder(base.tokenizer, base.family).text(Path(argparse.__file__).read_text())
    rows = [ids[start : start + ROW] for start in range(0, 8 * ROW, ROW)]
    with run.step("build"):
        packed = (PackedRow(row, [IGNORED, *row[1:]], list(range(ROW))) for row in rows)
        write_rows(packed, run.data / "valid", vocabulary_size=base.vocabulary_size)
    with run.step("train"):
        torch.manual_seed(0)
        tuned = run.recipe.adapter(load_model(base, run.recipe.model), base.family)
        for name, parameter in tuned.named_parameters():
            if ".lora_B." in name:
                parameter.data = size * torch.randn(parameter.shape)
        run.adapter.mkdir()
        save_adapter(tuned, run.adapter, base)
    return run


if __name__ == "__main__":
    main()
