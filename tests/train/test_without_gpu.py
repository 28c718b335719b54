"""A recipe or a launcher made for a GPU on a machine that has none: what is done otherwise is said, and kept with the run."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from test_launch import ENVIRONMENT, launching
from training_runs import Prepare

from finetune.__main__ import main
from finetune.run import open_run
from finetune.train.launchers import on_cpu_instead

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
FOR_A_GPU = ("model.quantization=nf4", "model.dtype=float16", "train.optimizer=paged_adamw_8bit", "train.max_steps=1")
PAGES, SCALER = (
    "train.optimizer=paged_adamw_8bit has no pages there: adamw_8bit takes its place",
    "model.dtype=float16 trains without scaling",
)


def test_what_a_cpu_does_otherwise_is_said_and_kept(prepare: Prepare, capsys: pytest.CaptureFixture[str]) -> None:
    run = open_run(prepare(*FOR_A_GPU))
    assert main(["check", str(run.folder)]) == 0
    shown = capsys.readouterr().out
    assert f"on a CPU  {PAGES}" in shown and f"on a CPU  {SCALER}" in shown
    command = [sys.executable, "-m", "finetune", "train", str(run.folder)]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (said,) = done.stderr.splitlines()
    assert said.startswith("this training runs on the CPU (`finetune doctor`") and PAGES in said and SCALER in said
    kept = run.mark("train")["on_cpu_instead"]
    assert kept[0] == PAGES and kept[1].startswith(SCALER)


def test_of_a_recipe_that_a_cpu_follows_nothing_is_said(prepare: Prepare, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = prepare("train.optimizer=adamw_8bit", "model.quantization=nf4")
    assert on_cpu_instead(recipe) == []
    assert main(["check", str(open_run(recipe).folder)]) == 0
    assert "on a CPU" not in capsys.readouterr().out


def test_a_launcher_for_several_gpus_is_named_and_one_for_the_cpu_is_not(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = prepare()
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert on_cpu_instead(recipe) == ["the launcher's 2 processes share this CPU"]
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert on_cpu_instead(recipe) == []


def test_a_launcher_that_would_spread_the_model_says_that_a_cpu_does_not(prepare: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    """accelerate leaves FSDP out there without a word."""
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert on_cpu_instead(prepare()) == ["FSDP spreads a model over GPUs only, so each process holds all of it"]


@pytest.mark.slow
def test_ddp_without_a_gpu_says_so_once(prepare: Prepare) -> None:
    done = subprocess.run(launching(prepare("train.max_steps=1"), "ddp.yaml"), env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("this training runs on the CPU") == 1 and "the launcher's 2 processes share this CPU" in done.stderr
