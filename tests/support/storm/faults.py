"""What goes wrong in a storm, and when: a schedule that follows from a seed alone."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from time import monotonic
from typing import Final, TypeAlias

from tests.support.storm import database_faults, other_faults, process_faults
from tests.support.storm.machines import Machines

Fault: TypeAlias = Callable[[Machines, Random], Awaitable[None]]


# Faults of one kind come one after the other; those of two kinds meet.
KINDS: Final[Mapping[str, Sequence[Fault]]] = {
    "database": database_faults.FAULTS,
    "processes": process_faults.FAULTS,
    "others": other_faults.FAULTS,
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
