"""What a model is taught, for reading: samples decoded from the stored rows, with the learnt tokens marked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from finetune.base import read_base
from finetune.data.render import Encoder
from finetune.data.store import read_rows
from finetune.errors import DataError
from finetune.run import Run

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

OPEN, CLOSE = "⟦", "⟧"  # around what is learnt, so that it shows without colour as well
ENDS = 8  # lines shown at either end of a long stretch
# Control characters would reach the terminal as commands: shown as their pictures, a carriage return as ␍.
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {127: 0x2421}


class Token(NamedTuple):
    """One token of a stored row."""

    id: int
    learnt: bool


def show(run: Run, n: int) -> Group:
    """The first `n` samples of the train rows and of the valid rows, which are in shuffled order."""
    from rich.console import Group
    from rich.text import Text

    run.require("build", error=DataError)
    base = read_base(run.recipe.model)
    encoder = Encoder(base.tokenizer, base.family)
    legend = Text.assemble("between ", (f"{OPEN} and {CLOSE}", "bold green"), " the tokens that are learnt; ", ("sentinels", "magenta"))
    return Group(legend, *(_sample(f"{side} sample {number}", tokens, encoder) for side, number, tokens in _first(run, n)))


def _first(run: Run, n: int) -> Iterator[tuple[str, int, list[Token]]]:
    for side in ("train", "valid"):
        for number, tokens in enumerate(islice(samples(run.data / side), n), 1):
            yield side, number, tokens


def samples(folder: Path) -> Iterator[list[Token]]:
    """The samples of the rows in a folder, one after the other, without the padding."""
    for row in read_rows(folder):
        starts = [place for place, position in enumerate(row["position_ids"]) if position == 0]
        tokens = [Token(token, learnt) for token, learnt in zip(row["input_ids"], row["learnt"], strict=True)]
        for start, end in zip(starts, [*starts[1:], len(tokens)], strict=True):
            if any(token.learnt for token in tokens[start:end]):  # padding learns nothing, every sample learns its end
                yield tokens[start:end]


def _sample(title: str, tokens: Sequence[Token], encoder: Encoder) -> Text:
    from rich.text import Text

    learnt = sum(token.learnt for token in tokens)
    text = Text(f"\n── {title}: {len(tokens)} tokens, {learnt} learnt\n", style="default")
    text.stylize("bold cyan")
    for is_learnt, stretch in groupby(tokens, key=lambda token: token.learnt):
        text.append(OPEN if is_learnt else "", "bold green")
        for is_sentinel, run in groupby(stretch, key=lambda token: token.id in encoder.sentinel_ids):
            shown = abridged(encoder.decode([token.id for token in run]).translate(_PICTURES))
            text.append(shown, "magenta" if is_sentinel else "green" if is_learnt else "dim")
        text.append(CLOSE if is_learnt else "", "bold green")
    return text


def abridged(text: str) -> str:
    """The text, or its first and last lines when it is long."""
    lines = text.split("\n")
    left_out = len(lines) - 2 * ENDS
    return text if left_out < 3 else "\n".join([*lines[:ENDS], f"    … {left_out} lines …", *lines[-ENDS:]])
