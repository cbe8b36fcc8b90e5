"""The chart: CPU a request for every scenario and peer, the server's part and PostgreSQL's."""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

from benchmarks.report import Results, both, middle, spread
from benchmarks.scenarios import SCENARIOS

SERVER, POSTGRES = "#2f6f9f", "#c98a2b"
WIDTH = 3.2  # inches of a panel


def draw(results: Results, path: Path) -> None:
    """Write the chart as PNG: a row for each number of posts, a panel for each scenario."""
    mpl.use("agg")
    columns = len(next(iter(results.values())))
    figure, panels = plt.subplots(
        len(results), columns, figsize=(WIDTH * columns, 3.4 * len(results)), squeeze=False
    )
    for row, (size, samples) in zip(panels, results.items(), strict=True):
        for panel, (name, peers) in zip(row, samples.items(), strict=True):
            server = [middle(rounds, lambda s: s.server) for rounds in peers.values()]
            postgres = [middle(rounds, lambda s: s.postgres) for rounds in peers.values()]
            error = [middle(rounds, both) * spread(rounds, both) for rounds in peers.values()]
            panel.bar(list(peers), server, color=SERVER, label="server")
            panel.bar(
                list(peers), postgres, bottom=server, yerr=error, color=POSTGRES, label="PostgreSQL"
            )
            panel.set_title(f"{SCENARIOS[name].title}\n{size:,} posts", fontsize=9)
            panel.tick_params(axis="x", rotation=45, labelsize=8)
            panel.spines[["top", "right"]].set_visible(False)
        row[0].set_ylabel("µs of CPU a request")
        row[0].legend(fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
