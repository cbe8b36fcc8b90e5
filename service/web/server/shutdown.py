"""The end of the process, announced before the port closes, so that no request is lost.

At SIGTERM readiness fails and streams end, but connections are still taken for a moment: a
balancer that asks for readiness must have seen it fail, or it would send requests to a closed
port. Then the server closes the port, idle connections, and each other one after its answer.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

# Seconds until the port closes: at most, and after readiness was first seen to fail, so that each
# balancer that asks every 0.5 s has done so by then.
DRAIN: Final = 1.9
SETTLE: Final = 0.7
# A balancer that asked for readiness no longer ago than this may still send requests.
WATCHED_WITHIN: Final = 10.0  # seconds

Hook = Callable[[], None]


class Shutdown:
    """Whether the process is about to end, and what happens as soon as it is.

    For the thread of the event loop only. Under a server that does not drive it the shutdown
    begins with the lifespan's end.
    """

    def __init__(self) -> None:
        self.begun = False
        self.begun_at = 0.0  # by time.monotonic()
        self.port_closing: Final = asyncio.Event()
        self._hooks: list[Hook] = []
        self._checked_at: float | None = None

    def on_begin(self, hook: Hook) -> None:
        """Call `hook` when the shutdown begins; at once when it has."""
        self._hooks.append(hook)
        if self.begun:
            hook()

    def begin(self) -> None:
        """Begin; a second time does nothing."""
        if not self.begun:
            self.begun = True
            self.begun_at = time.monotonic()
            for hook in self._hooks:
                hook()

    def note_readiness_check(self) -> None:
        """Note that readiness is asked for, and is seen to fail once the shutdown has begun."""
        self._checked_at = time.monotonic()
        if self.begun:
            asyncio.get_running_loop().call_later(SETTLE, self.port_closing.set)

    def terminate(self) -> None:
        """Begin, and close the port when no balancer needs it any more; a second time at once."""
        if self.begun:
            self.port_closing.set()
            return
        self.begin()
        if self._is_watched():
            asyncio.get_running_loop().call_later(DRAIN, self.port_closing.set)
        else:
            self.port_closing.set()

    def close_port(self) -> None:
        """Begin, and close the port at once."""
        self.begin()
        self.port_closing.set()

    def _is_watched(self) -> bool:
        checked_at = self._checked_at
        return checked_at is not None and self.begun_at - checked_at < WATCHED_WITHIN
