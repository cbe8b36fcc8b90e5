"""The time that a failed login takes, the same whatever hash the account has, or none.

Hashes of other services take longer to verify than the service's own, and those that cannot be read
no time. While there are such hashes, every failed login waits until it has taken as long as one for
the slowest method present. It waits and does not work, and holds no connection and no thread.
"""

import asyncio
import time
from asyncio import sleep
from typing import Final

from sqlalchemy import text

from service.auth.models import FOREIGN_HASH, HASH_METHOD
from service.auth.passwords import Match, Passwords
from service.db.autocommit import Autocommit
from service.db.query import CompiledQuery

REFRESH_EVERY: Final = 60.0  # seconds
METHODS_MAX: Final = 20
# Of the usual duration, so that verifying by the slowest method hardly ever takes longer.
MARGIN: Final = 1.25

# One step through the index for each method, because there may be a million such accounts.
_METHODS: Final = CompiledQuery(
    text(
        f"""
    WITH RECURSIVE found AS (
        (SELECT {HASH_METHOD} AS method FROM users WHERE {FOREIGN_HASH} ORDER BY 1 LIMIT 1)
        UNION ALL
        SELECT (
            SELECT {HASH_METHOD} FROM users
            WHERE {FOREIGN_HASH} AND {HASH_METHOD} > found.method ORDER BY 1 LIMIT 1
        ) FROM found WHERE found.method IS NOT NULL
    )
    SELECT method FROM found WHERE method IS NOT NULL LIMIT {METHODS_MAX}
    """  # noqa: S608 - made of constants
    )
)


class LoginTimes:
    """Makes failed logins of one process take the same time."""

    def __init__(self) -> None:
        self._methods: set[str] = set()
        self._fresh_until = 0.0
        self._refreshing = asyncio.Lock()

    async def wait(self, db: Autocommit, passwords: Passwords, failed: Match) -> None:
        """Wait until a failed login has taken the time that all failed logins take."""
        async with self._refreshing:
            if time.monotonic() > self._fresh_until:
                self._methods = {row["method"] for row in await db.fetch_all(_METHODS, {})}
                await passwords.measure(self._methods)
                self._fresh_until = time.monotonic() + REFRESH_EVERY
        if failed.method:  # of an account that was imported since then
            self._methods.add(failed.method)
        if self._methods:
            usual = passwords.slowest(self._methods) * failed.derivations
            await sleep(max(0.0, usual * MARGIN - failed.seconds))
