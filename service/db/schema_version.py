"""Whether the database's server, encoding and schema are the ones that this code needs.

Without Alembic, which only migrating needs: 10 MB of memory for every process that serves.
"""

from collections.abc import Callable, Mapping
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
_READ_ONLY: Final = text(
    "SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only')::bool AS set"
)
_REVISIONS: Final = text("SELECT version_num FROM alembic_version")
# The kind of a migration for before the roll-out, and of one for after; its file has this line.
EXPAND: Final = "expand"
CONTRACT: Final = "contract"
_CONTRACT_LINE: Final = f'kind = "{CONTRACT}"'
# The kinds of the recorded migrations that lead from this code's newest to a revision, if any do.
_KINDS_SINCE: Final = text(
    """
    WITH RECURSIVE newer AS (
        SELECT revision, follows, kind FROM schema_revisions WHERE revision = :current
        UNION
        SELECT older.revision, older.follows, older.kind
        FROM newer JOIN schema_revisions AS older ON older.revision = newer.follows
        WHERE newer.follows <> :head
    )
    SELECT array_agg(DISTINCT kind) FROM newer HAVING bool_or(follows = :head)
    """
)


@cache
def known_revisions() -> frozenset[str]:
    """The migrations of this code: their files begin with their numbers."""
    return frozenset(path.name.partition("_")[0] for path in _VERSIONS.glob("[0-9]*_*.py"))


def head_revision() -> str:
    """The newest migration of this code."""
    return max(known_revisions())


def is_contract(revision: str) -> bool:
    """Whether a migration of this code runs only after the roll-out."""
    (path,) = _VERSIONS.glob(f"{revision}_*.py")
    return _CONTRACT_LINE in path.read_text(encoding="utf-8").splitlines()


@cache
def needed_revision() -> str:
    """The newest migration of this code that runs before the roll-out."""
    return max(revision for revision in known_revisions() if not is_contract(revision))


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


def read_only_problem(connection: Connection) -> str | None:
    """Return why the database takes no writes at present, or None."""
    found = connection.execute(_READ_ONLY).one()
    if found.standby:
        return "the database takes no writes: its server is a standby"
    return "the database takes no writes: transactions are read-only there" if found.set else None


def encoding_mismatch(connection: Connection) -> str | None:
    """Return what is wrong with the database's encoding, which must be UTF8, or None."""
    encoding = connection.scalar(_ENCODING)
    if encoding == "UTF8":
        return None
    return (
        f"the database's encoding is {encoding}, and must be UTF8: make another database "
        "(CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0)"
    )


def current_revisions(connection: Connection) -> set[str]:
    """Return the revisions that the database is at: none, or one."""
    try:
        return set(connection.scalars(_REVISIONS))
    except ProgrammingError as error:
        if _sqlstate(error) != UNDEFINED_TABLE:
            raise
        return set()


def _revision_mismatch(connection: Connection) -> str | None:
    current = max(current_revisions(connection), default="")
    if current and current not in known_revisions():
        return _unknown_mismatch(connection, current)
    if current >= needed_revision():
        return None
    return "the database's schema is not at head: run `service migrate`"


# By name, in the order in which they make sense.
SCHEMA_CHECKS: Final[Mapping[str, Callable[[Connection], str | None]]] = {
    "encoding": encoding_mismatch,
    "search path": _search_path_mismatch,
    "schema": _revision_mismatch,
}


def schema_mismatch(connection: Connection) -> str | None:
    """Return what the database lacks for this code; None when its schema is new enough."""
    problems = (check(connection) for check in SCHEMA_CHECKS.values())
    return next(filter(None, problems), None)


def _unknown_mismatch(connection: Connection, current: str) -> str | None:
    """Return what is wrong with a revision of another release; None when it only adds."""
    try:
        kinds = connection.scalar(_KINDS_SINCE, {"current": current, "head": head_revision()})
    except ProgrammingError as error:
        if _sqlstate(error) != UNDEFINED_TABLE:
            raise
        kinds = None
    if kinds == [EXPAND]:
        return None
    if kinds is None:
        return (
            f"the database's schema is at {current}, which this code does not know and "
            "`service migrate` has not recorded as newer"
        )
    return (
        f"the database's schema is at {current}, which lacks what this code needs: "
        "`service migrate --contract` ran for a newer release"
    )


def _sqlstate(error: ProgrammingError) -> str | None:
    code: str | None = getattr(error.orig, "sqlstate", None)
    return code
