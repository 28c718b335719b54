"""Rows of one sample each, for methods that can not pack."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from finetune.data.build import build
from finetune.data.collate import collate, collate_alone
from finetune.data.pack import apart, pack
from finetune.data.store import read_rows, write_rows
from finetune.recipe import parse_recipe
from finetune.records import IGNORED, Encoded
from finetune.run import open_run

LENGTHS = [5, 300, 12]  # positions of the second do not fit the byte that is enough for the first


def samples() -> list[Encoded]:
    draw = torch.Generator().manual_seed(0)
    made = []
    for length in LENGTHS:
        ids = torch.randint(10, 300, (length,), generator=draw).tolist()
        made.append(Encoded(ids, [IGNORED, IGNORED, *ids[2:]]))
    return made


def test_each_sample_is_a_row_of_its_own_length(tmp_path: Path) -> None:
    assert write_rows(apart(samples()), tmp_path, vocabulary_size=320, longest=512) == len(LENGTHS)
    for row, sample in zip(read_rows(tmp_path), samples(), strict=True):
        assert row["input_ids"] == [*sample.input_ids]
        assert row["position_ids"] == [*range(len(sample.input_ids))]
        assert row["learnt"] == [label != IGNORED for label in sample.labels]


def test_a_batch_is_padded_to_its_longest_and_padding_is_not_learnt(tmp_path: Path) -> None:
    write_rows(apart(samples()), tmp_path, vocabulary_size=320, longest=512)
    batch = collate_alone(list(read_rows(tmp_path)))
    assert set(batch) == {"input_ids", "labels"} and batch["input_ids"].shape == (3, 300)
    for row, length in enumerate(LENGTHS):
        assert (batch["labels"][row, length:] == IGNORED).all()
        assert batch["labels"][row, 2:length].tolist() == batch["input_ids"][row, 2:length].tolist()


def test_a_padded_batch_gives_the_loss_of_packed_rows(tiny_base: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()
    write_rows(apart(samples()), tmp_path / "apart", vocabulary_size=320, longest=512)
    write_rows(pack(samples(), row_length=400, pad_id=4), tmp_path / "packed", vocabulary_size=320)
    padded, packed = collate_alone(list(read_rows(tmp_path / "apart"))), collate(list(read_rows(tmp_path / "packed")))
    with torch.no_grad():
        losses = [float(model(**batch, use_cache=False).loss) for batch in (padded, packed)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_a_build_without_packing_holds_the_samples_of_the_packed_one(tiny_base: Path, tmp_path: Path, make_repository) -> None:  # type: ignore[no-untyped-def]
    files = {
        f"part{number}.py": "".join(f"def run_{number}_{line}(x):\n    return x + {line}\n" for line in range(4)) for number in range(12)
    }
    repository = make_repository([("start", files)])
    found = {}
    for packing in ("true", "false"):
        overrides = [f"model.path={tiny_base}", f"data.repositories=['{repository}']", f"runs={tmp_path}", "data.row_length=400"]
        recipe = parse_recipe("", [*overrides, f"data.packing={packing}", "data.valid_share=0.3"], name=packing)
        report = build(recipe)
        rows = read_rows(open_run(recipe).data / "train")
        found[packing] = (report, rows)
    (packed, _), (alone, rows) = found["true"], found["false"]
    assert alone.samples == packed.samples and alone.tokens.train == packed.tokens.train
    assert alone.rows["train"] == sum(made["train"] for made in alone.samples.values()) > packed.rows["train"]
    assert alone.tokens.fill == 1.0 and alone.tokens.padding == 0
    assert all(row["position_ids"].count(0) == 1 for row in rows)
