"""A preview, a run and its page when several alert types are enabled."""

from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.service import Service, adds_up, row, write_source

DECEMBER = "2025-12-01"
ROWS = [
    *(row("A"), row("A", DECEMBER)),
    *(row("B", status="Healthy"), row("B", DECEMBER)),
    *(row("C", status="Healthy", account_region="LATAM"), row("C", DECEMBER)),
    *(row("D", status="Healthy", arr=1), row("D", DECEMBER)),
]
"""A is at risk; B, C (of an unknown region) and D (below the threshold) have recovered."""


@pytest.fixture
def service(serve: Serve) -> Service:
    """Return the API with two alert types."""
    return serve(ALERT_TYPES='["at_risk", "recovered"]')


@pytest.fixture
def source(tmp_path: Path) -> str:
    """Return the URI of a source with alerts of both types."""
    return write_source(tmp_path / "types.parquet", ROWS)


@pytest.mark.parametrize("ended", ["would_send", "alerts_sent"])
def test_counts_add_up_for_each_alert_type(service: Service, source: str, ended: str) -> None:
    found = service.post("/preview", source).json() if ended == "would_send" else service.run(source)
    by_type = found["counts_by_type"]
    assert {name: (of["at_risk"], of["recovered"], of[ended]) for name, of in by_type.items()} == {
        "at_risk": (1, 0, 1),
        "recovered": (0, 3, 1),
    }
    assert all(adds_up(counts) for counts in (found["counts"], *by_type.values()))
    for name in set(found["counts"]) - {"rows_scanned", "duplicates_found"}:
        assert found["counts"][name] == sum(counts[name] for counts in by_type.values()), name


def test_page_shows_counts_and_alerts_by_type(service: Service, source: str) -> None:
    run = service.run(source)
    browser = {"Accept": "text/html"}
    assert ">Recovered</th>" in service.client.get("/runs", headers=browser).text
    page = service.client.get(f"/runs/{run['run_id']}", headers=browser).text
    assert "Counts by alert type" in page
    assert '<span class="id">B, recovered</span>' in page
    assert '<span class="id">A</span>' in page
