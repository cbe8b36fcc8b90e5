"""The database: whether it answers, and what is found on one connection to it.

Everything is read, and nothing written.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import asyncpg
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from service.db.connecting import open_connection
from service.db.engine import create_engine
from service.db.errors import DRIVER_ERRORS
from service.db.failures import HostsUnavailable, failure_reason, tls_fault
from service.doctor import clocks, contents, rights, schema, server, standbys
from service.doctor.findings import Deployment, Findings
from service.errors import Unavailable
from service.settings import Settings
from service.settings.database_url import DatabaseAddress, Host

Step = Callable[[AsyncConnection, Deployment, Findings], Awaitable[None]]

SECONDS: Final = 4.0  # to connect, and for each statement
FAILURES: Final = (SQLAlchemyError, Unavailable, ValueError, *DRIVER_ERRORS)
# What is asked of every database, and of one with this code's tables.
_OF_SERVER: Final[tuple[tuple[str, Step], ...]] = (
    ("database", server.check_writes),
    ("database", server.check_locale),
    ("database", server.check_extensions),
    ("connections", server.check_capacity),
    ("clock", clocks.check),
    ("standbys", standbys.check),
    ("rights", rights.check_role),
)
_OF_TABLES: Final[tuple[tuple[str, Step], ...]] = (
    ("rights", rights.check_tables),
    ("cluster", schema.check_cluster),
    ("encryption", contents.check_encryption),
    ("jobs", contents.check_jobs),
)


async def check(deployment: Deployment, found: Findings) -> None:
    """Look at the database of DATABASE_URL, or at the embedded one."""
    if deployment.settings.database_url is None:
        found.skipped("there is no DATABASE_URL")
        return
    settings = _quick(deployment.settings)
    address = settings.database_address
    if len(address.hosts) > 1:
        await _check_hosts(settings, address, found)
    engine = create_engine(settings)
    if not settings.database_pgbouncer:
        engine = engine.execution_options(isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            await _look(connection, deployment, found)
    except FAILURES as error:
        found.problem(f"{address} can't be used: {failure_reason(error)}", advice_for(error))
    finally:
        await engine.dispose()


def _quick(settings: Settings) -> Settings:
    return settings.model_copy(
        update={
            "database_pool_size": 1,
            "database_pool_timeout": SECONDS,
            "database_statement_timeout": SECONDS,
        }
    )


async def _look(connection: AsyncConnection, deployment: Deployment, found: Findings) -> None:
    if not await server.check_version(connection, deployment, found):
        return
    for subject, step in _OF_SERVER:
        await _try(step, connection, deployment, found.about(subject))
    of_schema = found.about("schema")
    if await _try(schema.check, connection, deployment, of_schema):
        for subject, step in _OF_TABLES:
            await _try(step, connection, deployment, found.about(subject))
    else:
        found.about("jobs").skipped("tables are looked at once the schema is this code's")


async def _try(
    step: Callable[[AsyncConnection, Deployment, Findings], Awaitable[bool | None]],
    connection: AsyncConnection,
    deployment: Deployment,
    found: Findings,
) -> bool | None:
    """Return what a step returns; one that fails is a problem, and the others go on."""
    try:
        return await step(connection, deployment, found)
    except FAILURES as error:
        found.problem(f"could not be read: {failure_reason(error)}", advice_for(error))
        # Behind PgBouncer they are one transaction.
        await connection.rollback()
        return False


async def _check_hosts(settings: Settings, address: DatabaseAddress, found: Findings) -> None:
    """Look at each of several hosts by itself."""
    reached = await asyncio.gather(*(_role_of(settings, address, h) for h in address.hosts))
    for host, (role, reason, advice) in zip(address.hosts, reached, strict=True):
        if role is None:
            found.problem(f"{host} can't be used: {reason}", advice)
        else:
            found.ok(f"{host} answers: {role}")


async def _role_of(
    settings: Settings, address: DatabaseAddress, host: Host
) -> tuple[str | None, str, str]:
    """Return what a server is, or why it cannot be used and what to do."""
    try:
        connection = await open_connection(
            settings, address=only(address, host), timeout=SECONDS, statement_cache_size=0
        )
        try:
            standby = await connection.fetchval("SELECT pg_is_in_recovery()", timeout=SECONDS)
        finally:
            connection.terminate()
    except (ValueError, *DRIVER_ERRORS) as error:
        return None, failure_reason(error), advice_for(error)
    return "a standby" if standby else "a primary", "", ""


def only(address: DatabaseAddress, host: Host) -> DatabaseAddress:
    """Return the address of one host of several, whatever it is."""
    parameters = {**address.parameters, "target_session_attrs": "any"}
    return replace(address, hosts=(host,), parameters=parameters)


def advice_for(error: BaseException) -> str:
    """Return what an operator can do about a failure to use the database."""
    cause = error.__cause__ if isinstance(error, Unavailable) and error.__cause__ else error
    cause = getattr(getattr(cause, "orig", None), "driver_exception", None) or cause
    if tls_fault(cause):
        return "see sslmode, sslrootcert, sslcert and sslkey in the URL"
    match cause:
        case HostsUnavailable():
            return "start one of the hosts as a primary, or change DATABASE_URL"
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return "correct the user or the password in the URL, or pg_hba.conf"
        case asyncpg.InvalidCatalogNameError():
            return "create the database, or correct its name in the URL"
        case asyncpg.InsufficientPrivilegeError():
            return "grant the role what is named"
        case asyncpg.TooManyConnectionsError():
            return "raise max_connections, or lower DATABASE_POOL_SIZE"
        case asyncpg.PostgresError():
            return "see the server's log"
    return "start the server, or correct host and port in the URL"
