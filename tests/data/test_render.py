"""Samples and prompts as token ids."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.render import Encoder, encode_prompt, encode_sample, prompt_of
from finetune.errors import DataError
from finetune.families import FAMILIES, Family, plain_family
from finetune.records import IGNORED, Encoded, FimPrompt, FimSample, Form, InstructPrompt, InstructSample, Origin, Sample, TextPrompt

ORIGIN = Origin("project", "c0ffee", "a.py")
SHARED = Path(os.environ.get("OCTOTUNE_SHARED", Path(__file__).parents[3] / "shared")) / "data" / "starcoder2-tokenizer"
STARCODER2 = FAMILIES[0]
SPM = {
    "starcoder2": "<fim_prefix><fim_suffix>S\r\n<fim_middle>PM<|endoftext|>",
    "starcoder": "<fim_prefix><fim_suffix>S\r\n<fim_middle>PM<|endoftext|>",
    "santacoder": "<fim-prefix><fim-suffix>S\r\n<fim-middle>PM<|endoftext|>",
    "qwen2.5-coder": "<|fim_prefix|><|fim_suffix|>S\r\n<|fim_middle|>PM<|endoftext|>",
    "qwen3-coder": "<|fim_prefix|><|fim_suffix|>S\r\n<|fim_middle|>PM<|endoftext|>",
    "mellum": "<fim_suffix>S\r\n<fim_prefix>P<fim_middle>M<|endoftext|>",
    "granite-code": "<fim_prefix><fim_suffix>S\r\n<fim_middle>PM<|endoftext|>",
    "codellama": "▁<PRE>▁<SUF>S\r\n▁<MID> PM▁<EOT>",
    "codestral": "[SUFFIX]S\r\n[PREFIX] PM</s>",
}
PSM = {
    "starcoder2": "<fim_prefix>P<fim_suffix>S\r\n<fim_middle>M<|endoftext|>",
    "starcoder": "<fim_prefix>P<fim_suffix>S\r\n<fim_middle>M<|endoftext|>",
    "santacoder": "<fim-prefix>P<fim-suffix>S\r\n<fim-middle>M<|endoftext|>",
    "qwen2.5-coder": "<|fim_prefix|>P<|fim_suffix|>S\r\n<|fim_middle|>M<|endoftext|>",
    "qwen3-coder": "<|fim_prefix|>P<|fim_suffix|>S\r\n<|fim_middle|>M<|endoftext|>",
    "granite-code": "<fim_prefix>P<fim_suffix>S\r\n<fim_middle>M<|endoftext|>",
    "codellama": "▁<PRE> P▁<SUF>S\r\n▁<MID>M▁<EOT>",
    "deepseek-coder": "<｜fim▁begin｜>P<｜fim▁hole｜>S\r\n<｜fim▁end｜>M<｜end▁of▁sentence｜>",
    "deepseek-coder-v2": "<｜fim▁begin｜>P<｜fim▁hole｜>S\r\n<｜fim▁end｜>M<｜end▁of▁sentence｜>",
    "codegemma": "<|fim_prefix|>P<|fim_suffix|>S\r\n<|fim_middle|>M<|file_separator|>",
    "stable-code": "<fim_prefix>P<fim_suffix>S\r\n<fim_middle>M<|endoftext|>",
}
texts = st.text(st.sampled_from("ab \n\r\t0é€😀👩\u200d💻<|endoftext|>fim_middle"), max_size=40)
samples = st.one_of(
    st.builds(FimSample, st.just(ORIGIN), texts, texts, texts, st.sampled_from(["psm", "spm"])),
    st.builds(FimSample, st.just(ORIGIN), st.just(""), texts.filter(bool), st.just(""), st.just("plain")),
    st.builds(InstructSample, st.just(ORIGIN), texts, texts, texts),
)


def decoded(encoded: Encoded, encoder: Encoder, *, learnt: bool) -> str:
    return encoder.decode([token for token, label in zip(encoded.input_ids, encoded.labels, strict=True) if (label != IGNORED) == learnt])


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize(("form", "golden"), [("spm", SPM), ("psm", PSM)])
def test_a_hole_is_written_with_its_familys_own_sentinels(encoder_of, family: Family, form: Form, golden: dict[str, str]) -> None:
    encoder = encoder_of(family)
    encoded = encode_sample(FimSample(ORIGIN, "P", "M", "S\r\n", form), encoder, learn="answer")
    written = golden.get(family.name) or {**PSM, **SPM}[family.name]  # a family that knows one order writes every hole in it
    assert encoder.decode(encoded.input_ids) == written
    assert family.fim is not None
    assert decoded(encoded, encoder, learnt=True) == "M" + (family.fim.end or family.end)
    sentinels = [encoder.token(token) for token in family.sentinels]
    assert sum(token in sentinels for token in encoded.input_ids) == 4 - (family.fim.middle is None)


def test_a_request_is_written_as_octopack_writes_it(encoder: Encoder) -> None:
    encoded = encode_sample(InstructSample(ORIGIN, "Fix the sum", "a = 1 - 1\n", "a = 1 + 1\n"), encoder, learn="answer")
    assert decoded(encoded, encoder, learnt=False) == "Question: Fix the sum\na = 1 - 1\n\n\nAnswer:\n"
    assert decoded(encoded, encoder, learnt=True) == "a = 1 + 1\n<|endoftext|>"


def test_a_request_without_code_leaves_no_empty_line(encoder: Encoder) -> None:
    assert encoder.decode(encode_prompt(InstructPrompt("Say hello"), encoder)) == "Question: Say hello\n\nAnswer:\n"


@given(sample=samples)
def test_what_stands_before_an_answer_is_the_same_in_training_and_serving(encoder: Encoder, sample: Sample) -> None:
    if isinstance(sample, FimSample) and sample.form == "spm":
        return  # served prompts are prefix first
    prompt = encode_prompt(prompt_of(sample), encoder)
    encoded = encode_sample(sample, encoder, learn="answer")
    assert list(encoded.input_ids[: len(prompt)]) == prompt
    learnt_from = max(len(prompt), 1)
    assert all(label == IGNORED for label in encoded.labels[:learnt_from])
    assert list(encoded.labels[learnt_from:]) == list(encoded.input_ids[learnt_from:])


@given(sample=samples, learn=st.sampled_from(["all", "answer"]))
def test_every_sample_ends_in_a_learnt_stop_token_and_learns_nothing_first(encoder: Encoder, sample: Sample, learn: str) -> None:
    encoded = encode_sample(sample, encoder, learn=learn)
    assert encoded.input_ids[-1] == encoded.labels[-1] == encoder.end_id
    assert encoded.labels[0] == IGNORED
    assert len(encoded.labels) == len(encoded.input_ids)
    if learn == "all":
        assert list(encoded.labels[1:]) == list(encoded.input_ids[1:])


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_control_tokens_in_a_text_stay_text(encoder_of, family: Family) -> None:
    """T9; Qwen's tokenizer.json lists its sentinels as not special, which would let them through."""
    encoder = encoder_of(family)
    control = {encoder.token(token) for token in family.sentinels}
    text = "".join(family.sentinels)
    assert encoder.decode(encoder.text(text)) == text
    assert control.isdisjoint(encoder.text(text))


