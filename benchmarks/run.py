"""The rounds: every scenario on every peer in turn, one measured at a time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from benchmarks.load import LoadError
from benchmarks.peers import Peer
from benchmarks.processes import tree_cpu_seconds
from benchmarks.sample import Sample, Samples
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


async def measure(plan: Plan, running: Running, scenario: Scenario, postmaster: int) -> Sample:
    """Warm up, then load: the CPU time between the first request and the last answer."""
    if scenario.name not in running.requests:
        running.requests[scenario.name] = await scenario.requests(running.target)
    requests = running.requests[scenario.name]
    roots = [server.pid for server in running.servers]
    async with scenario.load(running.target, plan.connections, requests) as generator:
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


@dataclass(frozen=True)
class Candidate:
    """A running peer with so many posts."""

    posts: int
    running: Running


def turns(plan: Plan, candidates: Sequence[Candidate]) -> Iterator[tuple[int, Scenario, Candidate]]:
    """Each round every scenario on everyone; every other round backwards, to favour nobody.

    Sizes take turns, too: what they are compared by must not be what else the machine does.
    """
    for number in range(plan.rounds):
        for scenario in plan.scenarios:
            for candidate in candidates if number % 2 == 0 else reversed(candidates):
                if candidate.running.answers(scenario):
                    yield number + 1, scenario, candidate


async def measure_all(
    plan: Plan, place: Place, progress: Callable[[str], None]
) -> dict[int, Samples]:
    """All rounds, by the number of posts. Raises LoadError naming the peer and the scenario."""
    postmaster = await place.cluster.postmaster()
    results: dict[int, Samples] = {
        posts: {scenario.name: {} for scenario in plan.scenarios} for posts in plan.sizes
    }
    async with AsyncExitStack() as stack:
        candidates = [
            Candidate(posts, running)
            for posts in plan.sizes
            for running in await stack.enter_async_context(all_running(plan.peers, posts, place))
        ]
        for number, scenario, candidate in turns(plan, candidates):
            name = candidate.running.peer.name
            progress(f"round {number}: {scenario.title}: {candidate.posts:,} posts: {name}")
            try:
                sample = await measure(plan, candidate.running, scenario, postmaster)
            except LoadError as error:
                raise LoadError(f"{name}, {scenario.title}: {error}; see {place.folder}") from None
            results[candidate.posts][scenario.name].setdefault(name, []).append(sample)
    return results
