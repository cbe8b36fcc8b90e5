"""What one measurement found, and what several say together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median


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
Figure = Callable[[Sample], float]


def both(sample: Sample) -> float:
    """CPU of the server and PostgreSQL together, µs a request."""
    return sample.server + sample.postgres


def server(sample: Sample) -> float:
    return sample.server


def p99(sample: Sample) -> float:
    return sample.p99


def middle(samples: Sequence[Sample], figure: Figure) -> float:
    return median(figure(sample) for sample in samples)


def spread(samples: Sequence[Sample], figure: Figure) -> float:
    """Half of the range between the rounds, as a part of the median."""
    values = [figure(sample) for sample in samples]
    return (max(values) - min(values)) / 2 / median(values)


def quotient(over: Sequence[Sample] | None, under: Sequence[Sample] | None, of: Figure) -> str:
    """The median of the rounds' quotients: between rounds the machine may change its speed."""
    if not over or not under:
        return "–"
    return f"{median(of(a) / of(b) for a, b in zip(over, under, strict=True)):.2f}"
