"""The rows of posts, as protocols of the columns that code reads by name."""

from typing import Protocol
from uuid import UUID

from service.db.base import MappedRow


class PostRow(MappedRow, Protocol):
    """A post with its author's name, as it is shown."""

    @property
    def id(self) -> UUID: ...
    @property
    def author(self) -> str: ...
    @property
    def version(self) -> int: ...


class OwnedPostRow(PostRow, Protocol):
    """A post with its author's name and id."""

    @property
    def author_id(self) -> UUID: ...
