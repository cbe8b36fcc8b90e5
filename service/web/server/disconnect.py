"""Cancellation of requests whose client has disconnected."""

import asyncio
from typing import Final

import structlog
from hypercorn.typing import ASGIReceiveCallable

from service.db.pool import ConnectionTracker
from service.web.server.request import ApiRequest
from service.web.server.shutdown import Shutdown

log: Final = structlog.get_logger(__name__)

# Seconds: much longer than most statements take, and short enough to stop slow ones.
DISCONNECT_GRACE: Final = 1.0
# Seconds from which on a request without a body is watched. Most are answered by then, and watching
# costs a tenth of a request.
WATCH_DELAY: Final = 0.2


class DisconnectWatcher:
    """The receiver of a request's messages: its body, and the disconnect that cancels it."""

    def __init__(
        self,
        request: ApiRequest,
        receive: ASGIReceiveCallable,
        tracker: ConnectionTracker,
        shutdown: Shutdown,
    ) -> None:
        self._request = request
        self._receive = receive
        self._tracker = tracker
        self._shutdown = shutdown
        self._request_task = asyncio.current_task()
        self._receive_task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._aborted = False
        # Whether the last part of the response is being sent. Then a disconnect is most often the
        # server's own, at the end of the response, and its task returns at once.
        self.ending = False

    def start(self) -> None:
        """Start to receive: at once if a body may follow, else after WATCH_DELAY.

        To receive is to ask for a body that waits for 100 (Continue), so that is done only when it
        is read, or the response begun.
        """
        if not self._request.may_have_body:
            self._request.body.set_complete()
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(WATCH_DELAY, self._start_receiving)
        elif self._request.expects_continue:
            self._request.body.request_body = self._start_receiving
        else:
            self._start_receiving()

    def _start_receiving(self) -> None:
        self._receive_task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        body = self._request.body
        try:
            while (message := await self._receive())["type"] == "http.request":
                await body.feed(message.get("body", b""))
                if not message.get("more_body", False):
                    body.set_complete()
            if not self._shutdown.begun:
                await self._tracker.drain(DISCONNECT_GRACE)
            if self.ending:
                await asyncio.sleep(DISCONNECT_GRACE)
        except Exception:
            log.exception("a client was lost sight of")
        self.abort()

    def abort(self) -> None:
        """Cancel the request, once."""
        if not self._aborted and self._request_task is not None:
            self._aborted = True
            self._request_task.cancel()

    def has_cancelled(self) -> bool:
        """Whether the request was cancelled by this watcher and by nothing else."""
        task = self._request_task
        return self._aborted and task is not None and task.uncancel() == 0

    def close(self) -> None:
        """Stop receiving and drop all references to tasks, which would be cycles otherwise."""
        self._aborted = True
        self._request_task = None
        if self._timer is not None:
            self._timer.cancel()
        if self._receive_task is not None:
            self._receive_task.cancel()
            self._receive_task = None
