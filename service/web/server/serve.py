"""Hypercorn, served by its public API, with an end that loses no request."""

import asyncio
import time
from typing import Final

import hypercorn.asyncio
from hypercorn.config import Config

from service.web.server.application import Service
from service.web.server.hypercorn_patches import abort_connections, patch_hypercorn

# Seconds before Hypercorn cancels connections, which leaves some and writes tracebacks.
EARLIER: Final = 0.1


async def serve(app: Service, config: Config) -> None:
    """Serve until the application's shutdown closes the port, then finish what is in flight.

    From the beginning of the shutdown requests have `graceful_timeout` seconds; then their clients
    are cut off. Raises what keeps the server from starting, such as OSError for a port in use.
    """
    patch_hypercorn()
    config.workers = 1  # this process; Hypercorn warns of any other number
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle | None = None

    async def until_port_closes() -> None:
        nonlocal timer
        await app.shutdown_state.port_closing.wait()
        spent = time.monotonic() - app.shutdown_state.begun_at
        left = max(0, config.graceful_timeout - EARLIER - spent)
        timer = loop.call_later(left, abort_connections, config)

    try:
        await hypercorn.asyncio.serve(app, config, shutdown_trigger=until_port_closes)
    finally:
        if timer is not None:
            timer.cancel()
