"""The count of open connections, whatever the server is."""

from service.observability.metrics import Metrics


class OpenConnections:
    """How many connections are open, as the server counts them."""

    __slots__ = ("count",)

    def __init__(self, metrics: Metrics) -> None:
        self.count = 0
        metrics.add_gauge("connections_open", "HTTP connections.", lambda: self.count)
