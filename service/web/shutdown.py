"""The beginning of the end: what must hear of it at SIGTERM, before connections are drained.

The server tells the application of its shutdown only when every connection has ended; a stream
would keep it waiting until its patience is over.
"""

import asyncio
import signal
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from quart import Quart

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

Hook = Callable[[], None]


class Shutdown:
    """Whether this process is about to end, and what is done as soon as it is."""

    def __init__(self) -> None:
        self.begun = False
        self._hooks: list[Hook] = []

    def at_begin(self, hook: Hook) -> None:
        """Call `hook` when the shutdown begins."""
        self._hooks.append(hook)

    def begin(self) -> None:
        """Begin; a second time does nothing."""
        if not self.begun:
            self.begun = True
            for hook in self._hooks:
                hook()


def shutdown(app: Quart) -> Shutdown:
    """The application's shutdown, from its start on."""
    found: Shutdown = app.extensions["shutdown"]
    return found


def begin_shutdown(app: Quart) -> None:
    """Tell everything that runs for long to end now; for the thread of the event loop."""
    shutdown(app).begin()


def init_app(app: Quart) -> None:
    """Begin the shutdown at the first SIGTERM or SIGINT, or with the application's end."""

    @app.while_serving
    async def listen() -> AsyncGenerator[None, None]:
        app.extensions["shutdown"] = Shutdown()
        loop = asyncio.get_running_loop()
        with _signalled(lambda: loop.call_soon_threadsafe(begin_shutdown, app)):
            yield
        begin_shutdown(app)


@contextmanager
def _signalled(call: Callable[[], object]) -> Iterator[None]:
    """Call at each signal, beside whatever handles it already (the server's handler, or none)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = {number: signal.getsignal(number) for number in SIGNALS}

    def handle(number: int, frame: FrameType | None) -> Any:
        call()
        handler = earlier[signal.Signals(number)]
        if callable(handler):
            return handler(number, frame)
        if handler is signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        return None

    for number in SIGNALS:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in earlier.items():
            if signal.getsignal(number) is handle:
                signal.signal(number, handler)
