"""Finer names of texts that the classifier calls by their family's: what one more sentence, or whose name stands in it, makes of them."""

from __future__ import annotations

import re

_SPACE = r"[\W_]+"
_ADVERTISED = re.compile(
    rf"\bnot{_SPACE}be{_SPACE}used{_SPACE}in{_SPACE}advertising{_SPACE}or{_SPACE}otherwise{_SPACE}to{_SPACE}promote\b", re.IGNORECASE
)
_CMU = re.compile(
    rf"\bname{_SPACE}of{_SPACE}(?:the{_SPACE})?(?:Carnegie{_SPACE}Mellon(?:{_SPACE}University)?|CMU){_SPACE}not{_SPACE}be{_SPACE}used\b",
    re.IGNORECASE,
)
_DTOA = re.compile(rf"\bthis{_SPACE}entire{_SPACE}notice{_SPACE}is{_SPACE}included{_SPACE}in{_SPACE}all{_SPACE}copies\b", re.IGNORECASE)
_FINER = {"MIT": ("X11", _ADVERTISED), "HPND": ("MIT-CMU", _CMU)}


def finer(known: list[str], text: str) -> list[str]:
    """Known licences, one that stands alone by its finer name.

    X11 is the MIT licence with a sentence about the holder's name, MIT-CMU the HPND in the name of Carnegie Mellon University, dtoa what
    asks that all of its notice is kept.
    """
    if len(known) != 1 or known[0] not in _FINER:
        return known
    name, sign = _FINER[known[0]]
    return [name] if sign.search(text) else ["dtoa"] if known[0] == "HPND" and _DTOA.search(text) else known
