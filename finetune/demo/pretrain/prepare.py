"""From the corpus to what training reads: the tokenizer, and rows: stable, final, valid; holes, holes_valid."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np

from finetune.demo.pretrain.corpus import File, digest
from finetune.demo.pretrain.pack import Mix, rows
from finetune.demo.pretrain.tokenizer import load, save, train_tokenizer

VALID_ROWS = 32


class Plan(NamedTuple):
    """Lengths in tokens, and the share of files that only the last part of the training sees."""

    seed: int
    stable_length: int
    final_length: int
    final_share: float


class Mixes(NamedTuple):
    """What rows are made of in the first training and in the second."""

    reading: Mix
    holes: Mix


class Job(NamedTuple):
    """One repository's files to be made rows of."""

    files: list[File]
    tokenizer: Path
    mix: Mix
    length: int
    seed: int


def read_corpus(path: Path) -> list[File]:
    """The files of train.jsonl or held_out.jsonl."""
    with path.open() as lines:
        return [File(**json.loads(line)) for line in lines]


def make_tokenizer(corpus: Path, folder: Path, *, size: int, seed: int) -> None:
    """Trains on every second file of the training side, in random order."""
    texts = [file.text for file in read_corpus(corpus / "train.jsonl")]
    random.Random(seed).shuffle(texts)
    save(train_tokenizer(texts[::2], size), folder)


def make_rows(corpus: Path, tokenizer: Path, folder: Path, *, plan: Plan, mixes: Mixes) -> Iterator[tuple[str, int]]:
    """Writes an array for each part of the training and gives its name with its number of rows."""
    folder.mkdir(parents=True, exist_ok=True)
    train = read_corpus(corpus / "train.jsonl")
    early = [file for file in train if not _late(file, plan.final_share)]
    late = [file for file in train if _late(file, plan.final_share)]
    held_out = read_corpus(corpus / "held_out.jsonl")
    parts = {
        "stable": (early, plan.stable_length, mixes.reading),
        "final": (late, plan.final_length, mixes.reading),
        "valid": (held_out, plan.stable_length, mixes.reading),
        "holes": (late, plan.stable_length, mixes.holes),
        "holes_valid": (held_out, plan.stable_length, mixes.holes),
    }
    for name, (files, length, mix) in parts.items():
        jobs = [Job(own, tokenizer, mix, length, plan.seed) for own in _by_repo(files)]
        with get_context("spawn").Pool() as pool:
            packed = np.concatenate(list(pool.imap(_pack, jobs)))
        if name.endswith("valid"):
            packed = packed[np.random.default_rng(0).permutation(len(packed))[:VALID_ROWS]]
        np.save(folder / f"{name}.npy", packed)
        yield name, len(packed)


def _pack(job: Job) -> np.ndarray:
    return np.stack(list(rows(job.files, load(job.tokenizer), job.mix, length=job.length, seed=job.seed)))


def _by_repo(files: list[File]) -> list[list[File]]:
    groups: dict[str, list[File]] = defaultdict(list)
    for file in files:
        groups[file.repo].append(file)
    return list(groups.values())


def _late(file: File, share: float) -> bool:
    return int.from_bytes(digest(f"{file.repo} {file.path}")[:4]) / 2**32 < share
