from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training_runs import Kept, Prepare, logged, write_side

from finetune.errors import TrainError
from finetune.recipe import Recipe
from finetune.run import open_run
from finetune.train import train
from finetune.train.checkpoints import full_disk_named


def torn_copy(checkpoint: Path, step: int) -> None:
    """What a kill leaves that comes while a checkpoint is written in its final place."""
    torn = checkpoint.with_name(f"checkpoint-{step}")
    torn.mkdir()
    for name in ("adapter_model.safetensors", "trainer_state.json", "files.json"):
        (torn / name).write_bytes((checkpoint / name).read_bytes())
    (torn / "adapter_model.safetensors").write_bytes(b"\0" * 100)


def dtypes(value: object) -> set[torch.dtype]:
    """The types of all tensors in nested dicts and lists."""
    if isinstance(value, torch.Tensor):
        return {value.dtype}
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {dtype for each in inner for dtype in dtypes(each)}


def train_until_stopped(recipe: Recipe, step: int) -> str:
    """Trains until SIGTERM comes, as soon as the log holds `step`; gives the message. A signal that comes too late does no harm."""
    log, ended = open_run(recipe).checkpoints / "metrics.jsonl", threading.Event()

    def watch() -> None:
        while not ended.wait(0.002):
            if log.exists() and f'"step": {step}' in log.read_text():
                os.kill(os.getpid(), signal.SIGTERM)
                return

    watcher = threading.Thread(target=watch, daemon=True)
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        watcher.start()
        with pytest.raises(TrainError) as caught:
            train(recipe)
    finally:
        ended.set()
        watcher.join()
        signal.signal(signal.SIGTERM, before)
    return str(caught.value)


def test_training_lowers_the_held_out_loss_and_leaves_a_whole_adapter(prepare: Prepare) -> None:
    recipe = prepare()
    result = train(recipe)
    run = open_run(recipe)
    assert result.valid_loss is not None and result.valid_loss_before is not None
    assert result.valid_loss < result.valid_loss_before - 0.3
    assert result.steps == 6 and result.tokens == 6 * 4 * 128
    names = {path.name for path in run.adapter.iterdir()}
    weights = {"adapter_model.safetensors", "adapter_config.json", "base.json"}
    assert names == {*weights, "recipe.yaml", "metrics.jsonl", "loss.png", "work.png"}
    assert run.done("train") and not run.checkpoints.exists()
    assert run.mark("train")["preflight"]["coverage"]["adapted"] > 0


def test_every_logged_step_has_its_numbers(prepare: Prepare) -> None:
    recipe = prepare()
    train(recipe)
    lines = [json.loads(line) for line in (open_run(recipe).adapter / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["loss"] is not None]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    assert all(line["tokens_per_s"] > 0 and line["memory_bytes"] > 0 and line["learning_rate"] >= 0 for line in steps)
    assert [line["step"] for line in lines if line["valid_loss"] is not None] == [0, 3, 6]


@pytest.mark.parametrize("held_out_rows", [0, 10])
@pytest.mark.parametrize(("log_every", "lines"), [(2, [2, 3]), (50, [3])])
def test_the_last_step_has_a_line_wherever_log_every_falls(prepare: Prepare, held_out_rows: int, log_every: int, lines: list[int]) -> None:
    """A training with fewer steps than a line stands for had none, and ended in an error behind its last step."""
    every, recipe = (prepare("train.max_steps=3", f"train.log_every={each}", name=f"of-{each}") for each in (1, log_every))
    write_side(open_run(recipe).data / "valid", recipe, range(40, 40 + held_out_rows))
    train(every)
    result = train(recipe)
    assert (result.steps, result.tokens) == (3, 3 * 4 * 128)
    of_each, found = logged(open_run(every).adapter), logged(open_run(recipe).adapter)
    assert [*found] == lines
    assert found[lines[0]] == pytest.approx(sum(of_each[step] for step in range(1, lines[0] + 1)) / lines[0], abs=1e-6)


def test_a_training_that_was_done_is_found_not_repeated(prepare: Prepare) -> None:
    recipe = prepare()
    first = train(recipe)
    again = train(recipe)
    assert first.fresh and not again.fresh
    assert again.valid_loss == first.valid_loss


def test_training_asks_for_the_build_it_stands_on(prepare: Prepare) -> None:
    recipe = prepare()
    other = recipe.model_copy(update={"seed": 1})
    with pytest.raises(TrainError, match="type: finetune build"):
        train(other)


def test_the_same_seed_gives_the_same_bytes(prepare: Prepare) -> None:
    first, second = prepare(name="first"), prepare(name="second")
    train(first)
    train(second)
    for name in ("adapter_model.safetensors", "adapter_config.json", "base.json"):
        assert (open_run(first).adapter / name).read_bytes() == (open_run(second).adapter / name).read_bytes()


def test_another_seed_draws_other_weights_and_another_order_of_rows(prepare: Prepare) -> None:
    """At no rate to speak of the weights are those of the start, and the loss, of an adapter without effect yet, is that of the rows."""
    settings = ("train.max_steps=1", "train.learning_rate=1e-12", "adapter.dropout=0")
    first, second = (prepare(*settings, f"seed={seed}", name=f"seed-{seed}") for seed in (0, 1))
    train(first)
    train(second)
    weights = [load_file(open_run(each).adapter / "adapter_model.safetensors") for each in (first, second)]
    assert not [name for name in weights[0] if "lora_A" in name and torch.allclose(weights[0][name], weights[1][name], atol=1e-3)]
    assert logged(open_run(first).adapter) != logged(open_run(second).adapter)


@pytest.mark.parametrize("optimizer", ["adamw", "paged_adamw_8bit"])
def test_a_stopped_training_ends_where_an_undisturbed_one_ends(prepare: Prepare, optimizer: str) -> None:
    """Data order, dropout, optimizer and schedule go on as if nothing had been; a torn newer checkpoint does not matter (T16)."""
    settings = ("adapter.dropout=0.2", "adapter.r=64", "train.max_steps=9", f"train.optimizer={optimizer}")
    undisturbed, stopped = prepare(*settings, name="undisturbed"), prepare(*settings, name="stopped")
    train(undisturbed)
    message = train_until_stopped(stopped, step=3)
    run = open_run(stopped)
    assert "stopped by SIGTERM after step" in message and "type: finetune train" in message
    assert not run.done("train") and not run.adapter.exists()
    kept = sorted(run.checkpoints.glob("checkpoint-*"), key=lambda path: path.stat().st_mtime)
    before = Kept(run)
    torn_copy(kept[-1], 99)
    train(stopped)
    before.require()
    assert logged(run.adapter) == pytest.approx(logged(open_run(undisturbed).adapter), abs=1e-6)
    weights = "adapter_model.safetensors"
    assert (run.adapter / weights).read_bytes() == (open_run(undisturbed).adapter / weights).read_bytes()


def test_a_killed_training_goes_on_from_its_last_whole_checkpoint(prepare: Prepare) -> None:
    recipe, undisturbed = prepare("train.max_steps=12"), prepare("train.max_steps=12", name="undisturbed")
    run = open_run(recipe)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, "-m", "finetune", "train", str(run.folder)], env=environment) as process:
        while not [*run.checkpoints.glob("checkpoint-*")]:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.01)
            assert process.poll() is None, "the training ended before it could be killed"
        process.kill()
    assert not run.adapter.exists()
    before = Kept(run)
    assert train(recipe).steps == 12
    before.require()
    train(undisturbed)
    assert logged(run.adapter) == pytest.approx(logged(open_run(undisturbed).adapter), abs=1e-6)


