"""The page of one run, and the list of runs."""

from datetime import date
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from api.pages.chart import bars, short_money
from api.pages.rendering import page
from core.domain import AlertKey, AlertStatus, Decision, OutcomeStatus, RunStatus, open_by_reason
from core.ledger import AlertView, History, MonthView, OutcomeView, RunView

SHOWN = 200
"""So many alerts of each kind are on the page; the API has them all."""

COUNTS = (
    ("alerts_sent", "sent", "by this run"),
    ("would_send", "would be sent", "this was a dry run"),
    ("skipped_replay", "sent before", "by an earlier run, or being sent by another"),
    ("failed_deliveries", "not delivered", "below is what to do"),
    ("below_threshold", "below threshold", "of ARR: not alerted"),
)


def run_page(
    request: Request, history: History, run_id: str, *, notice: str = "", status: int = 200
) -> HTMLResponse:
    """Show what happened in a run, what is open of it, and how to resolve it; raises `RunNotFound`."""
    run = history.run(run_id)
    failed = history.alerts(run_id, AlertStatus.FAILED, SHOWN, None)
    unconfirmed = history.alerts(run_id, AlertStatus.UNCONFIRMED, SHOWN, None)
    every = history.alerts(run_id, None, SHOWN, None)
    keys = [alert.key for alert in (*failed.alerts, *unconfirmed.alerts)]
    outcomes = {} if run.dry_run else history.latest_outcomes(run.month, keys)
    channels = history.channels(run_id)
    return page(
        request,
        "run.html",
        status,
        title=f"Run of {run.month:%B %Y}",
        run=run,
        seconds=(run.finished_at - run.started_at).total_seconds() if run.finished_at else None,
        counts=_counts(run),
        channels=channels,
        statuses=[one for one in AlertStatus if any(one in channel.alerts for channel in channels)],
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
        decisions=list(Decision),
        notice=notice,
    )


def runs_page(  # noqa: PLR0913  # what can be asked of the list
    request: Request,
    history: History,
    month: date | None,
    status: RunStatus | None,
    *,
    limit: int,
    cursor: str | None,
) -> HTMLResponse:
    """List runs, newest first, with links that narrow the list."""
    found = history.runs(month, status, limit, cursor)
    months = history.months()
    return page(
        request,
        "runs.html",
        title="Runs",
        runs=found.runs,
        next_cursor=found.next_cursor,
        limit=limit,
        month=month,
        months=sorted({one.month for one in months} | ({month} if month else set()), reverse=True),
        status=status,
        statuses=list(RunStatus),
        charts=_charts(months),
    )


def _counts(run: RunView) -> list[tuple[int, str, str]]:
    numbers = run.counts.model_dump()
    found = [
        (number, name.replace("_", " "), f"of {run.counts.rows_scanned:,} rows read")
        for name, number in run.found_by_type.items()
    ]
    doubtful = f"{numbers['unconfirmed']:,} of them unconfirmed" if numbers["unconfirmed"] else ""
    return found + [
        (numbers[name], what, doubtful if doubtful and name == "failed_deliveries" else hint)
        for name, what, hint in COUNTS
        if numbers[name] or name in {"alerts_sent", "failed_deliveries"}
    ]


def _by_reason(
    alerts: list[AlertView], outcomes: dict[AlertKey, OutcomeView]
) -> list[tuple[str, str, list[tuple[AlertView, OutcomeView | None]]]]:
    """Put alerts of the same reason together, each with what became of it since, and say what to do."""
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
