"""The signals that stop a command."""

import asyncio
import signal
from collections.abc import Callable
from typing import Final

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def on_stop(callback: Callable[[], object]) -> None:
    """Call `callback` in the running loop at SIGINT and SIGTERM, in place of an earlier one."""
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, callback)


def restore_default() -> None:
    """Restore the default actions of SIGINT and SIGTERM, which end the process."""
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.remove_signal_handler(number)
