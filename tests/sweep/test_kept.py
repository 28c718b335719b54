"""The base is read once for all runs of a process, and each run is the one it would have been alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune.base import read_base
from finetune.evaluate import evaluate
from finetune.recipe import ModelSection, Recipe, dump_recipe, parse_recipe
from finetune.run import open_run
from finetune.sweep.kept import KeptBase
from finetune.train import train

METHODS = ["full", "adapter_h", "ia3", "full"]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_every_run_on_a_kept_base_has_the_bytes_of_the_run_alone(make_recipe: Callable[..., Recipe]) -> None:
    from finetune.data.build import build

    first = make_recipe(train__max_steps=2, train__learning_rate=1e-2)
    build(first)
    kept = KeptBase()
    for number, method in enumerate(METHODS):
        beside = []
        for place in ("kept", "alone"):
            recipe = parse_recipe(dump_recipe(first), [f"name={place}{number}", f"adapter={method}", "export=adapter"])
            run = open_run(recipe)
            shutil.copytree(open_run(first).data, run.data)
            shutil.copy(open_run(first).manifest, run.manifest)
            if place == "kept":
                train(recipe, load=kept)
                evaluate(recipe, load=kept) if number == 0 else None
            else:
                train(recipe)
            beside.append((run.adapter / "adapter_model.safetensors").read_bytes())
        assert beside[0] == beside[1], f"{method}, after {METHODS[:number]}"
    assert kept.loads == 1


def test_what_an_adapter_does_to_one_model_is_not_in_the_next(tiny_base: Path) -> None:
    section = ModelSection(path=str(tiny_base), dtype="float32")
    base, kept = read_base(section), KeptBase()
    one = kept(base, section)
    one.config.use_cache = False
    one.model.layers[0].self_attn.q_proj = None
    for weight in one.parameters():
        weight.requires_grad_(False)
    other = kept(base, section)
    assert other.config.use_cache and other.model.layers[0].self_attn.q_proj is not None
    assert all(weight.requires_grad for weight in other.parameters())
    assert other.lm_head.weight is other.model.embed_tokens.weight, "tied weights stay tied"
    assert other.lm_head.weight.data_ptr() == one.lm_head.weight.data_ptr(), "the weights lie in memory once"
    assert kept.loads == 1


@pytest.mark.parametrize("change", ["written into", "of another kind"])
def test_a_base_that_was_written_into_or_is_loaded_otherwise_is_read_anew(change: str, tiny_base: Path) -> None:
    import torch

    section = ModelSection(path=str(tiny_base), dtype="float32")
    base, kept = read_base(section), KeptBase()
    model = kept(base, section)
    truth = model.lm_head.weight.clone()
    if change == "written into":
        with torch.no_grad():
            model.lm_head.weight.add_(1)
        assert torch.equal(kept(base, section).lm_head.weight, truth)
    else:
        assert kept(base, section.model_copy(update={"dtype": "bfloat16"})).dtype == torch.bfloat16
    assert kept.loads == 2


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_a_quantised_base_answers_the_same_every_time_it_is_given_out(quantization: str, tiny_base: Path) -> None:
    import torch

    section = ModelSection(path=str(tiny_base), quantization=quantization)
    base, kept = read_base(section), KeptBase()
    ids = torch.arange(20)[None]
    with torch.no_grad():
        answers = [kept(base, section)(input_ids=ids).logits for _ in range(3)]
    assert torch.equal(answers[0], answers[1]) and torch.equal(answers[0], answers[2])
    assert kept.loads == (1 if quantization == "nf4" else 3)
