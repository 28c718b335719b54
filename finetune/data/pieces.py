"""What a rendered sample is made of, and how files of a repository are put side by side.

StarCoder 2 (arXiv 2402.19173, section 5.1); the path stands inside the prefix, names are written or not, a line end follows a path alone:

    <repo_name>name<file_sep>path\\nCODE<file_sep><fim_prefix>path\\nprefix<fim_suffix>suffix<fim_middle>MIDDLE ... <|endoftext|>
    <file_sep>CODE<file_sep><fim_prefix>prefix<fim_suffix>suffix<fim_middle>MIDDLE ... <|endoftext|>

Qwen2.5-Coder (arXiv 2409.12186, section 3): names always, a line end after everything, a hole in the last file alone and after its path:

    <|repo_name|>name\\n<|file_sep|>path\\nCODE\\n<|file_sep|>path\\n<|fim_prefix|>prefix<|fim_suffix|>suffix<|fim_middle|>MIDDLE<|endoftext|>

StarCoder 1: one file behind what is known of it, each part with a chance of its own, inside the prefix where there is a hole:

    <reponame>name<filename>path<gh_stars>10-100\\nCODE<|endoftext|>
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from finetune.errors import DataError
from finetune.families import Family, FimTokens, RepositoryFormat
from finetune.records import ContextSample, FimSample


class Piece(NamedTuple):
    """A stretch of a sample: text, or one sentinel."""

    text: str
    sentinel: bool = False
    answer: bool = False


def fim_tokens(family: Family) -> FimTokens:
    """The family's fill-in-the-middle tokens. Raises DataError when it has none."""
    if family.fim is None:
        raise DataError(
            f"family {family.name} has no fill-in-the-middle tokens; ask with text alone, "
            "write data.miners=[{kind: fim, rate: 0}] to train on plain text, model.add_fim_tokens=true to add some, "
            "or choose a base model that has them"
        )
    return family.fim


def context_layout(sample: ContextSample, family: Family) -> Iterator[Piece]:
    """The sample but for the token that ends it. Raises DataError when the family has no format for it, or not for this many holes."""
    form = family.repository
    if form is None:
        raise DataError(f"family {family.name} has no format for files side by side; take repository out of data.miners and write fim")
    if not form.several:
        yield from _with_metadata(sample, family, form)
        return
    if sample.named and form.name is not None:
        yield from (Piece(form.name, True), Piece(_names(sample)[0] + form.line_end))
    for index, (part, name) in enumerate(zip(sample.parts, _names(sample)[1:], strict=True)):
        last = index + 1 == len(sample.parts)
        if part.form != "plain" and form.holes == "last" and not last:
            raise DataError(f"family {family.name} has a hole in the last file of a sample alone, found one in {part.origin.path}")
        # The next file's sentinel ends an answer as the last token does: it is in the family's `stop`.
        yield Piece(form.file, True, answer=index > 0)
        path = f"{name}\n" if sample.named else ""
        if part.form == "plain":
            yield from (Piece(path), Piece(part.middle + ("" if last else form.line_end), answer=True))
            continue
        if not form.path_in_prefix:
            yield Piece(path)
        yield from _hole(part, family, head=[Piece((path if form.path_in_prefix else "") + part.prefix)])


def _names(sample: ContextSample) -> tuple[str, ...]:
    """The repository's name and each file's path, as they are written."""
    return sample.redacted or (sample.origin.repo, *(part.origin.path for part in sample.parts))


def _with_metadata(sample: ContextSample, family: Family, form: RepositoryFormat) -> Iterator[Piece]:
    (part,), (repository, path) = sample.parts, _names(sample)
    known = {form.file: path if sample.path else None}
    if form.name is not None:
        known = {form.name: repository if sample.named else None} | known
    if form.stars is not None:
        known[form.stars] = sample.stars
    head = [piece for token, value in known.items() if value is not None for piece in (Piece(token, True), Piece(value))]
    text = ("\n" if head else "") + part.prefix
    if part.form == "plain":
        yield from (*head, Piece(text), Piece(part.middle, answer=True))
    else:
        yield from _hole(part, family, head=[*head, Piece(text)])


def _hole(part: FimSample, family: Family, *, head: list[Piece]) -> Iterator[Piece]:
    yield from before_middle(fim_tokens(family), head, part.suffix, form="spm" if part.form == "spm" else "psm")
    yield Piece(part.middle, answer=True)


def before_middle(fim: FimTokens, head: list[Piece], suffix: str, *, form: Literal["psm", "spm"] = "psm") -> Iterator[Piece]:
    """What asks for a middle: the sentinels and the two texts in the family's order; `head` is the prefix, with what stands in it."""
    tokens = {"<prefix>": fim.prefix, "<suffix>": fim.suffix, "<middle>": fim.middle}
    for part in fim.layout(form):
        match part:
            case "prefix":
                yield from _led(fim.lead, head)
            case "suffix":
                yield Piece(suffix)
            case _:
                token = tokens[part]
                assert token is not None, "no order has a sentinel that the row lacks"
                yield Piece(token, True)


def _led(lead: str, head: list[Piece]) -> Iterator[Piece]:
    """The pieces with `lead` at the beginning of the first text, in one stretch with it: apart from it, it would be another token."""
    for piece in head:
        yield piece if piece.sentinel else Piece(lead + piece.text)
        lead = lead if piece.sentinel else ""
