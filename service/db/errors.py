"""What the driver raises, and which of it passes by itself."""

import asyncio
from typing import Final

import asyncpg
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from service.errors import Unavailable

# What the driver raises, without a state from the server, for a connection that is lost; the last
# one when that comes between two messages of a statement.
CONNECTION_LOST: Final = (OSError, asyncpg.InternalClientError)
DRIVER_ERRORS: Final = (*CONNECTION_LOST, asyncpg.PostgresError, asyncpg.InterfaceError)

# SQLSTATE classes and codes that pass by themselves: the caller may try again.
_TRANSIENT_CLASSES: Final = ("08", "53", "57")  # connection, resources, operator (also timeouts)
# With these the server takes leave of the connection.
_CONNECTION: Final = "08"
_LOST: Final = frozenset({"57P01", "57P02", "57P03"})
_TRANSIENT_CODES: Final = frozenset({"25006", "40001", "40P01", "55P03"})


def to_unavailable(error: BaseException) -> Unavailable | None:
    """Translate a database failure that passes by itself; None for every other error."""
    if isinstance(error, Unavailable):
        return error
    if isinstance(error, PoolTimeoutError):
        return Unavailable("The service is busy")
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None) or ""
        lost = error.connection_invalidated or isinstance(
            getattr(error.orig, "driver_exception", None), CONNECTION_LOST
        )
        if lost or _passes_by_itself(state):
            return Unavailable("The database is unavailable")
    return None


def _passes_by_itself(state: str) -> bool:
    return state[:2] in _TRANSIENT_CLASSES or state in _TRANSIENT_CODES


def violated_constraint(error: IntegrityError) -> str | None:
    """Name the constraint or unique index that refused a statement."""
    name = getattr(getattr(error.orig, "driver_exception", None), "constraint_name", None)
    return name if isinstance(name, str) else None


def raise_if_cancelled() -> None:
    """Raise CancelledError if this task is to end, whatever error it was told instead.

    A driver that is cancelled as its connection is lost raises the loss: whoever then tries again
    would do so for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
