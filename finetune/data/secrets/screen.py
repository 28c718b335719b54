"""Which rules are worth a closer look at a text, told by one pass over its bytes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from finetune.data.secrets.rules import RULES, Rule

Screen = Callable[[bytes], Sequence[Rule]]


@functools.cache
def fastest_screen() -> Screen:
    """hyperscan where it is installed (2 ms a megabyte); else a search for each rule's anchors, with the same findings, slower."""
    try:
        return hyperscan_screen()
    except ImportError:
        return anchor_screen()


def anchor_screen() -> Screen:
    """A screen by plain searches: rules without an anchor look at every text."""
    anchored = [(rule, [anchor.encode() for anchor in rule.anchors]) for rule in RULES]

    def screen(content: bytes) -> Sequence[Rule]:
        return [rule for rule, anchors in anchored if not anchors or any(anchor in content for anchor in anchors)]

    return screen


def every_rule(_: bytes) -> Sequence[Rule]:
    """No screen: all the rules."""
    return RULES


def hyperscan_screen() -> Screen:
    """A screen of all rules compiled into one automaton."""
    import hyperscan

    database = hyperscan.Database()
    database.compile(
        expressions=[rule.screen.encode() for rule in RULES],
        ids=list(range(len(RULES))),
        elements=len(RULES),
        # One hit tells all we ask: more would each cost a call into Python.
        flags=hyperscan.HS_FLAG_SINGLEMATCH,
    )

    def screen(content: bytes) -> Sequence[Rule]:
        hit: set[int] = set()

        def on_match(rule: int, _start: int, _end: int, _flags: int, _context: object) -> None:
            hit.add(rule)

        database.scan(content, match_event_handler=on_match)
        return [RULES[place] for place in sorted(hit)]

    return screen
