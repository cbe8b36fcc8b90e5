"""What goes wrong with the service's own processes."""

import asyncio
from random import Random

from tests.support.storm.machines import Machines


async def kill_service(machines: Machines, random: Random) -> None:
    """A service is killed, and started again."""
    service = random.choice(machines.services)
    await service.kill()
    await asyncio.sleep(random.random())
    await service.start()


async def stop_service(machines: Machines, random: Random) -> None:
    """A service is stopped as for a new release, and started again."""
    service = random.choice(machines.services)
    service.terminate()
    await service.ended()
    await service.start()


async def kill_worker(machines: Machines, random: Random) -> None:
    """The worker is killed, and started again."""
    await machines.worker.kill()
    await asyncio.sleep(random.random())
    await machines.worker.launch()


async def stop_worker(machines: Machines, _random: Random) -> None:
    """The worker is stopped, and started again."""
    machines.worker.terminate()
    await machines.worker.ended()
    await machines.worker.launch()


FAULTS = (kill_service, stop_service, kill_worker, stop_worker)
