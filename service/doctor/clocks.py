"""The clocks of this machine and of the database's, by which times are compared."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from service import clock
from service.doctor.findings import Deployment, Findings

# In seconds.
WARNED: Final = 5.0
WRONG: Final = 60.0
_NOW: Final = text("SELECT extract(epoch FROM clock_timestamp())::float")


async def check(connection: AsyncConnection, _deployment: Deployment, found: Findings) -> None:
    """Compare the clocks, to half of a round trip."""
    before = clock.now().timestamp()
    theirs = float((await connection.execute(_NOW)).scalar_one())
    after = clock.now().timestamp()
    difference = abs(theirs - (before + after) / 2)
    words = f"the clocks of this machine and of the database differ by {difference:.1f} s"
    advice = "keep both by NTP: docs/operations.md, Clocks"
    if difference > WRONG:
        found.problem(words, advice)
    elif difference > WARNED:
        found.warning(words, advice)
    else:
        found.ok(words)
