"""Fill-in-the-middle samples out of files."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from finetune.data.mine import mine
from finetune.data.miners import Bench
from finetune.data.miners.fim import Fim
from finetune.data.miners.holes import hole
from finetune.data.miners.windows import two, windows
from finetune.data.render import Encoder
from finetune.data.tally import Tally
from finetune.errors import DataError
from finetune.families import FAMILIES, plain_family
from finetune.records import IGNORED, FimSample, Origin, SourceFile

texts = st.text(st.sampled_from("ab= \n\n\r\t0é€😀👩\u200d💻<|endoftext|>"), max_size=300)
CODE = "".join(f"def f{number}(x):\n    y = x + {number}\n\n    return y\n\n" for number in range(400))


def file(text: str, path: str = "a.py") -> SourceFile:
    return SourceFile(Origin("project", "c0ffee", path, "MIT"), "Python", text)


def mined(fim: Fim, text: str, bench: Bench) -> list[FimSample]:
    samples = fim(file(text), bench)
    assert not isinstance(samples, str), samples
    return [sample for sample in samples if isinstance(sample, FimSample)]


@pytest.fixture(scope="session")
def merging_encoder(byte_tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """An encoder that writes sixteen = as one token, so that a cut among them costs up to four tokens."""
    family = FAMILIES[0]
    description = json.loads((byte_tokenizer(family.sentinels) / "tokenizer.json").read_text())
    vocabulary = description["model"]["vocab"]
    for length in (1, 2, 4, 8):
        description["model"]["merges"].append(["=" * length, "=" * length])
        vocabulary["=" * 2 * length] = len(vocabulary)
    path = tmp_path_factory.mktemp("merging") / "tokenizer.json"
    path.write_text(json.dumps(description))
    return Encoder(path, family)


@given(text=texts, room=st.integers(4, 60))
def test_windows_join_to_the_text_and_are_cut_before_lines(encoder: Encoder, text: str, room: int) -> None:
    starts = encoder.token_starts(text)
    pieces = list(windows(text, starts=starts, room=room))
    assert "".join(pieces) == text
    for piece in pieces:
        assert len(encoder.text(piece)) <= room
    for piece in pieces[:-1]:
        assert piece.endswith("\n") or "\n" not in piece


def test_a_short_end_takes_from_the_window_before_it_and_another_stays_short() -> None:
    sizes = {length: [len(piece) for piece in windows("x" * length, starts=range(length), room=80)] for length in (80, 161, 180, 190)}
    assert sizes == {80: [80], 161: [80, 61, 20], 180: [80, 80, 20], 190: [80, 80, 30]}


@given(text=texts)
def test_two_parts_join_to_the_text(text: str) -> None:
    pieces = two(text)
    assert "".join(pieces) == (text if len(text) > 1 else "")
    assert all(pieces) and len(pieces) in {0, 2}


@given(text=texts, shape=st.sampled_from(["line", "block", "span"]), seed=st.integers(0, 1000), max_lines=st.integers(1, 8))
def test_a_hole_lies_in_its_text_and_has_its_shape(text: str, shape: str, seed: int, max_lines: int) -> None:
    start, end = hole(text, shape, draws=random.Random(seed), max_lines=max_lines)
    assert 0 <= start <= end <= len(text)
    if shape != "span" and text.strip():
        assert text[start:end].strip()
        assert end == len(text) or text[end] in "\r\n"
        if shape == "line":
            assert not set("\r\n") & set(text[start:end])


@given(text=texts.filter(str.strip), seed=st.integers(0, 50), row_length=st.integers(30, 80))
@example(text="=" * 700, seed=0, row_length=30)
@example(text="=" * 700, seed=1, row_length=40)
def test_a_sample_is_never_longer_than_a_row_and_ends_in_a_learnt_stop_token(
    merging_encoder: Encoder, text: str, seed: int, row_length: int
) -> None:
    encoder, tally = merging_encoder, Tally(read=1)
    bench = Bench(encoder, row_length, seed)
    samples = list(mine([file(text)], [Fim()], bench, learn="answer", tally=tally))
    assert (tally.kept, tally.lost) == (1, 0)
    written = Counter[str]()
    for sample in samples:
        ids, labels = sample.encoded.input_ids, sample.encoded.labels
        assert len(ids) <= row_length
        assert ids[-1] == labels[-1] == encoder.end_id
        assert sum(token in encoder.stop_ids for token in ids) == 1
        written.update(encoder.decode([token for token in ids if token not in encoder.sentinel_ids]))
    assert written == Counter(text)


def test_a_window_that_splitting_makes_too_long_is_cut_in_two(merging_encoder: Encoder) -> None:
    bench = Bench(merging_encoder, 30, 0)
    fim = Fim(rate=1, line_share=0, block_share=0)
    planned = mined(fim, "=" * 4000, bench)
    made = list(mine([file("=" * 4000)], [fim], bench, learn="all", tally=Tally()))
    assert len(made) > len(planned)


@given(text=texts.filter(str.strip), seed=st.integers(0, 100))
def test_the_parts_of_the_samples_join_to_the_file(encoder: Encoder, text: str, seed: int) -> None:
    samples = mined(Fim(rate=0.7), text, Bench(encoder, 40, seed))
    assert "".join(sample.text for sample in samples) == text
    assert all(sample.prefix == sample.suffix == "" for sample in samples if sample.form == "plain")


def test_forms_and_shapes_come_at_their_rates(encoder: Encoder) -> None:
    fim = Fim(rate=0.8, spm_rate=0.25, line_share=0.5, block_share=0.0)
    samples = mined(fim, CODE, Bench(encoder, 40, 0))
    assert len(samples) > 500
    share = Counter(sample.form for sample in samples)
    assert share["plain"] / len(samples) == pytest.approx(0.2, abs=0.05)
    assert share["spm"] / (share["spm"] + share["psm"]) == pytest.approx(0.25, abs=0.05)
    holes = [sample for sample in samples if sample.form != "plain"]
    to_line_end = sum("\n" not in sample.middle and sample.suffix[:1] in {"\n", ""} and sample.middle != "" for sample in holes)
    assert 0.5 < to_line_end / len(holes) < 0.65


def test_a_span_is_uniform_over_characters() -> None:
    draws = random.Random(0)
    spans = [hole("x" * 9, "span", draws=draws, max_lines=1) for _ in range(20000)]
    starts = Counter(start for start, _ in spans)
    assert set(starts) == set(range(10))
    assert sum(end - start for start, end in spans) / len(spans) == pytest.approx(3.3, abs=0.1)  # (n + 1)(n + 2) / (3 (n + 1)), n = 9
    assert any(start == end for start, end in spans)


def test_draws_depend_on_seed_and_place_alone(encoder: Encoder) -> None:
    bench = Bench(encoder, 64, 0)
    alone = mined(Fim(), CODE, bench)
    assert mined(Fim(), CODE, bench) == alone
    assert mined(Fim(), CODE, Bench(encoder, 64, 1)) != alone
    longer = mined(Fim(), CODE + "# the end\n" * 20, bench)
    assert longer[: len(alone) - 2] == alone[:-2]


def test_a_family_without_fim_tokens_wants_rate_zero(encoder_of) -> None:
    encoder = encoder_of(plain_family("<|endoftext|>"))
    with pytest.raises(DataError, match=r"write \{kind: fim, rate: 0\}"):
        Fim()(file("a = 1\n"), Bench(encoder, 64, 0))
    (made,) = mine([file("a = 1\n")], [Fim(rate=0)], Bench(encoder, 64, 0), learn="all", tally=Tally())
    assert encoder.decode(made.encoded.input_ids) == "a = 1\n<|endoftext|>"
    assert made.encoded.labels[0] == IGNORED


def test_a_row_too_short_for_a_window_is_refused(encoder: Encoder) -> None:
    with pytest.raises(DataError, match="write 23 or more"):
        Fim()(file("a = 1\n"), Bench(encoder, 22, 0))


def test_shares_beyond_one_are_refused() -> None:
    with pytest.raises(ValidationError, match="add up to 1 or less"):
        Fim(line_share=0.6, block_share=0.6)


def test_the_draws_do_not_change_by_accident(encoder: Encoder) -> None:
    """Golden: a change here changes every dataset, so FORMAT in build.py must be raised with it."""
    golden = Path(__file__).parent / "golden_fim.json"
    samples = mined(Fim(), CODE[:600], Bench(encoder, 128, 7))
    found = [[sample.form, sample.prefix, sample.middle, sample.suffix] for sample in samples]
    assert found == json.loads(golden.read_text())