def test_a_kill_between_the_last_step_and_the_adapter_costs_no_step(prepare: Prepare) -> None:
    recipe = prepare("train.max_steps=4", "train.epochs=3")
    run = open_run(recipe)
    run.adapter.parent.mkdir(exist_ok=True)
    blocked = run.folder / ".partial-adapter"
    blocked.write_text("a file where the staged folder belongs: writing the adapter fails")
    with pytest.raises(OSError, match="partial"):
        train(recipe)
    assert (run.checkpoints / "checkpoint-4").exists()
    blocked.unlink()
    before = Kept(run)
    result = train(recipe)
    before.require()
    assert result.steps == 4 and list(logged(run.adapter)) == [1, 2, 3, 4]


def test_checkpoints_of_another_recipe_are_not_lost_silently(prepare: Prepare) -> None:
    recipe = prepare("train.max_steps=9")
    train_until_stopped(recipe, step=2)
    other = prepare("train.max_steps=9", "adapter.r=4")
    with pytest.raises(TrainError, match=r"another recipe.*remove the folder .*checkpoints.*name=NEW"):
        train(other)
    assert list(open_run(recipe).checkpoints.glob("checkpoint-*"))


def test_only_the_newest_checkpoints_are_kept(prepare: Prepare) -> None:
    recipe = prepare("train.max_steps=9", "train.save_every=1", "train.keep_checkpoints=2")
    train_until_stopped(recipe, step=5)
    assert len(list(open_run(recipe).checkpoints.glob("checkpoint-*"))) == 2


def test_eight_bit_optimizers_hold_their_state_in_bytes(prepare: Prepare) -> None:
    recipe = prepare("adapter.r=64", "train.optimizer=adamw_8bit", "train.max_steps=9")
    train_until_stopped(recipe, step=2)
    saved = next(open_run(recipe).checkpoints.glob("checkpoint-*")) / "optimizer.pt"
    states = [*torch.load(saved, weights_only=True)["state"].values()]
    assert torch.uint8 in dtypes(states)


def test_a_loss_that_is_no_number_stops_with_the_step(prepare: Prepare) -> None:
    recipe = prepare("train.learning_rate=1e30", "train.max_steps=9")
    with pytest.raises(TrainError, match=r"step [2-9]: the loss is (nan|inf).*train\.learning_rate"):
        train(recipe)
    assert not open_run(recipe).adapter.exists()


def test_nothing_is_printed_when_nobody_looks(prepare: Prepare, capfd: pytest.CaptureFixture[str]) -> None:
    train(prepare())
    shown = capfd.readouterr()
    assert shown.out == "" and shown.err == ""


def test_only_a_full_disk_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="something else"), full_disk_named(tmp_path):
        raise RuntimeError("something else")
