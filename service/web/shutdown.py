"""The end of the process: told when it begins, so that nothing in flight is lost.

At SIGTERM readiness fails and streams end, but connections are still taken for a moment: a
balancer that asks for readiness must have seen it fail, or it would send requests to a closed
port. Then Hypercorn closes the port, idle connections, and each other one after its answer.

Hypercorn tells the application of its end only when every connection has ended, and has no call
to begin it. But it waits for its end in tasks of its own (`raise_shutdown`, in
hypercorn.asyncio.run.worker_serve): when one ends, however that came, the shutdown has begun; and
cancelling them begins it. Under another server all this begins with the lifespan's end.
"""

import asyncio
import signal
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

from hypercorn.utils import raise_shutdown
from quart import Quart, Response, request

# Seconds until the port closes: at most, and after readiness was first seen to fail, so that each
# balancer that asks every 0.5 s has done so by then.
DRAIN: Final = 1.9
SETTLE: Final = 0.7
# Who asked for readiness no longer ago than this may still send requests.
WATCHED_WITHIN: Final = 10.0  # seconds
_LOOK_EVERY: Final = 0.02  # seconds
_LOOKS: Final = 500

Hook = Callable[[], None]


class Shutdown:
    """Whether this process is about to end, and what is done as soon as it is.

    `patience` (seconds) is what requests in flight get once the port is closed. Whoever runs the
    server in a loop of its own sets `takes_signals` to False when the application starts.
    """

    def __init__(self, patience: float) -> None:
        self.begun = False
        self.takes_signals = True
        self.in_flight: set[asyncio.Task[Any]] = set()
        self._patience = patience
        self._hooks: list[Hook] = []
        self._watched_at: float | None = None
        self._waits: frozenset[asyncio.Task[Any]] = frozenset()

    def at_begin(self, hook: Hook) -> None:
        """Call `hook` when the shutdown begins; at once when it has."""
        self._hooks.append(hook)
        if self.begun:
            hook()

    def begin(self) -> None:
        """Begin; a second time does nothing."""
        if not self.begun:
            self.begun = True
            for hook in self._hooks:
                hook()

    def note_watcher(self) -> None:
        """Someone asks for readiness, and sees it fail once the shutdown has begun."""
        loop = asyncio.get_running_loop()
        self._watched_at = loop.time()
        if self.begun and self._waits:
            loop.call_later(SETTLE, self._close_port)

    def follow(self, waits: frozenset[asyncio.Task[Any]]) -> None:
        """Begin with the server, whose tasks these are."""
        self._waits = waits
        for task in waits:
            task.add_done_callback(self._closing)

    def terminate(self) -> None:
        """Begin, and let the server close its port when no balancer needs it any more.

        The second time it is closed at once.
        """
        loop = asyncio.get_running_loop()
        drained = self.begun or self._watched_at is None
        if drained or loop.time() - (self._watched_at or 0) > WATCHED_WITHIN:
            self._close_port()
        else:
            loop.call_later(DRAIN, self._close_port)
        self.begin()

    def _close_port(self) -> None:
        for task in self._waits:
            task.cancel()

    def _closing(self, _task: asyncio.Task[Any]) -> None:
        if self._waits:
            self._waits = frozenset()
            self.begin()
            # From Python 3.12 on Hypercorn's asyncio worker waits for connections for ever.
            asyncio.get_running_loop().call_later(self._patience, self._give_up)

    def _give_up(self) -> None:
        for task in self.in_flight:
            task.cancel()


def shutdown(app: Quart) -> Shutdown:
    """The application's shutdown."""
    found: Shutdown = app.extensions["shutdown"]
    return found


def begin_shutdown(app: Quart) -> None:
    """Tell everything that runs for long to end now; for the thread of the event loop."""
    shutdown(app).begin()


def init_app(app: Quart, patience: float) -> None:
    """Begin the shutdown at SIGTERM, with the server's or with the application's end."""
    app.extensions["shutdown"] = Shutdown(patience)

    @app.while_serving
    async def follow_server() -> AsyncGenerator[None, None]:
        app.extensions["shutdown"] = state = Shutdown(patience)
        following = asyncio.create_task(_follow_server(state, asyncio.all_tasks()))
        yield
        following.cancel()
        state.begin()

    @app.after_request
    async def close_politely(response: Response) -> Response:
        # RFC 9112, §9.6; HTTP/2 has no such header (RFC 9113, §8.2.2).
        if shutdown(app).begun and request.http_version < "2":
            response.headers["Connection"] = "close"
        return response


async def _follow_server(state: Shutdown, before: set[asyncio.Task[Any]]) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(_LOOKS):
        await asyncio.sleep(_LOOK_EVERY)  # the server takes up its tasks after our start
        if waits := frozenset(filter(_waits_for_end, asyncio.all_tasks() - before)):
            state.follow(waits)
            # In a worker of Hypercorn's, too: when the first of them has ended, the master sends
            # the others a SIGTERM that nothing else handles.
            if state.takes_signals and threading.current_thread() is threading.main_thread():
                loop.add_signal_handler(signal.SIGTERM, state.terminate)
            return


def _waits_for_end(task: asyncio.Task[Any]) -> bool:
    return getattr(task.get_coro(), "cr_code", None) is raise_shutdown.__code__
