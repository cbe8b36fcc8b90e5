"""SIGHUP, at which daemons read their files anew."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress


def on_hangup(callback: Callable[[], object]) -> None:
    """Call `callback` in the running loop at SIGHUP, which would end the process otherwise.

    A loop outside the main thread cannot watch signals, and is left alone.
    """
    with suppress(RuntimeError, ValueError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, callback)
