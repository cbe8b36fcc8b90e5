"""The request's database session: opened at first use, finished before the response is sent."""

from typing import Final

from quart import Response
from sqlalchemy.ext.asyncio import AsyncSession

from service.db.autocommit import Autocommit
from service.db.database import close_session
from service.db.replica.replica import Replica
from service.web.request_state import RequestState, request_state
from service.web.server.application import Service

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def db_session() -> AsyncSession:
    """Return the session of the request, opened at first use.

    Safe methods (GET, HEAD, OPTIONS) get a read-only session in autocommit.
    """
    state = request_state()
    if state.session is None:
        database = state.app.database
        reads_only = state.method in SAFE_METHODS
        state.session = database.read_session() if reads_only else database.session()
    return state.session


def autocommit() -> Autocommit:
    """Return what executes single statements, each committed with itself at its return."""
    state = request_state()
    state.autocommits = True
    return state.app.database.autocommit


async def release() -> None:
    """Close the session without a commit, so that a wait holds no connection."""
    session = _take()
    if session is not None:
        await close_session(session, commit=False)


def keep_changes() -> None:
    """Commit at the end of the request although its response is an error."""
    request_state().keep_changes = True


def _take() -> AsyncSession | None:
    state = request_state()
    session, state.session = state.session, None
    return session


async def _finish(response: Response) -> Response:
    state, session = request_state(), _take()
    writes = state.autocommits
    if session is not None:
        succeeded = response.status_code < 400 or state.keep_changes
        commits = succeeded and state.method not in SAFE_METHODS
        await close_session(session, commit=commits)
        writes = writes or commits
    if writes and state.app.replica is not None:
        await _note_write(state, state.app.replica)
    return response


async def _note_write(state: RequestState, replica: Replica) -> None:
    """Note who wrote, before the response: the next request may come to another process."""
    caller_id = None if state.principal is None else state.principal.auth_id
    if caller_id is not None:
        await replica.own_writes.note(caller_id)


async def _close(_error: BaseException | None) -> None:
    # A session is left only if the request was cancelled or a hook after the request failed.
    await release()


def init_app(app: Service) -> None:
    """Commit or roll back, and close, the session of each request."""
    app.after_request(_finish)
    app.teardown_request(_close)
