"""Conversations of the user's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetune.data.dialogues import open_dialogues
from finetune.errors import DataError

USER, ASSISTANT = {"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}


def written(folder: Path, *lines: Any) -> str:
    path = folder / "own.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return str(path)


@pytest.mark.parametrize(
    ("line", "turns"),
    [
        ({"messages": [USER, ASSISTANT], "source": "mine"}, [("Hi?", "Hello.")]),
        (
            {"messages": [{"role": "system", "content": "Be kind."}, USER, ASSISTANT, USER, ASSISTANT]},
            [("Be kind.\n\nHi?", "Hello."), ("Hi?", "Hello.")],
        ),
        ({"prompt": "Hi? é", "completion": "Hello."}, [("Hi? é", "Hello.")]),
        ({"prompt": [USER, ASSISTANT, USER], "completion": [ASSISTANT]}, [("Hi?", "Hello."), ("Hi?", "Hello.")]),
    ],
)
def test_each_of_the_usual_forms_is_read(tmp_path: Path, line: Any, turns: Any) -> None:
    ((place, found),) = open_dialogues(written(tmp_path, line), seed=0).read()
    assert (place.line, list(found)) == (1, turns)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "no valid JSON"),
        ("[1]", "found a list"),
        ({"text": "x"}, "found 'text'"),
        ({}, "found no key"),
        ({"prompt": "x"}, "found 'prompt'"),
        ({"prompt": "x", "completion": ""}, "no text as what the assistant says"),
        ({"messages": [USER, {"role": "assistant", "content": 1}]}, "found a int"),
        ({"prompt": "x", "completion": 1}, "no list of objects"),
        ({"messages": "x"}, "no list of objects"),
        ({"messages": ["x"]}, "no list of objects"),
        ({"messages": []}, "found no message"),
        ({"messages": [USER]}, "found user;"),
        ({"messages": [ASSISTANT, USER]}, "found assistant, user;"),
        ({"messages": [USER, USER, ASSISTANT]}, "found user, user, assistant"),
        ({"messages": [USER, ASSISTANT, {"role": "tool", "content": "x"}, ASSISTANT]}, "tool"),
        ({"messages": [USER, {"role": "assistant", "content": None}]}, "no text"),
        ('{"prompt": "\\ud800", "completion": "x"}', "surrogate"),
    ],
)
def test_a_line_that_can_not_be_read_is_an_error_with_its_place(tmp_path: Path, line: Any, fault: str) -> None:
    path = written(tmp_path, {"prompt": "a", "completion": "b"}, "", line)
    with pytest.raises(DataError, match=f"own.jsonl:3: .*{fault}"):
        open_dialogues(path, seed=0)


def test_a_file_that_is_not_there_or_holds_nothing_or_is_no_utf8_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl: No such file.*write the path"):
        open_dialogues(str(tmp_path / "none.jsonl"), seed=0)
    with pytest.raises(DataError, match="found no line"):
        open_dialogues(written(tmp_path, "", " "), seed=0)
    (tmp_path / "own.jsonl").write_bytes(b'{"prompt": "\xff", "completion": "x"}\n')
    with pytest.raises(DataError, match=r"own\.jsonl:1: no UTF-8"):
        open_dialogues(str(tmp_path / "own.jsonl"), seed=0)


def test_the_order_is_drawn_for_each_line_alone(tmp_path: Path) -> None:
    lines = [{"prompt": f"question {number}", "completion": "answer"} for number in range(40)]
    drawn = [turns for _, turns in open_dialogues(written(tmp_path, *lines), seed=0).read()]
    assert drawn == [turns for _, turns in open_dialogues(written(tmp_path, *lines[::-1]), seed=0).read()]
    assert drawn != [turns for _, turns in open_dialogues(written(tmp_path, *lines), seed=1).read()]
    fewer = [turns for _, turns in open_dialogues(written(tmp_path, *lines[5:]), seed=0).read()]
    assert fewer == [turns for turns in drawn if int(turns[0][0].split()[1]) >= 5]
