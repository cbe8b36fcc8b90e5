"""The end of the process: told when it begins, so that nothing in flight is lost.

At SIGTERM readiness fails and streams end, but connections are still taken for a moment: a
balancer that asks for readiness must have seen it fail, or it would send requests to a closed
port. Then Hypercorn closes the port, idle connections, and each other one after its answer.

Hypercorn tells the application of its end only when every connection has ended, and has no call
to begin it. But it waits for its end in tasks of its own (`raise_shutdown`, in
hypercorn.asyncio.run.worker_serve): when one ends, however that came, the shutdown has begun; and
cancelling them begins it. Its graceful_timeout does not bound the end: on Python >= 3.12 the
asyncio worker waits for connections for ever, and so do all for a client that reads nothing of its
answer. It is kept here. Under another server the shutdown begins with the lifespan's end.
"""

import asyncio
import inspect
import signal
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Any, Final

from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.asyncio.run import worker_serve
from hypercorn.config import Config
from hypercorn.utils import check_multiprocess_shutdown_event, raise_shutdown
from quart import Quart

# Seconds until the port closes: at most, and after readiness was first seen to fail, so that each
# balancer that asks every 0.5 s has done so by then.
DRAIN: Final = 1.9
SETTLE: Final = 0.7
# Who asked for readiness no longer ago than this may still send requests.
WATCHED_WITHIN: Final = 10.0  # seconds
# Seconds before Hypercorn cancels connections, which leaves some and writes tracebacks.
EARLIER: Final = 0.1
_LOOKS: Final = 5000  # turns of the event loop; the server needs a few

Hook = Callable[[], None]


class Shutdown:
    """Whether this process is about to end, and what is done as soon as it is.

    From its beginning on, requests in flight get the `graceful_timeout` of the server's
    configuration. Whoever runs the server in a loop of its own sets `takes_signals` to False when
    the application starts. `shares_port` tells that other processes may take the connections that
    come to the port, a balancer's among them.
    """

    def __init__(self, config: Config | None = None) -> None:
        self.begun = False
        self.takes_signals = True
        self.shares_port = False
        self._config = config
        self._cutting: asyncio.TimerHandle | None = None
        self._begun_at = 0.0
        self._hooks: list[Hook] = []
        self._watched_at: float | None = None
        self._waits: frozenset[asyncio.Task[Any]] = frozenset()

    def at_begin(self, hook: Hook) -> None:
        """Call `hook` when the shutdown begins; at once when it has."""
        self._hooks.append(hook)
        if self.begun:
            hook()

    def begin(self) -> None:
        """Begin; a second time does nothing. For the thread of the event loop."""
        if not self.begun:
            self.begun = True
            self._begun_at = time.monotonic()
            for hook in self._hooks:
                hook()

    def note_watcher(self) -> None:
        """Someone asks for readiness, and sees it fail once the shutdown has begun."""
        self._watched_at = time.monotonic()
        if self.begun and self._waits:
            asyncio.get_running_loop().call_later(SETTLE, self._close_port)

    def follow(self, waits: frozenset[asyncio.Task[Any]]) -> None:
        """Begin with the server, whose tasks these are."""
        self._waits = waits
        for task in waits:
            task.add_done_callback(self._closing)

    def drain(self) -> None:
        """Begin, and let the server close its port when no balancer needs it any more."""
        if self.begun:
            return
        self.begin()
        if self.shares_port or self._watched():
            asyncio.get_running_loop().call_later(DRAIN, self._close_port)
        else:
            self._close_port()

    def _watched(self) -> bool:
        watched_at = self._watched_at
        return watched_at is not None and self._begun_at - watched_at < WATCHED_WITHIN

    def terminate(self) -> None:
        """Drain; the second time the port is closed at once."""
        if self.begun:
            self._close_port()
        self.drain()

    def _close_port(self) -> None:
        for task in self._waits:
            task.cancel()

    def _closing(self, _task: asyncio.Task[Any]) -> None:
        if self._waits:
            self._waits = frozenset()
            self.begin()
            if self._config:
                patience = self._config.graceful_timeout - EARLIER
                left = max(0, self._begun_at + patience - time.monotonic())
                self._cutting = asyncio.get_running_loop().call_later(left, self._cut_off)

    def _cut_off(self) -> None:
        """Leave the clients that are still there: their requests are given up."""
        for task in asyncio.all_tasks():
            if _serves_client(task) and _local(task, "config") is self._config:
                _local(task, "writer").transport.abort()

    def end(self) -> None:
        """The server has ended."""
        self.begin()
        if self._cutting:
            self._cutting.cancel()


