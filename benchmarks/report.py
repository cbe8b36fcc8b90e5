"""The figures as tables: medians of the rounds, their spread, and the ratios."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.run import Plan
from benchmarks.sample import Figure, Sample, Samples, both, middle, p99, quotient, server, spread
from benchmarks.scenarios import MANY, SCENARIOS, Scenario
from benchmarks.variants import services

Results = Mapping[int, Samples]  # number of posts → samples
LIMIT = "bare"
GROWING = ("post", "list", "cursor", "search", "me", "create", "put", "refresh")


def find(samples: Samples, scenario: Scenario, peer: str) -> list[Sample] | None:
    """A peer's samples of a scenario, or of the one that stands for it."""
    found = samples[scenario.name].get(peer)
    if found is None and scenario.instead in samples:
        found = samples[scenario.instead].get(peer)
    return found


def ratio(samples: Samples, scenario: Scenario, over: str, under: str, of: Figure = both) -> str:
    return quotient(find(samples, scenario, over), find(samples, scenario, under), of)


def figures(samples: Samples) -> Table:
    table = Table("scenario", "peer")
    for heading in ("server µs", "PostgreSQL µs", "both µs", "±", "requests/s", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="right")
    for name, peers in samples.items():
        for number, (peer, rounds) in enumerate(peers.items()):
            table.add_row(
                "" if number else SCENARIOS[name].title,
                peer,
                f"{middle(rounds, server):,.1f}",
                f"{middle(rounds, lambda s: s.postgres):,.1f}",
                f"{middle(rounds, both):,.1f}",
                f"{spread(rounds, both):.0%}",
                f"{middle(rounds, lambda s: s.rate):,.0f}",
                f"{middle(rounds, lambda s: s.p50):,.1f}",
                f"{middle(rounds, p99):,.1f}",
                end_section=number == len(peers) - 1,
            )
    return table


def pairs_of(peers: Sequence[str]) -> list[tuple[str, str]]:
    """What is divided by what: each peer by the service, each further service by the first."""
    own = services(peers)
    others = [peer for peer in peers if peer not in own and peer != LIMIT]
    pairs = [(peer, under) for under in own for peer in others]
    pairs += [(further, own[0]) for further in own[1:]]
    return pairs + ([(own[0], LIMIT)] if LIMIT in peers else [])


def ratios(samples: Samples, peers: Sequence[str]) -> Table:
    """A row for each scenario, and one of p99 for those with many connections."""
    table = Table("scenario")
    pairs = pairs_of(peers)
    for over, under in pairs:
        table.add_column(f"{over} / {under}", justify="right")
    for name in samples:
        scenario = SCENARIOS[name]
        rows = {scenario.title: both}
        if LIMIT in samples[name]:
            rows[f"{scenario.title}: the server alone"] = server
        if scenario.connections == MANY:
            rows[f"{scenario.title}: p99"] = p99
        for title, figure in rows.items():
            cells = [ratio(samples, scenario, over, under, figure) for over, under in pairs]
            table.add_row(title, *cells)
    return table


def growth(results: Results, peers: Sequence[str]) -> Table:
    """CPU a request with the most posts over that with the fewest."""
    few, many = min(results), max(results)
    table = Table("scenario")
    for peer in peers:
        table.add_column(peer, justify="right")
    for scenario in (SCENARIOS[name] for name in GROWING if name in results[few]):
        low, high = (
            [find(results[size], scenario, peer) for peer in peers] for size in (few, many)
        )
        cells = [quotient(over, under, both) for over, under in zip(high, low, strict=True)]
        table.add_row(scenario.title, *cells)
    return table


def show(console: Console, plan: Plan, results: Results) -> None:
    """Print every table that the run has figures for."""
    peers = [peer.name for peer in plan.peers]
    for size, samples in results.items():
        console.print(f"\n{size:,} posts: CPU a request, median and spread of {plan.rounds} rounds")
        console.print(figures(samples))
        if services(peers) and len(peers) > 1:
            console.print(f"\n{size:,} posts: ratios of CPU a request, server and PostgreSQL")
            console.print(ratios(samples, peers))
    if len(results) > 1:
        console.print(f"\nCPU a request, {max(results):,} posts / {min(results):,} posts")
        console.print(growth(results, [name for name in peers if not name.startswith(LIMIT)]))
