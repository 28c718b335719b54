"""Two processes measure together, whatever rows fall to each."""

from __future__ import annotations

import pytest
from test_launch import launch
from training_runs import Prepare, encoder_of, mean_of_valid

from finetune.data.collate import collate
from finetune.data.store import read_rows, write_rows
from finetune.records import IGNORED, PackedRow
from finetune.run import open_run


def test_a_process_whose_held_out_rows_teach_nothing_goes_through_the_model_with_the_other(prepare: Prepare) -> None:
    """The first pass after a step exchanges buffers: when a process left it out, both waited for ever."""
    settings = ("train.max_steps=2", "train.epochs=2", "train.eval_every=1", "train.batch_size=1", "train.accumulation=1")
    recipe = prepare(*settings)
    run = open_run(recipe)
    full = collate([read_rows(run.data / "valid").with_format("numpy")[0]])
    ids, labels, positions = (full[name][0].tolist() for name in ("input_ids", "labels", "position_ids"))
    rows = [PackedRow(ids, labels, positions), PackedRow(ids, [IGNORED] * len(ids), positions)]
    write_rows(rows, run.data / "valid", vocabulary_size=encoder_of(recipe).vocabulary_size)
    launch(recipe, "cpu2.yaml")
    assert run.mark("train")["training"]["valid_loss"] == pytest.approx(mean_of_valid(recipe), abs=1e-4)
