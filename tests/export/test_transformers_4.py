"""An export read by the last transformers of version 4, installed beside the tested set."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from finetune.export import export
from finetune.run import Run

PACKAGES = ["transformers==4.57.6", "tokenizers==0.22.1", "huggingface_hub==0.36.0"]
PACKAGES += ["requests", "urllib3", "charset-normalizer", "idna", "certifi"]  # what that huggingface_hub imports
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


@pytest.fixture(scope="module")
def version_4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with transformers 4; OCTOTUNE_TRANSFORMERS_4 names one that is there already."""
    if given := os.environ.get("OCTOTUNE_TRANSFORMERS_4"):
        return Path(given)
    folder = tmp_path_factory.mktemp("transformers_4")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), *PACKAGES], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("transformers 4.57.6 can not be installed here")
    return folder


@pytest.mark.slow
def test_version_4_gives_the_same_logits_and_ids(version_4: Path, trained_run: Callable[..., Run], tmp_path: Path) -> None:
    run = trained_run(tmp_path)
    export(run.recipe)
    found = {}
    for name, path in (("4", str(version_4)), ("5", "")):
        out = tmp_path / f"{name}.pt"
        environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
        subprocess.run(
            [sys.executable, "-c", READ, str(run.export), str(out), TEXT], env=environment, capture_output=True, text=True, check=True
        )
        found[name] = torch.load(out)
    assert found["4"]["version"] == "4.57.6" and found["5"]["version"].startswith("5.")
    assert torch.equal(found["4"]["ids"], found["5"]["ids"])
    assert (found["4"]["logits"] - found["5"]["logits"]).abs().max() < 1e-5
