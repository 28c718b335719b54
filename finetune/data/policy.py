"""Which licences may be trained on: a policy over SPDX expressions, always asked.

Permissive is what BigCode took for The Stack (arXiv 2402.19173, section 2.1): ScanCode's categories Permissive and Public Domain, as
the package license-expression carries them.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from finetune.data.spdx import UNKNOWN, categories, is_permissive
from finetune.records import Item

_GNU = re.compile(r"(?P<family>a?gpl|lgpl|gfdl)-(?P<version>\d\.\d)(?:-only|(?P<later>-or-later|\+))?")


class Licences(BaseModel):
    """What a file's licence keeps out: by default all but permissive code, unlicensed code and what the repository's own licence covers.

    Of `A OR B` one must be allowed, of `A AND B` both; an unknown text beside an allowed licence is passed over, as BigCode does. An
    exception (`WITH`) only ever adds a permission.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    keep: Literal["permissive", "any"] = Field(
        "permissive", description="any: licences are recorded, and only those in deny keep a file out"
    )
    allow: tuple[str, ...] = Field((), description="SPDX identifiers to keep beside the permissive ones")
    deny: tuple[str, ...] = Field((), description="SPDX identifiers to leave out, whatever else is said")
    own: bool = Field(True, description="keep what falls under the licence at the repository's root, whichever it is")
    unlicensed: bool = Field(True, description="keep files without any licence: a team's own code seldom has one")

    @field_validator("allow", "deny")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name.lower() not in categories() and not name.startswith("LicenseRef-"):
                near = difflib.get_close_matches(name.lower(), categories(), n=1)
                hint = f"; did you mean {categories()[near[0]][0]}?" if near else ""
                raise ValueError(f"SPDX identifiers; {name!r} is none{hint} (a licence of your own: LicenseRef-NAME)")
        return names

    def __call__(self, item: Item) -> str | None:
        origin = item.origin
        if origin.license is None:
            return None if self.unlicensed else "unlicensed"
        return self._reason(origin.license, origin.repo_license if self.own else None)

    def _reason(self, expression: str, own: str | None) -> str | None:
        allowed = lowered(self.allow)
        denied = lowered(self.deny)
        if denied and not permitted(expression, lambda name: name not in denied):
            return "licence_denied"
        if self.keep == "any" or expression == own:
            return None
        owned = _choices(own) if own is not None else ()
        if permitted(expression, lambda name: name in allowed or is_permissive(name) or any(_under(name, each) for each in owned)):
            return None
        return "licence_unknown" if expression == UNKNOWN else "licence_not_permissive"


def permitted(expression: str, allowed: Callable[[str], bool]) -> bool:
    """Whether an SPDX expression can be met with allowed licences alone; one that can not be read is not met."""
    parsed = _parsed(expression)
    return parsed is not None and _met(parsed, allowed)


@functools.lru_cache(maxsize=4096)
def _parsed(expression: str) -> Any:
    from license_expression import ExpressionError, Licensing

    try:
        return Licensing().parse(expression)
    except ExpressionError:
        return None


def _met(node: Any, allowed: Callable[[str], bool]) -> bool:
    from license_expression import AND, OR, LicenseWithExceptionSymbol

    if isinstance(node, OR):
        return any(_met(each, allowed) for each in node.args)
    if isinstance(node, AND):
        known = [each for each in node.args if str(each) != UNKNOWN]
        return bool(known) and all(_met(each, allowed) for each in known)
    symbol = node.license_symbol if isinstance(node, LicenseWithExceptionSymbol) else node
    return allowed(str(symbol.key).lower())


@functools.lru_cache(maxsize=4096)
def _choices(expression: str) -> tuple[str, ...]:
    """The licences, in small letters, each of which is the whole of what an expression asks; none where it asks several at once."""
    from license_expression import OR, LicenseSymbol

    parsed = _parsed(expression)
    each = parsed.args if isinstance(parsed, OR) else (parsed,)
    return tuple(str(one.key).lower() for one in each if isinstance(one, LicenseSymbol) and str(one) != UNKNOWN)


def _under(name: str, own: str) -> bool:
    """Whether what is under `name` may be taken under `own`: GPL-3.0-or-later, as its headers say, under the GPL-3.0 of a licence file."""
    ours, theirs = _GNU.fullmatch(own), _GNU.fullmatch(name)
    if ours is None or theirs is None:
        return name == own
    later = theirs["later"] is not None and float(theirs["version"]) <= float(ours["version"])
    return theirs["family"] == ours["family"] and (later or theirs["version"] == ours["version"])


@functools.cache
def lowered(names: Iterable[str]) -> frozenset[str]:
    """The identifiers in small letters: SPDX does not tell letters apart by case."""
    return frozenset(name.lower() for name in names)
