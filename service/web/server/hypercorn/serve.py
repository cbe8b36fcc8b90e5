"""Hypercorn by its public API, with a graceful shutdown that loses no request."""

import asyncio
import time
from collections.abc import Callable

import hypercorn.asyncio
from hypercorn.config import Config

from service.web.server.application import Service
from service.web.server.hypercorn.patches import abort_connections, patch_hypercorn

Headers = list[tuple[bytes, bytes]]


async def serve(app: Service, config: Config) -> None:
    """Serve until the application's shutdown closes the port, then finish the requests in flight.

    They have `graceful_timeout` seconds from the beginning of the shutdown, or from the end of
    DRAIN_SECONDS; then their connections are aborted. Raises what prevents the start, such as
    OSError for a port in use.
    """
    patch_hypercorn(http2_prior_knowledge=app.settings.http2_prior_knowledge)
    config.workers = 1  # this process, or Hypercorn warns
    config.response_headers = _once_a_second(config.response_headers)  # type: ignore[assignment]
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle | None = None

    async def until_port_closes() -> None:
        nonlocal timer
        await app.shutdown_state.port_closing.wait()
        left = app.shutdown_state.seconds_left(config.graceful_timeout)
        timer = loop.call_later(left, abort_connections, config)

    try:
        await hypercorn.asyncio.serve(app, config, shutdown_trigger=until_port_closes)
    finally:
        if timer is not None:
            timer.cancel()


def _once_a_second(make: Callable[[str], Headers]) -> Callable[[str], Headers]:
    """Return a function that makes the headers of all responses by a protocol once a second.

    Among them is the date, whose format has seconds (RFC 9110, §6.6.1).
    """
    made: dict[str, tuple[int, Headers]] = {}

    def response_headers(protocol: str) -> Headers:
        second = int(time.time())
        known = made.get(protocol)
        if known is None or known[0] != second:
            known = made[protocol] = (second, make(protocol))
        return known[1]

    return response_headers
