"""The session of routes that a replica may answer, and the watch of the replica."""

from collections.abc import AsyncGenerator, Callable

from sqlalchemy.ext.asyncio import AsyncSession

from service.db.replica.reads import ReplicaReads
from service.web.request_state import request_state
from service.web.server.application import Service


def replica_session(caller_id: Callable[[], str | None]) -> AsyncSession:
    """Return the session of a GET for queries of public data, which a replica may answer.

    `caller_id` returns the account's id of a signed-in caller, who sees what they wrote. Other
    statements of the session, like all of any other session, are the primary's.
    """
    state = request_state()
    if state.session is None:
        database, replica = state.app.database, state.app.replica
        if replica is None:
            state.session = database.read_session()
        else:
            caller = caller_id()
            if caller is None and state.identify is not None:  # what the caller wrote is not known
                state.session = database.read_session()
                return state.session
            reads = ReplicaReads(replica, database, caller)
            state.session = database.read_session_by(reads.fetch_shared, reads.fetch_by_key)
    return state.session


def init_app(app: Service) -> None:
    """Watch the replica, where there is one, while the application serves."""
    replica = app.replica
    if replica is None:
        return
    replica.register_metrics(app.metrics, app.database.batch_sizes)

    @app.while_serving
    async def watch() -> AsyncGenerator[None, None]:
        async with replica.running():
            yield
