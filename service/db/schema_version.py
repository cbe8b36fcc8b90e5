"""Whether the database's schema is the one that this code needs.

Without Alembic, which only migrating needs: 10 MB of memory for every process that serves.
"""

from functools import cache
from typing import Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from service.settings import PROJECT

# Inside the package where a wheel brought it, else beside it.
_IN_WHEEL: Final = PROJECT / "service" / "_migrations"
MIGRATIONS: Final = _IN_WHEEL if _IN_WHEEL.is_dir() else PROJECT / "alembic"
UNDEFINED_TABLE: Final = "42P01"
_VERSIONS: Final = MIGRATIONS / "versions"
_REVISIONS: Final = text("SELECT version_num FROM alembic_version")


@cache
def head_revision() -> str:
    """The newest migration of this code: their files begin with their numbers."""
    return max(path.name.partition("_")[0] for path in _VERSIONS.glob("[0-9]*_*.py"))


def schema_mismatch(connection: Connection) -> str | None:
    """Return what the schema lacks for this code; None when the schema is at head."""
    try:
        current = set(connection.scalars(_REVISIONS))
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != UNDEFINED_TABLE:
            raise
        current = set()
    if current == {head_revision()}:
        return None
    return "the database's schema is not at head: run `service migrate`"
