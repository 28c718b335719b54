"""Texts in families of near-duplicates, and their similarity from its definition."""

from __future__ import annotations

import functools
import random

WORDS = [f"word{number}" for number in range(500)]


def jaccard(one: str, other: str) -> float:
    """Of texts of words with one space between."""
    sets = runs(one), runs(other)
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


@functools.lru_cache(maxsize=512)
def runs(text: str) -> frozenset[tuple[str, ...]]:
    words = text.split(" ")
    return frozenset(tuple(words[place : place + 5]) for place in range(len(words) - 4))


def variants(seed: int, families: int = 8, each: int = 6) -> list[str]:
    """Each member of a family has some words of the first replaced."""
    draws = random.Random(seed)
    texts = []
    for _ in range(families):
        words = draws.choices(WORDS, k=draws.randrange(12, 200))
        for member in range(each):
            texts.append(" ".join(draws.choice(WORDS) if draws.random() < member * 0.02 else word for word in words))
    return texts
