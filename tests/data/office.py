"""A repository of own code, code brought in, twins, secrets and commits: small, and with a little of everything."""

from __future__ import annotations

import subprocess
from pathlib import Path

KEY = "AKIA" + "QYLPMN5HHHFPZAM2"
GPL = """This program is free software: you can redistribute it and/or modify
it under the terms of the GNU General Public License as published by
the Free Software Foundation, either version 3 of the License, or
(at your option) any later version.

This program is distributed in the hope that it will be useful,
but WITHOUT ANY WARRANTY; without even the implied warranty of
MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE. See the
GNU General Public License for more details.

You should have received a copy of the GNU General Public License
along with this program. If not, see <https://www.gnu.org/licenses/>.
"""
MIT = (Path(__file__).parent / "texts" / "mit.txt").read_text(encoding="utf-8")
SHAPES = "def area(width, height):\n    return width {sign} height\n"
SPELT = "END = '<|endoftext|>'  # it stands between <fim_suffix> and <fim_middle>\n"


def module(name: str, functions: int = 6) -> str:
    return "\n".join(f"def {name}_{number}(value):\n    return value + {number}\n" for number in range(functions))


def make_office(folder: Path) -> Path:
    """The repository, with two commits."""
    files: dict[str, str | bytes] = {f"src/part{number}.py": module(f"part{number}") for number in range(12)}
    files |= {"src/shapes.py": SHAPES.format(sign="+"), "src/ends.py": SPELT + module("ends"), "logo.png": b"\x89PNG\0\0", "empty.py": ""}
    files |= {"src/twin.py": module("part1", 7), "src/keys.py": f'FIRST = "{KEY}"\n' + module("keys"), "LICENSE": MIT}
    files |= {"contrib/parser/LICENSE": GPL, "contrib/parser/parse.py": module("parse"), "src/template.py": "X = '{{idx}}'\n" + module("x")}
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "Add everything there is", files)
    commit(folder, "Multiply the sides of every rectangle", {"src/shapes.py": SHAPES.format(sign="*")})
    return folder


def commit(folder: Path, message: str, files: dict[str, str | bytes]) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)
