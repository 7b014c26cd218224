"""The page of one run, and the page that lists runs."""

from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from api.pages.rendering import page
from core.domain import AlertStatus, Counts, RunStatus, count_label, count_names, open_by_reason
from core.ledger import History, MonthView, RunPage, RunSummary

SHOWN = 200
"""How many alerts of each kind are on the page; the API has them all."""
LEFT_OUT = frozenset({"rows_scanned", "duplicates_found", "unknown_region"})
"""Counts that the page shows elsewhere or not at all."""


def run_page(request: Request, history: History, run_id: str) -> HTMLResponse:
    """Return the page of a run with its open alerts and the forms that resolve them; raise `RunNotFound`."""
    run = history.run(run_id)
    failed = history.alerts(run_id, status=AlertStatus.FAILED, limit=SHOWN)
    unconfirmed = history.alerts(run_id, status=AlertStatus.UNCONFIRMED, limit=SHOWN)
    every = history.alerts(run_id, limit=SHOWN)
    keys = [alert.key for alert in (*failed.alerts, *unconfirmed.alerts)]
    outcomes = {} if run.dry_run else history.latest_outcomes(run.month, keys)
    return page(
        request,
        "run.html",
        title=run.title,
        run=run,
        counts=_counts(run),
        hints={name: field.description for name, field in Counts.model_fields.items()},
        channels=history.channels(run_id),
        failed=open_by_reason(failed.alerts),
        more_failed=failed.next_cursor,
        unconfirmed=unconfirmed,
        every=every,
        outcomes=outcomes,
        months=history.months(run.month),
    )


def runs_page(request: Request, found: RunPage, months: list[MonthView], **filters: Any) -> HTMLResponse:
    """Return the page that lists runs, with links that change its `month`, `status` and `limit`."""
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
        choices=sorted({one.month for one in months} | {filters["month"]} - {None}, reverse=True),
        months=months,
        statuses=list(RunStatus),
        **filters,
    )


def _counts(run: RunSummary) -> list[tuple[str, str, int]]:
    return [count for count in run.labeled_counts if count[0] not in LEFT_OUT]
