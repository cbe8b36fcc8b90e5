"""Attempts at the password of an account: only those that were judged, and failed, count."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from service.errors import Unavailable
from service.web import ratelimit

LIMIT: Final = "LOGIN_ACCOUNT"


async def enforce(key: str) -> None:
    """Count an attempt. Raises TooManyRequests (429)."""
    await ratelimit.enforce(LIMIT, key, strict=True)


async def refund(key: str) -> None:
    """Take an attempt back."""
    await ratelimit.refund(LIMIT, key, strict=True)


@asynccontextmanager
async def counted_if_judged(key: str) -> AsyncIterator[None]:
    """Take an attempt back when its password was not judged: refused, or its client left."""
    try:
        yield
    except (Unavailable, asyncio.CancelledError):
        await refund(key)
        raise
