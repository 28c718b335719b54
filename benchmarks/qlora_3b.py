"""One QLoRA step on the shape of StarCoder 2 3B, on the CPU, through `finetune train`.

    python benchmarks/qlora_3b.py [--folder FOLDER] [--tokenizer tokenizer.json] [--rows 512] [--steps 1] [override ...]

Random weights: time and memory are those of the real model, the loss says nothing. Needs 7 GB of disk in FOLDER (kept and
used again when it is named) and 10 GB of memory. Prints one JSON object. The peak memory is that of loading: 6 GB of it are the
weight files themselves, mapped, which the system takes back when it needs them; a step holds half.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from finetune.base import read_base
from finetune.data.render import Encoder
from finetune.data.store import write_rows
from finetune.families import FAMILIES
from finetune.recipe import Recipe, parse_recipe
from finetune.records import IGNORED, PackedRow
from finetune.run import load_run, open_run

HIDDEN, LAYERS, HEADS, KV_HEADS, INNER, VOCABULARY = 3072, 30, 24, 2, 12288, 49152
CONFIG = {
    "architectures": ["Starcoder2ForCausalLM"],
    "model_type": "starcoder2",
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "intermediate_size": INNER,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 16384,
    "sliding_window": 4096,
    "rope_parameters": {"rope_type": "default", "rope_theta": 999999.4420358813},
    "norm_epsilon": 1e-5,
    "hidden_act": "gelu_pytorch_tanh",
    "use_bias": True,
    "tie_word_embeddings": True,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "dtype": "bfloat16",
}
Shard = tuple[str, dict[str, torch.Tensor]]


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        base = folder / "base"
        if not (base / "config.json").exists():
            write_base(base, options.tokenizer)
        started = time.monotonic()
        recipe = prepare(base, folder / "runs", row_length=options.rows, overrides=(f"train.max_steps={options.steps}", *options.overrides))
        run = open_run(recipe)
        subprocess.run([sys.executable, "-m", "finetune", "train", str(run.folder)], check=True, stdout=sys.stderr)
        print(json.dumps(measured(run.folder, seconds=time.monotonic() - started, row_length=options.rows)))


def write_base(folder: Path, tokenizer: Path | None, *, layers: int = LAYERS) -> None:
    """A base model folder of random bf16 weights, a shard for each block, so that no more than one block is ever held."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    index: dict[str, str] = {}
    for name, tensors in _shards(layers):
        save_file(tensors, folder / name, metadata={"format": "pt"})
        index |= dict.fromkeys(tensors, name)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    if tokenizer is None:
        _byte_tokenizer().save(str(folder / "tokenizer.json"))
    else:
        (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": FAMILIES[0].end}))
    (folder / "config.json").write_text(json.dumps(CONFIG | {"num_hidden_layers": layers}))


def prepare(base: Path, runs: Path, *, row_length: int, overrides: tuple[str, ...]) -> Recipe:
    """A recipe whose rows are made: one sample of random tokens each."""
    settings = {
        "model.path": base,
        "model.quantization": "nf4",
        "runs": runs,
        "data.row_length": row_length,
        "adapter.r": 16,
        "train.batch_size": 1,
        "train.accumulation": 1,
        "train.optimizer": "paged_adamw_8bit",
        "train.warmup_steps": 0,
    }
    name = f"step-{time.time_ns()}"
    recipe = parse_recipe("", [*(f"{key}={value}" for key, value in settings.items()), *overrides], name=name)
    found = read_base(recipe.model)
    end = Encoder(found.tokenizer, found.family).end_id
    run = open_run(recipe)
    with run.step("build") as notes:
        notes["inputs"] = {"base": found.digest}
        write_rows((_row(seed, row_length, end) for seed in range(8)), run.data / "train", vocabulary_size=VOCABULARY)
        write_rows([], run.data / "valid", vocabulary_size=VOCABULARY)
    return recipe


def measured(folder: Path, *, seconds: float, row_length: int) -> dict[str, float]:
    """The figures of a training that has ended."""
    run = load_run(folder)
    lines = [json.loads(line) for line in (run.adapter / "metrics.jsonl").read_text().splitlines()]
    rates = [line["tokens_per_s"] for line in lines if line["tokens_per_s"] is not None]
    child = resource.getrusage(resource.RUSAGE_CHILDREN)
    batch = run.recipe.train.batch_size * run.recipe.train.accumulation * row_length
    return {
        "seconds_per_step": round(batch * len(rates) / sum(rates), 1),
        "peak_memory_gb": round(run.mark("train")["peak_memory_bytes"] / 1e9, 2),
        "whole_command_seconds": round(seconds, 1),
        "whole_command_cpu_seconds": round(child.ru_utime + child.ru_stime, 1),
        "loss": lines[0]["loss"],
        "trainable": run.mark("train")["training"]["trainable"],
        "isolation": run.mark("train")["preflight"]["isolation"],
    }


def _row(seed: int, row_length: int, end: int) -> PackedRow:
    draw = random.Random(seed)
    ids = [*(draw.randrange(40, 250) for _ in range(row_length - 1)), end]
    half = row_length // 2
    ids[half - 1] = end
    positions = [*range(half), *range(row_length - half)]
    return PackedRow(ids, [IGNORED if not position else token for token, position in zip(ids, positions, strict=True)], positions)


def _shards(layers: int) -> Iterator[Shard]:
    yield "model-embedding.safetensors", {"model.embed_tokens.weight": _normal(VOCABULARY, HIDDEN), **_norm("model.norm")}
    kv = KV_HEADS * HIDDEN // HEADS
    linear = {"q_proj": (HIDDEN, HIDDEN), "k_proj": (kv, HIDDEN), "v_proj": (kv, HIDDEN), "o_proj": (HIDDEN, HIDDEN)}
    for number in range(layers):
        block = f"model.layers.{number}"
        tensors = {**_norm(f"{block}.input_layernorm"), **_norm(f"{block}.post_attention_layernorm")}
        for name, shape in linear.items():
            tensors |= _linear(f"{block}.self_attn.{name}", shape)
        tensors |= _linear(f"{block}.mlp.c_fc", (INNER, HIDDEN)) | _linear(f"{block}.mlp.c_proj", (HIDDEN, INNER))
        yield f"model-{number:02}.safetensors", tensors


def _linear(name: str, shape: tuple[int, int]) -> dict[str, torch.Tensor]:
    return {f"{name}.weight": _normal(*shape), f"{name}.bias": torch.zeros(shape[0], dtype=torch.bfloat16)}


def _norm(name: str) -> dict[str, torch.Tensor]:
    return {f"{name}.weight": torch.ones(HIDDEN, dtype=torch.bfloat16), f"{name}.bias": torch.zeros(HIDDEN, dtype=torch.bfloat16)}


def _normal(*shape: int) -> torch.Tensor:
    device = "cuda" if torch.cuda.is_available() else "cpu"  # it draws them in no time
    return torch.empty(shape, dtype=torch.bfloat16, device=device).normal_(std=0.018).cpu()


def _byte_tokenizer() -> Tokenizer:
    """One token a byte, after the family's control tokens."""
    specials = list(FAMILIES[0].sentinels)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate([*specials, *alphabet])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    return tokenizer


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the base model is kept; without it, a temporary folder")
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json of StarCoder 2; without it, one token a byte")
    parser.add_argument("--rows", type=int, default=512, help="tokens in a row")
    parser.add_argument("--steps", type=int, default=1, help="optimizer steps")
    parser.add_argument("overrides", nargs="*", help="for example model.dtype=bfloat16")
    return parser.parse_args()


if __name__ == "__main__":
    main()
