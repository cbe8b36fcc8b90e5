"""The rounds: every scenario on every peer in turn, one measured at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.load import Generator, LoadError
from benchmarks.peers import Peer
from benchmarks.processes import tree_cpu_seconds
from benchmarks.scenarios import Scenario
from benchmarks.servers import Place, Running, all_running

WARM_UP = 0.25  # of a measurement's time, at least one second


@dataclass(frozen=True)
class Plan:
    """The options of a run."""

    peers: Sequence[Peer]
    scenarios: Sequence[Scenario]
    sizes: Sequence[int]
    rounds: int
    seconds: float
    requests: int | None
    connections: int


@dataclass(frozen=True)
class Sample:
    """One measurement: CPU in µs a request, requests a second, latencies in ms."""

    server: float
    postgres: float
    rate: float
    p50: float
    p99: float
    requests: int


Samples = dict[str, dict[str, list[Sample]]]  # scenario → peer → a sample each round


async def measure(plan: Plan, running: Running, scenario: Scenario, postmaster: int) -> Sample:
    """Warm up, then load: the CPU time between the first request and the last answer."""
    if scenario.name not in running.requests:
        running.requests[scenario.name] = await scenario.requests(running.target)
    requests = running.requests[scenario.name]
    connections = scenario.connections or plan.connections
    roots = [server.pid for server in running.servers]
    ports = running.target.ports
    async with Generator(ports, connections, requests, scenario.status) as generator:
        await generator.run(max(1.0, plan.seconds * WARM_UP), plan.requests)
        before = tree_cpu_seconds(roots), tree_cpu_seconds([postmaster])
        load = await generator.run(plan.seconds, plan.requests)
        after = tree_cpu_seconds(roots), tree_cpu_seconds([postmaster])
    server, postgres = (
        (end - begin) / load.requests * 1e6 for begin, end in zip(before, after, strict=True)
    )
    return Sample(
        round(server, 1),
        round(postgres, 1),
        round(load.requests / load.seconds, 1),
        round(load.p50 * 1e3, 3),
        round(load.p99 * 1e3, 3),
        load.requests,
    )


def turns(plan: Plan, peers: Sequence[Running]) -> Iterator[tuple[int, Scenario, Running]]:
    """Each round every scenario on every peer; every other round backwards, to favour nobody."""
    for number in range(plan.rounds):
        for scenario in plan.scenarios:
            for running in peers if number % 2 == 0 else reversed(peers):
                if running.answers(scenario):
                    yield number + 1, scenario, running


async def measure_size(
    plan: Plan, posts: int, place: Place, progress: Callable[[str], None]
) -> Samples:
    """All rounds with so many posts. Raises LoadError naming the peer and the scenario."""
    postmaster = await place.cluster.postmaster()
    samples: Samples = {scenario.name: {} for scenario in plan.scenarios}
    async with all_running(plan.peers, posts, place) as peers:
        for number, scenario, running in turns(plan, peers):
            name = running.peer.name
            progress(f"{posts:,} posts, round {number}: {scenario.title}: {name}")
            try:
                sample = await measure(plan, running, scenario, postmaster)
            except LoadError as error:
                raise LoadError(f"{name}, {scenario.title}: {error}; see {place.folder}") from None
            samples[scenario.name].setdefault(name, []).append(sample)
    return samples
