"""The one place where a driver's error becomes a 503."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

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
_READ_ONLY: Final = "25006"
_TRANSIENT_CODES: Final = frozenset({_READ_ONLY, "40001", "40P01", "55P03"})
# With these the server ends the connection.
_CONNECTION: Final = "08"
_ENDS_CONNECTION: Final = frozenset({"57P01", "57P02", "57P03"})


class DatabaseUnavailable(Unavailable):
    """The database cannot be reached, or refuses for a while."""

    default_message = "The database is unavailable"


def to_unavailable(error: BaseException) -> Unavailable | None:
    """Translate a database failure that passes by itself; None for every other error."""
    match error:
        case Unavailable():
            return error
        case PoolTimeoutError():
            return Unavailable("The service is busy")
        case DBAPIError():
            driver_error = getattr(error.orig, "driver_exception", None)
            lost = error.connection_invalidated or isinstance(driver_error, CONNECTION_LOST)
            passes = lost or _is_transient(_sqlstate(error.orig))
        case ValueError():  # the driver's word for a parameter that no statement takes
            passes = False
        case _ if isinstance(error, DRIVER_ERRORS):
            state = _sqlstate(error)
            passes = not state or _is_transient(state)
        case _:
            passes = False
    return DatabaseUnavailable() if passes else None


def ends_connection(error: BaseException) -> bool:
    """Whether a driver's error means that its connection is of no more use."""
    state = _sqlstate(error)
    return not state or state[:2] == _CONNECTION or state in _ENDS_CONNECTION


def is_read_only(error: BaseException) -> bool:
    """Whether a server refused a write because it takes none: it is, or became, a standby."""
    return _sqlstate(error) == _READ_ONLY


@contextmanager
def unavailable_on_driver_error() -> Iterator[None]:
    """Raise DatabaseUnavailable for whatever the driver raises in the block.

    So it is right where every failure is the connection's: while connecting, and for statements
    that are known to be good.
    """
    try:
        yield
    # ValueError: an address that can't be read.
    except (ValueError, *DRIVER_ERRORS) as error:
        raise DatabaseUnavailable from error


def _sqlstate(error: Any) -> str:
    return getattr(error, "sqlstate", None) or ""


def _is_transient(state: str) -> bool:
    return state[:2] in _TRANSIENT_CLASSES or state in _TRANSIENT_CODES


def violated_constraint(error: IntegrityError) -> str | None:
    """Return the name of the constraint or unique index that refused a statement."""
    name = getattr(getattr(error.orig, "driver_exception", None), "constraint_name", None)
    return name if isinstance(name, str) else None


def raise_if_cancelled() -> None:
    """Raise CancelledError when the current task is being cancelled.

    A driver that is cancelled while its connection is lost raises the loss instead: a loop that
    then tries again would never end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
