"""The figures as docs/performance.md has them, to be copied from a run's folder."""

from collections.abc import Sequence

from benchmarks.report import LIMIT, find, ratio
from benchmarks.sample import Figure, Sample, Samples, both, middle, p99, server
from benchmarks.scenarios import MANY, SCENARIOS, Scenario
from benchmarks.variants import services


def table(samples: Samples, peers: Sequence[str]) -> str:
    """A row for each scenario: what each service costs, the ratios, and the latencies."""
    own = services(peers)
    others = [peer for peer in peers if peer not in own and not peer.startswith(LIMIT)]
    pairs = [(over, under) for under in own for over in others]
    header = ["request", *own, *(f"{over} / {under}" for over, under in pairs)]
    header += [f"{name}: p50, p99 ms" for name in own]
    lines = [header, ["---"] * len(header)]
    for scenario in (SCENARIOS[name] for name in samples):
        found = [find(samples, scenario, name) for name in own]
        figures = [cost(rounds) for rounds in found]
        latencies = [latency(rounds) for rounds in found]
        lines.append([scenario.title, *figures, *quotients(samples, scenario, pairs), *latencies])
        if scenario.connections == MANY:
            cells = quotients(samples, scenario, pairs, p99)
            lines.append([f"{scenario.title}: p99", *[""] * len(own), *cells, *[""] * len(own)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def quotients(
    samples: Samples, scenario: Scenario, pairs: Sequence[tuple[str, str]], figure: Figure = both
) -> list[str]:
    return [ratio(samples, scenario, over, under, figure) for over, under in pairs]


def cost(rounds: Sequence[Sample] | None) -> str:
    """The CPU of the server and of PostgreSQL, in µs a request."""
    if not rounds:
        return "–"
    return f"{number(middle(rounds, server))} + {number(middle(rounds, lambda s: s.postgres))}"


def latency(rounds: Sequence[Sample] | None) -> str:
    if not rounds:
        return "–"
    return f"{number(middle(rounds, lambda s: s.p50))}, {number(middle(rounds, p99))}"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"
