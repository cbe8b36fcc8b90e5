"""Graceful shutdown: the end of the process is announced before the port closes.

At SIGTERM readiness fails and streams end, but new connections are still accepted for a moment,
because a balancer that checks readiness must have seen it fail, or it would send requests to a
closed port. With DRAIN_SECONDS the moment is as long as that says, for balancers that learn of the
end in another way. Then the server closes the port, idle connections, and each other one after its
response.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

# Seconds until the port closes, at most, without DRAIN_SECONDS.
DRAIN: Final = 1.9
# Seconds until the port closes after a check of readiness failed: enough for every balancer that
# checks each 0.5 s.
SETTLE: Final = 0.7
# Seconds by which connections are aborted before the server cancels their tasks, and logs that.
ABORT_MARGIN: Final = 0.1
# Seconds since its last check of readiness within which a balancer may still send requests.
RECENT_CHECK: Final = 10.0

Hook = Callable[[], None]


class Shutdown:
    """The state of the shutdown, and the hooks that run when it begins.

    `drain` is DRAIN_SECONDS; without it the port closes when no balancer needs it any more.
    For the thread of the event loop only. Under another server than `service serve`, the shutdown
    begins at the end of the ASGI lifespan.
    """

    def __init__(self, drain: float | None = None) -> None:
        self.begun = False
        self.begun_at = 0.0  # by time.monotonic()
        self.port_closing: Final = asyncio.Event()
        self._drain: Final = drain
        self._closed_at = 0.0
        self._hooks: list[Hook] = []
        self._checked_at: float | None = None

    def on_begin(self, hook: Hook) -> None:
        """Call `hook` when the shutdown begins, or at once if it has."""
        self._hooks.append(hook)
        if self.begun:
            hook()

    @property
    def problem(self) -> str | None:
        """Why no more requests should come, or None."""
        return "the service is shutting down" if self.begun else None

    def begin(self) -> None:
        """Begin the shutdown, once: readiness fails and the hooks run."""
        if not self.begun:
            self.begun = True
            self.begun_at = monotonic()
            for hook in self._hooks:
                hook()

    def note_readiness_check(self) -> None:
        """Note a check of readiness, which fails once the shutdown has begun."""
        self._checked_at = monotonic()
        if self.begun and self._drain is None:
            self._close_later(SETTLE)

    def terminate(self) -> None:
        """Begin, and close the port once no balancer needs it; a second call closes it at once."""
        seconds = 0.0 if self.begun else self._seconds_to_drain()
        self.begin()
        if seconds:
            self._close_later(seconds)
        else:
            self._close()

    def close_port(self) -> None:
        """Begin the shutdown and close the port at once."""
        self.begin()
        self._close()

    def seconds_left(self, graceful_timeout: float) -> float:
        """Return the seconds until connections that are still open are to be aborted.

        DRAIN_SECONDS, which may be longer than `graceful_timeout`, take nothing of it.
        """
        since = self.begun_at if self._drain is None else self._closed_at
        return max(0.0, graceful_timeout - ABORT_MARGIN - (monotonic() - since))

    def _seconds_to_drain(self) -> float:
        if self._drain is not None:
            return self._drain
        return DRAIN if self._has_balancer() else 0.0

    def _has_balancer(self) -> bool:
        checked_at = self._checked_at
        return checked_at is not None and monotonic() - checked_at < RECENT_CHECK

    def _close_later(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._close)

    def _close(self) -> None:
        if not self.port_closing.is_set():
            self._closed_at = monotonic()
            self.port_closing.set()
