"""What is fetched once for all who need it, and kept for a time."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

from service import clock
from service.auth.external.errors import ProviderRefused, ProviderUnavailable

RETRY_PAUSE: Final = timedelta(minutes=1)

T = TypeVar("T")


class Cached(Generic[T]):
    """A value that is fetched when it is needed and older than `fresh`.

    While it cannot be fetched, the old one serves until it is older than `stale`.
    """

    def __init__(
        self, fetch: Callable[[], Awaitable[T]], fresh: timedelta, stale: timedelta
    ) -> None:
        self._fetch = fetch
        self._fresh = fresh
        self._stale = stale
        self._value: T | None = None
        self._fetched_at: datetime | None = None
        self._tried_at: datetime | None = None
        self._fetching: asyncio.Task[None] | None = None

    def _age(self) -> timedelta:
        return timedelta.max if self._fetched_at is None else clock.now() - self._fetched_at

    async def get(self) -> T:
        """Return the value. Raises ProviderUnavailable."""
        age = self._age()
        # While an old one serves, not everybody waits for a provider that is away.
        if age >= self._stale or (age >= self._fresh and not self._tried_within(RETRY_PAUSE)):
            await self._refresh()
        if self._value is None or self._age() >= self._stale:
            raise ProviderUnavailable
        return self._value

    async def renew(self, pause: timedelta) -> T | None:
        """Return the value fetched anew, or None when it was tried less than `pause` ago.

        Raises ProviderUnavailable.
        """
        # What is being fetched is new to those who come meanwhile, too.
        under_way = self._fetching is not None and not self._fetching.done()
        if self._tried_within(pause) and not under_way:
            return None
        before = self._fetched_at
        await self._refresh()
        if self._value is None or self._fetched_at == before:
            raise ProviderUnavailable
        return self._value

    def _tried_within(self, pause: timedelta) -> bool:
        return self._tried_at is not None and clock.now() - self._tried_at < pause

    async def _refresh(self) -> None:
        """Fetch the value, once for all who wait for it."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.create_task(self._try_fetch())
        # One who leaves does not take it from the others.
        await asyncio.shield(self._fetching)

    async def _try_fetch(self) -> None:
        self._tried_at = clock.now()
        try:
            self._value = await self._fetch()
        except (ProviderRefused, ProviderUnavailable):
            return
        self._fetched_at = self._tried_at