def test_a_sentinel_that_is_listed_as_not_special_stays_text(byte_tokenizer, tmp_path: Path) -> None:
    description = json.loads((byte_tokenizer(STARCODER2.sentinels) / "tokenizer.json").read_text())
    for token in description["added_tokens"]:
        token["special"] = False
    (tmp_path / "tokenizer.json").write_text(json.dumps(description))
    encoder = Encoder(tmp_path / "tokenizer.json", STARCODER2)
    assert encoder.token("<fim_middle>") not in encoder.text("a<fim_middle>b")


def test_what_a_tokenizer_adds_or_cuts_by_itself_is_left_out(byte_tokenizer, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, processors

    tokenizer = Tokenizer.from_file(str(byte_tokenizer(STARCODER2.sentinels) / "tokenizer.json"))
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=64)
    tokenizer.post_processor = processors.TemplateProcessing(single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    encoder = Encoder(tmp_path / "tokenizer.json", STARCODER2)
    assert encoder.decode(encoder.text("a longer text")) == "a longer text"


def test_a_sentinel_of_several_tokens_is_refused(byte_tokenizer) -> None:
    tokenizer = byte_tokenizer([token for token in STARCODER2.sentinels if token != "<fim_middle>"]) / "tokenizer.json"
    with pytest.raises(DataError, match=r"<fim_middle> is 12 tokens.*copy the model's own tokenizer.json"):
        Encoder(tokenizer, STARCODER2)


def test_a_hole_without_fim_tokens_is_refused_with_what_to_write(encoder_of) -> None:
    encoder = encoder_of(plain_family("<|endoftext|>"))
    with pytest.raises(DataError, match="rate: 0"):
        encode_prompt(FimPrompt("a", "b"), encoder)
    with pytest.raises(DataError, match="rate: 0"):
        encode_sample(FimSample(ORIGIN, "a", "b", "c", "spm"), encoder, learn="all")
    assert encoder.decode(encode_prompt(TextPrompt("a"), encoder)) == "a"
    assert encoder.pad_id == encoder.end_id


def test_token_starts_are_in_characters(encoder: Encoder) -> None:
    assert list(encoder.token_starts("a€b")) == [0, 1, 1, 1, 2]


@pytest.mark.skipif(
    not SHARED.is_dir(), reason="no StarCoder 2 tokenizer; set OCTOTUNE_SHARED to the folder that holds data/starcoder2-tokenizer"
)
def test_ids_are_those_of_starcoder_2s_own_tokenizer() -> None:
    """T8: 47 texts with llama.cpp's reference ids; dropping the Digits step fails one of them."""
    encoder = Encoder(SHARED / "tokenizer.json", STARCODER2)
    given_texts = (SHARED / "ggml-vocab-starcoder.gguf.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    expected = [[int(token) for token in line.split()] for line in (SHARED / "ggml-vocab-starcoder.gguf.out").read_text().split("\n")]
    assert len(expected) == 47
    assert [ids.tolist() for ids in encoder.texts(given_texts)] == expected
    assert [encoder.text(text) for text in given_texts] == expected
    assert (encoder.end_id, encoder.stop_ids, encoder.vocabulary_size) == (0, (0, 6), 49152)


@pytest.mark.parametrize(
    "change", [{"normalizer": {"type": "Lowercase"}}, {"pre_tokenizer": {"type": "Whitespace"}}], ids=["case", "blanks"]
)
def test_a_tokenizer_that_changes_text_is_refused(byte_tokenizer, tmp_path: Path, change: dict[str, object]) -> None:
    described = json.loads((byte_tokenizer(["</s>"]) / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps(described | change))
    with pytest.raises(DataError, match=r"the text .* comes back as .*; write model.path=FOLDER"):
        Encoder(tmp_path / "tokenizer.json", plain_family("</s>"))
