"""The counts of a run in the words of a report."""

import pytest

from core.domain import Counts


@pytest.mark.parametrize(
    ("counts", "end"),
    [
        (Counts(alerts_sent=5), "5 sent, 0 not delivered"),
        (
            Counts(alerts_sent=5, failed_deliveries=4, unknown_region=4),
            "5 sent, 4 not delivered (4 of an unknown region)",
        ),
        (
            Counts(failed_deliveries=1_004, would_send=2, unknown_region=3, unconfirmed=1_001),
            "0 sent, 1,004 not delivered (3 of an unknown region, 1,001 unconfirmed), 2 would be sent",
        ),
    ],
)
def test_summary_counts_each_alert_once(counts: Counts, end: str) -> None:
    """A part of the alerts that were not delivered is no further alert."""
    start = "0 rows read, 0 duplicate rows, 0 at risk, 0 below the ARR threshold, "
    assert counts.summary(["at_risk"]) == start + end


def test_count_of_another_alert_type_is_named_by_it() -> None:
    counts = Counts.model_validate({"of_the_tests": 1_002})
    assert ", 1,002 of the tests, 0 below" in counts.summary(["of_the_tests"])


def test_report_has_each_count_once() -> None:
    counts = Counts.model_validate({**dict.fromkeys(Counts.model_fields, 1), "of_the_tests": 1})
    assert [name for name, _, _ in counts.labeled(["recovered", "of_the_tests"])] == [
        *("rows_scanned", "duplicates_found", "recovered", "of_the_tests", "below_threshold", "alerts_sent"),
        *("skipped_replay", "failed_deliveries", "would_send", "unknown_region", "unconfirmed"),
    ]
