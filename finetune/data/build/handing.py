"""The dataset for other trainers: lines of JSON, a configuration, and a page that says how to use them, in run/data/exports/NAME."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from finetune.base import BaseFolder
from finetune.data.build.tools import SIDES
from finetune.data.exports import FORMATS, Format, Setting, Tokens, Told, read_told
from finetune.data.exports.base import TRAIN, VALID, LowRank
from finetune.data.exports.reading import Reader
from finetune.data.render import Encoder
from finetune.data.report import Handed
from finetune.data.tables import SampleRow
from finetune.errors import DataError
from finetune.files import staged_folder, write_atomic, write_json
from finetune.lock import hold
from finetune.methods import Full, Lora
from finetune.records import Side
from finetune.run import Run

FOLDER = "exports"
_FILES: dict[Side, str] = {"train": TRAIN, "valid": VALID}
_ORIGINS: dict[Side, str] = {"train": "train.origins.jsonl", "valid": "valid.origins.jsonl"}
_BITS = {"none": None, "nf4": 4, "int8": 8}


def hand_on(run: Run, base: BaseFolder, encoder: Encoder) -> tuple[Handed, ...]:
    """Writes what the recipe's data.exports name, each whole or not at all."""
    formats = run.recipe.data.exports
    if not formats:
        return ()
    reader = Reader(base.tokenizer)
    with hold(run.folder, doing="data.exports"):
        return tuple(_handed(format_, run, base, encoder=encoder, reader=reader) for format_ in formats)


def _handed(format_: Format, run: Run, base: BaseFolder, *, encoder: Encoder, reader: Reader) -> Handed:
    place = run.data / FOLDER / format_.kind
    left_out: Counter[str] = Counter()
    licences: Counter[str] = Counter()
    lines: dict[Side, int] = {}
    with staged_folder(place) as folder:
        for side in SIDES:
            kept = _kept(read_told(run.data, side, encoder), format_, encoder, reader, left_out)
            lines[side] = _write(folder / _FILES[side], folder / _ORIGINS[side], kept, licences)
        if not lines["train"]:
            reasons = ", ".join(f"{reason} {count}" for reason, count in left_out.most_common())
            others = ", ".join(kind for kind, _ in FORMATS if kind != format_.kind)
            raise DataError(
                f"data.exports: {format_.kind}: not one sample of the train side can be told in it ({reasons}); write one of {others}"
            )
        handed = Handed(format_.kind, str(place), lines, dict(left_out))
        for name, text in format_.files(_setting(run, base, encoder, place)).items():
            write_atomic(folder / name, text)
        write_atomic(folder / "README.md", _page(format_, run, handed, encoder=encoder, licences=licences))
        write_json(folder / "export.json", {"lines": lines, "left_out": dict(left_out), "first": _first(run, encoder)})
    return handed


def _kept(
    found: Iterator[Told], format_: Format, encoder: Encoder, reader: Reader, left_out: Counter[str]
) -> Iterator[tuple[Mapping[str, Any], SampleRow]]:
    """The samples that the trainer reads as they are stored, each as a line of its and what it is made of; the others are counted."""
    for told in found:
        line = format_.line(told)
        reason = line if isinstance(line, str) else _fault(format_.reads(line), told, encoder, reader)
        if isinstance(line, str) or reason:
            left_out[reason or ""] += 1
        else:
            yield line, told.row


def _fault(read: Tokens | list[int], told: Told, encoder: Encoder, reader: Reader) -> str | None:
    if isinstance(read, Tokens) and not read.whole:
        return None if encoder.control_ids.isdisjoint(reader.ids(read)) else "spells_a_control_token"
    ids = reader.ids(read) if isinstance(read, Tokens) else read
    if ids == list(told.ids):
        return None
    # Text of the user that spells a sentinel is one more of them to whoever reads it as text.
    counts = (sum(token in encoder.control_ids for token in each) for each in (ids, told.ids))
    return "other_tokens" if len({*counts}) == 1 else "spells_a_control_token"


