"""`service worker`."""

import asyncio
import signal
from contextlib import suppress

import click

from service.cli.database import run_with_database
from service.cli.signals import on_stop, restore_default
from service.observability import tracing
from service.settings import Settings
from service.worker.worker import run_worker


@click.command()
def worker() -> None:
    """Do the jobs that the service leaves: mails and clean-ups.

    Any number of workers may run. SIGTERM and Ctrl-C end it once the jobs in hand are done; a
    second signal ends it at once, and another worker does those jobs again.
    """
    # SIGTERM ends it as Ctrl-C does, also while the database starts.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        run_with_database(_work)


async def _work(settings: Settings) -> None:
    stop = asyncio.Event()

    def finish() -> None:
        stop.set()
        restore_default()

    on_stop(finish)
    tracing.start(settings)
    try:
        await run_worker(settings, stop)
    finally:
        await asyncio.to_thread(tracing.stop)
