"""The expectation 100-continue: the body is asked for only when the application reads it."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from hypercorn.typing import AppWrapper, ASGIReceiveCallable, ASGIReceiveEvent, Scope

EXPECTED: Final = b"100-continue"


class ContinuingApp:
    """An application whose first call of `receive` before its response sends 100 (Continue).

    Hypercorn sends 100 before the application runs, so that a client uploads what is refused.
    """

    def __init__(self, app: AppWrapper, send_continue: Callable[[], Awaitable[None]]) -> None:
        self._app = app
        self._send_continue = send_continue

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: Any, *thread_calls: Any
    ) -> None:
        """Run the application."""
        settled = False

        async def continue_and_receive() -> ASGIReceiveEvent:
            nonlocal settled
            if not settled:
                settled = True
                await self._send_continue()
            return await receive()

        async def settle_and_send(message: Any) -> None:
            nonlocal settled
            settled = True
            await send(message)

        await self._app(scope, continue_and_receive, settle_and_send, *thread_calls)
