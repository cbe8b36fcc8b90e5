"""How parts of a path are read."""

from uuid import UUID

from werkzeug.routing import BaseConverter

from service.ids import UUID_PATTERN


class IdConverter(BaseConverter):
    """An id of 36 characters in any case; another form is another path, and so 404."""

    regex = UUID_PATTERN

    def to_python(self, value: str) -> UUID:
        """Read an id."""
        return UUID(value)

    def to_url(self, value: object) -> str:
        """Write an id."""
        return str(value)
