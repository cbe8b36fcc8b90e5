"""What goes wrong in a storm, and when: a schedule that follows from a seed alone."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from time import monotonic
from typing import Final, TypeAlias

from tests.support.storm.machines import Machines

Fault: TypeAlias = Callable[[Machines, Random], Awaitable[None]]


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


async def stop_worker(machines: Machines, random: Random) -> None:
    """The worker is stopped, and started again."""
    machines.worker.terminate()
    await machines.worker.ended()
    await machines.worker.launch()


# Faults of one kind come one after the other; those of two kinds meet.
KINDS: Final[Mapping[str, Sequence[Fault]]] = {
    "processes": (kill_service, stop_service, kill_worker, stop_worker)
}
QUIET: Final = (1.0, 6.0)  # seconds between two faults of a kind


@dataclass(frozen=True)
class Planned:
    """A fault, the seconds of quiet before, and the seed of its details."""

    fault: Fault
    after: float
    seed: int


def plan(seed: int, kind: str, count: int) -> list[Planned]:
    """The faults of a kind, in their order."""
    random = Random(f"{seed} {kind}")
    return [
        Planned(random.choice(KINDS[kind]), random.uniform(*QUIET), random.randrange(2**32))
        for _ in range(count)
    ]


async def rage(machines: Machines, seed: int, seconds: float) -> None:
    """Let faults of every kind happen for so long; then all machines are well."""
    async with asyncio.TaskGroup() as group:
        for kind in KINDS:
            group.create_task(_rage(machines, plan(seed, kind, int(seconds)), seconds))


async def _rage(machines: Machines, faults: Sequence[Planned], seconds: float) -> None:
    start = monotonic()
    for planned in faults:
        await asyncio.sleep(planned.after)
        if monotonic() - start > seconds:
            return
        began = monotonic()
        await planned.fault(machines, Random(planned.seed))
        machines.log.append(
            f"{began - start:6.1f} s: {planned.fault.__name__}, {monotonic() - began:.1f} s"
        )
