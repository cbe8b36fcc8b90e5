"""Converters for parts of a path."""

from uuid import UUID

from werkzeug.routing import BaseConverter

from service.ids import UUID_PATTERN


class IdConverter(BaseConverter):
    """An id of 36 characters in upper or lower case; every other form is an unknown path (404)."""

    regex = UUID_PATTERN

    def to_python(self, value: str) -> UUID:
        """Return the id of a path."""
        return UUID(value)

    def to_url(self, value: object) -> str:
        """Return the id as text."""
        return str(value)
