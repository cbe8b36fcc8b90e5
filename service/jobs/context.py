"""What handlers of jobs get, and what they may raise."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from service.db.database import Database, close_session
from service.mail import Mailer
from service.settings import Settings


@dataclass(frozen=True, slots=True)
class JobContext:
    """What the worker lends to the handlers of its jobs."""

    settings: Settings
    database: Database
    mailer: Mailer

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session that is committed at the end of the block, or rolled back by an exception."""
        session = self.database.session()
        try:
            yield session
        except BaseException:
            await close_session(session, commit=False)
            raise
        await close_session(session, commit=True)


# A handler may run twice for one job: it must come to the same.
Handler = Callable[[JobContext, Mapping[str, Any]], Awaitable[None]]
