"""Timers of connections."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Final, TypeVarTuple

_NO_VARIABLES: Final = Context()
Arguments = TypeVarTuple("Arguments")


def call_later(
    seconds: float, callback: Callable[[*Arguments], object], *arguments: *Arguments
) -> asyncio.TimerHandle:
    """Call a function later, without the context variables of the request under way.

    By default a timer keeps them until it is due, and with them the request and its response.
    """
    loop = asyncio.get_running_loop()
    return loop.call_later(seconds, callback, *arguments, context=_NO_VARIABLES)


def call_soon(callback: Callable[[*Arguments], object], *arguments: *Arguments) -> None:
    """Call a function in the loop's next turn, without those variables."""
    asyncio.get_running_loop().call_soon(callback, *arguments, context=_NO_VARIABLES)
