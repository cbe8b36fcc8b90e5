"""The request's database session: made at first use, finished once, before the answer is sent."""

from typing import Final

from quart import Quart, Response
from sqlalchemy.ext.asyncio import AsyncSession

from service.db.database import Database, close_session
from service.web.request_state import exchange

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def database() -> Database:
    """The application's database."""
    found: Database = exchange().extensions["database"]
    return found


def session() -> AsyncSession:
    """The request's session; a request that never asks costs no connection.

    Safe methods read in autocommit; their session is for reading only.
    """
    present = exchange()
    if present.session is None:
        present.session = database().session(read_only=present.method in SAFE_METHODS)
    return present.session


async def release() -> None:
    """End the session without keeping anything, so that no connection is held while waiting."""
    opened = _take()
    if opened is not None:
        await close_session(opened, keep=False)


def keep_changes() -> None:
    """Commit at the end although the answer is an error."""
    exchange().keep_changes = True


def _take() -> AsyncSession | None:
    present = exchange()
    opened, present.session = present.session, None
    return opened


async def _finish(response: Response) -> Response:
    opened = _take()
    if opened is not None:
        present = exchange()
        keep = present.method not in SAFE_METHODS and (
            response.status_code < 400 or present.keep_changes
        )
        await close_session(opened, keep=keep)
    return response


async def _close(_error: BaseException | None) -> None:
    # Only a request that was cancelled, or whose answer could not be made, comes here unfinished.
    await release()


def init_app(app: Quart, db: Database) -> None:
    """Give every request a session."""
    app.extensions["database"] = db
    app.after_request(_finish)
    app.teardown_request(_close)
