"""The counts of a run in the words of a report."""

from core.domain import Counts


def test_summary_counts_each_alert_once() -> None:
    """Unknown regions and unconfirmed alerts are parts of the count before them."""
    counts = Counts(failed_deliveries=1_004, would_send=2, unknown_region=3, unconfirmed=1_001)
    scanned = "0 rows read, 0 duplicate rows, 0 at risk, 0 below the ARR threshold, 0 sent"
    parts = "1,004 failed or unconfirmed (3 of an unknown region, 1,001 unconfirmed)"
    assert counts.summary(["at_risk"]) == f"{scanned}, {parts}, 2 would be sent"
    assert Counts().summary(["at_risk"]) == f"{scanned}, 0 failed or unconfirmed"
    one = Counts(rows_scanned=1, duplicates_found=1).summary(["at_risk"])
    assert one.startswith("1 row read, 1 duplicate row, 0 at risk")


def test_count_of_another_alert_type_is_named_by_it() -> None:
    counts = Counts.model_validate({"of_the_tests": 1_002})
    assert ", 1,002 of the tests, 0 below" in counts.summary(["of_the_tests"])


def test_report_has_each_count_once() -> None:
    counts = Counts.model_validate({**dict.fromkeys(Counts.model_fields, 1), "of_the_tests": 1})
    assert [name for name, _, _ in counts.labeled(["recovered", "of_the_tests"])] == [
        *("rows_scanned", "duplicates_found", "recovered", "of_the_tests", "below_threshold", "alerts_sent"),
        *("skipped_replay", "failed_deliveries", "would_send", "unknown_region", "unconfirmed"),
    ]