def _write(path: Path, origins: Path, kept: Iterator[tuple[Mapping[str, Any], SampleRow]], licences: Counter[str]) -> int:
    """Writes the samples, and in a file beside it, line for line, where each is from and under which licences; gives how many."""
    count = 0
    with path.open("w", encoding="utf-8") as file, origins.open("w", encoding="utf-8") as beside:
        for count, (line, row) in enumerate(kept, start=1):  # noqa: B007 - the last one is the count
            origin = {name: getattr(row, name) for name in ("miner", "repo", "commit", "paths", "licenses")}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            beside.write(json.dumps(origin, ensure_ascii=False) + "\n")
            licences.update({licence or "none" for licence in row.licenses})
    return count


def _first(run: Run, encoder: Encoder) -> dict[str, list[int]]:
    """The tokens of the first sample, to compare with what another trainer makes of it."""
    told = next(read_told(run.data, "train", encoder))
    return {"input_ids": list(told.ids), "learnt": [int(each) for each in told.learnt]}


def _setting(run: Run, base: BaseFolder, encoder: Encoder, place: Path) -> Setting:
    recipe = run.recipe
    train, adapter = recipe.train, recipe.adapter
    # Another kind of adapter has no counterpart in every trainer: LoRA takes its place, and the page says so.
    lora = adapter if isinstance(adapter, Lora) else Lora()
    targets = lora.targets or base.family.lora_targets or ("all-linear",)
    low_rank = LowRank(lora.r, lora.alpha, lora.dropout, targets, rslora=lora.rslora, dora=lora.dora)
    own = {name: getattr(train, name) for name in train.model_dump() if name not in {"optimizer", "fit"} and name in Setting.__slots__}
    return Setting(
        name=recipe.name,
        folder=place.resolve(),
        output=(run.folder / "elsewhere" / place.name).resolve(),
        base=base.path,
        end=encoder.family.end,
        seed=recipe.seed,
        adapter=None if isinstance(adapter, Full) else low_rank,
        bits=_BITS[recipe.model.quantization],
        row_length=recipe.data.row_length,
        packing=recipe.data.packing,
        learn_all=recipe.data.learn == "all",
        **own,
    )


def _page(format_: Format, run: Run, handed: Handed, *, encoder: Encoder, licences: Counter[str]) -> str:
    splits = [{"split": "train", "path": TRAIN}, *([{"split": "validation", "path": VALID}] if handed.lines["valid"] else [])]
    header: dict[str, Any] = {"license": "other", "configs": [{"config_name": "default", "data_files": splits}]}
    rows = "".join(f"- {_FILES[side]}: {count} samples\n" for side, count in handed.lines.items())
    rows += "".join(f"- left out, {reason}: {count}\n" for reason, count in sorted(handed.left_out.items()))
    adapter = run.recipe.adapter
    kind = "" if isinstance(adapter, Lora | Full) else f"\nThe recipe's adapter is {adapter.kind}; the configuration has a LoRA instead.\n"
    command = f"\n    {format_.command.format(folder=Path(handed.folder).resolve())}\n" if format_.command else ""
    under = "".join(f"- {licence}: {count}\n" for licence, count in sorted(licences.items()))
    sentinels = " ".join(encoder.family.sentinels)
    return (
        f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n\n# {run.recipe.name}, for {format_.title}\n{command}\n{rows}{kind}\n"
        f"{format_.notes()}\n\n"
        f"Sentinels stand in the text as words ({sentinels}): the trainer must tokenise special tokens, as a tokenizer of transformers "
        "does unless told `split_special_tokens=True`, and must use the base model's own tokenizer.json. export.json holds the tokens "
        "of the first sample of the train side, to compare with. Every line here was read back with that tokenizer and gives the tokens "
        "that octotune trains on; a sample that would not, as one whose code spells a sentinel, is left out and counted above.\n\n"
        "Where each line comes from (miner, repository, commit, paths) and the licences of its paths stand in the same line of "
        f"{' and '.join(_ORIGINS.values())}. Samples by licence:\n\n{under}\nThe whole dataset's card: ../../README.md.\n"
    )
