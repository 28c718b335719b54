"""What stands for a redacted value is the token that StarCoder 2 was pretrained with, in training, in prompts and in exports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from test_exports import counts_of, read_back
from test_render import SHARED

from finetune.base import DEMO, read_base
from finetune.data.build import build
from finetune.data.render import Encoder, encode_prompt, encode_sample
from finetune.families import FAMILIES
from finetune.recipe import ModelSection, Recipe
from finetune.records import FimPrompt, FimSample, Origin
from finetune.run import open_run

WORDS = ("<NAME>", "<EMAIL>", "<KEY>", "<PASSWORD>")
KEY = "AKIA" + "Q3EGRIV2WKDLTTPN"
FAMILY = FAMILIES[0]


@pytest.fixture(scope="module")
def folder(byte_tokenizer: Callable[..., Path]) -> Path:
    """A base as build reads it, whose vocabulary has the placeholders as StarCoder 2's has."""
    folder = byte_tokenizer([*FAMILY.sentinels, *WORDS])
    (folder / "config.json").write_text(json.dumps({"model_type": "starcoder2", "vocab_size": 320, "max_position_embeddings": 8192}))
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    return folder


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return Encoder(folder / "tokenizer.json", FAMILY)


def test_a_placeholder_is_one_token_and_a_control_token_in_text_is_letters(encoder: Encoder) -> None:
    text = 'k = "<KEY>"  # <NAME><EMAIL>, <PASSWORD>, <fim_middle>'
    ids = encoder.text(text)
    ours = [7 + WORDS.index(word) for word in ("<KEY>", "<NAME>", "<EMAIL>", "<PASSWORD>")]
    assert [token for token in ids if token < 11] == ours
    assert encoder.decode(ids) == text
    assert encoder.control_ids.isdisjoint(ours) and encoder.sentinel_ids.isdisjoint(ours)
    assert list(encoder.texts([text * 40])[0]) == ids * 40


def test_a_prompt_says_it_as_training_did(encoder: Encoder) -> None:
    sample = FimSample(Origin("r", "c", "a.py"), 'key = "<KEY>"\nmail = ', '"<EMAIL>"', "\n", form="psm")
    learnt = encode_sample(sample, encoder, learn="all")
    prompt = encode_prompt(FimPrompt(sample.prefix, sample.suffix), encoder)
    assert list(learnt.input_ids)[: len(prompt)] == prompt and 9 in prompt and 8 in learnt.labels


def test_a_family_that_knows_no_placeholders_reads_letters(byte_tokenizer: Callable[..., Path]) -> None:
    """StarCoder 1 was pretrained on the same words without tokens for them."""
    starcoder = next(row for row in FAMILIES if row.name == "starcoder")
    encoder = Encoder(byte_tokenizer(starcoder.sentinels) / "tokenizer.json", starcoder)
    assert len(encoder.text("<KEY>")) == 5


@pytest.mark.skipif(not SHARED.is_dir(), reason="StarCoder 2's vocabulary is not here")
def test_the_ids_are_those_that_pretraining_saw() -> None:
    """transformers reads special tokens in text unless told otherwise, and so did the tokenisation of the pretraining data."""
    from tokenizers import Tokenizer

    text = 'a = "<KEY>"; <NAME>\n\t<EMAIL>2 <PASSWORD>\n'
    encoder = Encoder(SHARED / "tokenizer.json", FAMILY)
    ids = encoder.text(text)
    assert ids == Tokenizer.from_file(str(SHARED / "tokenizer.json")).encode(text, add_special_tokens=False).ids
    assert [token for token in ids if token < 38] == [36, 34, 35, 37]


def test_samples_with_redactions_reach_every_other_trainer(
    folder: Path, make_repository: Callable[..., Path], recipe_of: Callable[..., Recipe]
) -> None:
    names = ("pump", "valve", "tank", "pipe", "motor", "gauge", "seal", "rotor")
    steps = {name: "".join(f"    {name}_{n} = {name}.read_{name}({name}, {n})\n" for n in range(6)) for name in names}
    body = 'def load_{0}():\n    key = "{1}"\n    owner = "{0}@factory-plant.de"\n{2}'
    files = {f"{name}.py": body.format(name, KEY[:-1] + name[0].upper(), steps[name]) for name in names}
    repository = make_repository([("All", files)])
    made = recipe_of(repository, miners=["fim"], exports=["trl", "axolotl", "llamafactory"])
    recipe = made.model_copy(update={"model": made.model.model_copy(update={"path": str(folder)})})
    report = build(recipe)
    assert sum(report.redactions.values()) == 16
    run = open_run(recipe)
    for kind in ("trl", "axolotl", "llamafactory"):
        assert "spells_a_control_token" not in counts_of(run, kind)["left_out"]
        assert any(9 in ids for ids, _ in read_back(run, kind, "train"))


def test_the_embedded_base_was_never_trained_on_the_tokens_and_reads_letters() -> None:
    """Its rows for them have the length of tokens that it never saw, twice that of the others."""
    from safetensors import safe_open

    base = read_base(ModelSection(path="demo"))
    encoder = Encoder(base.tokenizer, base.family)
    assert base.family.placeholders == () and len(encoder.text("<KEY>")) > 1
    with safe_open(DEMO / "model.safetensors", framework="pt") as file:
        lengths = file.get_tensor("model.embed_tokens.weight").float().norm(dim=1)
    assert lengths[34:38].min() > 2 * lengths.median()
