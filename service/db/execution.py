"""Statements executed by the driver alone, on a connection that is given back at once."""

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import structlog
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine

from service.db import pool
from service.db.engine import pin_server
from service.db.errors import DRIVER_ERRORS, ends_connection, is_read_only, to_unavailable
from service.db.failures import failure_reason
from service.db.query import CompiledStatement, Record
from service.errors import Unavailable

Values = Callable[[], Mapping[str, Any]]

log: Final = structlog.get_logger(__name__)


async def execute(
    engine: AsyncEngine, pgbouncer: bool, statement: CompiledStatement, values: Values
) -> list[Record]:
    """Execute a statement, committed with itself, and return its rows.

    The parameters are asked for once there is a connection.
    Raises Unavailable when the database does not answer.
    """
    token = pool.READING.set(statement.reads)
    try:
        pooled = await engine.raw_connection()
    except PoolTimeoutError as error:
        raise Unavailable("The service is busy") from error
    finally:
        pool.READING.reset(token)
    try:
        driver: Any = pooled.driver_connection
        arguments = statement.arguments(values())
        async with pin_server(driver, pgbouncer):
            try:
                rows: list[Record] = await driver.fetch(
                    statement.text, *arguments, record_class=Record
                )
            except TimeoutError:
                # A silent server would be waited for once more, by a ROLLBACK; the other
                # connections are to the same one.
                driver.terminate()
                cast(pool.TrackedPool, engine.pool).drop()
                raise
    except DRIVER_ERRORS as error:
        unavailable = to_unavailable(error)
        if unavailable is None:
            raise
        if is_read_only(error):
            cast(pool.TrackedPool, engine.pool).drop()
        if ends_connection(error):
            pooled.invalidate(error)
        log.warning("database unavailable", reason=failure_reason(error))
        raise unavailable from error
    finally:
        pooled.close()
    return rows
