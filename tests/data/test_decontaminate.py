"""Benchmarks' texts are found wherever they stand, whatever the white space and the case."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.benchmark_files import read_benchmark, read_benchmarks
from finetune.data.decontaminate import Benchmarks, Needle, decontaminated, squeezed
from finetune.data.report import Texts
from finetune.data.tally import Tally
from finetune.errors import DataError
from finetune.records import Change, Item, Origin, SourceFile

HUMANEVALPACK = Path(__file__).parents[3] / "shared" / "data" / "humanevalpack"
SOLUTION = "def mean_of(numbers):\n    total = sum(numbers)\n    return total / len(numbers)\n"
TASK = {"task_id": "Bench/7", "prompt": "Give the arithmetic mean of a list of numbers, please.", "canonical_solution": SOLUTION}
ORIGIN = Origin("repo", "commit", "a.py")


def write(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def benchmarks(path: str, *, fields: tuple[str, ...] = (), min_characters: int = 40) -> Benchmarks:
    return read_benchmarks([read_benchmark(path, fields=fields, min_characters=min_characters)])


def test_white_space_and_case_make_no_difference(tmp_path: Path):
    known = benchmarks(write(tmp_path / "bench.jsonl", TASK))
    assert (
        known.find("# mine\n\n" + SOLUTION.upper().replace("    ", "\t\t").replace("\n", "\r\n") + "x = 1")
        == "bench.jsonl: Bench/7, canonical_solution"
    )
    assert known.find(SOLUTION.replace("total /", "total //")) is None
    assert known.find("") is None


@given(st.lists(st.text(alphabet="ab \nÉ", min_size=1), max_size=6), st.text(alphabet="ab \nÉ", max_size=300))
def test_what_is_found_is_what_a_plain_search_finds(texts, text):
    """The rule itself, needle by needle, is the reference."""
    needles = [Needle(squeezed(each), each) for each in texts if len(squeezed(each)) >= 8]
    expected = any(needle.content in squeezed(text) for needle in needles)
    assert (Benchmarks(needles).find(text) is not None) == expected
    for each in texts:
        joined = text + each + text
        assert (Benchmarks(needles).find(joined) is not None) == any(needle.content in squeezed(joined) for needle in needles)


def test_files_changes_and_messages_go_with_the_item_found(tmp_path: Path):
    known, tally = benchmarks(write(tmp_path / "bench.jsonl", TASK)), Tally()
    clean = SourceFile(ORIGIN, "Python", "x = 1\n")
    items: list[Item] = [
        clean,
        SourceFile(ORIGIN, "Python", "import os\n" + SOLUTION),
        Change(ORIGIN, "Python", "message", SOLUTION, ""),
        Change(ORIGIN, "Python", "message", "", SOLUTION),
        Change(ORIGIN, "Python", TASK["prompt"], "a", "b"),
    ]
    assert list(decontaminated(items, known, tally)) == [clean]
    assert tally.dropped == {"benchmark": 4}
    assert {each.detail for each in tally.decisions} == {"bench.jsonl: Bench/7, canonical_solution", "bench.jsonl: Bench/7, prompt"}


def test_only_named_fields_count_and_lists_are_looked_into(tmp_path: Path):
    tests = ["assert mean_of([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]) == 5.5"]
    path = write(tmp_path / "bench.jsonl", TASK | {"test_list": tests})
    known = benchmarks(path, fields=("test_list",))
    assert known.find(tests[0]) == "bench.jsonl: Bench/7, test_list"
    assert known.find(SOLUTION) is None


def test_short_texts_and_forms_that_many_items_share_are_nobodys_own(tmp_path: Path):
    setup = "import math\nimport typing\nfrom collections import defaultdict, Counter\n"
    rows = [{"task_id": number, "setup": setup, "entry": "mean", "code": f"unique code number {number} " * 3} for number in range(3)]
    known = benchmarks(write(tmp_path / "bench.jsonl", *rows))
    assert known.find(setup) is None
    assert known.find("mean") is None
    assert known.find(f"x\n{rows[2]['code']}") == "bench.jsonl: 2, code"


def test_folders_lists_and_compressed_files_are_read(tmp_path: Path):
    (tmp_path / "one.jsonl.gz").write_bytes(gzip.compress(json.dumps(TASK).encode()))
    (tmp_path / "two.json").write_text(json.dumps([{"text": "Write a function to add all of the even numbers of a list."}], indent=2))
    known = benchmarks(str(tmp_path))
    assert known.find(SOLUTION) == "one.jsonl.gz: Bench/7, canonical_solution"
    assert known.find("write a function to ADD all of the even numbers of a list.") == "two.json: 0, text"


@pytest.mark.parametrize(
    ("content", "fields", "message"),
    [
        (None, (), "No such file.*write the path of a JSONL file"),
        ("{broken\n", (), "bench.jsonl:1: .*one JSON object a line"),
        ('["text"]\n', (), "no object; write one JSON object a line"),
        (json.dumps(TASK), ("solution",), "no item has a field 'solution'; write one of canonical_solution, prompt, task_id"),
        ('{"a": "short"}\n', (), "no text of 40 characters or more in any field; write"),
    ],
)
def test_a_wrong_benchmark_is_named_with_its_cure(tmp_path: Path, content: str | None, fields: tuple[str, ...], message: str):
    path = tmp_path / "bench.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_benchmark(str(path), fields=fields, min_characters=40)


def test_every_long_text_of_humanevalpack_is_found_in_a_file_around_it():
    if not HUMANEVALPACK.is_dir():
        pytest.skip("HumanEvalPack is not on this machine")
    known = benchmarks(str(HUMANEVALPACK), fields=("docstring", "canonical_solution"))
    rows = [json.loads(line) for path in sorted(HUMANEVALPACK.glob("*.jsonl")) for line in path.read_text().splitlines()]
    texts = [row[field] for row in rows for field in ("docstring", "canonical_solution") if len("".join(row[field].split())) >= 40]
    assert len(texts) > 1500
    missed = [
        text for text in texts if known.find(f"# before\n{text.title()}\n# after\n") is None and squeezed(text.title()) == squeezed(text)
    ]
    assert missed == []


def lines_of(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Every task's function as a repository would have it: without the imports that the benchmark puts in front."""
    preamble = ("import", "from", "use ", "using", "#include")
    return [
        {"code": "\n".join(line for line in row["declaration"].split("\n") if not line.startswith(preamble)) + row["canonical_solution"]}
        for row in rows
    ]


