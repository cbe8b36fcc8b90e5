"""What goes wrong around the service: connections, clocks, limits and mail."""

import asyncio
from random import Random
from typing import Final

from tests.support.storm.machines import Machines

STEP: Final = 20.0  # seconds that a clock is wrong at most


async def cut_connections(machines: Machines, random: Random) -> None:
    """A pooler restarts, several times."""
    for _ in range(random.randrange(1, 6)):
        await machines.cut_connections()
        await asyncio.sleep(random.random())


async def step_clock(machines: Machines, random: Random) -> None:
    """The clock of a service is wrong for a while."""
    service = random.choice(machines.services)
    service.step(random.uniform(-STEP, STEP))
    await asyncio.sleep(random.random() * 10)
    service.step(0)


async def stop_valkey(machines: Machines, random: Random) -> None:
    """The server of the limits is away for a while."""
    await asyncio.to_thread(machines.valkey.stop)
    await asyncio.sleep(random.random() * 5)
    await asyncio.to_thread(machines.valkey.start)


async def refuse_mail(machines: Machines, random: Random) -> None:
    """The mail server is away for a while."""
    await machines.smtp.down()
    await asyncio.sleep(random.random() * 5)
    await machines.smtp.up()


FAULTS = (cut_connections, step_clock, stop_valkey, refuse_mail)
