"""Pages for a browser, whose templates escape all data: no scripts, and nothing from another host."""

import base64
import hashlib
from datetime import date
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from core.domain import AlertStatus, Counts, RunStatus, money, one_line, shown_region, total
from core.ledger import History, RunPage

SHOWN = 200
"""How many alerts of each kind are on the page; the API has them all."""
LEFT_OUT = frozenset({"rows_scanned", "duplicates_found", "unknown_region"})
"""Counts that a page shows in another place, or not at all."""

_FOLDER = Path(__file__).parent
STYLE = (_FOLDER / "style.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)

TEMPLATES = Environment(
    loader=FileSystemLoader(_FOLDER / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters |= {
    "clock": lambda instant: f"{instant:%Y-%m-%d %H:%M:%S} UTC",
    "money": money,
    "region": shown_region,
    "line": lambda text: one_line(str(text)),
    "words": lambda text: str(text).replace("_", " "),
    "number": lambda number: f"{number:,}",
}


def run_page(request: Request, history: History, run_id: str) -> HTMLResponse:
    """Return the page of a run with its open alerts and the forms that resolve them; raise `RunNotFound`."""
    run = history.run(run_id)
    by_reason = history.open_of(run_id, SHOWN)
    every = history.alerts(run_id, limit=SHOWN)
    keys = [alert.key for found in by_reason for alert in found.alerts]
    outcomes = {} if run.dry_run else history.outcomes_of(run.month, keys)
    return page(
        request,
        "run.html",
        title=run.title,
        run=run,
        counts=[count for count in run.counts.labeled(run.alert_types) if count[0] not in LEFT_OUT],
        hints={name: field.description for name, field in Counts.model_fields.items()},
        channels=history.channels(run_id),
        failed=[found for found in by_reason if found.status is AlertStatus.FAILED],
        unconfirmed=[
            alert for found in by_reason if found.status is AlertStatus.UNCONFIRMED for alert in found.alerts
        ],
        every=every,
        outcomes=outcomes,
    )


def runs_page(
    request: Request, found: RunPage, *, month: date | None, status: RunStatus | None, limit: int
) -> HTMLResponse:
    """Return the page that lists runs, with links to other months and statuses and to older runs."""
    types = dict.fromkeys(alert_type for run in found.runs for alert_type in run.alert_types)
    # A total is 0 only if the count is 0 in every run, so no column with a number is left out.
    shown = total(run.counts for run in found.runs).labeled(types)
    columns = [(name, label) for name, label, _ in shown if name not in LEFT_OUT]
    return page(
        request,
        "runs.html",
        title="Runs",
        runs=found.runs,
        columns=columns,
        next_cursor=found.next_cursor,
        choices=sorted({run.month for run in found.runs} | ({month} if month else set()), reverse=True),
        statuses=list(RunStatus),
        month=month,
        status=status,
        limit=limit,
    )


def page(request: Request, name: str, http_status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page made of a template and values, with links below the root of the request."""
    text = TEMPLATES.get_template(name).render(style=STYLE, root=request.scope["root_path"], **values)
    return HTMLResponse(text, status_code=http_status, headers={"Content-Security-Policy": POLICY})


def wants_page(request: Request) -> bool:
    """Return whether the client asks for HTML and not for JSON, as a browser does."""
    accept = ",".join(request.headers.getlist("accept")).lower()
    return "text/html" in accept and "application/json" not in accept
