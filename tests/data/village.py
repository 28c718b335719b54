"""Several small repositories that have much to do with one another: whoever works on one of them alone must not get it wrong."""

from __future__ import annotations

import json
import random
from pathlib import Path

from office import KEY, SHAPES, commit, git, make_office
from small_files import modules

HOUSES = 4
WORDS = ("first", "second", "third", "fourth")
SAID = "Gives how much room a shape of {0} takes up on the paper."


def make_village(folder: Path) -> list[Path]:
    """The repositories, by name: an office, and houses that share files, near copies, changes, questions and answers with one another."""
    folder.mkdir()
    return [make_office(folder / "office"), *(_house(folder / f"house{number}", number) for number in range(HOUSES))]


def _house(folder: Path, number: int) -> Path:
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    own = {f"src/{path}": text for path, text in modules(f"house{number}", 4).items()}
    shared = {f"lib/{path}": f"OWNER = 'house {number % 2}'\n{text}" for path, text in modules("shared", 4).items()}
    functions = {f"src/room{room}.py": _room(f"room{room}", sides=room + number // 3) for room in range(4)}
    tests = {f"tests/test_room{room}.py": _test(f"room{room}") for room in range(4)}
    # What another house holds out, or learns, lives on here in the history.
    past = {
        f"old/{path}": text + "LAST = 1\n" * (place % 2)
        for place, (path, text) in enumerate(modules(f"house{(number + 1) % HOUSES}", 4).items())
    }
    commit(folder, "Add everything there is", own | shared | functions | tests | past | {"src/shapes.py": SHAPES.format(sign="+")})
    commit(folder, "Multiply the sides of every rectangle", {"src/shapes.py": SHAPES.format(sign="*")})
    for place, path in enumerate(past):
        commit(
            folder,
            f"Rewrite all of it for the {WORDS[place]} floor",
            {path: f"FLOOR = {number}{place}\n{_room(WORDS[place], sides=number)}"},
        )
    _turn_into_copy(folder, f"lib/shared/late{number}.py", modules(f"house{(number + 2) % HOUSES}", 4))
    commit(folder, "Put the key where it belongs", {"src/room0.py": f'KEY = "{KEY}"\n' + _room("room0", sides=number)})
    return folder


def _turn_into_copy(folder: Path, path: str, texts: dict[str, str]) -> None:
    """A file with a life of its own that ends as a copy of another house's."""
    commit(folder, "Initialize with something else here", {path: f"FIRST = 1\nPATH = '{path}'\n"})
    commit(folder, "Increment the number of the firsts", {path: f"FIRST = 2\nPATH = '{path}'\n"})
    commit(folder, "Use what the neighbours have instead", {path: [*texts.values()][1]})


def _room(name: str, *, sides: int) -> str:
    draws = random.Random(f"{name} {sides}")
    lines = "".join(f"    {name}_{line} = width * {draws.randrange(1000)} + {line}\n" for line in range(8))
    return f'def {name}(width, height):\n    """{SAID.format(f"{sides} sides")}"""\n{lines}    return width * height\n'


def _test(name: str) -> str:
    return f"from {name} import {name}\n\n\ndef test_{name}():\n    width = 2\n    assert {name}(width, 3) == 6\n"


def write_dialogues(path: Path) -> Path:
    """Conversations to mix in, one of them with a text of the village."""
    turns = [(f"What is {number} and {number}?", f"It is {2 * number}, as everybody knows who can add.") for number in range(40)]
    turns.append(("Show me shapes.", f"```python\n{SHAPES.format(sign='*')}```\n"))
    lines = [json.dumps({"prompt": prompt, "completion": completion}) for prompt, completion in turns]
    path.write_text("\n".join(lines) + "\n")
    return path
