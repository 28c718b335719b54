"""Holes between characters are those of the StarCoder models' pretraining, to the byte.

golden_permute.json was written by running `permute` of bigcode-project/Megatron-LM (megatron/data/gpt_dataset.py at 7c325cd3, with
truncate_or_pad=False and the rates below) on the embedded base's tokenizer: a text, the seed of numpy's RandomState, and what came out.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.base import DEMO
from finetune.data.miners.fim import Fim
from finetune.data.miners.holes import Parts, Window, hole
from finetune.data.render import Encoder, encode_sample
from finetune.families import FAMILIES
from finetune.records import IGNORED, FimSample, Form, Origin

ORIGIN = Origin("project", "c0ffee", "a.py")
GOLDEN = json.loads((Path(__file__).parent / "golden_permute.json").read_text())
RATE, SPM_RATE = 0.8, 0.5


@pytest.fixture(scope="module")
def demo() -> Encoder:
    return Encoder(DEMO / "tokenizer.json", FAMILIES[0])


def split(text: str, seed: int) -> FimSample:
    """The sample for numpy's draws: whether there is a hole, its two borders, whether the suffix comes first."""
    draws = np.random.RandomState(seed)
    if not draws.binomial(1, RATE):
        return FimSample(ORIGIN, "", text, "", "plain")
    start, end = sorted(map(int, draws.randint(low=0, high=len(text) + 1, size=2)))
    form: Form = "spm" if draws.binomial(1, SPM_RATE) else "psm"
    return FimSample(ORIGIN, text[:start], text[start:end], text[end:], form)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case['text'][:8]!r}-{case['seed']}")
def test_a_sample_is_written_as_megatrons_permute_writes_it(demo: Encoder, case: dict[str, str]) -> None:
    sample = split(case["text"], int(case["seed"]))
    ids = encode_sample(sample, demo, learn="all").input_ids
    assert demo.decode(ids[:-1]) == case["written"]
    assert ids[-1] == demo.end_id  # which permute never writes
    # The three parts are tokenised apart.
    text = [token for token in ids[:-1] if token not in demo.sentinel_ids]
    order = (sample.suffix, sample.prefix, sample.middle) if sample.form == "spm" else (sample.prefix, sample.suffix, sample.middle)
    assert text == [token for part in order for token in demo.text(part)]


def test_the_golden_samples_have_every_form_and_empty_parts() -> None:
    samples = [split(case["text"], int(case["seed"])) for case in GOLDEN]
    assert {sample.form for sample in samples} == {"plain", "psm", "spm"}
    holes = [sample for sample in samples if sample.form != "plain"]
    assert any(not sample.prefix for sample in holes)
    assert any(not sample.suffix for sample in holes)
    assert any(not sample.middle for sample in holes)


def test_borders_are_drawn_as_often_as_permute_draws_them() -> None:
    """Two independent draws from 0 to the length, both included: each of the 6 x 6 pairs 1,000 times of 36,000."""
    draws, count = random.Random(0), 36_000
    found = [hole("x" * 5, "span", draws=draws, max_lines=1) for _ in range(count)]
    for start in range(6):
        for end in range(start, 6):
            expected = count / 36 * (1 if start == end else 2)
            assert found.count((start, end)) == pytest.approx(expected, rel=0.15)


@given(text=st.text(st.sampled_from("ab \n\r\t0é€日😀👩\u200d💻\u0301<|endoftext|>"), min_size=1, max_size=80), seed=st.integers(0, 10**6))
def test_a_sample_goes_round_through_its_ids(demo: Encoder, text: str, seed: int) -> None:
    """Unicode, CRLF, joined emoji and sentinel text: what was cut comes back between the sentinels, part by part."""
    fim = Fim(rate=0.9, line_share=0.2, block_share=0.2, syntax_share=0.2)
    sample = fim.sample(Window(ORIGIN, text, 0, Parts(text, "Python")), random.Random(seed))
    assert sample.text == text
    encoded = encode_sample(sample, demo, learn="answer")
    assert encoded.input_ids[-1] == demo.end_id
    answer_from = next(place for place, label in enumerate(encoded.labels) if label != IGNORED)
    *parts, form = parts_of(list(encoded.input_ids[:-1]), answer_from, demo)
    assert tuple(parts) == (sample.prefix, sample.middle, sample.suffix)
    assert form == (sample.form if sample.prefix or sample.form == "plain" else "either")


def parts_of(ids: list[int], answer_from: int, encoder: Encoder) -> tuple[str, str, str, str]:
    """Prefix, middle, suffix and form, read off the ids and the place where the answer begins."""
    fim = encoder.family.fim
    assert fim is not None
    prefix, suffix, middle = encoder.token(fim.prefix), encoder.token(fim.suffix), encoder.token(fim.middle)
    if prefix not in ids:
        return "", encoder.decode(ids), "", "plain"
    assert (ids[0], ids.count(prefix), ids.count(suffix), ids.count(middle)) == (prefix, 1, 1, 1)
    first, second = ids.index(suffix), ids.index(middle)
    answer = encoder.decode(ids[answer_from:])
    if first == 1 and answer_from > second + 1:
        return encoder.decode(ids[second + 1 : answer_from]), answer, encoder.decode(ids[2:second]), "spm"
    # With an empty prefix both forms are the same tokens.
    return encoder.decode(ids[1:first]), answer, encoder.decode(ids[first + 1 : second]), "psm" if first > 1 else "either"
