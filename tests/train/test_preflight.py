from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from training_runs import Prepare, write_side

from finetune.base import read_base
from finetune.data.collate import collate
from finetune.data.store import read_rows, write_rows
from finetune.errors import TrainError
from finetune.methods import Lora
from finetune.model import load_model
from finetune.preflight import TOLERANCE, TOLERANCE_ROUNDED, check_readers_of, check_rows, check_training, isolation, larger, two_samples
from finetune.recipe import Recipe
from finetune.records import IGNORED, PackedRow
from finetune.run import open_run
from finetune.train import train

PRECISIONS = [("none", "float32"), ("none", "bfloat16"), ("nf4", "float32"), ("nf4", "bfloat16"), ("int8", "float32")]


def adapted(recipe: Recipe) -> PeftModel:
    base = read_base(recipe.model)
    model = load_model(base, recipe.model)
    model.config.use_cache = False
    return Lora()(model, base.family)


@pytest.mark.parametrize(("quantization", "dtype"), PRECISIONS)
def test_samples_in_a_row_do_not_see_each_other_and_the_check_would_notice(prepare: Prepare, quantization: str, dtype: str) -> None:
    """T1: a cache is enough to lose the mask; the check must tell that from rounding, in every precision."""
    recipe = prepare(f"model.quantization={quantization}", f"model.dtype={dtype}")
    model, samples = adapted(recipe), two_samples(read_rows(open_run(recipe).data / "train"))
    autocast = torch.bfloat16 if dtype == "bfloat16" else None
    tolerance = TOLERANCE if (quantization, dtype) == ("none", "float32") else TOLERANCE_ROUNDED
    kept_apart = isolation(model, samples, autocast=autocast)
    model.config.use_cache = True
    mixed = isolation(model, samples, autocast=autocast)
    assert kept_apart < tolerance / 3
    assert mixed > tolerance * 2


def test_a_training_on_a_model_that_mixes_samples_is_refused(prepare: Prepare) -> None:
    recipe = prepare()
    model = adapted(recipe)
    model.config.use_cache = True
    run = open_run(recipe)
    with pytest.raises(TrainError, match="samples that share a row see each other"):
        check_training(run, read_base(recipe.model), model, read_rows(run.data / "train"))


@pytest.mark.parametrize("pair", [(math.nan, 0.1), (0.1, math.nan), (math.nan, math.nan)])
def test_logits_that_are_no_numbers_are_not_passed_over(pair: tuple[float, float]) -> None:
    assert math.isnan(larger(*pair))
    assert larger(0.1, 0.2) == larger(0.2, 0.1) == 0.2


def test_a_method_that_can_not_pack_is_refused(prepare: Prepare) -> None:
    """T2: prompt learning drops the positions that keep samples apart."""

    class Mixing(Lora):
        packs = False
        kind = "mixing"

    with pytest.raises(TrainError, match="adapter=mixing: it would mix the samples"):
        train(prepare().model_copy(update={"adapter": Mixing()}))


def test_a_sample_without_a_learnt_stop_token_is_refused(prepare: Prepare, tmp_path: Path) -> None:
    """T12: where padding is masked by its id and the id is that of the end, no sample ever learns to stop."""
    recipe = prepare()
    rows = collate([read_rows(open_run(recipe).data / "train")[0]])
    labels = rows["labels"].masked_fill(rows["labels"] == 0, IGNORED)
    row = PackedRow(*(tensor[0].tolist() for tensor in (rows["input_ids"], labels, rows["position_ids"])))
    write_rows([row], tmp_path / "masked", vocabulary_size=320)
    with pytest.raises(TrainError, match=r"row 0, tokens 0 to \d+: a sample whose stop token is not learnt"):
        check_rows(read_rows(tmp_path / "masked"), read_base(recipe.model), vocabulary_size=320)


@pytest.mark.parametrize("learn", ["all", "answer"])
def test_samples_of_both_ways_to_learn_pass(prepare: Prepare, learn: str) -> None:
    recipe = prepare(f"data.learn={learn}")
    assert check_rows(read_rows(open_run(recipe).data / "train"), read_base(recipe.model), vocabulary_size=320) > 8


def test_ids_beyond_the_embedding_are_refused(prepare: Prepare) -> None:
    recipe = prepare()
    with pytest.raises(TrainError, match="the model embeds 50 tokens"):
        check_rows(read_rows(open_run(recipe).data / "train"), read_base(recipe.model), vocabulary_size=50)


def test_a_base_whose_exports_would_be_misread_is_refused_before_it_trains(prepare: Prepare, tiny_base: Path, tmp_path: Path) -> None:
    """Its tokenizer_config.json makes a token of a word, which tokenizer.json and so training do not know."""
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    config = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps(config | {"additional_special_tokens": ["return"]}))
    with pytest.raises(TrainError, match=f"{base}: no export could be read as it was trained, for AutoTokenizer .* or write export=gguf"):
        train(prepare("train.max_steps=1", base=base))
    in_gguf = prepare("export=gguf", "train.max_steps=1", base=base)
    check_readers_of(in_gguf, read_base(in_gguf.model))


def test_an_empty_training_side_is_refused(prepare: Prepare) -> None:
    recipe = prepare()
    write_side(open_run(recipe).data / "train", recipe, range(0))
    with pytest.raises(TrainError, match="no rows to train on"):
        train(recipe)


def test_without_held_out_rows_training_goes_on_unmeasured(prepare: Prepare) -> None:
    recipe = prepare("train.max_steps=2")
    write_side(open_run(recipe).data / "valid", recipe, range(0))
    assert train(recipe).valid_loss is None


def test_rows_are_given_without_a_mask_and_no_sample_learns_its_first_token(prepare: Prepare) -> None:
    recipe = prepare()
    batch = collate([read_rows(open_run(recipe).data / "train")[0]])
    assert set(batch) == {"input_ids", "labels", "position_ids"}
    assert (batch["labels"][batch["position_ids"] == 0] == IGNORED).all()
    learnt = batch["labels"] != IGNORED
    assert torch.equal(batch["labels"][learnt], batch["input_ids"][learnt])
