"""Whether the database's encoding and schema are the ones that this code needs.

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
_ENCODING: Final = text("SELECT current_setting('server_encoding')")
_CURRENT_SCHEMA: Final = text("SELECT current_schema()")
# The option of an engine's connections that holds DATABASE_SCHEMA.
SCHEMA_OPTION: Final = "service_schema"
_REVISIONS: Final = text("SELECT version_num FROM alembic_version")


@cache
def known_revisions() -> frozenset[str]:
    """The migrations of this code: their files begin with their numbers."""
    return frozenset(path.name.partition("_")[0] for path in _VERSIONS.glob("[0-9]*_*.py"))


def head_revision() -> str:
    """The newest migration of this code."""
    return max(known_revisions())


def wanted_schema(connection: Connection) -> str | None:
    """Return the DATABASE_SCHEMA of the engine that a connection is of."""
    name: str | None = connection.get_execution_options().get(SCHEMA_OPTION)
    return name


def _search_path_mismatch(connection: Connection) -> str | None:
    wanted, current = wanted_schema(connection), connection.scalar(_CURRENT_SCHEMA)
    # A schema that does not exist yet is none.
    if wanted is None or current in (wanted, None):
        return None
    return (
        f"statements go to the schema {current}, and DATABASE_SCHEMA is another: behind PgBouncer "
        "the role's search_path must name it"
    )


def encoding_mismatch(connection: Connection) -> str | None:
    """Return what is wrong with the database's encoding, which must be UTF8, or None."""
    encoding = connection.scalar(_ENCODING)
    if encoding == "UTF8":
        return None
    return (
        f"the database's encoding is {encoding}, and must be UTF8: make another database "
        "(CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0)"
    )


def schema_mismatch(connection: Connection) -> str | None:
    """Return what the database lacks for this code; None when the schema is at head."""
    if problem := encoding_mismatch(connection):
        return problem
    if problem := _search_path_mismatch(connection):
        return problem
    try:
        current = set(connection.scalars(_REVISIONS))
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != UNDEFINED_TABLE:
            raise
        current = set()
    if current == {head_revision()}:
        return None
    return "the database's schema is not at head: run `service migrate`"
