"""The state machine of the package licenseclassifier, with a state made only when a text steps into it: its licences at less cost.

Where the package meets a state it makes all that may follow it, most of which no text ever reaches. The program that is run, the rules
for misspelt words and what is found are the package's own.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from licenseclassifier._engine.matcher import MultiRE

NONE = -1
ANY = -2  # stands for whatever word comes; the words of texts have numbers from 0 on, or NONE


class Found(NamedTuple):
    """The number of a known text, its first word and the one behind its last."""

    licence: int
    begins: int
    ends: int


class State:
    """Where in the program a text may be, by the word that leads on from there, and the states that were reached so far."""

    __slots__ = ("abreast", "following", "licence", "places", "runs", "wanted")

    def __init__(self, licence: int, places: dict[int, list[int]]) -> None:
        self.licence = licence  # the known text that is complete here, or NONE
        self.places = places
        self.following: dict[int, State] = {}
        self.wanted: list[int] | None = None  # the words of `places`, in order, once a misspelt one asked for them
        self.abreast = 0  # how many words on all places want the same
        self.runs: dict[int, State] = {}  # by how many of them a text has


class Automaton:
    """Finds known texts in words, the longest one from each place on."""

    def __init__(self, program: MultiRE) -> None:
        import numpy as np
        from licenseclassifier._engine import matcher

        self._engine = matcher
        self._operations, self._arguments = program.ops, program.args
        self._spelt = program.dict.list
        self._begins = program.start  # the pairs of words that known texts begin with
        self._reached: dict[int, list[int]] = {}
        self._cuts = set[int]()
        operations, arguments = np.frombuffer(program.ops, dtype=np.int32), np.frombuffer(program.args, dtype=np.int32)
        self.ends = np.flatnonzero(operations == matcher.INST_MATCH)  # where the program of each known text ends
        self.wanted = array("i", np.where(operations == matcher.INST_WORD, arguments, ANY).astype(np.int32).tobytes())
        self._states: dict[tuple[int, ...], State] = {}
        self._first = self._state(program._start_state)

    def find(self, numbers: Sequence[int], spelt: Sequence[str]) -> list[Found]:
        """The known texts that words hold, none over another. Words are given by number and as they are spelt."""
        found: list[Found] = []
        free, begins = 0, self._begins
        for place in [place for place, pair in enumerate(pairwise(numbers)) if pair in begins]:
            if place >= free:
                longest = self._longest(numbers, spelt, place)
                if longest.licence != NONE:
                    found.append(longest)
                    free = longest.ends
        return found

    def _longest(self, numbers: Sequence[int], spelt: Sequence[str], begins: int) -> Found:
        state, place, end = self._first, begins, len(numbers)
        found = Found(NONE, begins, begins)
        while place < end:
            if state.licence != NONE:
                found = Found(state.licence, begins, place)
            if state.abreast and (step := self._run(state, numbers, place)):
                state = state.runs.get(step) or self._behind(state, step)
                place += step
                continue
            number, step = numbers[place], 1
            following = state.following.get(number) or self._next(state, number)
            if following is None:
                following, step, passed = self._misspelt(state, *spelt[place : place + 2])
                if passed != NONE:
                    found = Found(passed, begins, place)
            if following is None:
                return found
            state = following
            place += step
        return found if state.licence == NONE else Found(state.licence, begins, end)

    def _run(self, state: State, numbers: Sequence[int], place: int) -> int:
        """How many words from a place on are those that all of a state's places want, which is most of any known text."""
        ((first, *_),) = state.places.values()
        wanted, at, last = self.wanted, first, first + min(state.abreast, len(numbers) - place)
        while at < last and wanted[at] == numbers[place]:
            at, place = at + 1, place + 1
        return at - first

    def _misspelt(self, state: State, word: str, after: str = "") -> tuple[State | None, int, int]:
        """The state that a word leads to which is spelt otherwise than wanted, the words that takes, and a text that ends within."""
        if state.wanted is None:
            state.wanted = sorted(number for number in state.places if number != ANY)
        for number in state.wanted:
            want = self._spelt[number]
            if self._engine._can_misspell_join(want, word, after):
                return self._next(state, number), 2, NONE
            if len(word) > len(want) and word.startswith(want) and (following := self._next(state, number)):
                rest = next((each for each in following.places if each != ANY and self._spelt[each] == word[len(want) :]), ANY)
                if beyond := self._next(following, rest):
                    return beyond, 1, following.licence
            if self._engine._can_misspell(want, word):
                return self._next(state, number), 1, NONE
        return self._next(state, ANY), 1, NONE

    def _next(self, state: State, word: int) -> State | None:
        """What a word leads to that the state knows; None where it knows it not."""
        if word in state.following:
            return state.following[word]
        if word not in state.places:
            return None
        reached = set[int]().union(*(self._after(place) for place in (*state.places[word], *state.places.get(ANY, ()))))
        following = state.following[word] = self._trimmed(reached)
        return following

    def _behind(self, state: State, step: int) -> State:
        """What a run of words leads to."""
        (places,) = state.places.values()
        following = state.runs[step] = self._trimmed(set[int]().union(*(self._after(place + step - 1) for place in places)))
        return following

    def _trimmed(self, reached: set[int]) -> State:
        if self._cuts.isdisjoint(reached):
            return self._state(sorted(reached))
        return self._state(self._engine._trim(self._operations, self._arguments, reached))

    def _after(self, place: int) -> list[int]:
        """The places that can be reached from behind a word without another."""
        if self.wanted[place + 1] != ANY:
            return [place + 1]
        if place not in self._reached:
            reached: list[int] = []
            self._engine._add(self._operations, self._arguments, reached, set(), place + 1)
            kinds = (self._engine.INST_WORD, self._engine.INST_ANY, self._engine.INST_MATCH, self._engine.INST_CUT)
            self._reached[place] = [each for each in reached if self._operations[each] in kinds]
            self._cuts.update(each for each in reached if self._operations[each] == self._engine.INST_CUT)
        return self._reached[place]

    def _state(self, places: Iterable[int]) -> State:
        key = tuple(places)
        if key not in self._states:
            by_word = defaultdict[int, list[int]](list)
            licences = []
            for place in key:
                operation = self._operations[place]
                if operation == self._engine.INST_MATCH:
                    licences.append(self._arguments[place])
                else:
                    by_word[self._arguments[place] if operation == self._engine.INST_WORD else ANY].append(place)
            self._states[key] = state = State(min(licences, default=NONE), dict(by_word))
            state.abreast = self._alike(key) if len(by_word) == 1 and not licences else 0
        return self._states[key]

    def _alike(self, places: tuple[int, ...]) -> int:
        """How many words on from several places are the same for all; a place takes none where the program does not want a word."""
        wanted, first = self.wanted, places[0]
        last = wanted.index(ANY, first) - first
        for place in places[1:]:
            step = 0
            while step < last and wanted[place + step] == wanted[first + step]:
                step += 1
            last = step
        return last
