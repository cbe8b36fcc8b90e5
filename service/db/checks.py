"""Named checks of a database, each of which returns what is wrong, in words, or None."""

from collections.abc import Awaitable, Callable, Mapping

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

Check = Callable[[AsyncConnection], Awaitable[str | None]]
Results = Mapping[str, str | None]


def synchronous(check: Callable[[Connection], str | None]) -> Check:
    """Return a check that runs a synchronous one."""

    async def run(connection: AsyncConnection) -> str | None:
        return await connection.run_sync(check)

    return run


async def run_checks(checks: Mapping[str, Check], connection: AsyncConnection) -> Results:
    """Return what each check found, up to the first problem: what follows may depend on it."""
    found: dict[str, str | None] = {}
    for name, check in checks.items():
        found[name] = await check(connection)
        if found[name] is not None:
            break
    return found


def first_problem(results: Results) -> str | None:
    """Return the problem among the results, or None."""
    return next((problem for problem in results.values() if problem is not None), None)
