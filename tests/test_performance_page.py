"""docs/performance.md and its chart match the numbers in docs/performance.json."""

import json

import pytest

from bench.support import report

RESULT = json.loads(report.KEPT.read_text(encoding="utf-8"))


def test_tables_match_the_stored_numbers() -> None:
    text = report.PAGE.read_text(encoding="utf-8")
    assert report.page(text, RESULT) == text


def test_chart_matches_the_stored_numbers() -> None:
    assert report.CHART.read_text(encoding="utf-8") == report.chart(RESULT)


@pytest.mark.parametrize("part", sorted(RESULT["parts"]))
def test_every_part_is_on_the_page(part: str) -> None:
    measured = RESULT["parts"][part]["measured"]
    names = {item["data"].removesuffix(".parquet") for item in measured if "data" in item} or {"by-month"}
    text = report.PAGE.read_text(encoding="utf-8")
    assert all(name in text for name in {part, *names})
