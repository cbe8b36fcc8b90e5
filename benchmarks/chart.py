"""The chart: CPU a request for every scenario and peer, the server's part and PostgreSQL's."""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from benchmarks.report import Results
from benchmarks.sample import Sample, both, middle, quotient, server, spread
from benchmarks.scenarios import SCENARIOS
from benchmarks.variants import services

SERVER, POSTGRES = "#2f6f9f", "#c98a2b"
COLUMNS = 5
WIDTH, HEIGHT = 3.2, 3.4  # inches of a panel


def draw(results: Results, path: Path) -> None:
    """Write the chart as PNG: a panel for each scenario and number of posts.

    Above each peer stands what it costs as a multiple of the service, the median of the rounds.
    """
    mpl.use("agg")
    drawn = [(size, name, samples) for size, samples in results.items() for name in samples]
    columns = min(COLUMNS, len(drawn))
    rows = -(-len(drawn) // columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(WIDTH * columns, HEIGHT * rows), squeeze=False
    )
    panels: Sequence[Axes] = list(chain.from_iterable(grid))
    for panel, (size, name, samples) in zip(panels, drawn, strict=False):
        bars(panel, samples[name])
        panel.set_title(f"{SCENARIOS[name].title}\n{size:,} posts", fontsize=9)
    for panel in panels[len(drawn) :]:
        panel.remove()
    for row in grid:
        row[0].set_ylabel("µs of CPU a request")
    panels[0].legend(fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def bars(panel: Axes, peers: Mapping[str, Sequence[Sample]]) -> None:
    base = services(list(peers))[:1]
    servers = [middle(rounds, server) for rounds in peers.values()]
    postgres = [middle(rounds, lambda s: s.postgres) for rounds in peers.values()]
    error = [middle(rounds, both) * spread(rounds, both) for rounds in peers.values()]
    panel.bar(list(peers), servers, color=SERVER, label="server")
    top = panel.bar(
        list(peers), postgres, bottom=servers, yerr=error, color=POSTGRES, label="PostgreSQL"
    )
    if base:
        times = [f"× {quotient(rounds, peers[base[0]], both)}" for rounds in peers.values()]
        panel.bar_label(top, times, padding=2, fontsize=8)
    panel.tick_params(axis="x", rotation=45, labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)
