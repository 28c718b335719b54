"""What the model can do on packages it never saw: bits per byte against xz, single-line holes, and whether it stops.

Legend: `B` windows, `T` tokens, `V` vocabulary.
"""

from __future__ import annotations

import lzma
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import Starcoder2ForCausalLM

from finetune.data.miners.holes import Shape, hole
from finetune.data.render import Encoder, encode_prompt
from finetune.demo.pretrain.corpus import File
from finetune.families import FAMILIES
from finetune.hashing import generator, stable_hash
from finetune.records import FimPrompt

WINDOW, STRIDE = 1024, 512  # tokens: every token but a file's first 512 has at least 512 before it
SIDE = 400  # tokens of prefix, and of suffix, in a prompt
LIMITS: dict[Shape, int] = {"line": 64, "block": 256}  # tokens an answer may have
Z95 = 1.959964


class Hole(NamedTuple):
    """A prompt as ids and the text that was taken out."""

    language: str
    prompt: list[int]
    middle: str


class Loaded(NamedTuple):
    """A model with its encoder."""

    model: Starcoder2ForCausalLM
    encoder: Encoder


def load(folder: Path) -> Loaded:
    """The model of a folder in fp32, ready to read."""
    model: Starcoder2ForCausalLM = Starcoder2ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    family = next(family for family in FAMILIES if family.name == "starcoder2")
    return Loaded(model, Encoder(folder / "tokenizer.json", family))


def sample(files: Sequence[File], per_language: int) -> list[File]:
    """At most so many files of each language, by a hash of their names."""
    groups: dict[str, list[File]] = defaultdict(list)
    for file in sorted(files, key=lambda file: stable_hash(file.repo, file.path)):
        groups[file.language].append(file)
    return [file for language in sorted(groups) for file in groups[language][:per_language]]


def bits_per_byte(loaded: Loaded, files: Sequence[File]) -> dict[str, dict[str, float]]:
    """Model and xz, in bits per byte, for all files and for each language.

    The model reads each file alone after one end token, without a path; xz -9 gets all the files of a line joined, in the same order.
    """
    bits = {id(file): _file_bits(loaded, file.text) for file in files}
    groups = {"all": list(files)} | {
        language: [f for f in files if f.language == language] for language in sorted({f.language for f in files})
    }
    table = {}
    for name, own in groups.items():
        content = "".join(file.text for file in own).encode()
        table[name] = {
            "files": len(own),
            "bytes": len(content),
            "model": round(sum(bits[id(file)] for file in own) / len(content), 4),
            "xz": round(8 * len(lzma.compress(content, preset=9)) / len(content), 4),
        }
    return table


@torch.inference_mode()
def _file_bits(loaded: Loaded, text: str) -> float:
    ids = [loaded.encoder.end_id, *loaded.encoder.text(text)]
    nats = 0.0
    for start, first in _windows(len(ids)):
        ids_BT = torch.tensor([ids[start : start + WINDOW]])
        logits_BTV = loaded.model(input_ids=ids_BT, use_cache=False).logits
        nats += _nats(logits_BTV[0, first - start - 1 : -1], ids_BT[0, first - start :])
    return nats / math.log(2)


def _nats(logits_TV: Tensor, targets_T: Tensor) -> float:
    return torch.nn.functional.cross_entropy(logits_TV, targets_T, reduction="sum").item()


def _windows(length: int) -> Iterator[tuple[int, int]]:
    """(start, first token to count) of windows that count every token but the first once."""
    start, first = 0, 1
    while first < length:
        yield start, first
        first = start + WINDOW
        start += STRIDE


def holes(loaded: Loaded, files: Sequence[File], shape: Shape) -> list[Hole]:
    """One hole in each file, cut as the evaluation of the tool cuts them, with the text around it that fits a prompt."""
    return [_hole(loaded.encoder, file, shape) for file in files]


def _hole(encoder: Encoder, file: File, shape: Shape) -> Hole:
    start, end = hole(file.text, shape, draws=generator("demo", file.repo, file.path, shape), max_lines=4)
    prefix, suffix = file.text[:start], file.text[end:]
    starts = encoder.token_starts(prefix)
    if len(starts) > SIDE:
        prefix = prefix[starts[-SIDE] :]
    starts = encoder.token_starts(suffix[: SIDE * 16])
    if len(starts) > SIDE:
        suffix = suffix[: starts[SIDE]]
    return Hole(file.language, encode_prompt(FimPrompt(prefix, suffix), encoder), file.text[start:end])


def fill(loaded: Loaded, asked: Sequence[Hole], shape: Shape) -> dict[str, object]:
    """Greedy answers: how many are the middle that was taken out, and how many end by a stop token in time."""
    exact, stopped, tokens = [], [], 0
    for item in asked:
        answer, stop = _answer(loaded, item.prompt, LIMITS[shape])
        exact.append(stop and loaded.encoder.decode(answer).strip() == item.middle.strip())
        stopped.append(stop)
        tokens += len(answer)
    return {
        "n": len(asked),
        "limit": LIMITS[shape],
        "exact": _share(exact),
        "stopped": _share(stopped),
        "mean_tokens": round(tokens / len(asked), 1),
        "exact_by_language": _by_language(asked, exact),
    }


@torch.inference_mode()
def _answer(loaded: Loaded, prompt: list[int], limit: int) -> tuple[list[int], bool]:
    """The ids up to the first stop token, and whether there was one."""
    answer: list[int] = []
    ids, cache = prompt, None
    while len(answer) < limit:
        output = loaded.model(input_ids=torch.tensor([ids]), past_key_values=cache, use_cache=True)
        token, cache = int(output.logits[0, -1].argmax()), output.past_key_values
        if token in loaded.encoder.stop_ids:
            return answer, True
        answer.append(token)
        ids = [token]
    return answer, False


def _share(hits: Sequence[bool]) -> dict[str, float | int]:
    """A share with its 95 % interval (Wilson); every item is of another file."""
    n, value = len(hits), sum(hits) / len(hits)
    centre = (value + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * math.sqrt(value * (1 - value) / n + Z95**2 / (4 * n * n))
    return {"value": round(value, 4), "low": round(max(centre - half, 0.0), 4), "high": round(centre + half, 4), "n": n}


def _by_language(asked: Sequence[Hole], hits: Sequence[bool]) -> dict[str, dict[str, float | int]]:
    groups: dict[str, list[bool]] = defaultdict(list)
    for item, hit in zip(asked, hits, strict=True):
        groups[item.language].append(hit)
    return {language: _share(groups[language]) for language in sorted(groups)}
