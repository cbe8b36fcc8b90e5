"""Waiting for what no event tells, such as another process or the database's own view."""

import asyncio
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 15) -> None:
    """Wait until the condition holds, or fail."""
    async with asyncio.timeout(seconds):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.005)
