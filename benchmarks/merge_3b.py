"""Merging an adapter into the shape of StarCoder 2 3B: here, by peft in memory, and the limit: copying the files.

    python benchmarks/merge_3b.py --base FOLDER [--scratch FOLDER] [--only copy,merge,merge_nf4,peft]

FOLDER is a base of that shape (benchmarks/qlora_3b.py --folder makes one of random weights); the adapter is random, rank 16 on every
linear layer. Each runs in a process of its own that is warm: libraries are loaded, a small model has gone through. Needs 7 GB of disk, and
peft's side 8 GB of memory. `peak` is resident memory, `grown` what of it came on top of the loaded libraries, `anonymous` without pages of
mapped files, sampled fifty times a second. Files are synced to disk within the time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

SIDES = ("copy", "merge", "merge_nf4", "peft")


def main() -> None:
    options = _options()
    if options.side:
        print(json.dumps(measured(options.side, options.base, options.adapter, options.scratch)), flush=True)
        return
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        scratch = Path(name)
        adapter = random_adapter(options.base, scratch / "adapter")
        for side in options.only.split(","):
            command = [sys.executable, __file__, "--side", side, "--base", str(options.base), "--adapter", str(adapter)]
            subprocess.run([*command, "--scratch", str(scratch)], check=True)
            shutil.rmtree(scratch / side)


def random_adapter(base_folder: Path, folder: Path) -> Path:
    import torch
    from transformers import AutoModelForCausalLM

    from finetune.base import read_base
    from finetune.methods import Lora, save_adapter
    from finetune.model import read_config
    from finetune.recipe import ModelSection

    base = read_base(ModelSection(path=str(base_folder)))
    torch.manual_seed(0)
    with torch.device("meta"):
        tuned = Lora(r=16)(AutoModelForCausalLM.from_config(read_config(base)), base.family)
    folder.mkdir()
    weights = {name: 0.01 * torch.randn(weight.shape) for name, weight in tuned.state_dict().items() if ".lora_" in name}
    save_adapter(tuned, folder, base, gathered=weights)
    return folder


def measured(side: str, base: Path, adapter: Path, scratch: Path) -> dict[str, object]:
    """One line of the table."""
    work = {"copy": copy, "merge": merge, "merge_nf4": merge_nf4, "peft": peft}[side]
    warm_up(work, scratch / f"warm_{side}")
    out = scratch / side
    out.mkdir()
    before = _status("VmRSS")
    most = [0]
    threading.Thread(target=_watch, args=(most,), daemon=True).start()
    started, cpu = time.monotonic(), _cpu()
    work(base, adapter, out)
    for path in out.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    return {
        "side": side,
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(_cpu() - cpu, 1),
        "peak_mb": round(_status("VmHWM") / 1e6),
        "grown_mb": round((_status("VmHWM") - before) / 1e6),
        "anonymous_grown_mb": round(most[0] / 1e6),
        "written_mb": round(sum(path.stat().st_size for path in out.iterdir()) / 1e6),
        "largest_file_mb": round(max(path.stat().st_size for path in base.glob("*.safetensors")) / 1e6),
    }


def warm_up(work: Callable[[Path, Path, Path], None], folder: Path) -> None:
    """The same with one small block: libraries, and what they set up at first use, are no part of the measurement."""
    import torch
    from transformers import Starcoder2Config, Starcoder2ForCausalLM

    from finetune.base import DEMO

    base, out = folder / "base", folder / "out"
    out.mkdir(parents=True)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2}
    ids = json.loads((DEMO / "config.json").read_text())["vocab_size"]
    Starcoder2ForCausalLM(Starcoder2Config(vocab_size=ids, **shape)).to(torch.bfloat16).save_pretrained(base)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(DEMO / name, base / name)
    work(base, random_adapter(base, folder / "adapter"), out)


def copy(base: Path, _: Path, out: Path) -> None:
    for path in base.glob("*.safetensors"):
        shutil.copyfile(path, out / path.name)


def merge(base: Path, adapter: Path, out: Path, *, bits: str = "none") -> None:
    from finetune.base import read_base
    from finetune.merge import BaseWeights, MergeOptions, Part, read_adapter
    from finetune.merge import merge as merge_on_disk
    from finetune.recipe import ModelSection

    section = ModelSection.model_validate({"path": str(base), "dtype": "bfloat16", "quantization": bits})
    merge_on_disk(BaseWeights(read_base(section), section), [Part(read_adapter(adapter))], folder=out, options=MergeOptions())


def merge_nf4(base: Path, adapter: Path, out: Path) -> None:
    merge(base, adapter, out, bits="nf4")


def peft(base: Path, adapter: Path, out: Path) -> None:
    """As its guide writes it."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(out)


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _status(name: str) -> int:
    """Bytes; getrusage's peak would begin with the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def _watch(most: list[int]) -> None:
    start = _status("RssAnon")
    while True:
        most[0] = max(most[0], _status("RssAnon") - start)
        time.sleep(0.02)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="merge of the 3B shape")
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, default=None)
    parser.add_argument("--only", default=",".join(SIDES))
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--adapter", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
