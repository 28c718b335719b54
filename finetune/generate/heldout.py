"""The holes of a run: cut out of its held-out files, with as much around them as its model may read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest

from finetune.base import BaseFolder
from finetune.data.render import Encoder
from finetune.data.store import read_heldout
from finetune.errors import EvaluateError
from finetune.records import SourceFile
from finetune.run import Run
from finetune.tasks import Hole, Kind, draw_holes, fit


def heldout_files(run: Run) -> list[SourceFile]:
    """The files that gave no training sample. Raises EvaluateError when there are none."""
    path = run.data / "heldout.jsonl"
    if not path.exists():
        raise EvaluateError(
            f"{path}: not there, so there is nothing to measure on; type: finetune build {run.folder}, or copy it here again"
        )
    files = read_heldout(path)
    if not files:
        raise EvaluateError(
            f"{path}: no file was held out (data.valid_share={run.recipe.data.valid_share}), so there is nothing to measure on; "
            "write a larger data.valid_share, for example 0.2, or more repositories, and build again"
        )
    return files


def prompt_limit(run: Run, base: BaseFolder) -> int:
    """The most tokens of a prompt.

    Prompt and answer stay within what the model attends to at once and within the rows it was trained on.
    """
    lengths = (base.context_length, base.sliding_window, run.recipe.data.row_length)
    return min(length for length in lengths if length is not None) - run.recipe.evaluate.max_new_tokens


def holes_in_turn(run: Run, base: BaseFolder) -> list[Hole]:
    """The holes that an evaluation of the run measures, one of each kind in turn."""
    encoder = Encoder(base.tokenizer, base.family)
    by_kind = heldout_holes(heldout_files(run), run, encoder, limit=prompt_limit(run, base))
    return [hole for turn in zip_longest(*by_kind.values()) for hole in turn if hole is not None]


def heldout_holes(files: Sequence[SourceFile], run: Run, encoder: Encoder, *, limit: int) -> Mapping[Kind, list[Hole]]:
    """The holes of each kind that the recipe asks for, or as many as there are; prompts of at most `limit` tokens.

    A hole is taken when its truth and a stop token fit into `max_new_tokens`: otherwise the limit would be measured.
    """
    evaluate = run.recipe.evaluate
    drawn = {
        kind: draw_holes(
            files,
            kind,
            count=evaluate.items,
            seed=run.recipe.seed,
            accept=lambda hole: len(encoder.text(hole.truth)) < evaluate.max_new_tokens,
        )
        for kind in evaluate.holes
    }
    return {kind: [fit(hole, encoder, limit=limit) for hole in holes] for kind, holes in drawn.items()}
