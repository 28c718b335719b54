"""The rows the embedded model is trained on: nothing cut that must be whole, nothing lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from finetune.base import DEMO
from finetune.demo.pretrain.corpus import File, Seen
from finetune.demo.pretrain.pack import Kind, Mix, find_hole, rows
from finetune.demo.pretrain.tokenizer import END, FILE_SEP, FIM_MIDDLE, FIM_PAD, FIM_PREFIX, FIM_SUFFIX, REPO_NAME, load

LENGTH = 128
PATH = "src/a.py"
LINES = ["def f(x):", "    return x + 1", "", "s = '<fim_middle><|endoftext|>'", "\tif a[0] == 1234567:", "# " + "word " * 30]
TOKENIZER = load(DEMO)
texts = st.lists(st.sampled_from(LINES), min_size=1, max_size=60).map("\n".join)
kinds = st.sampled_from(["repo", "files", "single"])


def mix(kind: Kind, fim: float) -> Mix:
    return Mix({kind: 1.0}, fim, {"free": 0.4, "line": 0.3, "lines": 0.15, "span": 0.15}, spm=0.5, short=0.5)


def pieces(row: list[int], tokenizer: Tokenizer) -> Iterator[str]:
    """The texts of a row, middles put back; fails where a middle does not end in a stop."""
    ids = [token for token in row if token != FIM_PAD]
    start = 0
    for at, token in enumerate([*ids, FIM_PAD]):
        if token in (END, FILE_SEP, FIM_PAD):
            own = ids[start:at]
            start = at + 1
            if FIM_PREFIX in own:
                assert token != FIM_PAD, "a middle runs into the end of its row"
                suffix_at, middle_at = own.index(FIM_SUFFIX), own.index(FIM_MIDDLE)
                prefix, suffix, middle = own[1:suffix_at], own[suffix_at + 1 : middle_at], own[middle_at + 1 :]
                # Prefix first or suffix first, prefix + middle + suffix is the window: one of them is empty where it should be.
                yield tokenizer.decode(prefix) + tokenizer.decode(middle) + tokenizer.decode(suffix)
            elif own and own[0] != REPO_NAME:
                yield tokenizer.decode(own)


@settings(max_examples=60, deadline=None)
@given(text=texts, kind=kinds, fim=st.sampled_from([0.0, 0.5, 1.0]), seed=st.integers(0, 99))
def test_rows_hold_a_file_once_and_whole_and_no_middle_is_cut(text: str, kind: Kind, fim: float, seed: int) -> None:
    packed = [row.tolist() for row in rows([File("name", PATH, "Python", text)], TOKENIZER, mix(kind, fim), length=LENGTH, seed=seed)]
    assert all(len(row) == LENGTH for row in packed)
    found = [piece for row in packed for piece in pieces(row, TOKENIZER)]
    header = f"{PATH}\n" if kind == "repo" else ""
    assert "".join(piece.removeprefix(header) for piece in found) == text


def test_a_single_file_with_a_hole_is_written_as_a_prompt_is() -> None:
    row = next(
        rows([File("name", PATH, "Python", "a = 1\nb = 2\nc = 3\n" * 3)], TOKENIZER, mix("single", 1.0), length=LENGTH, seed=0)
    ).tolist()
    assert row[0] == FIM_PREFIX
    assert row[sum(token != FIM_PAD for token in row) - 1] == END


def test_rows_of_one_repository_do_not_change_with_another_beside_it() -> None:
    one, two = (File(name, PATH, "Python", "\n".join(LINES * 9)) for name in ("one", "two"))
    alone = list(rows([one], TOKENIZER, mix("files", 0.5), length=LENGTH, seed=1))
    both = list(rows([two, one], TOKENIZER, mix("files", 0.5), length=LENGTH, seed=1))
    assert [row.tolist() for row in alone] == [row.tolist() for row in both][-len(alone) :]


@given(text=texts, shape=st.sampled_from(["free", "line", "lines", "span"]), seed=st.randoms(use_true_random=False))
def test_a_hole_lies_in_its_text(text: str, shape: str, seed: object) -> None:
    start, end = find_hole(text, shape, seed)
    assert 0 <= start <= end <= len(text)
    if shape == "line":
        assert "\n" not in text[start:end] or not text.strip()


@pytest.mark.parametrize(("change", "reason"), [(("", ""), "duplicate"), (("x + 1", "x + 2 "), "near-duplicate")])
def test_a_copy_is_told_from_a_new_file(change: tuple[str, str], reason: str) -> None:
    text = (
        "\n".join(f"the_result_of_{number} = compute(x + 1, {number})" for number in range(9)) + "\nprint(x + 1, x + 1, the_result_of_1)\n"
    )
    seen = Seen()
    assert seen.reason(text) is None
    assert seen.reason(text.replace(*change, 1) if change[0] else text) == reason
    assert seen.reason("\n".join(f"something_else_{number} = other({number})" for number in range(9))) is None
