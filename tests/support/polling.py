"""Waiting for what no event tells, such as another process or the database's own view."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

# Seconds after which a wait counts as hanging. It measures nothing: other tests on the same
# processors can make each step of a test last seconds.
PATIENCE: Final = 30.0


async def until(condition: Callable[[], Awaitable[object]], seconds: float = PATIENCE) -> None:
    """Wait until the condition holds, or raise TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.005)
