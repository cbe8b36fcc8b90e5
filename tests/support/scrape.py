"""The metrics of an application, as Prometheus reads them."""

from prometheus_client.parser import text_string_to_metric_families

from tests.support.client import Client


class Scrape:
    """The samples of one scrape."""

    def __init__(self, body: bytes) -> None:
        self.text = body.decode()
        self.samples = [
            sample
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
        ]

    def value(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        found = [
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        assert name.startswith("http_") or found, f"there is no {name}"
        return sum(found)

    def labels(self, name: str, of: str = "") -> set[str]:
        """All values of a label, of the metrics whose names begin so."""
        return {
            sample.labels[name]
            for sample in self.samples
            if name in sample.labels and sample.name.startswith(of)
        }


async def scrape(client: Client) -> Scrape:
    answer = await client.get("/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Scrape(answer.body)
