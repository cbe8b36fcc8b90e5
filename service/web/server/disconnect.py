"""Requests whose client has gone are given up."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from service.db.pool import ConnectionTracker
from service.web.server.request import ApiRequest
from service.web.server.shutdown import Shutdown

log: Final = structlog.get_logger(__name__)

Receive = Callable[[], Awaitable[Any]]

# Seconds: many times what statements take, and little enough to stop those that take long.
DISCONNECT_GRACE: Final = 1.0
# Seconds after which it is watched whether the client is still there. Most requests are answered
# by then, and a watch costs as much as a tenth of one.
WATCH_DELAY: Final = 0.2


class DisconnectWatcher:
    """Feeds a request its body, and cancels the request when its client leaves."""

    def __init__(
        self, request: ApiRequest, receive: Receive, tracker: ConnectionTracker, ending: Shutdown
    ) -> None:
        self._request = request
        self._receive = receive
        self._tracker = tracker
        self._ending = ending
        self._handling = asyncio.current_task()
        self._receiving: asyncio.Task[None] | None = None
        self._waiting: asyncio.TimerHandle | None = None
        self._left = False

    def watch(self) -> None:
        """Take the body, if there may be one, and note when the client leaves."""
        if self._request.may_have_body:
            self._start()
        else:
            self._request.body.set_complete()
            loop = asyncio.get_running_loop()
            self._waiting = loop.call_later(WATCH_DELAY, self._start)

    def _start(self) -> None:
        self._receiving = asyncio.get_running_loop().create_task(self._take())

    async def _take(self) -> None:
        try:
            await self._until_it_leaves()
        except Exception:
            log.exception("a client was lost sight of")
        self.leave()

    async def _until_it_leaves(self) -> None:
        body = self._request.body
        while (message := await self._receive())["type"] == "http.request":
            await body.feed(message.get("body", b""))
            if not message.get("more_body", False):
                body.set_complete()
        if not self._ending.begun:
            await self._tracker.drain(DISCONNECT_GRACE)

    def leave(self) -> None:
        """Have the request given up; a second time does nothing."""
        if not self._left and self._handling is not None:
            self._left = True
            self._handling.cancel()

    def has_left(self) -> bool:
        """Whether it was this, and nothing else, that cancelled the request."""
        return self._left and self._handling is not None and self._handling.uncancel() == 0

    def forget(self) -> None:
        """The exchange is over. What refers to it is let go of, or the collector had to find it."""
        self._left = True
        self._handling = None
        if self._waiting is not None:
            self._waiting.cancel()
        if self._receiving is not None:
            self._receiving.cancel()
            self._receiving = None
