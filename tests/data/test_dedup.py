from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from finetune.data.dedup import digest, drop_copies
from finetune.data.repos import open_repositories, read_files
from finetune.data.tally import Tally
from finetune.records import Change, Origin, SourceFile


def file(path: str, text: str, repo: str = "repo") -> SourceFile:
    return SourceFile(Origin(repo, "commit", path), "Python", text)


def change(path: str, before: str, after: str, commit: str = "commit") -> Change:
    return Change(Origin("repo", commit, path), "Python", "message", before, after)


def test_a_copy_is_left_out_across_repositories():
    tally = Tally(read=3)
    kept = list(tally.keep(drop_copies([file("a.py", "x"), file("b.py", "x", repo="other"), file("c.py", "y")], tally)))
    assert [item.origin.path for item in kept] == ["a.py", "c.py"]
    assert tally.dropped == {"copy": 1}
    assert tally.lost == 0


def test_changes_are_copies_only_with_path_before_and_after_alike():
    changes = [
        change("a.py", "1", "2"),
        change("a.py", "1", "2", "pick"),
        change("b.py", "1", "2"),
        change("a.py", "1", "3"),
        change("a.py", "12", ""),
    ]
    tally = Tally()
    assert len(list(drop_copies(changes, tally))) == 4
    assert tally.decisions[0].origin.commit == "pick"


def test_a_change_that_redaction_has_emptied_is_left_out():
    tally = Tally()
    assert list(drop_copies([change("a.py", "key = '<KEY>'", "key = '<KEY>'")], tally)) == []
    assert tally.dropped == {"unchanged": 1}


def test_a_file_is_no_copy_of_a_change():
    assert len(list(drop_copies([file("a.py", "x"), change("a.py", "", "x")], Tally()))) == 2


@given(st.lists(st.text(alphabet="ab", max_size=3), max_size=30))
def test_what_stays_is_one_of_each_text(texts):
    kept = [
        item
        for item in drop_copies([file(f"{place}.py", text) for place, text in enumerate(texts)], Tally())
        if isinstance(item, SourceFile)
    ]
    assert [item.text for item in kept] == list(dict.fromkeys(texts))


@given(st.tuples(st.text(), st.text(), st.text()), st.tuples(st.text(), st.text(), st.text()))
def test_parts_can_not_run_into_each_other(one, other):
    assert (digest(change(*one)) == digest(change(*other))) == (one == other)


def test_the_copy_that_stays_does_not_depend_on_the_order_of_the_recipe(make_repository):
    ant = make_repository([("One", {"z.py": "x = 1\n"})], name="ant")
    bee = make_repository([("One", {"b.py": "x = 1\n", "a.py": "x = 1\n", "c.py": "c = 1\n"})], name="bee")

    def kept(paths: list[str]) -> list[tuple[str, str]]:
        tally = Tally()
        files = (item for repository in open_repositories(paths, "HEAD") for item in read_files(repository, tally))
        return [(item.origin.repo, item.origin.path) for item in drop_copies(files, tally)]

    assert kept([str(ant), str(bee)]) == kept([str(bee), str(ant)]) == [("ant", "z.py"), ("bee", "c.py")]
    assert kept([str(bee)]) == [("bee", "a.py"), ("bee", "c.py")]
