"""Reading what a process has measured, as Prometheus does."""

from collections.abc import Mapping

import httpx2
from prometheus_client.parser import text_string_to_metric_families

Labels = Mapping[str, str]


class Scrape:
    """One answer of `/metrics`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    def value(self, name: str, **labels: str) -> float | None:
        """The one sample of that name with these labels, among others; None for none."""
        found = [
            s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items()
        ]
        assert len(found) <= 1, (name, labels, found)
        return found[0] if found else None

    def by(self, name: str, label: str) -> dict[str, float]:
        """What is not 0 of the samples of that name, summed by one label."""
        sums: dict[str, float] = {}
        for sample in self.samples:
            if sample.name == name and sample.value:
                sums[sample.labels[label]] = sums.get(sample.labels[label], 0) + sample.value
        return sums


async def scrape(http: httpx2.AsyncClient, token: str | None = None) -> Scrape:
    """Read `/metrics`, which must answer."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = await http.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    return Scrape(answer.text)
