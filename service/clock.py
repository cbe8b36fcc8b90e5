"""The current time, from one place, so that tests can set it."""

from datetime import UTC, datetime


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """Return a time in UTC with microseconds, `2026-11-22T10:00:00.123456Z` (RFC 3339, §5.6)."""
    text = moment.astimezone(UTC).isoformat(timespec="microseconds")
    return text.removesuffix("+00:00") + "Z"
