"""Copies: exact ones, near ones, and the rule which of them stays."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from near_texts import WORDS, jaccard, variants

from finetune.data.dedup import Means, content, digest, drop_copies, find_copies, plain, preferred
from finetune.data.tally import Tally
from finetune.records import Change, Origin, SourceFile


def file(path: str, text: str, repo: str = "repo") -> SourceFile:
    return SourceFile(Origin(repo, "commit", path), "Python", text)


def change(path: str, before: str, after: str, commit: str = "commit") -> Change:
    return Change(Origin("repo", commit, path), "Python", "message", before, after)


def left_out(files: list[SourceFile], threshold: float | None = 0.7) -> dict[tuple[str, str], tuple[str, str, str]]:
    """(repo, path) of what goes: why, and instead of whom."""
    names = [(each.origin.repo, each.origin.path) for each in files]
    order = preferred(np.array([len(content(each)) for each in files]), np.array([sorted(names).index(name) for name in names]))
    digests = np.array([np.frombuffer(digest(each), dtype=np.uint64) for each in files]).reshape(-1, 2)
    found = find_copies(files, order, digests, Means(plain), threshold=threshold)
    gone = [number for number, keeper in enumerate(found.keeper.tolist()) if keeper >= 0]
    return {names[number]: ("copy" if found.exact[number] else "near_copy", *names[found.keeper[number]]) for number in gone}


def test_a_copy_is_left_out_across_repositories():
    files = [file("b.py", "x", repo="other"), file("a.py", "x"), file("c.py", "y")]
    assert left_out(files) == {("repo", "a.py"): ("copy", "other", "b.py")}


def test_of_near_duplicates_the_longest_stays_then_the_first_by_repository_and_path():
    text = " ".join(WORDS[:100])
    files = [file("a.py", text), file("b.py", text + " and more"), file("z.py", text.replace("word7 ", "ward7 "))]
    assert left_out(files) == {("repo", "a.py"): ("near_copy", "repo", "b.py"), ("repo", "z.py"): ("near_copy", "repo", "b.py")}
    assert left_out([files[0], files[2]]) == {("repo", "z.py"): ("near_copy", "repo", "a.py")}


def test_near_duplicates_stay_when_they_are_switched_off_and_copies_never():
    files = [file("a.py", " ".join(WORDS)), file("b.py", " ".join(WORDS[1:])), file("c.py", " ".join(WORDS))]
    assert left_out(files, threshold=None) == {("repo", "c.py"): ("copy", "repo", "a.py")}


def test_an_exact_copy_of_a_near_duplicate_names_what_stays():
    text = " ".join(WORDS)
    files = [file("a.py", text + " more"), file("b.py", text), file("c.py", text)]
    assert {reason for reason, *_ in left_out(files).values()} == {"near_copy", "copy"}
    assert {keeper for _, _, keeper in left_out(files).values()} == {"a.py"}


def test_short_files_do_not_fall_into_one_group():
    """bigcode-dataset gives every file of fewer than five words the same signature: one of them all survives."""
    texts = ["", "x", "import a", "import b", "x = 1", "y = 2", "(((((((", "[[[[[[[", "a b c d", "a b c e", "\n\n\n\n\n\n\n", "é", "日本"]
    assert left_out([file(f"{place}.py", text) for place, text in enumerate(texts)]) == {}


def test_nothing_goes_for_being_like_something_that_is_like_what_stays():
    """A is like B, B is like C, A is not like C: only B goes."""
    a = WORDS[:100]
    b = [*WORDS[200:207], *a[7:]]
    c = [*b[:86], *WORDS[300:313]]
    texts = [" ".join(words) for words in (a, b, c)]
    assert jaccard(texts[0], texts[1]) > 0.7 < jaccard(texts[1], texts[2]) and jaccard(texts[0], texts[2]) < 0.7
    ends = ["", "", ""]
    longest = max(len(text) for text in texts)
    ends[0] = ends[2] = " " + "x" * (longest + 9)  # one word more, so that both come before B
    files = [file(f"{name}.py", text + end) for name, text, end in zip("abc", texts, ends, strict=True)]
    assert {path for _, path in left_out(files)} == {"b.py"}


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_whoever_goes_is_exactly_like_what_stays_and_no_two_that_stay_are_alike(seed):
    files = [file(f"{number:02}.py", text) for number, text in enumerate(variants(seed, families=4))]
    texts = {each.origin.path: each.text for each in files}
    gone = left_out(files)
    for (_, path), (_, _, keeper) in gone.items():
        assert jaccard(texts[path], texts[keeper]) >= 0.7 and ("repo", keeper) not in gone
    stay = [path for path in texts if ("repo", path) not in gone]
    missed = sum(jaccard(texts[one], texts[other]) >= 0.7 for place, one in enumerate(stay) for other in stay[:place])
    assert missed <= 1  # bands let one pair in two hundred through when it is right at the threshold


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_any_order_of_the_files_leaves_the_same_ones(seed, order):
    files = [file(f"{number:02}.py", text) for number, text in enumerate([*variants(seed, families=3), "x", "x", ""])]
    shuffled = order.sample(files, len(files))
    assert left_out(shuffled) == left_out(files)


def test_changes_are_copies_by_what_they_change_alone():
    changes = [
        change("a.py", "1", "2"),
        change("a.py", "1", "2", "pick"),
        change("b.py", "1", "2"),
        change("a.py", "1", "3"),
        change("a.py", "12", ""),
    ]
    tally = Tally()
    assert [each.after for each in drop_copies(changes, tally)] == ["2", "3", ""]
    assert [(each.origin.commit, each.origin.path) for each in tally.decisions] == [("pick", "a.py"), ("commit", "b.py")]


def test_a_change_that_redaction_has_emptied_is_left_out():
    tally = Tally()
    assert list(drop_copies([change("a.py", "key = '<KEY>'", "key = '<KEY>'")], tally)) == []
    assert tally.dropped == {"unchanged": 1}


def test_a_file_is_no_copy_of_a_change():
    assert digest(file("a.py", "x")) != digest(change("a.py", "", "x"))


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_parts_can_not_run_into_each_other(one, other):
    assert (digest(change("a.py", *one)) == digest(change("a.py", *other))) == (one == other)