def test_every_solution_of_humanevalpack_is_found_behind_its_declaration(tmp_path: Path):
    """In one file of six languages as in six: what a task has in common with itself is no form."""
    if not HUMANEVALPACK.is_dir():
        pytest.skip("HumanEvalPack is not on this machine")
    rows = [json.loads(line) for path in sorted(HUMANEVALPACK.glob("*.jsonl")) for line in path.read_text().splitlines()]
    known = benchmarks(write(tmp_path / "all.jsonl", *rows))
    assert [row["task_id"] for row, each in zip(rows, lines_of(rows), strict=True) if known.find("# x\n" + each["code"]) is None] == []
    long = [row["docstring"] for row in rows if len(squeezed(row["docstring"])) >= 40]
    assert len(long) > 900 and all(known.find(f"/* {each} */") for each in long)


def test_a_short_solution_is_looked_for_behind_its_declaration(tmp_path: Path):
    """Not by itself: `return x + y` stands in many a file."""
    head = 'from typing import List\n\n\ndef add(x: int, y: int):\n    """Add two numbers.\n    >>> add(2, 3)\n    5\n    """\n'
    old = {"task_id": "HumanEval/53", "prompt": head, "canonical_solution": "    return x + y\n"}
    new = {"task_id": "Go/53", "declaration": "\nfunc Add(x int, y int) int {\n", "canonical_solution": "    return x + y\n}\n"}
    none = {"task_id": "Odd/1", "prompt": "f()", "canonical_solution": "{}"}
    known = benchmarks(write(tmp_path / "bench.jsonl", old, new, none))
    assert known.find("def add(x: int, y: int):\n    return x + y\n") == "bench.jsonl: HumanEval/53, prompt + canonical_solution"
    assert known.find("\nfunc Add(x int, y int) int { return x + y }") == "bench.jsonl: Go/53, declaration + canonical_solution"
    assert known.find("def plus(x, y):\n    return x + y\n") is None
    assert known.texts == {"bench.jsonl": Texts(wanted=3, too_short=3, shared=0)}


def test_what_is_not_looked_for_is_counted(tmp_path: Path):
    setup = "import math\nimport typing\nfrom collections import defaultdict, Counter\n"
    rows = [{"task_id": f"{name}/{number}", "setup": setup, "entry": "mean"} for name in ("Go", "Rust") for number in range(4)]
    said = [{"task_id": f"{name}/9", "prompt": "Give the mean of all the numbers in a list, as a number."} for name in ("Go", "JS", "Rust")]
    known = benchmarks(write(tmp_path / "bench.jsonl", *rows[:2], *said))
    assert known.texts == {"bench.jsonl": Texts(wanted=5, too_short=2, shared=0)}
    known = benchmarks(write(tmp_path / "bench.jsonl", *rows, *said))
    assert known.texts == {"bench.jsonl": Texts(wanted=3, too_short=8, shared=8)}
    assert known.find(setup) is None and known.find(said[0]["prompt"])
