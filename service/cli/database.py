"""The database that a command works on, and its migration."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import asyncpg
import click
from pydantic import SecretStr
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from service.cli.messages import connection_failure
from service.db import migrations
from service.db.cluster import Adoption, adopt
from service.db.connecting import Connection, open_connection
from service.db.database import Database
from service.db.engine import create_engine
from service.db.errors import DRIVER_ERRORS
from service.db.failures import HostsUnavailable, failure_reason, tls_fault
from service.db.own_schema import ADVICE
from service.errors import Unavailable
from service.observability.logging import configure_logging
from service.settings import Settings, load_settings

RETRY_PAUSE: Final = 1.0  # seconds
CLOSE_TIMEOUT: Final = 1.0  # seconds
# It has not started yet, its name is not known yet, it is starting, or it is no primary yet.
_MAY_COME: Final = (OSError, asyncpg.CannotConnectNowError, asyncpg.TargetServerAttributeNotMatched)
# What SQLSTATE says of a table, and of a type, that exists already.
_DUPLICATES: Final = ("42P07", "42710")

P = ParamSpec("P")
T = TypeVar("T")

logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class DatabaseTarget:
    """Settings that name a database, and where its data lies, in words."""

    settings: Settings
    description: str


@contextmanager
def database_target(settings: Settings) -> Iterator[DatabaseTarget]:
    """The database of DATABASE_URL; without one the embedded, running until the end.

    Raises EmbeddedError.
    """
    if settings.database_url is not None:
        yield DatabaseTarget(settings, f"the database at {settings.database_address}")
        return
    # Not installed in production, where DATABASE_URL must be set.
    from service import embedded_postgres

    with embedded_postgres.start(settings.data_dir) as server:
        url = SecretStr(server.url())
        home = settings.data_dir.resolve()
        yield DatabaseTarget(settings.model_copy(update={"database_url": url}), str(home))


def run_with_database(
    work: Callable[Concatenate[Settings, P], Coroutine[Any, Any, T]],
    *arguments: P.args,
    **options: P.kwargs,
) -> T:
    """Run a command's work with the environment's settings, on `database_target`'s database."""
    settings = load_settings()
    configure_logging(settings)
    with database_target(settings) as target:
        return asyncio.run(work(target.settings, *arguments, **options))


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Connection]:
    """Connect to the settings' database for the block. Raises ClickException saying why not."""
    try:
        connection = await open_connection(settings, statement_cache_size=0)
    except (ValueError, *DRIVER_ERRORS) as error:
        raise connection_failure(settings, error) from error
    try:
        yield connection
    finally:
        # Not for ever: a lost server answers no goodbye.
        with suppress(*DRIVER_ERRORS):
            await connection.close(timeout=CLOSE_TIMEOUT)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Database]:
    """Open the settings' database for the block. Raises ClickException saying why not."""
    database = Database(settings)
    try:
        try:
            async with database.engine.connect():
                pass
        except Unavailable as error:
            raise connection_failure(settings, error.__cause__) from error
        yield database
    finally:
        await database.close()


@dataclass(frozen=True)
class Upgrade:
    """What an upgrade did and left: migrations, and the adoption of a database from elsewhere."""

    steps: list[migrations.Step]
    left: list[str]
    adoption: Adoption


async def upgrade(settings: Settings, wait: float = 0, *, contract: bool = True) -> Upgrade:
    """Bring the schema to head; waits up to `wait` seconds for a database that is starting.

    Without `contract` the migrations from the first contract migration on are left. Raises
    ClickException saying what failed.
    """
    refuse_pgbouncer(settings)
    # Two connections: one watches what the other waits for.
    settings = settings.model_copy(update={"database_pool_size": 2})
    engine = create_engine(settings, migrating=True)
    try:
        await _connect(engine, settings, wait)
        steps, left = await _migrate(engine, contract)
        return Upgrade(steps, left, await _adopt(engine))
    except Unavailable as error:
        raise connection_failure(settings, error.__cause__) from error
    finally:
        await engine.dispose()


async def _migrate(engine: AsyncEngine, contract: bool) -> tuple[list[migrations.Step], list[str]]:
    """Return the migrations that ran, and the revisions of those that are left."""
    steps: list[migrations.Step] = []
    try:
        left = await migrations.upgrade(engine, contract=contract, report=steps.append)
    except Unavailable:
        raise
    except Exception as error:
        logger.debug("the migration failed", exc_info=True)
        _echo_steps(steps)
        raise click.ClickException(_migration_failure(error, steps)) from error
    return steps, left


async def _adopt(engine: AsyncEngine) -> Adoption:
    try:
        return await adopt(engine)
    except DBAPIError as error:
        raise click.ClickException(
            "The schema is at head, but what a database from another cluster needs failed: "
            f"{_first_line(error)}"
        ) from error


def refuse_pgbouncer(settings: Settings) -> None:
    """Raise ClickException where migrations would go through PgBouncer."""
    if settings.database_pgbouncer:
        raise click.ClickException(
            "Migrations hold a lock of their session, and in PgBouncer's transaction mode there is "
            "none: name PostgreSQL itself in DATABASE_URL, without DATABASE_PGBOUNCER."
        )


async def _connect(engine: AsyncEngine, settings: Settings, wait: float) -> None:
    deadline = monotonic() + wait
    while True:
        try:
            async with engine.connect():
                return
        except Unavailable as error:
            remaining = deadline - monotonic()
            if remaining <= 0 or not _may_come(error.__cause__):
                raise
            address, reason = settings.database_address, failure_reason(error)
            logger.info("waiting for the database at %s (%s)", address, reason)
            await asyncio.sleep(min(RETRY_PAUSE, remaining))


def _may_come(error: BaseException | None) -> bool:
    if isinstance(error, HostsUnavailable):
        return any(_may_come(each) for each in error.failures.values())
    return isinstance(error, _MAY_COME) and not tls_fault(error)


def echo_upgrade(upgraded: Upgrade) -> None:
    """Write which migrations ran, and what a database from elsewhere needed."""
    _echo_steps(upgraded.steps)
    if upgraded.adoption.events_begun_anew:
        click.echo("The events of posts belonged to another database cluster: they begin anew.")
    if sequences := upgraded.adoption.sequences:
        click.echo(f"Set past the ids of their tables: {', '.join(sequences)}.")


def _echo_steps(steps: list[migrations.Step]) -> None:
    for step in steps:
        click.echo(f"Migrated from {step.before or 'an empty database'} to {step.after}.")


def _migration_failure(error: Exception, steps: list[migrations.Step]) -> str:
    cause = getattr(error, "orig", None)
    reason = _first_line(error)
    if getattr(cause, "sqlstate", None) in _DUPLICATES:
        reason = f"{reason}, and no migration of this service made it. {ADVICE}"
    state = f"the schema stays at {steps[-1].after}" if steps else "nothing was changed"
    return f"The migration failed, and {state}: {reason}"


def _first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    lines = str(cause).splitlines()
    return lines[0] if lines else type(cause).__name__
