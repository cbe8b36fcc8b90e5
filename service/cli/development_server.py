"""The development server's process: migrations, then Hypercorn and a worker until it is stopped."""

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any, Final

import uvloop
from hypercorn.config import Config

from service.app import create_app
from service.cli.database import echo_upgrade, upgrade
from service.cli.signals import on_stop
from service.settings import Settings
from service.web.server.hypercorn.serve import serve
from service.worker.worker import run_worker

# Ctrl-C must not wait for a request that hangs; production has hypercorn.toml.
GRACEFUL_TIMEOUT: Final = 0.5  # seconds
WORKER_PATIENCE: Final = 1.0  # seconds


def serve_development(
    settings: Settings, listener: socket.socket, announce: Callable[[], None]
) -> None:
    """Serve on the socket, which is closed at the end; `announce` is called when all is ready.

    SIGINT and SIGTERM end it. Raises ClickException when the database can't be brought to head.
    """
    # Links in mails name the port that is really listened on.
    settings = settings.model_copy(update={"port": listener.getsockname()[1]})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_serve(settings, listener, announce))
        except (asyncio.CancelledError, KeyboardInterrupt):
            return  # stopped before it served


async def _serve(settings: Settings, listener: socket.socket, announce: Callable[[], None]) -> None:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine runs in a task
    on_stop(task.cancel)
    echo_upgrade(await upgrade(settings))
    asyncio.get_running_loop().set_exception_handler(_report)
    app = create_app(settings)
    stop = asyncio.Event()

    def finish() -> None:
        stop.set()
        app.shutdown_state.close_port()

    on_stop(finish)

    @app.while_serving
    async def ready() -> AsyncGenerator[None, None]:
        announce()
        yield

    jobs = asyncio.create_task(run_worker(settings, stop, metrics=app.metrics))
    # Should it fail, all ends, so that it is seen.
    jobs.add_done_callback(lambda _: finish())
    try:
        await serve(app, _config(listener))
    finally:
        stop.set()
        await _end(jobs)


async def _end(worker: asyncio.Task[None]) -> None:
    _, late = await asyncio.wait([worker], timeout=WORKER_PATIENCE)
    for task in late:
        task.cancel()  # it puts back what it has in hand
    with suppress(asyncio.CancelledError):
        await worker


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # Python 3.11 complains of every connection that is cut off at the end.
    if not isinstance(context.get("exception"), asyncio.CancelledError):
        loop.default_exception_handler(context)


def _config(listener: socket.socket) -> Config:
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.graceful_timeout = GRACEFUL_TIMEOUT
    config.include_server_header = False
    config.errorlog = logging.getLogger("hypercorn.error")  # through our handlers, not its own
    config.errorlog.setLevel(logging.WARNING)  # the address is written already
    return config
