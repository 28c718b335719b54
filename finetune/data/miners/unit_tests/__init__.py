"""A function and the unit test that calls it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from pydantic import Field, PositiveInt

from finetune.data.functions import code_lines, dedented, parses
from finetune.data.miners import MINERS, Bench, Joined, Made, Miner, Refused
from finetune.data.miners.unit_tests.cases import Case, cases
from finetune.data.miners.unit_tests.pairs import Programs, Target
from finetune.data.syntax import GRAMMARS
from finetune.hashing import stable_hash
from finetune.records import InstructSample, Item, Origin, SourceFile

__all__ = ["UnitTests"]


class _Pair(NamedTuple):
    target: Target
    test: SourceFile
    case: Case


@MINERS.register("unit_tests")
class UnitTests(Miner):
    """Functions with a unit test that calls them, as a request for the test.

    A test belongs to the function that its name and its file's name speak of, or to the only one it calls of the file it is for. Both
    are on one side of the split, or there is no sample.
    """

    joins: ClassVar[bool] = True

    min_lines: PositiveInt = Field(3, description="least lines of the test")
    max_lines: PositiveInt = Field(100, description="most lines of the test, and of the function")
    per_function: PositiveInt = Field(3, description="most tests of one function")

    def join(self, items: Sequence[Item], bench: Bench) -> Joined:
        """The pairs of a repository, and why a file is in none."""
        assert bench.side is not None, "who joins files says which of them are held out"
        files = [item for item in items if isinstance(item, SourceFile)]
        reasons = {file.origin: "no_unit_test" if file.language in GRAMMARS else "no_syntax_known" for file in files}
        made = [*self._made([file for file in files if file.language in GRAMMARS], bench)]
        return Joined(made, reasons)

    def _made(self, files: Sequence[SourceFile], bench: Bench) -> Iterator[Made]:
        programs = Programs(files)
        pairs: defaultdict[tuple[str, int], list[_Pair]] = defaultdict(list)
        for file in files:
            around = None
            for case in cases(file):
                around = around or programs.around(file)
                target = around.target(case)
                reason = target if isinstance(target, str) else self._reason(_Pair(target, file, case), bench)
                if reason is None:
                    assert isinstance(target, Target)
                    pairs[target.key].append(_Pair(target, file, case))
                else:
                    yield Refused(file.origin, case.name, reason)
        for _, found in sorted(pairs.items()):
            yield from self._chosen(found, bench)

    def _reason(self, pair: _Pair, bench: Bench) -> str | None:
        target, test, case = pair
        lines, its = case.code.count("\n") + 1, target.file.text[slice(*target.function.whole)].count("\n") + 1
        assert bench.side is not None
        checks = {
            "sides_differ": bench.side(target.file.origin) != bench.side(test.origin),
            "trivial_test": lines < self.min_lines,
            "test_too_long": lines > self.max_lines,
            "no_body": not _does_something(target),
            "function_too_long": its > self.max_lines,
            "no_assertion": not case.asserts,
            "does_not_parse": not parses(case.code, test.language),
        }
        return next((reason for reason, holds in checks.items() if holds), None)

    def _chosen(self, pairs: Sequence[_Pair], bench: Bench) -> Iterator[Made]:
        """A function's tests, the same few whatever else there is."""

        def drawn(pair: _Pair) -> int:
            origin = pair.test.origin
            return stable_hash(bench.seed, "unit_tests", origin.repo, origin.path, pair.case.name)

        ranked = sorted(pairs, key=drawn)
        for pair in ranked[: self.per_function]:
            yield _sample(pair)
        for pair in ranked[self.per_function :]:
            yield Refused(pair.test.origin, pair.case.name, "enough_tests")


def _does_something(target: Target) -> bool:
    """Whether there is anything to test: a constructor may be empty."""
    (start, end), doc = target.function.body, target.function.doc
    body = target.file.text[doc[1] if doc and target.function.doc_within else start : end].strip()
    return bool(code_lines(body.removeprefix("{").removesuffix("}"), target.file.language))


def _sample(pair: _Pair) -> InstructSample:
    (file, function, _), test, case = pair
    owner = f" of `{function.owner}`" if function.owner else ""
    kind = f"{file.language} {'method' if function.owner else 'function'} `{function.name}`{owner}"
    others: tuple[Origin, ...] = () if test.origin == file.origin else (test.origin,)
    code = dedented(file.text, function.whole)
    return InstructSample(file.origin, f"Write the unit test `{case.name}` for the {kind}.", code, case.code + "\n", others=others)
