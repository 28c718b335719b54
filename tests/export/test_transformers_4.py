"""An export read by the last transformers of version 4, installed beside the tested set."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from finetune.base import read_base
from finetune.export.tools import Workshop
from finetune.exporters import Merged
from finetune.run import Run

TEXT = "def area(r):\n    return 3.14159 * r**2  # é\n<fim_middle>"
READ = """
import sys, torch, transformers
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, out, text = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32)
ids = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt").input_ids
with torch.no_grad():
    logits = model(input_ids=torch.arange(7, 207)[None], use_cache=False).logits
torch.save({"version": transformers.__version__, "ids": ids, "logits": logits}, out)
"""


def test_version_4_gives_the_same_logits_and_ids(version_4: Path, trained_run: Callable[..., Run], tmp_path: Path) -> None:
    run = trained_run(tmp_path)
    folder, out = tmp_path / "merged", tmp_path / "4.pt"
    folder.mkdir()
    with Workshop(run, read_base(run.recipe.model)) as tools:
        tools.merge(folder, Merged())
    environment = {**os.environ, "PYTHONPATH": str(version_4), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", READ, str(folder), str(out), TEXT], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    old = torch.load(out)
    assert old["version"] == "4.57.6"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        logits = model(input_ids=torch.arange(7, 207)[None], use_cache=False).logits
    assert torch.equal(old["ids"], AutoTokenizer.from_pretrained(folder)(TEXT, return_tensors="pt").input_ids)
    assert (old["logits"] - logits).abs().max() < 1e-5
