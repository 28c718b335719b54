"""A tokenizer that begins every text with a token: training, prompts and exports begin with it, once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file
from transformers import AutoTokenizer

from finetune.base import BaseFolder, read_base
from finetune.data.exports.told import segments_of
from finetune.data.render import Encoder, encode_prompt, encode_sample, prompt_of
from finetune.errors import ExportError, ModelError
from finetune.opening import around, beginning, opening, without_first_space
from finetune.recipe import ModelSection
from finetune.records import IGNORED, FimSample, InstructSample, Origin, Sample
from finetune.tokenizer_files import check_tokenizer, write_tokenizer

BOS, END = "<s>", "</s>"
TEMPLATE = {"post_processor": beginning(BOS, 1)}
ORIGIN = Origin("shop", "c", "a.py")
SAMPLES: list[Sample] = [
    FimSample(ORIGIN, "def f():\n", "    return 1", "\n", form="psm"),
    FimSample(ORIGIN, "", "x = 1\n", "", form="plain"),
    InstructSample(ORIGIN, "Add", "", "y = 2\n"),
]


@pytest.fixture
def make_base(byte_tokenizer: Callable[[Sequence[str]], Path]) -> Callable[..., BaseFolder]:
    """A Llama-shaped folder without real weights; `template`: what tokenizer.json begins a text with; `asked`: add_bos_token."""

    def make(*, template: bool, asked: bool | None, sentinels: Sequence[str] = (END, BOS)) -> BaseFolder:
        folder = byte_tokenizer(sentinels)
        edit(folder / "tokenizer.json", TEMPLATE if template else {})
        edit(folder / "tokenizer_config.json", {"bos_token": BOS} | ({} if asked is None else {"add_bos_token": asked}))
        (folder / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 258, "max_position_embeddings": 64}))
        save_file({}, folder / "model.safetensors")
        return read_base(ModelSection(path=str(folder), add_fim_tokens=True))

    return make


def edit(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("description", "config", "expected"),
    [
        ({}, {}, None),
        ({"post_processor": {"type": "ByteLevel"}}, {"bos_token": BOS}, None),
        (TEMPLATE, {}, BOS),
        ({"post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel"}, TEMPLATE["post_processor"]]}}, {}, BOS),
        (TEMPLATE, {"add_bos_token": False, "bos_token": BOS}, None),
        ({}, {"add_bos_token": True, "bos_token": {"content": BOS}}, BOS),
        ({}, {"add_bos_token": True}, None),
        ({"post_processor": {"type": "RobertaProcessing", "cls": [BOS, 1], "sep": [END, 0]}}, {}, BOS),
    ],
)
def test_what_a_tokenizer_begins_a_text_with(description: dict[str, Any], config: dict[str, Any], expected: str | None) -> None:
    assert opening(description, config) == expected


METASPACE = {"type": "Metaspace", "replacement": "\u2581"}
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}


@pytest.mark.parametrize(
    "parts",
    [
        {"normalizer": {"type": "Sequence", "normalizers": []}},
        {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Sequence", "normalizers": []}]}},
        {"pre_tokenizer": METASPACE | {"prepend_scheme": "never", "add_prefix_space": False, "split": False}},
        {"pre_tokenizer": METASPACE | {"prepend_scheme": "never"}, "decoder": METASPACE | {"prepend_scheme": "never"}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False}, "decoder": STRIP},
    ],
)
def test_a_tokenizer_that_adds_no_space_stays_as_it_is(parts: dict[str, Any]) -> None:
    assert without_first_space(parts) == parts


@pytest.mark.parametrize(
    "parts",
    [
        {"normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}]}, "pre_tokenizer": None},
        {"normalizer": None, "pre_tokenizer": METASPACE | {"prepend_scheme": "first"}},
        {"normalizer": None, "pre_tokenizer": METASPACE},
    ],
)
def test_the_space_is_left_out_before_a_text_and_behind_it(parts: dict[str, Any]) -> None:
    spaceless = without_first_space(parts | {"decoder": {"type": "Sequence", "decoders": [STRIP]}})
    never = parts["pre_tokenizer"] and METASPACE | {"prepend_scheme": "never"}
    assert spaceless == {"normalizer": None, "pre_tokenizer": never, "decoder": None}


@pytest.mark.parametrize("sample", SAMPLES, ids=["psm", "plain", "instruction"])
def test_a_sample_and_its_prompt_begin_with_it_once_and_it_is_not_learnt(make_base: Callable[..., BaseFolder], sample: Any) -> None:
    base = make_base(template=True, asked=None)
    encoder = Encoder(base.tokenizer, base.family)
    encoded, prompt = encode_sample(sample, encoder, learn="all"), encode_prompt(prompt_of(sample), encoder)
    ids = encoded.input_ids.tolist()
    assert ids[0] == 1 and ids.count(1) == 1 and ids[-1] == encoder.end_id
    assert encoded.labels[0] == IGNORED and list(encoded.labels[1:]) == ids[1:]
    text = "" if isinstance(sample, FimSample) and sample.form == "plain" else None
    assert prompt == ([1] if text == "" else ids[: len(prompt)])
    assert "".join(segment.text for segment in segments_of(ids, encoded.marks.tolist(), encoder)).startswith(BOS)


def test_the_prompt_of_training_is_what_the_exported_tokenizer_makes_of_the_text(
    make_base: Callable[..., BaseFolder], tmp_path: Path
) -> None:
    base = make_base(template=True, asked=None)
    write_tokenizer(tmp_path, base)
    asked = "<fim_prefix>def f():\n<fim_suffix>\n<fim_middle>"
    assert AutoTokenizer.from_pretrained(tmp_path)(asked)["input_ids"] == encode_prompt(
        prompt_of(SAMPLES[0]), Encoder(base.tokenizer, base.family)
    )


@pytest.mark.parametrize(("template", "asked"), [(True, None), (True, True), (False, True), (True, False), (False, False), (False, None)])
def test_an_export_says_the_same_to_every_reader(
    make_base: Callable[..., BaseFolder], tmp_path: Path, template: bool, asked: bool | None
) -> None:
    base = make_base(template=template, asked=asked)
    wanted = BOS if asked or (asked is None and template) else None
    assert base.family.opening == wanted
    write_tokenizer(tmp_path, base)
    check_tokenizer(base, tmp_path)
    description, config = (json.loads((tmp_path / name).read_text()) for name in ("tokenizer.json", "tokenizer_config.json"))
    assert around(description) == ([] if wanted is None else [wanted], [])
    assert config.get("add_bos_token", False) is (wanted is not None)


def test_a_tokenizer_that_ends_every_text_does_so_in_no_export(make_base: Callable[..., BaseFolder], tmp_path: Path) -> None:
    base = make_base(template=True, asked=None)
    ends: Any = beginning(BOS, 1)
    ends["single"].append({"SpecialToken": {"id": END, "type_id": 0}})
    ends["special_tokens"][END] = {"id": END, "ids": [0], "tokens": [END]}
    edit(base.tokenizer, {"post_processor": ends})
    write_tokenizer(tmp_path, base)
    check_tokenizer(base, tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path)("a")["input_ids"] == [1, *Encoder(base.tokenizer, base.family).text("a")]
    edit(tmp_path / "tokenizer.json", {"post_processor": ends})
    with pytest.raises(ExportError, match="begins a text with .* and ends it with 0, training with"):
        check_tokenizer(base, tmp_path)


def test_rows_and_adapters_of_another_beginning_belong_to_another_base(make_base: Callable[..., BaseFolder]) -> None:
    base = make_base(template=True, asked=None)
    edit(base.path / "tokenizer_config.json", {"add_bos_token": False})  # tokenizer.json and weights are the same bytes
    assert read_base(ModelSection(path=str(base.path), add_fim_tokens=True)).digest != base.digest


def test_a_beginning_that_the_vocabulary_lacks_is_refused(make_base: Callable[..., BaseFolder]) -> None:
    with pytest.raises(ModelError, match="every text is to begin with <s>, which tokenizer.json does not have"):
        make_base(template=False, asked=True, sentinels=[END])


def test_transformers_4_begins_a_text_as_training_does(make_base: Callable[..., BaseFolder], tmp_path: Path, version_4: Path) -> None:
    code = "import sys; from transformers import AutoTokenizer as A; print([A.from_pretrained(f)('a')['input_ids'] for f in sys.argv[1:]])"
    folders, wanted = [], []
    for template, asked in ((True, None), (False, True), (True, False), (False, None)):
        base = make_base(template=template, asked=asked)
        folders.append(tmp_path / f"{template}{asked}")
        folders[-1].mkdir()
        write_tokenizer(folders[-1], base)
        wanted.append(([] if base.family.opening is None else [1]) + Encoder(base.tokenizer, base.family).text("a"))
    environment = {**os.environ, "PYTHONPATH": str(version_4), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", code, *map(str, folders)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == wanted
