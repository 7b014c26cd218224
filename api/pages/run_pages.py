"""The page of one run, and the page that lists runs."""

from datetime import date
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from api.pages.chart import bars, short_money
from api.pages.rendering import page
from core.domain import (
    AlertKey,
    AlertStatus,
    OutcomeStatus,
    RunStatus,
    count_label,
    count_names,
    open_by_reason,
)
from core.ledger import AlertView, History, MonthView, OutcomeView, RunSummary

SHOWN = 200
"""How many alerts of each kind are on the page; the API has them all."""

HINTS = {
    "at_risk": "in the month",
    "recovered": "no longer at risk",
    "alerts_sent": "by this run",
    "would_send": "this was a dry run",
    "skipped_replay": "by an earlier run, or being sent by another",
    "failed_deliveries": "below is what to do",
    "unconfirmed": "part of those not delivered",
    "below_threshold": "not alerted",
}
"""What stands below a count on the page of a run."""
LEFT_OUT = frozenset({"rows_scanned", "duplicates_found", "unknown_region"})
"""Counts that the page shows elsewhere or not at all."""


def run_page(
    request: Request, history: History, run_id: str, *, notice: str = "", status: int = 200
) -> HTMLResponse:
    """Return the page of a run with its open alerts and the forms that resolve them; raise `RunNotFound`."""
    run = history.run(run_id)
    failed = history.alerts(run_id, AlertStatus.FAILED, SHOWN, None)
    unconfirmed = history.alerts(run_id, AlertStatus.UNCONFIRMED, SHOWN, None)
    every = history.alerts(run_id, None, SHOWN, None)
    keys = [alert.key for alert in (*failed.alerts, *unconfirmed.alerts)]
    outcomes = {} if run.dry_run else history.latest_outcomes(run.month, keys)
    return page(
        request,
        "run.html",
        status,
        title=run.title,
        run=run,
        seconds=(run.finished_at - run.started_at).total_seconds() if run.finished_at else None,
        counts=_counts(run),
        hints=HINTS,
        channels=history.channels(run_id),
        failed=_by_reason(failed.alerts, outcomes),
        more_failed=failed.next_cursor is not None,
        unconfirmed=[(alert, outcomes.get(alert.key)) for alert in unconfirmed.alerts],
        more_unconfirmed=unconfirmed.next_cursor is not None,
        alerts=every.alerts,
        more_alerts=every.next_cursor is not None,
        resolvable={
            alert.key
            for alert in unconfirmed.alerts
            if (found := outcomes.get(alert.key)) and found.status is OutcomeStatus.UNCONFIRMED
        },
        charts=_charts(history.months(run.month)),
        notice=notice,
    )


def runs_page(  # noqa: PLR0913  # the filters of the list
    request: Request,
    history: History,
    month: date | None,
    status: RunStatus | None,
    *,
    limit: int,
    cursor: str | None,
) -> HTMLResponse:
    """Return the page that lists runs, newest first, with links that narrow the list."""
    found = history.runs(month, status, limit, cursor)
    months = history.months()
    shown = {name for run in found.runs for name, _, _ in _counts(run)}
    types = dict.fromkeys(alert_type for run in found.runs for alert_type in run.alert_types)
    columns = [(name, count_label(name)) for name in count_names(types) if name in shown]
    return page(
        request,
        "runs.html",
        title="Runs",
        runs=found.runs,
        columns=columns,
        next_cursor=found.next_cursor,
        limit=limit,
        month=month,
        months=sorted({one.month for one in months} | ({month} if month else set()), reverse=True),
        status=status,
        statuses=list(RunStatus),
        charts=_charts(months),
    )


def _counts(run: RunSummary) -> list[tuple[str, str, int]]:
    return [count for count in run.labeled_counts if count[0] not in LEFT_OUT]


def _by_reason(
    alerts: list[AlertView], outcomes: dict[AlertKey, OutcomeView]
) -> list[tuple[str, str, list[tuple[AlertView, OutcomeView | None]]]]:
    """Return (reason, what to do, alerts), each alert with its present outcome."""
    return [
        (reason, advice, [(alert, outcomes.get(alert.key)) for alert in those])
        for reason, advice, those in open_by_reason(alerts)
    ]


def _charts(months: list[MonthView]) -> list[dict[str, Any]]:
    if not months:
        return []
    accounts = [(f"{one.month:%b %y}", one.at_risk, f"{one.at_risk:,}") for one in months]
    dollars = [(f"{one.month:%b %y}", one.arr, short_money(one.arr)) for one in months]
    return [
        {"id": "accounts", "title": "Accounts at risk", "of": "accounts", "bars": bars(accounts)},
        {"id": "arr", "title": "ARR of the alerts", "of": "dollars a year", "bars": bars(dollars)},
    ]
