"""Training as it is typed: the command itself, and several processes under accelerate."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml
from safetensors.torch import load_file
from training_runs import Kept, Prepare, logged, mean_of_valid, outcome

from finetune.recipe import Recipe
from finetune.run import open_run
from finetune.train import train

LAUNCHERS = Path(__file__).parent.parent.parent / "recipes" / "accelerate"
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


SPREADING = Path(__file__).parent / "spread_on_cpu.py"


def launching(recipe: Recipe, launcher: str) -> list[str]:
    """The command of a training under a launch config; under FSDP's it spreads the model, which accelerate does on GPUs only."""
    program = [str(SPREADING)] if launcher == "fsdp2.yaml" else ["-m", "finetune"]
    command = ["accelerate.commands.launch", "--config_file", str(LAUNCHERS / launcher), "--main_process_port", "0", *program]
    return [sys.executable, "-m", *command, "train", str(open_run(recipe).folder)]


def launch(recipe: Recipe, launcher: str) -> str:
    done = subprocess.run(launching(recipe, launcher), env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def gradient_norms(folder: Path) -> list[float]:
    lines = (json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines())
    return [line["gradient_norm"] for line in lines if line["gradient_norm"] is not None]


def test_two_processes_train_as_one_with_the_double_batch(prepare: Prepare) -> None:
    """T5: the launch config really starts two, and the loss is a mean over the learnt tokens of both."""
    exact = ("adapter.dropout=0", "train.max_steps=3", "train.epochs=3", "data.learn=answer")
    one = prepare(*exact, "train.batch_size=2", "train.accumulation=2", name="one")
    two = prepare(*exact, "train.batch_size=1", "train.accumulation=2", name="two")
    train(one)
    shown = launch(two, "cpu2.yaml")
    first, second = logged(open_run(one).adapter), logged(open_run(two).adapter)
    assert second == pytest.approx(first, abs=2e-5)
    assert shown.count("optimizer steps") == 1, "one process alone speaks"
    measured = [open_run(each).mark("train")["training"]["valid_loss"] for each in (one, two)]
    assert measured[1] == pytest.approx(measured[0], abs=1e-4)


def test_a_single_process_under_the_launcher_is_the_command_itself(prepare: Prepare) -> None:
    alone, launched = prepare("train.max_steps=2", name="alone"), prepare("train.max_steps=2", name="launched")
    train(alone)
    launch(launched, "single.yaml")
    assert logged(open_run(launched).adapter) == pytest.approx(logged(open_run(alone).adapter), abs=1e-6)


@pytest.mark.parametrize("adapter", ["lora", pytest.param("full", marks=pytest.mark.slow)])
def test_two_processes_that_share_one_model_train_as_one_that_holds_it(prepare: Prepare, adapter: str) -> None:
    """FSDP2: no process has a whole weight, and what is saved is whole."""
    settings = (f"adapter={adapter}", "train.max_steps=2", "train.epochs=2", "train.gradient_checkpointing=true")
    exact = () if adapter == "full" else ("adapter.dropout=0",)
    one = prepare(*settings, *exact, "train.batch_size=2", "train.accumulation=1", name="one")
    two = prepare(*settings, *exact, "train.batch_size=1", "train.accumulation=1", name="two")
    train(one)
    shown = launch(two, "fsdp2.yaml")
    assert shown.count("spread: 0 of ") == 2, shown
    first, second = open_run(one), open_run(two)
    assert logged(second.adapter) == pytest.approx(logged(first.adapter), abs=2e-5)
    assert gradient_norms(second.adapter) == pytest.approx(gradient_norms(first.adapter), abs=2e-5)
    weights, saved = (load_file(run.adapter / "adapter_model.safetensors") for run in (first, second))
    assert {name: tensor.shape for name, tensor in saved.items()} == {name: tensor.shape for name, tensor in weights.items()}
    assert second.mark("train")["training"]["valid_loss"] == pytest.approx(mean_of_valid(two), abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["cpu2.yaml", "fsdp2.yaml"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["asked to stop", "killed"])
def test_two_processes_stop_together_and_go_on_together(prepare: Prepare, number: signal.Signals, launcher: str) -> None:
    """Random state and data order are each process's own; SIGTERM goes to the launcher, SIGKILL to all of them at once."""
    settings = ("adapter.dropout=0.2", "train.max_steps=40", "train.epochs=30", "train.batch_size=1", "train.eval_every=9")
    undisturbed, stopped = prepare(*settings, name="undisturbed"), prepare(*settings, name="stopped")
    launch(undisturbed, launcher)
    run = open_run(stopped)
    log = run.checkpoints / "metrics.jsonl"
    command = launching(stopped, launcher)
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        while not (log.exists() and '"step": 5' in log.read_text()):
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.01)
            assert process.poll() is None, process.communicate()
        if number == signal.SIGTERM:
            process.send_signal(number)
        else:
            for each in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
                each.kill()
        _, said = process.communicate()
    assert not run.adapter.exists() and [*run.checkpoints.glob("checkpoint-*")]
    assert number == signal.SIGKILL or "stopped by SIGTERM after step" in said
    before = Kept(run)
    launch(stopped, launcher)
    before.require()
    assert outcome(run.adapter) == outcome(open_run(undisturbed).adapter)


def test_control_c_leaves_a_checkpoint_and_one_message(prepare: Prepare) -> None:
    run = open_run(prepare("train.max_steps=200", "train.save_every=1000"))
    command = [sys.executable, "-m", "finetune", "train", str(run.folder)]
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        log = run.checkpoints / "metrics.jsonl"
        while not (log.exists() and '"step": 2' in log.read_text()):
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.01)
            assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGINT)
        _, message = process.communicate()
    assert process.returncode == 2
    assert message.startswith("finetune train: stopped by SIGINT after step") and "Traceback" not in message
    assert len(list(run.checkpoints.glob("checkpoint-*"))) == 1


@pytest.mark.parametrize("path", sorted(LAUNCHERS.glob("*.yaml")), ids=lambda path: path.stem)
def test_launch_configs_hold_only_keys_that_accelerate_knows(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(path))
    assert config.num_processes == yaml.safe_load(path.read_text())["num_processes"]