def shutdown(app: Quart) -> Shutdown:
    """The application's shutdown."""
    found: Shutdown = app.extensions["shutdown"]
    return found


def begin_shutdown(app: Quart) -> None:
    """Tell everything that runs for long to end now; for the thread of the event loop."""
    shutdown(app).begin()


def init_app(app: Quart) -> None:
    """Begin the shutdown at SIGTERM, with the server's or with the application's end."""
    app.extensions["shutdown"] = Shutdown()

    @app.while_serving
    async def follow_server() -> AsyncGenerator[None, None]:
        lifespan = _server_lifespan()
        app.extensions["shutdown"] = state = Shutdown(lifespan.config if lifespan else None)
        # Without Hypercorn there is nothing to follow but, maybe, another application's server.
        following = lifespan and asyncio.create_task(
            _follow_server(state, lifespan, asyncio.all_tasks())
        )
        yield
        if following:
            following.cancel()
        state.end()


def _server_lifespan() -> Lifespan | None:
    """Hypercorn's: it starts the application in a task of its own."""
    lifespan = _local(asyncio.current_task(), "self")
    return lifespan if isinstance(lifespan, Lifespan) else None


async def _follow_server(
    state: Shutdown, lifespan: Lifespan, before: set[asyncio.Task[Any]]
) -> None:
    # The server takes up its tasks after our start. Looked for in each turn of the loop, for one
    # that is stopped at once has them for a few turns only.
    await lifespan.startup.wait()
    for _ in range(_LOOKS):
        await asyncio.sleep(0)
        if waits := frozenset(filter(_waits_for_end, asyncio.all_tasks() - before)):
            break
    else:
        return
    masters = {task: told for task in waits if (told := _told_by_master(task))}
    state.follow(waits - masters.keys())
    state.shares_port = bool(masters)
    if state.takes_signals and threading.current_thread() is threading.main_thread():
        # In a worker of Hypercorn's, too: when the first of them has ended, the master sends the
        # others a SIGTERM that nothing else handles, and that is no second one.
        handle = state.drain if masters else state.terminate
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, handle)
    # The master's word would close the port at once: we listen to it instead.
    for task, told in masters.items():
        task.cancel()
        await told()
        state.drain()


def _waits_for_end(task: asyncio.Task[Any]) -> bool:
    return _code(task) is raise_shutdown.__code__


def _serves_client(task: asyncio.Task[Any]) -> bool:
    # Its function is one inside the server's.
    return _code(task) in worker_serve.__code__.co_consts


def _told_by_master(task: asyncio.Task[Any]) -> Callable[[], Awaitable[None]] | None:
    """What the task waits for, when that is the word of Hypercorn's master process."""
    event = _local(task, "shutdown_event")
    if isinstance(event, partial) and event.func is check_multiprocess_shutdown_event:
        return event
    return None


def _code(task: asyncio.Task[Any]) -> Any:
    return getattr(task.get_coro(), "cr_code", None)


def _local(task: asyncio.Task[Any] | None, name: str) -> Any:
    """A variable of the task's outermost function; None when there is none of that name."""
    coroutine = task and task.get_coro()
    if not inspect.iscoroutine(coroutine):
        return None
    return inspect.getcoroutinelocals(coroutine).get(name)
