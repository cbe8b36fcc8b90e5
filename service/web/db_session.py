"""The request's database session: made at first use, finished once, before the answer is sent."""

from typing import Final

from quart import Response
from sqlalchemy.ext.asyncio import AsyncSession

from service.db.database import close_session
from service.web.request_state import request_state
from service.web.server.application import Service

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def db_session() -> AsyncSession:
    """The request's session; a request that never asks costs no connection.

    Safe methods read in autocommit; their session is for reading only.
    """
    state = request_state()
    if state.session is None:
        database = state.app.database
        reads_only = state.method in SAFE_METHODS
        state.session = database.read_session() if reads_only else database.session()
    return state.session


async def release() -> None:
    """End the session without keeping anything, so that no connection is held while waiting."""
    opened = _take()
    if opened is not None:
        await close_session(opened, commit=False)


def keep_changes() -> None:
    """Commit at the end although the answer is an error."""
    request_state().keep_changes = True


def _take() -> AsyncSession | None:
    state = request_state()
    opened, state.session = state.session, None
    return opened


async def _finish(response: Response) -> Response:
    opened = _take()
    if opened is not None:
        state = request_state()
        commit = state.method not in SAFE_METHODS and (
            response.status_code < 400 or state.keep_changes
        )
        await close_session(opened, commit=commit)
    return response


async def _close(_error: BaseException | None) -> None:
    # Only a request that was cancelled, or whose answer could not be made, comes here unfinished.
    await release()


def init_app(app: Service) -> None:
    """Give every request a session."""
    app.after_request(_finish)
    app.teardown_request(_close)
