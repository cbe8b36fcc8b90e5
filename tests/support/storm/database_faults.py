"""What goes wrong with the database's servers."""

import asyncio
from random import Random
from typing import Final

from tests.support.storm.machines import TIMES, Machines

# Seconds until a service cancels a commit that waits for a standby, and a moment.
CANCELLED: Final = float(str(TIMES["database_statement_timeout"])) + 3


async def kill_primary(machines: Machines, random: Random) -> None:
    """The primary is killed, and the standby promoted."""
    await asyncio.to_thread(machines.primary.kill)
    await asyncio.sleep(random.random() * 2)
    await machines.fail_over()


async def freeze_primary(machines: Machines, random: Random) -> None:
    """The primary stops to answer, and the standby is promoted."""
    await asyncio.to_thread(machines.primary.freeze)
    await asyncio.sleep(random.random() * 6)
    await machines.fail_over()


async def pause_primary(machines: Machines, random: Random) -> None:
    """The primary stops to answer for a while."""
    await asyncio.to_thread(machines.primary.freeze)
    await asyncio.sleep(random.random() * 8)
    await asyncio.to_thread(machines.primary.thaw)


async def restart_primary(machines: Machines, random: Random) -> None:
    """The primary is killed, and started again."""
    await asyncio.to_thread(machines.primary.kill)
    await asyncio.sleep(random.random())
    await asyncio.to_thread(machines.primary.start)
    await machines.replicating()


async def pause_standby(machines: Machines, random: Random) -> None:
    """The standby stops to answer for a while, and commits wait for it."""
    await asyncio.to_thread(machines.standby.freeze)
    await asyncio.sleep(random.random() * 2 * CANCELLED)
    await asyncio.to_thread(machines.standby.thaw)


async def lose_both(machines: Machines, random: Random) -> None:
    """The standby is away, connections of commits that wait for it are cut, and it is promoted.

    What those commits wrote is seen on the primary, and is not on the standby.
    """
    await asyncio.to_thread(machines.standby.kill)
    for _ in range(random.randrange(1, 4)):
        await asyncio.sleep(1 + random.random() * CANCELLED)
        await machines.cut_connections()
    await asyncio.sleep(1 + random.random())
    await asyncio.to_thread(machines.primary.kill)
    await asyncio.to_thread(machines.standby.start)
    await machines.fail_over()


FAULTS = (kill_primary, freeze_primary, pause_primary, restart_primary, pause_standby, lose_both)
