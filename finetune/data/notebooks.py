"""Notebooks: from .ipynb to a script that people and filters can read, and from the script back to cells.

    # %% [markdown]
    # # Title
    # %%
    print(6 * 7)
    # %% [output]
    # 42

This is jupytext's percent form with outputs. It is what redaction, licences, filters and copies look at, what a family without
notebook tokens learns from, and what `cells_of` reads back. Pictures, HTML and warnings are not part of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from finetune.data.texts import Text
from finetune.records import Cell

NOTEBOOK = "Jupyter Notebook"  # linguist's name
MAX_OUTPUT = 1000  # characters of one output; the lines after that are left out

_KINDS = {"": "code", " [markdown]": "text", " [output]": "output"}
_HEADS = {kind: head for head, kind in _KINDS.items()}
_FIRST = re.compile(r"(#|//|--|%|;) %%(?: \[markdown\])?$", re.MULTILINE)
_COMMENTS = {
    "//": "c c# c++ clojurescript cpp csharp dart f# fsharp go groovy java javascript kotlin objective-c php rust scala swift typescript",
    "--": "haskell lua sql ada elm",
    "%": "matlab octave prolog erlang",
    ";": "clojure common-lisp hy racket scheme",
}
_MARK_OF = {language: mark for mark, languages in _COMMENTS.items() for language in languages.split()}
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_REPR = re.compile(r"<[^<>\n]*(?: at 0x[0-9a-fA-F]+|Figure size [^<>\n]*)>")  # of objects: another in every run


def as_script(text: str, language: str) -> Text:
    """The text of a file, that of a notebook as a script; the reason where it is no notebook, or has nothing in it."""
    if language != NOTEBOOK:
        return Text(text)
    try:
        notebook = json.loads(text)
        cells = [*_cells(notebook)]
        mark = _mark(notebook)
    except (ValueError, RecursionError, AttributeError, TypeError, KeyError):
        return Text(reason="broken_notebook")
    script = script_of(cells, mark)
    if "\0" in script:
        return Text(reason="binary")
    return Text(script) if cells else Text(reason="empty")


def script_of(cells: Iterable[Cell], mark: str = "#") -> str:
    """The cells as a script; `mark` begins a comment in its language."""
    return "".join(f"{line}\n" for cell in cells for line in _lines(cell, mark))


def cells_of(script: str) -> list[Cell]:
    """The cells of a script that `script_of` wrote; another text is one cell of code."""
    first = _FIRST.match(script)
    if first is None:
        return [Cell("code", script)]
    mark = first[1]
    cells: list[Cell] = []
    for kind, source in _blocks(script, mark):
        if kind == "output" and cells:
            cells[-1] = Cell(cells[-1].kind, cells[-1].source, source)
        else:
            cells.append(Cell("text" if kind == "text" else "code", source))
    return cells


def merged(cells: Sequence[Cell]) -> list[Cell]:
    """Neighbours of one kind as one cell, with the output of the last: StarCoder's form (arXiv 2305.06161, section 3.3)."""
    found: list[Cell] = []
    for cell in cells:
        if found and found[-1].kind == cell.kind:
            joint = "\n" if cell.kind == "code" else "\n\n"
            found[-1] = Cell(cell.kind, found[-1].source + joint + cell.source, cell.output)
        else:
            found.append(cell)
    return found


def _lines(cell: Cell, mark: str) -> Iterator[str]:
    yield f"{mark} %%{_HEADS[cell.kind]}"
    body = cell.source.split("\n")
    yield from _escaped(body if cell.kind == "code" else _commented(body, mark), mark)
    if cell.output:
        yield f"{mark} %%{_HEADS['output']}"
        yield from _escaped(_commented(cell.output.split("\n"), mark), mark)


def _commented(lines: Iterable[str], mark: str) -> Iterator[str]:
    return (f"{mark} {line}" if line else mark for line in lines)


def _escaped(lines: Iterable[str], mark: str) -> Iterator[str]:
    r"""Lines that would look like the head of a cell get a backslash: `# \%%`."""
    look = re.compile(rf"{re.escape(mark)} (?=\\*%%)")
    return (look.sub(lambda found: found[0] + "\\", line, count=1) if look.match(line) else line for line in lines)


def _blocks(script: str, mark: str) -> Iterator[tuple[str, str]]:
    """Kind and source of each part of a script."""
    head = re.compile(rf"{re.escape(mark)} %%( \[markdown\]| \[output\]|)")
    escape = re.compile(rf"({re.escape(mark)} )\\(?=\\*%%)")
    kind, body = "code", list[str]()
    for number, line in enumerate(script.removesuffix("\n").split("\n")):
        if found := head.fullmatch(line):
            if number:
                yield kind, "\n".join(body)
            kind, body = _KINDS[found[1]], []
            continue
        plain = escape.sub(r"\1", line, count=1) if escape.match(line) else line
        body.append(plain if kind == "code" else plain.removeprefix(mark).removeprefix(" "))
    yield kind, "\n".join(body)


def _cells(notebook: Any) -> Iterator[Cell]:
    """The cells that hold something, of format 4 or of its forerunners."""
    sheets = [notebook["cells"]] if "cells" in notebook else [sheet["cells"] for sheet in notebook["worksheets"]]
    for cell in (cell for sheet in sheets for cell in sheet):
        code = cell["cell_type"] == "code"
        source = _joined(cell.get("source", cell.get("input", ""))).strip("\n")
        if not source.strip():
            continue
        if cell["cell_type"] == "heading":
            source = "#" * int(cell["level"]) + " " + source
        output = "\n".join(filter(None, map(_output, cell.get("outputs", ())))) if code else ""
        yield Cell("code" if code else "text", source, _shortened(output))


def _output(output: dict[str, Any]) -> str:
    """What an output says in words."""
    match output["output_type"]:
        case "stream":
            text = _joined(output.get("text", "")) if output.get("name", output.get("stream")) != "stderr" else ""
        case "error" | "pyerr":
            text = f"{output.get('ename', '')}: {output.get('evalue', '')}"
        case _:
            text = _joined(output.get("data", output).get("text/plain", output.get("text", "")))
    return _REPR.sub("", _ANSI.sub("", text)).strip("\n")


def _shortened(output: str) -> str:
    if len(output) <= MAX_OUTPUT:
        return output if output.strip() else ""
    return output[: output.rfind("\n", 0, MAX_OUTPUT) + 1 or MAX_OUTPUT].rstrip("\n") + "\n..."


def _joined(source: Any) -> str:
    text = source if isinstance(source, str) else "".join(source)
    # JSON can name half a character; nothing after this could write it.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _mark(notebook: Any) -> str:
    about = notebook.get("metadata", {})
    spoken = about.get("language_info", {}).get("name") or about.get("kernelspec", {}).get("language") or ""
    return _MARK_OF.get(str(spoken).lower(), "#")
