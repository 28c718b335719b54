"""STEP compare: base and tuned side by side in the terminal, on holes of held-out files or on a prompt of your own.

Differences are marked as in `git diff --word-diff`, so that they can be read without colour too: [-missing-] {+not in the true text+}.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from finetune.base import read_base
from finetune.errors import EvaluateError
from finetune.generate import holes_in_turn, open_completer
from finetune.records import Answer, FimPrompt, InstructPrompt, Prompt, Sampling, TextPrompt
from finetune.run import Run
from finetune.tasks import prompt_of, within_hole

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.text import Text

_LINES_BEFORE, _LINES_AFTER = 8, 4  # of the file, shown around a hole


def compare(run: Run, *, n: int = 3, prompt: Prompt | None = None) -> Group:
    """Both answers to `n` held-out holes of the run, kind after kind in turn, or to `prompt`."""
    from rich.console import Group

    run.require("train", error=EvaluateError)
    if n < 1:
        raise EvaluateError(f"found n={n}; write how many holes to show, 1 or more")
    sampling = Sampling(max_new_tokens=run.recipe.evaluate.max_new_tokens)
    if prompt is not None:
        (answers,) = open_completer([run]).complete([prompt], sampling)
        return Group(*_shown(_title(prompt), *_surroundings(prompt), answers, truth=None))
    holes = holes_in_turn(run, read_base(run.recipe.model))[:n]
    completer = open_completer([run])
    replies = completer.complete([prompt_of(hole, completer.encoder.family) for hole in holes], sampling)
    if completer.encoder.family.fim is None:
        pairs = zip(holes, replies, strict=True)
        replies = [[replace(answer, text=within_hole(answer.text, hole.truth)) for answer in answers] for hole, answers in pairs]
    parts = (
        _shown(f"{hole.origin.repo} {hole.origin.path}, {hole.kind}", hole.prefix, hole.suffix, answers, truth=hole.truth)
        for hole, answers in zip(holes, replies, strict=True)
    )
    return Group(*chain.from_iterable(parts))


def _title(prompt: Prompt) -> str:
    return "your request" if isinstance(prompt, InstructPrompt) else "your text"


def _surroundings(prompt: Prompt) -> tuple[str, str]:
    match prompt:
        case FimPrompt(prefix, suffix):
            return prefix, suffix
        case TextPrompt(text):
            return text, ""
        case InstructPrompt(instruction, context):
            return f"{instruction}\n{context}", ""


def _shown(title: str, prefix: str, suffix: str, answers: Sequence[Answer], truth: str | None) -> list[RenderableType]:
    """One hole: the code before, both answers, the true text, the code after."""
    from rich.rule import Rule
    from rich.table import Table
    from rich.text import Text

    side_by_side = Table(*(f"{answer.arm}: {_remark(answer, truth)}" for answer in answers), expand=True)
    side_by_side.add_row(*(Text(answer.text) if truth is None else marked(answer.text, truth) for answer in answers))
    parts: list[RenderableType] = [
        Rule(Text(title, style="bold"), align="left"),
        Text("\n".join(prefix.split("\n")[-_LINES_BEFORE:]), style="dim"),
        side_by_side,
    ]
    if truth is not None:
        parts += [Text("the true text:", style="bold"), Text(truth, style="cyan")]
    return [*parts, Text("\n".join(suffix.split("\n")[:_LINES_AFTER]) + "\n", style="dim")]


def _remark(answer: Answer, truth: str | None) -> str:
    ended = "" if answer.stopped else ", cut at the limit"
    if truth is None:
        return f"{answer.tokens} tokens{ended}"
    return ("equal to the true text" if answer.text.rstrip() == truth.rstrip() else "not equal") + ended


def marked(text: str, truth: str) -> Text:
    """The answer, with what the true text has besides as [-red-] and what it has not as {+green+}."""
    from rich.text import Text

    old, new = _words(truth), _words(text)
    result = Text()
    for change, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        missing, added = "".join(old[a:b]), "".join(new[c:d])
        if change == "equal":
            result.append(added)
            continue
        if missing:
            result.append(f"[-{missing}-]", style="red")
        if added:
            result.append(f"{{+{added}+}}", style="green")
    return result


def _words(text: str) -> list[str]:
    return re.findall(r"\w+|\s|[^\w\s]", text)
