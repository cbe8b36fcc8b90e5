"""Timers of connections."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Final

_NO_VARIABLES: Final = Context()


def call_later(seconds: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
    """Call a function later, without the context variables of the request under way.

    By default a timer keeps them until it is due, and with them the request and its response.
    """
    return asyncio.get_running_loop().call_later(seconds, callback, context=_NO_VARIABLES)
