"""What a page about runs shows beyond a run itself: its channels, and how the months compare."""

from collections import defaultdict
from datetime import date

from sqlalchemy import func
from sqlalchemy import select as core_select
from sqlmodel import Session, col, select

from core.domain import AlertStatus, RunStatus
from core.tables import RunAlertRow, RunRow
from core.views import ChannelView, MonthView

MONTHS_SHOWN = 24
"""Months of history that are compared at the most."""


def read_channels(session: Session, run_id: str) -> list[ChannelView]:
    """Count the run's alerts by channel and status, in order of the channels; those without one come last."""
    groups = session.exec(
        select(RunAlertRow.channel, RunAlertRow.status, func.count())
        .where(RunAlertRow.run_id == run_id)
        .group_by(col(RunAlertRow.channel), col(RunAlertRow.status))
    )
    found: dict[str | None, dict[AlertStatus, int]] = defaultdict(dict)
    for channel, status, number in groups:
        found[channel][AlertStatus(status)] = number
    return [
        ChannelView(channel=channel, alerts=found[channel])
        for channel in sorted(found, key=lambda name: (name is None, name or ""))
    ]


def read_months(session: Session, until: date) -> list[MonthView]:
    """Give what the last run that succeeded for each month found, oldest first, up to and with `until`.

    The ARR is that of the alerts: of accounts below the threshold the ledger keeps the number alone.
    """
    columns = (RunRow.run_id, RunRow.month, RunRow.at_risk)
    latest = (col(RunRow.started_at).desc(), col(RunRow.run_id))
    place = func.row_number().over(partition_by=col(RunRow.month), order_by=latest).label("place")
    newest = (
        core_select(*map(col, columns), place)
        .where(col(RunRow.status) == RunStatus.SUCCEEDED, col(RunRow.month) <= until)
        .subquery()
    )
    query = (
        core_select(
            newest.c.month, newest.c.run_id, newest.c.at_risk, func.coalesce(func.sum(RunAlertRow.arr), 0)
        )
        .outerjoin(RunAlertRow, col(RunAlertRow.run_id) == newest.c.run_id)
        .where(newest.c.place == 1)
        .group_by(newest.c.month, newest.c.run_id, newest.c.at_risk)
        .order_by(newest.c.month.desc())
        .limit(MONTHS_SHOWN)
    )
    rows = session.execute(query).all()
    return [
        MonthView(month=month, run_id=run_id, at_risk=at_risk, arr=int(arr))
        for month, run_id, at_risk, arr in reversed(rows)
    ]
