"""What each GGUF format costs: KL(adapter || export) of a random adapter on the embedded model, in llama.cpp.

    python benchmarks/gguf_rounding.py

Five minutes on two cores. The tolerances for quantised files in finetune/export/tolerance.py stand on its figures. Prints JSON.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from export_rounding import random_run

from finetune.export import export

TYPES = ("f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m")


def main() -> None:
    for kind, type_ in [*(("gguf", type_) for type_ in TYPES), ("gguf_lora", "f16")]:
        with tempfile.TemporaryDirectory() as folder:
            run = random_run(Path(folder), "none", 0.02, {"kind": kind, "type": type_, "tolerance": 100.0, "verify_tokens": 256})
            (found,) = export(run.recipe)
            size = (run.export / run.recipe.export[0].name / "model.gguf").stat().st_size
        figures = {"form": kind, "type": type_, "kl": found.kl, "effect": found.effect, "top1": found.top1, "bytes": size}
        print(json.dumps(figures | {"greedy": f"{found.greedy_equal}/{found.greedy_prompts}"}), flush=True)


if __name__ == "__main__":
    main()
