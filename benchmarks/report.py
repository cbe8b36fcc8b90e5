"""The figures as tables: medians of the rounds, their spread, and the ratios."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.run import Plan, Sample, Samples
from benchmarks.scenarios import SCENARIOS, Scenario

Results = Mapping[int, Samples]  # number of posts → samples
Figure = Callable[[Sample], float]
SERVICE, LIMIT = "service", "bare"
GROWING = ("post", "list", "cursor", "create")


def both(sample: Sample) -> float:
    """CPU of the server and PostgreSQL together, µs a request."""
    return sample.server + sample.postgres


def middle(samples: Sequence[Sample], figure: Figure) -> float:
    return median(figure(sample) for sample in samples)


def spread(samples: Sequence[Sample], figure: Figure) -> float:
    """Half of the range between the rounds, as a part of the median."""
    values = [figure(sample) for sample in samples]
    return (max(values) - min(values)) / 2 / median(values)


def find(samples: Samples, scenario: Scenario, peer: str) -> list[Sample] | None:
    """A peer's samples of a scenario, or of the one that stands for it."""
    found = samples[scenario.name].get(peer)
    if found is None and scenario.instead in samples:
        found = samples[scenario.instead].get(peer)
    return found


def ratio(samples: Samples, scenario: Scenario, over: str, under: str, of: Figure = both) -> str:
    above, below = find(samples, scenario, over), find(samples, scenario, under)
    if not above or not below:
        return "–"
    return f"{middle(above, of) / middle(below, of):.2f}"


def figures(samples: Samples) -> Table:
    table = Table("scenario", "peer")
    for heading in ("server µs", "PostgreSQL µs", "both µs", "±", "requests/s", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="right")
    for name, peers in samples.items():
        for number, (peer, rounds) in enumerate(peers.items()):
            table.add_row(
                "" if number else SCENARIOS[name].title,
                peer,
                f"{middle(rounds, lambda s: s.server):,.0f}",
                f"{middle(rounds, lambda s: s.postgres):,.0f}",
                f"{middle(rounds, both):,.0f}",
                f"{spread(rounds, both):.0%}",
                f"{middle(rounds, lambda s: s.rate):,.0f}",
                f"{middle(rounds, lambda s: s.p50):,.1f}",
                f"{middle(rounds, lambda s: s.p99):,.1f}",
                end_section=number == len(peers) - 1,
            )
    return table


def ratios(samples: Samples, peers: Sequence[str]) -> Table:
    table = Table("scenario")
    others = [peer for peer in peers if peer != SERVICE and peer != LIMIT]
    pairs = [(peer, SERVICE) for peer in others] + [(SERVICE, LIMIT)]
    for over, under in pairs:
        table.add_column(f"{over} / {under}", justify="right")
    table.add_column(f"{SERVICE} / {LIMIT}, server alone", justify="right")
    for name in samples:
        scenario = SCENARIOS[name]
        cells = [ratio(samples, scenario, over, under) for over, under in pairs]
        cells.append(ratio(samples, scenario, SERVICE, LIMIT, lambda s: s.server))
        table.add_row(scenario.title, *cells)
    return table


def growth(results: Results, peers: Sequence[str]) -> Table:
    """CPU a request with the most posts over that with the fewest."""
    few, many = min(results), max(results)
    table = Table("scenario")
    for peer in peers:
        table.add_column(peer, justify="right")
    for scenario in (SCENARIOS[name] for name in GROWING if name in results[few]):
        cells = []
        for peer in peers:
            low, high = (find(results[size], scenario, peer) for size in (few, many))
            cells.append(f"{middle(high, both) / middle(low, both):.2f}" if low and high else "–")
        table.add_row(scenario.title, *cells)
    return table


def show(console: Console, plan: Plan, results: Results) -> None:
    """Print every table that the run has figures for."""
    peers = [peer.name for peer in plan.peers]
    for size, samples in results.items():
        console.print(f"\n{size:,} posts: CPU a request, median and spread of {plan.rounds} rounds")
        console.print(figures(samples))
        if SERVICE in peers and len(peers) > 1:
            console.print(f"\n{size:,} posts: ratios of CPU a request, server and PostgreSQL")
            console.print(ratios(samples, peers))
    if len(results) > 1:
        console.print(f"\nCPU a request, {max(results):,} posts / {min(results):,} posts")
        console.print(growth(results, [name for name in peers if not name.startswith(LIMIT)]))
