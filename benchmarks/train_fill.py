"""How full packing makes the rows of a real repository, and that it cuts no sample.

    python benchmarks/train_fill.py name=/path/to/repository [--tokenizer tokenizer.json] [--row-length 2048 8192] [override ...]

Builds the dataset of a recipe as `finetune build` does, at each row length, and counts the rows as they lie on disk. Without --tokenizer a
token is a byte. Prints one JSON object a row length.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from qlora_3b import CONFIG, _byte_tokenizer
from safetensors.numpy import save_file

from finetune.data.build import build
from finetune.data.store import read_rows
from finetune.families import FAMILIES
from finetune.recipe import Recipe, parse_recipe
from finetune.run import open_run


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as scratch:
        base = weightless(Path(scratch) / "base", options.tokenizer)
        for row_length in options.row_length:
            settings = [f"model.path={base}", f"runs={scratch}/runs", f"data.repositories=[{options.repository}]"]
            recipe = parse_recipe("", [*settings, f"data.row_length={row_length}", *options.overrides], name=f"fill-{row_length}")
            build(recipe)
            print(json.dumps({"row_length": row_length} | filled(recipe)))


def weightless(folder: Path, tokenizer: Path | None) -> Path:
    """A base model folder of StarCoder 2 3B's shape; a build reads no weights."""
    folder.mkdir()
    if tokenizer is None:
        _byte_tokenizer().save(str(folder / "tokenizer.json"))
    else:
        (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": FAMILIES[0].end}))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    save_file({}, folder / "model.safetensors")
    return folder


def filled(recipe: Recipe) -> dict[str, float | int]:
    """Shares of real tokens, over all rows and row by row, and samples whose last token is not one that is learnt."""
    shares, samples, cut = [], 0, 0
    for row in read_rows(open_run(recipe).data / "train").with_format("numpy"):
        ends = [*samples_of(row["position_ids"], row["input_ids"], row["learnt"])]
        real = ends[-1][1]
        shares.append(real / recipe.data.row_length)
        samples += len(ends)
        cut += sum(not row["learnt"][end - 1] for _, end in ends)
    ordered = sorted(shares)
    return {
        "rows": len(shares),
        "samples": samples,
        "samples_cut": cut,
        "fill": round(float(np.mean(shares)), 4),
        "rows_of_97_percent": round(sum(share >= 0.97 for share in shares) / len(shares), 4),
        "emptiest": [round(share, 4) for share in ordered[:3]],
        "fill_but_for_the_emptiest": round(float(np.mean(ordered[1:])), 4),
    }


def samples_of(positions: np.ndarray, ids: np.ndarray, learnt: np.ndarray) -> Iterator[tuple[int, int]]:
    """Where each sample of a row begins and ends; the padding, of which nothing is learnt, is none."""
    starts = np.flatnonzero(positions == 0)
    for start, end in zip(starts, [*starts[1:], len(ids)], strict=True):
        if learnt[start:end].any():
            yield int(start), int(end)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", help="a git repository, name=/path where its folder's name is no name")
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json of StarCoder 2; without it, one token a byte")
    parser.add_argument("--row-length", type=int, nargs="+", default=[2048, 8192], help="tokens in a row")
    parser.add_argument("overrides", nargs="*", help="for example data.learn=answer")
    return parser.parse_intermixed_args()


if __name__ == "__main__":
    main()
