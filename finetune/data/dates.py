"""Days and moments in recipes."""

from __future__ import annotations

from datetime import UTC, date, datetime, time


def as_written(value: object) -> object:
    """YAML reads 2026-01-31 as a date; recipes keep it as it was written."""
    return value.isoformat() if isinstance(value, date) else value


def checked_moment(value: str) -> str:
    """The day or moment itself. Raises ValueError, with what to write, when it is none."""
    try:
        datetime.fromisoformat(value)
    except ValueError as error:
        raise ValueError("a day such as 2026-01-31, or a moment such as 2026-01-31T12:00:00+00:00") from error
    return value


def seconds(moment: str, *, end: bool) -> int:
    """Seconds since 1970 of a day (2026-01-31) or a moment (2026-01-31T12:00:00+02:00); without an offset it is UTC.

    A day alone stands for its last second when `end`, else for its first. 0 for all that is older than git can tell.
    """
    found = datetime.fromisoformat(moment)
    if len(moment) <= len("2026-01-31"):
        found = datetime.combine(found, time(23, 59, 59) if end else time())
    return max(0, int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()))


def day_of(date: int) -> str:
    """The day of a moment in seconds since 1970, in UTC."""
    return datetime.fromtimestamp(date, UTC).date().isoformat()
