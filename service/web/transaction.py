"""The request's database session: made at first use, finished once, before the answer is sent."""

from typing import Final

from quart import Quart, Response, current_app, g, request
from sqlalchemy.ext.asyncio import AsyncSession

from service.database import Database, finish

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def database() -> Database:
    """The application's database."""
    found: Database = current_app.extensions["database"]
    return found


def session() -> AsyncSession:
    """The request's session; a request that never asks costs no connection.

    Safe methods read in autocommit; their session is for reading only.
    """
    if "session" not in g:
        g.session = database().session(read_only=request.method in SAFE_METHODS)
    opened: AsyncSession = g.session
    return opened


async def release() -> None:
    """End the session without keeping anything, so that no connection is held while waiting."""
    opened: AsyncSession | None = g.pop("session", None)
    if opened is not None:
        await finish(opened, keep=False)


def keep_changes() -> None:
    """Commit at the end although the answer is an error."""
    g.keep_changes = True


async def _finish(response: Response) -> Response:
    opened: AsyncSession | None = g.pop("session", None)
    if opened is not None:
        keep = request.method not in SAFE_METHODS and (
            response.status_code < 400 or g.get("keep_changes", False)
        )
        await finish(opened, keep=keep)
    return response


async def _close(_error: BaseException | None) -> None:
    # Only a request that was cancelled, or whose answer could not be made, comes here unfinished.
    await release()


def init_app(app: Quart, db: Database) -> None:
    """Give every request a session."""
    app.extensions["database"] = db
    app.after_request(_finish)
    app.teardown_request(_close)
