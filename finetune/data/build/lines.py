"""Conversations of the user's own, mixed into the train side: through redaction, decontamination and dedup like everything else.

Which lines are taken is a hash of the seed and the line: another line in the file, or another repository, moves none of the others before
the last. The valid side measures the repositories and gets none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from finetune.data.build.harvest import Harvest, Tools, told
from finetune.data.decontaminate import REASON as BENCHMARK
from finetune.data.dedup import Boundary
from finetune.data.dialogues import Dialogues
from finetune.data.mine import Mined
from finetune.data.miners import Bench
from finetune.data.miners.jsonl import Jsonl
from finetune.data.render import encode_samples
from finetune.data.tally import Redaction
from finetune.data.turns import turns_of
from finetune.hashing import stable_hash
from finetune.records import InstructSample, Origin, Turn

_FENCED = re.compile(r"^```[^\n`]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


class _Dropped(NamedTuple):
    """Why a line is left out, and because of what."""

    reason: str
    detail: str = ""


class _Kitchen(NamedTuple):
    """What a line is judged with."""

    harvest: Harvest
    tools: Tools
    bench: Bench
    boundary: Boundary


def mix(harvest: Harvest, tools: Tools, bench: Bench, boundary: Boundary) -> None:
    """Adds lines to the train side until each file has its share of the tokens, or is at its end."""
    miners = [miner for miner in tools.recipe.data.miners if isinstance(miner, Jsonl)]
    kitchen = _Kitchen(harvest, tools, bench, boundary)
    own = sum(len(mined.encoded.input_ids) for mined in harvest.samples["train"])
    whole = own / (1 - sum(miner.share for miner in miners))
    for miner, dialogues in zip(miners, tools.dialogues, strict=True):
        harvest.samples["train"] += _taken(dialogues, kitchen, wanted=whole * miner.share)


def _taken(dialogues: Dialogues, kitchen: _Kitchen, *, wanted: float) -> Iterator[Mined]:
    tally, tokens, used = kitchen.harvest.lines, 0, 0
    tally.read += len(dialogues.places)
    for place, turns in dialogues.read():
        if tokens >= wanted:
            tally.dropped["beyond_share"] += len(dialogues.places) - used  # nothing more to say of each
            return
        used += 1
        origin = Origin(dialogues.path.name, "", f"{dialogues.path.name}:{place.line}")
        found = _against(turns, kitchen) or _mined(origin, turns, kitchen, order=place.draw)
        if isinstance(found, _Dropped):
            tally.drop(origin, *found)
            continue
        tally.kept += 1
        tokens += sum(len(mined.encoded.input_ids) for mined in found)
        yield from found


def _mined(origin: Origin, turns: Sequence[Turn], kitchen: _Kitchen, *, order: int) -> list[Mined] | _Dropped:
    """A sample for each answer, what was said before it in front; or why there is none."""
    harvest, tools, bench, _ = kitchen
    clean = [(_redacted(asked, origin, kitchen), _redacted(answer, origin, kitchen)) for asked, answer in turns]
    samples = [InstructSample(origin, asked, "", answer, earlier=(*clean[:index],)) for index, (asked, answer) in enumerate(clean)]
    made, reasons = [], []
    for index, encoded in enumerate(encode_samples(samples, bench.encoder, learn=tools.recipe.data.learn)):
        if len(encoded.input_ids) > bench.row_length:
            harvest.gate.refuse(Jsonl.kind, origin, f"answer {index + 1}", "longer_than_a_row")
            reasons.append("longer_than_a_row")
        elif refused := harvest.gate.admit(Jsonl.kind, samples[index]):
            reasons.append(refused)
        else:
            place = stable_hash("order", bench.seed, order, index)
            made.append(Mined(origin, Jsonl.kind, place, encoded, (origin,), turns_of(samples[index])))
    return made or _Dropped(reasons[0])


def _against(turns: Sequence[Turn], kitchen: _Kitchen) -> _Dropped | None:
    """A benchmark's text, or one that is held out: whole, or as a block of code in what is said."""
    for text in (text for turn in turns for text in turn):
        if item := kitchen.tools.benchmarks.find(text):
            return _Dropped(BENCHMARK, item)
        for code in (text, *_FENCED.findall(text)):
            if match := kitchen.boundary.nearest(code):
                return _Dropped("near_held_out", told(kitchen.harvest.heldout[match.number].origin, match.similarity))
    return None


def _redacted(text: str, origin: Origin, kitchen: _Kitchen) -> str:
    clean, found = kitchen.tools.redactor.review(text)
    kitchen.harvest.lines.redacted(Redaction(origin, "message", *each) for each in found)
    return clean
