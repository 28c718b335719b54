"""A tiny base with a LoRA whose weights are random, so that base and tuned say different things."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from finetune.base import read_base
from finetune.data.render import Encoder
from finetune.generate import BatchCompleter
from finetune.methods import Lora, save_adapter
from finetune.model import load_model
from finetune.recipe import ModelSection, Recipe
from finetune.records import Origin, SourceFile
from finetune.run import Run, open_run

if TYPE_CHECKING:
    from peft import PeftModel

Attach = Callable[..., "PeftModel"]


def randomise(model: PeftModel, *, seed: int, name: str = "default") -> None:
    """Gives the adapter an effect: lora_B starts at zero."""
    import torch

    random = torch.Generator().manual_seed(seed)
    for key, weight in model.named_parameters():
        if f"lora_B.{name}." in key:
            weight.data = torch.randn(weight.shape, generator=random) * 0.3


@pytest.fixture(scope="session")
def attach(tiny_base: Path) -> Attach:
    """Loads the tiny base and attaches a random adapter called "default"."""

    def build(quantization: str = "none", *, dora: bool = False) -> PeftModel:
        import torch

        torch.set_num_threads(1)  # a tiny model's threads would only wait for each other
        section = ModelSection(path=str(tiny_base), quantization=quantization)
        base = read_base(section)
        torch.manual_seed(1)
        model = Lora(r=4, dora=dora)(load_model(base, section), base.family)
        randomise(model, seed=2)
        model.eval()
        return model

    return build


@pytest.fixture(scope="session")
def encoder(tiny_base: Path) -> Encoder:
    base = read_base(ModelSection(path=str(tiny_base)))
    return Encoder(base.tokenizer, base.family)


@pytest.fixture(scope="session")
def completer(attach: Attach, encoder: Encoder) -> BatchCompleter:
    return BatchCompleter(attach(), encoder, {"tuned": "default"}, context_length=512)


MakeRun = Callable[..., Run]
BODY = "def {0}{1}():\n x = {1}\n y = x\n z = {1}\n return z\n\n"  # short lines: a token is a byte here
FILES = {f"src/{name}.py": "".join(BODY.format(name, i) for i in range(4)) for name in "abcd"}


@pytest.fixture
def trained_run(tiny_base: Path, tmp_path: Path, attach: Attach) -> MakeRun:
    """Makes a run with held-out files and a random adapter, marked as built and trained."""

    def make(name: str = "shop", *, files: Mapping[str, str] = FILES, **sections: object) -> Run:
        from finetune.data.store import write_heldout

        evaluate = {"items": 6, "max_new_tokens": 32, "batch_size": 4, "resamples": 200}
        sections = {"model": {"path": str(tiny_base)}, "data": {"row_length": 256}, "evaluate": evaluate} | sections
        recipe = Recipe.model_validate({"name": name, "runs": str(tmp_path / "runs"), **sections})
        run = open_run(recipe)
        with run.step("build"):
            sources = [SourceFile(Origin("shop", "c0ffee", path), "Python", text) for path, text in files.items()]
            write_heldout(sources, run.data / "heldout.jsonl")
        with run.step("train"):
            run.adapter.mkdir()
            save_adapter(attach(recipe.model.quantization), run.adapter, read_base(recipe.model))
        return run

    return make
