"""A database's connection that is lost just as who uses it is cancelled."""

import asyncio
from typing import NoReturn

import asyncpg

from tests.support.polling import PATIENCE


class LostWhenCancelled:
    """To be awaited for ever; the first time, the loss takes the place of the cancellation."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def __call__(self, *_: object) -> NoReturn:
        first = not self.asked.is_set()
        self.asked.set()
        try:
            await asyncio.Future()
        except asyncio.CancelledError:
            if first:
                raise asyncpg.ConnectionDoesNotExistError from None
            raise
        raise AssertionError


async def ends(task: "asyncio.Task[object]") -> bool:
    """Whether it ends soon. If not it is cancelled, again."""
    done, _ = await asyncio.wait({task}, timeout=PATIENCE)
    task.cancel()
    return bool(done)
