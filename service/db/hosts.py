"""Connecting to the first of several hosts that takes the connection, as RFC 8305 does."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeAlias

import asyncpg

from service.db.failures import HostsUnavailable
from service.settings.database_url import Host

# Seconds between two attempts, unless one fails before (RFC 8305, section 5).
ATTEMPT_DELAY: Final = 0.25

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Attempt: TypeAlias = "asyncio.Task[Connection]"

# Attempts that lost, until they have ended: the loop alone would forget them.
_abandoned: Final[set[Attempt]] = set()


async def connect_to_first(
    hosts: Sequence[Host], connect: Callable[[Host], Coroutine[Any, Any, Connection]]
) -> Connection:
    """Return the first connection that succeeds; a host that is silent holds up no other.

    Raises HostsUnavailable when there is none.
    """
    remaining = deque(hosts)
    attempts: dict[Attempt, Host] = {}
    failures: dict[Host, BaseException] = {}
    try:
        while remaining or attempts:
            if remaining:
                host = remaining.popleft()
                attempts[asyncio.create_task(connect(host))] = host
            done, _ = await asyncio.wait(
                attempts,
                timeout=ATTEMPT_DELAY if remaining else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for attempt in done:
                host = attempts.pop(attempt)
                if (error := attempt.exception()) is None:
                    return attempt.result()
                failures[host] = error
    finally:
        for attempt in attempts:
            _abandon(attempt)
    raise HostsUnavailable({host: failures[host] for host in hosts})


def _abandon(attempt: Attempt) -> None:
    attempt.cancel()
    _abandoned.add(attempt)
    attempt.add_done_callback(_on_abandoned_done)


def _on_abandoned_done(attempt: Attempt) -> None:
    _abandoned.discard(attempt)
    # One may have succeeded just as another did.
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().terminate()
