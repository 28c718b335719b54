"""Days and moments in recipes."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator


def _written(value: object) -> object:
    """YAML reads 2026-01-31 as a date; recipes keep it as it was written."""
    return value.isoformat() if isinstance(value, date) else value


def _checked(value: str) -> str:
    try:
        datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError("a day such as 2026-01-31, or a moment such as 2026-01-31T12:00:00+00:00") from error
    return value


Moment = Annotated[str, BeforeValidator(_written), AfterValidator(_checked)]
"""A day (2026-01-31) or a moment (2026-01-31T12:00:00+02:00); without an offset it is UTC."""


def seconds(moment: str, *, end: bool) -> int:
    """Seconds since 1970. A day alone stands for its last second when `end`, else for its first."""
    found = datetime.fromisoformat(moment)
    if len(moment) <= len("2026-01-31"):
        found = datetime.combine(found, time(23, 59, 59) if end else time())
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
