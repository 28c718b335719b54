"""Merging into tensors of the size of StarCoder 2 15B: that memory follows the tensors' size and not the model's.

    python benchmarks/merge_15b.py [--layers 2,6] [--bits none,nf4] [--scratch FOLDER]

The base's files are sparse: as large as real ones to whoever reads them, all zeros, nothing on the disk. One file a block, as large as a
block of the 15B model is; the adapter is random, rank 16 on every linear layer, so that what is written is full of numbers. Needs 0.8 GB of
disk a layer and 1.2 GB beside. Each merge runs in a warm process of its own (benchmarks/merge_3b.py, whose words the figures have).
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from merge_3b import random_adapter

from finetune.base import DEMO, read_base
from finetune.merge.shards import Planned, header
from finetune.recipe import ModelSection

SHAPE = {
    "hidden_size": 6144,
    "intermediate_size": 24576,
    "num_attention_heads": 48,
    "num_key_value_heads": 4,
    "vocab_size": 49152,
    "tie_word_embeddings": False,
}
MERGE_3B = Path(__file__).with_name("merge_3b.py")


def main() -> None:
    options = _options()
    for layers in options.layers.split(","):
        with tempfile.TemporaryDirectory(dir=options.scratch) as name:
            base = sparse_base(Path(name) / "base", int(layers))
            adapter = random_adapter(base, Path(name) / "adapter")
            for bits in options.bits.split(","):
                side = "merge" if bits == "none" else "merge_nf4"
                words = ["--side", side, "--base", str(base), "--adapter", str(adapter), "--scratch", name]
                done = subprocess.run([sys.executable, str(MERGE_3B), *words], check=True, stdout=subprocess.PIPE, text=True)
                print(json.dumps({"layers": int(layers), **json.loads(done.stdout.splitlines()[-1])}), flush=True)
                shutil.rmtree(Path(name) / side)


def sparse_base(folder: Path, layers: int) -> Path:
    """A base of that shape whose files hold a header and a hole."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(DEMO / name, folder / name)
    config = json.loads((DEMO / "config.json").read_text()) | SHAPE | {"num_hidden_layers": layers, "dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    files: dict[str, dict[str, Planned]] = {}
    for name, tensor in model.state_dict().items():
        part = name.split(".")[2] if ".layers." in name else name.rpartition(".")[0]
        planned = Planned(tuple(tensor.shape), "BF16", 2 * math.prod(tensor.shape))
        files.setdefault(f"model-{part}.safetensors", {})[name] = planned
    index = {name: file for file, plan in files.items() for name in plan}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    for file, plan in files.items():
        with (folder / file).open("wb") as out:
            out.write(header(sorted(plan), plan))
            out.truncate(out.tell() + sum(planned.bytes for planned in plan.values()))
    read_base(ModelSection(path=str(folder)))
    return folder


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="merge of tensors as large as those of the 15B model")
    parser.add_argument("--layers", default="2,6")
    parser.add_argument("--bits", default="none,nf4")
    parser.add_argument("--scratch", type=Path, default=None)
    return parser.parse_args()


if __name__ == "__main__":
    main()
