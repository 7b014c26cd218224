"""The counts of a run: of its scan, and of the results of its alerts."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pydantic import BaseModel, Field

from core.domain.alerts import AlertStatus
from core.domain.reasons import UNKNOWN_REGION


def _count(label: str, description: str) -> Any:
    return Field(default=0, title=label, description=description)


class Counts(BaseModel, frozen=True, extra="allow"):
    """The counts of a run, or of one of its alert types.

    What the rules found (`at_risk` + `recovered`) is `below_threshold` + `alerts_sent` + `skipped_replay` +
    `failed_deliveries` + `would_send`. Another alert type has a count of its own name beside these two.
    """

    rows_scanned: int = _count("rows read", "Rows of the source that the answer needed.")
    duplicates_found: int = _count(
        "duplicate rows",
        "Rows that a later row of the same account and month superseded, among the rows needed.",
    )
    at_risk: int = _count("at risk", "Accounts whose latest row of the month is At Risk.")
    recovered: int = _count("recovered", "Accounts at risk in the month before and not in this month.")
    below_threshold: int = _count("below the ARR threshold", "Accounts that ARR_THRESHOLD left out.")
    alerts_sent: int = _count("sent", "Sent by this run.")
    skipped_replay: int = _count("sent before", "Sent by an earlier run, or being sent by another.")
    failed_deliveries: int = _count("failed or unconfirmed", "Not delivered, or unconfirmed.")
    would_send: int = _count("would be sent", "Alerts that a run without dry_run would send.")
    unknown_region: int = _count("of an unknown region", "Failed, because the region has no channel.")
    unconfirmed: int = _count("unconfirmed", "May or may not be in the channel.")

    def summary(self, alert_types: Collection[str]) -> str:
        """Return the counts as a phrase of a report; parts of a count follow it in parentheses."""
        shown = {
            name: f"{number:,} {label if number != 1 else label.replace('rows', 'row')}"
            for name, label, number in self.labeled(alert_types)
        }
        parts = [shown.pop(name) for name in _PARTS_OF_FAILED if name in shown]
        if parts:
            shown["failed_deliveries"] += f" ({', '.join(parts)})"
        return ", ".join(shown.values())

    def labeled(self, alert_types: Collection[str]) -> list[tuple[str, str, int]]:
        """Return (name, label, number) of the counts that a report shows; some are left out at 0."""
        numbers = self.model_dump()
        labels = {name: field.title for name, field in Counts.model_fields.items()}
        rest = [name for name in labels if name not in (*_OF_THE_SCAN, "at_risk", "recovered")]
        return [
            (name, labels.get(name) or name.replace("_", " "), numbers[name])
            for name in (*_OF_THE_SCAN, *alert_types, *rest)
            if numbers[name] or name in _SHOWN_AT_ZERO or name in alert_types
        ]


_OF_THE_SCAN = ("rows_scanned", "duplicates_found")
"""Counts of the scan, which is the same for all alert types."""

_SHOWN_AT_ZERO = (*_OF_THE_SCAN, "below_threshold", "alerts_sent", "failed_deliveries")

_PARTS_OF_FAILED = ("unknown_region", "unconfirmed")
"""Counts that are parts of `failed_deliveries`."""

_COUNTED_AS = {
    AlertStatus.SENT: ("alerts_sent",),
    AlertStatus.SKIPPED_REPLAY: ("skipped_replay",),
    AlertStatus.FAILED: ("failed_deliveries",),
    AlertStatus.UNCONFIRMED: ("failed_deliveries", "unconfirmed"),
    AlertStatus.WOULD_SEND: ("would_send",),
}
"""The counts that an alert of a status adds to; pending and sending alerts add to none."""

_OF_ALERTS = {"unknown_region"}.union(*_COUNTED_AS.values())
"""The counts of the results of alerts; `count_found` makes the others."""


def count_found(rows: int, duplicates: int, found: Mapping[str, tuple[int, int]]) -> dict[str, Counts]:
    """Return the counts of a scan by alert type; `found` has (accounts, those below the threshold)."""
    return {
        alert_type: Counts(
            rows_scanned=rows,
            duplicates_found=duplicates,
            below_threshold=below_threshold,
            # The counts of one type also have a 0 for each other type, so that all have the same keys.
            **{name: accounts if name == alert_type else 0 for name in found},
        )
        for alert_type, (accounts, below_threshold) in found.items()
    }


def count_alerts(
    found: Mapping[str, Counts], alerts: Iterable[tuple[str, AlertStatus, str | None, int]]
) -> dict[str, Counts]:
    """Return the counts of the scan together with the counts of the alerts' results.

    `alerts` has (alert type, status, reason, number); each alert type is a key of `found`.
    """
    numbers = {alert_type: dict.fromkeys(_OF_ALERTS, 0) for alert_type in found}
    for alert_type, status, reason, number in alerts:
        for name in _COUNTED_AS.get(status, ()):
            numbers[alert_type][name] += number
        if status is AlertStatus.FAILED and reason == UNKNOWN_REGION:
            numbers[alert_type]["unknown_region"] += number
    return {alert_type: counts.model_copy(update=numbers[alert_type]) for alert_type, counts in found.items()}


def total(parts: Iterable[Counts]) -> Counts:
    """Return the counts of all alert types together; those of the scan, which they share, are not added."""
    numbers: dict[str, int] = {}
    for counts in parts:
        for name, number in counts.model_dump().items():
            numbers[name] = number if name in _OF_THE_SCAN else numbers.get(name, 0) + number
    return Counts(**numbers)
