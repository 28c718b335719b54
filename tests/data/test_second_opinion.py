"""The second opinion with a model whose answer is known: no encoder layers, and weights that make each word's class its own."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertForTokenClassification

from finetune.data.secrets import Redactor
from finetune.data.secrets.opinion import SecondOpinion
from finetune.errors import ModelError

LABELS = ["O", "B-NAME", "I-NAME", "B-KEY", "B-IP_ADDRESS", "B-EMAIL_EXAMPLE", "I-KEY"]
WORDS = {"Ada": 1, "Lovelace": 2, "Grace": 1, "k9x7QmZ2pL4v": 3, "mydummykey": 3, "52.94.76.112": 4, "10.0.0.1": 4, "jane@corp.io": 5}
LENGTH = 16


def write_model(folder: Path, labels: list[str] = LABELS) -> Path:
    folder.mkdir(exist_ok=True)
    vocabulary = {"[UNK]": 0} | {word: place for place, word in enumerate(WORDS, start=1)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    size = 8
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=size,
        num_hidden_layers=0,
        num_attention_heads=1,
        intermediate_size=size,
        max_position_embeddings=LENGTH,
        id2label=dict(enumerate(labels)),
        label2id={label: place for place, label in enumerate(labels)},
    )
    model = BertForTokenClassification(config)
    with torch.no_grad():
        for weight in (model.bert.embeddings.position_embeddings.weight, model.bert.embeddings.token_type_embeddings.weight):
            weight.zero_()
        model.bert.embeddings.word_embeddings.weight.copy_(torch.eye(size)[[0, *WORDS.values()]])
        model.classifier.weight.copy_(torch.eye(size)[: len(labels)])
        model.classifier.bias.zero_()
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("pii") / "model")


@pytest.fixture(scope="module")
def redactor(folder: Path) -> Redactor:
    return Redactor(model=SecondOpinion(folder))


@pytest.mark.parametrize(
    ("text", "expected", "kinds"),
    [
        ("by Ada Lovelace , 1843", "by <NAME> , 1843", {"name_by_model": 1}),
        ("é \U0001f600 Ada Lovelace\r\n漢", "é \U0001f600 <NAME>\r\n漢", {"name_by_model": 1}),
        ("Ada Lovelace Grace Lovelace", "<NAME> <NAME>", {"name_by_model": 2}),
        ("Ada alone is one word", "Ada alone is one word", {}),
        ("key k9x7QmZ2pL4v and mydummykey", "key <KEY> and mydummykey", {"key_by_model": 1}),
        ("10.0.0.1 is private", "10.0.0.1 is private", {}),
        ("Ada Lovelace wrote jane@corp.io", "<NAME> wrote <EMAIL>", {"name_by_model": 1, "email": 1}),
    ],
)
def test_what_the_model_finds_is_replaced_beside_what_the_rules_find(redactor, text, expected, kinds):
    assert redactor.redact(text) == (expected, Counter(kinds))


def test_an_example_the_model_knows_as_one_stays(folder):
    assert SecondOpinion(folder)("write to jane@corp.io") == []


def test_rule_and_model_on_one_value_replace_it_once(redactor):
    text, kinds = redactor.redact("host 52.94.76.112 here")
    assert kinds == {"ipv4": 1}
    assert text == Redactor().redact("host 52.94.76.112 here")[0]


def test_allowed_values_stay_whoever_found_them(folder):
    text = "by Ada Lovelace"
    assert Redactor(("Ada Lovelace",), model=SecondOpinion(folder)).redact(text) == (text, Counter())


@pytest.mark.parametrize("place", [0, 1, 7, LENGTH - 2, LENGTH - 1, LENGTH, 3 * LENGTH + 5, 400])
def test_a_name_is_found_wherever_it_stands_in_a_text_longer_than_the_models_context(redactor, place):
    words = ["word"] * 500
    words[place : place + 2] = ["Ada", "Lovelace"]
    redacted = redactor.redact(" ".join(words))[0]
    assert redacted == " ".join([*words[:place], "<NAME>", *words[place + 2 :]])


def test_another_model_has_another_digest(folder, tmp_path):
    other = write_model(tmp_path / "other", ["O", "NAME", "I-NAME"] + LABELS[3:])
    assert SecondOpinion(folder).digest != SecondOpinion(other).digest
    assert len(SecondOpinion(other)("by Ada Lovelace")) == 1  # labels without B- count too


def test_a_folder_that_is_no_such_model_says_what_to_write(folder, tmp_path):
    with pytest.raises(ModelError, match=r"no config\.json in it; write the folder of a token-classification model"):
        SecondOpinion(tmp_path)
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"id2label": {"0": "POSITIVE", "1": "NEGATIVE"}}))
    with pytest.raises(ModelError, match=r"its labels are NEGATIVE, POSITIVE; a model is wanted that knows"):
        SecondOpinion(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"no valid configuration"):
        SecondOpinion(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError, match=r"can not be loaded"):
        SecondOpinion(tmp_path)("text")
