"""Statements executed by the driver alone, on a connection that is given back at once."""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Final, cast

import structlog
from sqlalchemy import Connection as SyncConnection
from sqlalchemy import event
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine

from service.db import pool
from service.db.batching import Run, Values
from service.db.engine import pin_server
from service.db.errors import DRIVER_ERRORS, ends_connection, is_read_only, to_unavailable
from service.db.failures import failure_reason
from service.db.query import CompiledStatement, Record
from service.errors import Unavailable

# Called for each statement with the monotonic time at which it was asked, and None if it was
# answered, else the reason.
Observe = Callable[[float, Unavailable | None], None]

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


def observed(run: Run, observe: Observe) -> Run:
    """Return `run` with each outcome reported to `observe`."""

    async def run_observed(statement: CompiledStatement, values: Values) -> Sequence[Record]:
        asked = monotonic()
        try:
            rows = await run(statement, values)
        except Unavailable as error:
            observe(asked, error)
            raise
        observe(asked, None)
        return rows

    return run_observed


def listen(engine: AsyncEngine, observe: Observe) -> None:
    """Report to `observe` each statement of the engine's sessions that is answered."""

    def before(connection: SyncConnection, *_: object) -> None:
        connection.info["asked"] = monotonic()

    def after(connection: SyncConnection, *_: object) -> None:
        observe(connection.info["asked"], None)

    event.listen(engine.sync_engine, "before_cursor_execute", before)
    event.listen(engine.sync_engine, "after_cursor_execute", after)
