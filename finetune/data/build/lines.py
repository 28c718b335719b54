"""Conversations of the user's own, mixed into the train side: through redaction, decontamination and dedup like everything else.

Which lines are taken is a hash of the seed and the line: another line in the file, or another repository, moves none of the others before
the last. The valid side measures the repositories and gets none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from finetune.data.build.heldout import Heldout
from finetune.data.build.tools import Tools
from finetune.data.decontaminate import REASON as BENCHMARK
from finetune.data.dialogues import Dialogues
from finetune.data.mine import Books, Mined
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


class Mix(NamedTuple):
    """What lines are judged with: the tools, the miners' bench, the gate and books, and every text that is held out."""

    tools: Tools
    dialogues: Sequence[Dialogues]
    bench: Bench
    books: Books
    heldout: Heldout


def mix(mixing: Mix, *, own: int) -> Iterator[Mined]:
    """Lines for the train side, which has `own` tokens, until each file has its share of the tokens, or is at its end."""
    miners = [miner for miner in mixing.tools.recipe.data.miners if isinstance(miner, Jsonl)]
    whole = own / (1 - sum(miner.share for miner in miners))
    for miner, dialogues in zip(miners, mixing.dialogues, strict=True):
        yield from _taken(dialogues, mixing, wanted=whole * miner.share)


def _taken(dialogues: Dialogues, mixing: Mix, *, wanted: float) -> Iterator[Mined]:
    tally, tokens, used = mixing.books.tally, 0, 0
    tally.read += len(dialogues.places)
    for place, turns in dialogues.read():
        if tokens >= wanted:
            tally.dropped["beyond_share"] += len(dialogues.places) - used  # nothing more to say of each
            return
        used += 1
        origin = Origin(dialogues.path.name, "", f"{dialogues.path.name}:{place.line}")
        found = _judged(origin, turns, mixing, order=place.draw)
        if isinstance(found, _Dropped):
            tally.drop(origin, *found)
            continue
        tally.kept += 1
        tokens += sum(len(mined.encoded.input_ids) for mined in found)
        yield from found


def _judged(origin: Origin, turns: Sequence[Turn], mixing: Mix, *, order: int) -> list[Mined] | _Dropped:
    """Its samples, or why there are none."""
    if found := _of_a_benchmark(turns, mixing):
        return found
    clean = [(_redacted(asked, origin, mixing), _redacted(answer, origin, mixing)) for asked, answer in turns]
    texts = [code for turn in clean for text in turn for code in (text, *_FENCED.findall(text))]
    if found := _near_held_out(texts, mixing):
        return found
    mined = _mined(origin, clean, mixing, order=order)
    if not isinstance(mined, _Dropped):
        mixing.heldout.trained += len(texts)
    return mined


def _mined(origin: Origin, clean: Sequence[Turn], mixing: Mix, *, order: int) -> list[Mined] | _Dropped:
    """A sample for each answer, what was said before it in front; or why there is none."""
    tools, bench, gate = mixing.tools, mixing.bench, mixing.books.gate
    samples = [InstructSample(origin, asked, "", answer, earlier=(*clean[:index],)) for index, (asked, answer) in enumerate(clean)]
    made, reasons = [], []
    for index, encoded in enumerate(encode_samples(samples, bench.encoder, learn=tools.recipe.data.learn)):
        if len(encoded.input_ids) > bench.row_length:
            gate.refuse(Jsonl.kind, origin, f"answer {index + 1}", "longer_than_a_row")
            reasons.append("longer_than_a_row")
        elif refused := gate.admit(Jsonl.kind, samples[index]):
            reasons.append(refused)
        else:
            place = stable_hash("order", bench.seed, order, index)
            made.append(Mined(origin, Jsonl.kind, place, encoded, (origin,), turns_of(samples[index])))
    return made or _Dropped(reasons[0])


def _of_a_benchmark(turns: Sequence[Turn], mixing: Mix) -> _Dropped | None:
    for text in (text for turn in turns for text in turn):
        if item := mixing.tools.benchmarks.find(text):
            return _Dropped(BENCHMARK, item)
    return None


def _near_held_out(texts: Sequence[str], mixing: Mix) -> _Dropped | None:
    """What is said, and the blocks of code in it, against every held-out text: a file's, or a version that a change had."""
    for text in texts:
        if like := mixing.heldout.like(text):
            return _Dropped("near_held_out", like)
    return None


def _redacted(text: str, origin: Origin, mixing: Mix) -> str:
    clean, found = mixing.tools.redactor.review(text)
    mixing.books.tally.redacted(Redaction(origin, "message", *each) for each in found)
    return clean
