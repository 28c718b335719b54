"""A training that goes on is the one that began: weights, optimizer, schedule, data order, random state and curve."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from test_train import dtypes, torn_copy, train_until_stopped
from training_runs import Kept, Prepare, held_out, logged, outcome
from transformers import PreTrainedModel

from finetune.base import BaseFolder
from finetune.data.store import read_rows
from finetune.errors import Stopped
from finetune.model import load_model
from finetune.recipe import ModelSection
from finetune.run import Run, open_run
from finetune.train import train

# 12 rows an epoch and more: steps 4 and 8 begin an epoch or lie beside one.
SETTINGS = ("adapter.dropout=0.2", "train.max_steps=9", "train.epochs=9")
EVERY_STEP = (*SETTINGS, "train.save_every=1", "train.keep_checkpoints=20")


def equal(left: object, right: object) -> bool:
    """Whether nested containers of tensors and numbers are equal to the bit."""
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(equal(*pair) for pair in zip(left, right, strict=True))
    return bool((left == right).all()) if hasattr(left, "all") else left == right


def with_the_adapter_blocked(run: Run) -> None:
    """Trains to the last step and leaves all checkpoints: something stands where the adapter is to be written."""
    blocked = run.folder / ".partial-adapter"
    blocked.write_text("in the way")
    with pytest.raises(OSError, match="partial"):
        train(run.recipe)
    blocked.unlink()


def state(checkpoint: Path) -> dict[str, object]:
    """All that a checkpoint holds, but for the times in it."""
    found: dict[str, object] = {
        name: torch.load(checkpoint / name, weights_only=False) for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth")
    }
    found["trainer"] = json.loads((checkpoint / "trainer_state.json").read_text())["num_input_tokens_seen"]
    found["partial"] = json.loads((checkpoint / "loss_0.json").read_text())
    return found | {"weights": (checkpoint / "adapter_model.safetensors").read_bytes()}


@pytest.mark.parametrize("log_every", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_going_on_from_any_step_ends_in_the_same_state(prepare: Prepare, log_every: int) -> None:
    """Also where a log line stands for several steps, of which some came before the stop."""
    whole = open_run(prepare(*EVERY_STEP, f"train.log_every={log_every}", name="whole"))
    with_the_adapter_blocked(whole)
    last, expected = state(whole.checkpoints / "checkpoint-9"), None
    for step in (2, 5, 8):
        run = open_run(prepare(*EVERY_STEP, f"train.log_every={log_every}", name=f"from-{step}"))
        shutil.copytree(whole.checkpoints, run.checkpoints)
        for later in range(step + 1, 10):
            shutil.rmtree(run.checkpoints / f"checkpoint-{later}")
        own_it(run, whole)
        before, written = Kept(run), times(run)
        with_the_adapter_blocked(run)
        assert {name: time for name, time in times(run).items() if name in written} == written, "a step that was kept was done again"
        again = state(run.checkpoints / "checkpoint-9")
        assert {name: equal(again[name], last[name]) for name in last} == dict.fromkeys(last, True), step
        train(run.recipe)
        before.require_if_any()
        expected = expected or logged(run.adapter)
        assert logged(run.adapter) == expected and held_out(run.adapter).keys() == {0, 3, 6, 9}
    train(whole.recipe)
    assert logged(whole.adapter) == expected


def times(run: Run) -> dict[str, int]:
    """When each checkpoint was written."""
    return {path.name: (path / "files.json").stat().st_mtime_ns for path in run.checkpoints.glob("checkpoint-*")}


def own_it(run: Run, whole: Run) -> None:
    """Checkpoints of a run belong to its recipe and data; both runs have the same but for the name."""
    owner = json.loads((whole.checkpoints / "run.json").read_text())
    assert owner["digest"] == run.digest("train") and owner["data"] == run.mark("build")["result"]


def test_what_only_watches_may_change_between_starts(prepare: Prepare) -> None:
    recipe = prepare(*SETTINGS)
    train_until_stopped(recipe, step=2)
    before = Kept(open_run(recipe))
    train(prepare(*SETTINGS, "train.save_every=4", "train.keep_checkpoints=1", "train.spike=7"))
    before.require()
    assert [*logged(open_run(recipe).adapter)] == [*range(1, 10)]


def test_a_stopped_training_goes_on_where_its_base_was_moved_to(prepare: Prepare, tiny_base: Path, tmp_path: Path) -> None:
    train_until_stopped(prepare(*SETTINGS), step=2)
    moved = tmp_path / "moved"
    shutil.copytree(tiny_base, moved)
    recipe = prepare(*SETTINGS, base=moved)
    before = Kept(open_run(recipe))
    train(recipe)
    before.require()


@pytest.mark.parametrize("where", ["in an epoch", "at the start of one"])
def test_a_stop_in_the_middle_of_a_step_saves_the_step_before_it(prepare: Prepare, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """A step of a large model takes minutes; the passes that were done of it leave no trace, in dropout's draws neither."""
    small_passes = ("train.batch_size=1", "train.accumulation=8", "train.log_every=2")
    settings = ("adapter.dropout=0.2", "train.max_steps=5", "train.epochs=9", *small_passes)
    undisturbed, stopped = prepare(*settings, name="undisturbed"), prepare(*settings, name="stopped")
    train(undisturbed)
    rows = len(read_rows(open_run(stopped).data / "train"))
    number, step = (13, 1) if where == "in an epoch" else (rows + 2, -(-rows // 8))
    with at_pass(number, monkeypatch), pytest.raises(Stopped, match=f"stopped by SIGTERM after step {step} of 5, which is kept"):
        train(stopped)
    assert f"checkpoint-{step}" in [path.name for path in open_run(stopped).checkpoints.glob("checkpoint-*")]
    monkeypatch.undo()
    before = Kept(open_run(stopped))
    train(stopped)
    assert before.step == step
    before.require_if_any()  # of a step without a line of its own, none is kept
    assert outcome(open_run(stopped).adapter) == outcome(open_run(undisturbed).adapter)


def test_a_stop_while_held_out_rows_are_measured_measures_them_again(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = (*SETTINGS, "train.batch_size=1", "train.max_steps=6")
    undisturbed, stopped = prepare(*settings, name="undisturbed"), prepare(*settings, name="stopped")
    train(undisturbed)
    # Of the base, then after step 3; in the next start again after step 3; in the last again, and after the last step.
    for number, when in ((2, "after step 3 of 6"), (1, "while step 3 was measured"), (2, "after step 6 of 6")):
        with in_measurement(number, monkeypatch), pytest.raises(Stopped, match=f"stopped by SIGTERM {when}, which is kept"):
            train(stopped)
        monkeypatch.undo()
    before = Kept(open_run(stopped))
    train(stopped)
    before.require()
    assert outcome(open_run(stopped).adapter) == outcome(open_run(undisturbed).adapter)


def test_a_stop_while_the_base_is_measured_has_nothing_to_save(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = prepare()
    with in_measurement(1, monkeypatch), pytest.raises(Stopped, match="before its first step was done; to go on, type: finetune train"):
        train(recipe)
    monkeypatch.undo()
    train(recipe)
    assert held_out(open_run(recipe).adapter).keys() == {0, 3, 6}


def test_a_stop_while_the_model_is_loaded_is_at_once(prepare: Prepare) -> None:
    recipe, before = prepare(), signal.getsignal(signal.SIGINT)

    def told(base: BaseFolder, section: ModelSection) -> PreTrainedModel:
        os.kill(os.getpid(), signal.SIGINT)
        return load_model(base, section)

    with pytest.raises(Stopped, match="stopped by SIGINT before the first step of this start"):
        train(recipe, load=told)
    assert not open_run(recipe).checkpoints.exists() and signal.getsignal(signal.SIGINT) is before


class at_pass:
    """Within the block SIGTERM comes during the pass of that number."""

    def __init__(self, number: int, patch: pytest.MonkeyPatch) -> None:
        self.number, self.patch = number, patch
        self.before = signal.getsignal(signal.SIGTERM)

    def __enter__(self) -> None:
        from finetune.train.engine import RowTrainer

        self._told(RowTrainer, "training_step")

    def _told(self, where: type, name: str) -> None:
        whole: Callable[..., object] = getattr(where, name)
        left = self.number

        def counted(*arguments: object, **named: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGTERM)
            return whole(*arguments, **named)

        self.patch.setattr(where, name, counted)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self.before)


class in_measurement(at_pass):
    """Within the block SIGTERM comes during the measurement of that number."""

    def __enter__(self) -> None:
        from finetune.train.engine import RowTrainer

        self._told(RowTrainer, "evaluate")


def spoil(path: Path) -> None:
    """Other bytes of the same number, as a bad disk gives them."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_torn_checkpoint_is_skipped_with_a_message(prepare: Prepare, caplog: pytest.LogCaptureFixture) -> None:
    """T16: a folder that was half written, and one whose bytes changed though its sizes did not."""
    recipe = prepare(*SETTINGS)
    train_until_stopped(recipe, step=5)
    kept = sorted(open_run(recipe).checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    spoil(kept[-1] / "optimizer.pt")
    torn_copy(kept[-1], 99)
    before = Kept(open_run(recipe), int(kept[-2].name.split("-")[1]))
    with caplog.at_level(logging.WARNING):
        train(recipe)
    before.require()
    said = [record.getMessage() for record in caplog.records if "torn" in record.getMessage()]
    assert len(said) == 2
    assert "checkpoint-99: skipped, it is torn (its files are not those that files.json lists); the training goes on" in said[0]
    assert f"{kept[-1].name}: skipped, it is torn (the content of optimizer.pt changed)" in said[1]
    assert [*logged(open_run(recipe).adapter)] == [*range(1, 10)]


DISK = """
mkdir "$2"; from="$1"; at="$2"; shift 2
mount -t tmpfs -o size=60m tmpfs "$at"; cp -r "$from" "$at/mine"
mount -o remount,size=$(($(du -sk "$at/mine" | cut -f1) + ROOM))k "$at"
set +e; "$@"; echo "ended with $?" >&2; ls "$at/mine/checkpoints" >&2
mkdir "$from/checkpoints"; cp "$at/mine/checkpoints/metrics.jsonl" "$from/checkpoints"
mount -o remount,size=60m "$at"; "$@"; echo "ended with $?" >&2; set -e
cp -r "$at/mine/adapter" "$from/adapter"
"""


def test_a_disk_that_fills_up_costs_no_step_that_was_saved(prepare: Prepare) -> None:
    """The first checkpoint fits, the second does not; once there is room the training goes on from the first."""
    if subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs user namespaces")
    settings = (*SETTINGS, "train.save_every=3", "train.max_steps=6")
    undisturbed, full = prepare(*settings, name="undisturbed"), prepare(*settings, name="full")
    with_the_adapter_blocked(open_run(undisturbed))
    kept = open_run(undisturbed).checkpoints / "checkpoint-3"
    room = sum(-(-path.stat().st_size // 4096) * 4 for path in kept.iterdir()) * 3 // 2  # KiB: one and a half checkpoints
    train(undisturbed)
    run = open_run(full)
    at = run.folder.parent / "small"
    script = DISK.replace("ROOM", str(room))
    command = [sys.executable, "-m", "finetune", "train", str(at / "mine")]
    whole = ["unshare", "-Urm", "sh", "-ec", script, "sh", str(run.folder), str(at), *command]
    done = subprocess.run(whole, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert [line for line in done.stderr.splitlines() if line.startswith("ended")] == ["ended with 2", "ended with 0"], done.stderr
    assert "the disk is full; free some room and type the same again" in done.stderr and "checkpoint-3" in done.stderr.split()
    Kept(run, 3).require()
    assert outcome(run.adapter) == outcome(open_run(undisturbed).adapter)


@pytest.mark.slow
def test_eight_bit_states_go_on_too(prepare: Prepare) -> None:
    settings = (*EVERY_STEP, "adapter.r=64", "train.optimizer=adamw_8bit", "train.max_steps=4")
    whole, cut = open_run(prepare(*settings, name="whole")), open_run(prepare(*settings, name="cut"))
    with_the_adapter_blocked(whole)
    shutil.copytree(whole.checkpoints, cut.checkpoints)
    for later in (3, 4):
        shutil.rmtree(cut.checkpoints / f"checkpoint-{later}")
    written = times(cut)
    with_the_adapter_blocked(cut)
    assert {name: time for name, time in times(cut).items() if name in written} == written
    first, second = state(whole.checkpoints / "checkpoint-4"), state(cut.checkpoints / "checkpoint-4")
    assert torch.uint8 in dtypes(first["optimizer.pt"]["state"])  # type: ignore[index]
    assert equal(first["optimizer.pt"], second["optimizer.pt"])
