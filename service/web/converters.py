"""Converters for parts of a path."""

from typing import Final
from uuid import UUID

from werkzeug.routing import BaseConverter, ValidationError

from service.ids import UUID_PATTERN

NUMBER_MAX: Final = 2**63 - 1  # of a bigint


class IdConverter(BaseConverter):
    """An id of 36 characters in upper or lower case; every other form is an unknown path (404)."""

    regex = UUID_PATTERN

    def to_python(self, value: str) -> UUID:
        """Return the id of a path."""
        return UUID(value)

    def to_url(self, value: object) -> str:
        """Return the id as text."""
        return str(value)


class NumberConverter(BaseConverter):
    """The id of a row that is a positive bigint; every other form is an unknown path (404)."""

    regex = "[1-9][0-9]{0,18}"

    def to_python(self, value: str) -> int:
        """Return the id of a path."""
        number = int(value)
        if number > NUMBER_MAX:
            raise ValidationError
        return number
