"""What is on record of alerts for good, with what people decided of them, read for whoever asks."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, tuple_
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import Select

from core.cursors import bad_cursor, decode_cursor, encode_cursor, one_more_than
from core.domain import AlertType, Decision, OutcomeStatus
from core.outcome_rows import not_on_record
from core.tables import OutcomeRow, RunAlertRow, SettlementRow
from core.views import OutcomePage, OutcomeView, SettlementView


def read_outcomes(
    session: Session, month: date | None, status: OutcomeStatus | None, limit: int | None, cursor: str | None
) -> OutcomePage:
    """Give a page of outcomes, newest month first, in order of account_id; raises `InvalidRequest`."""
    query = _outcomes()
    if month is not None:
        query = query.where(col(OutcomeRow.month) == month)
    if status is not None:
        query = query.where(col(OutcomeRow.status) == status)
    if cursor is not None:
        query = query.where(_after(cursor))
    query = query.order_by(col(OutcomeRow.month).desc(), col(OutcomeRow.account_id))
    rows = session.execute(query.limit(one_more_than(limit))).all()
    found = _views(session, rows[:limit])
    last = found[-1] if len(rows) > len(found) else None
    position = last and encode_cursor(
        json.dumps([last.month.isoformat(), last.account_id], ensure_ascii=False)
    )
    return OutcomePage(outcomes=found, next_cursor=position)


def read_outcome(session: Session, month: date, account_id: str) -> OutcomeView:
    """Give one outcome; raises `OutcomeNotFound`."""
    key = (col(OutcomeRow.month) == month, col(OutcomeRow.account_id) == account_id)
    rows = session.execute(_outcomes().where(*key)).all()
    if not rows:
        raise not_on_record(account_id, month)
    return _views(session, rows)[0]


def outcomes_by_account(session: Session, month: date, account_ids: Sequence[str]) -> dict[str, OutcomeView]:
    """Give the outcomes of these accounts in the month, by account_id; those that have none are left out."""
    wanted = (col(OutcomeRow.month) == month, col(OutcomeRow.account_id).in_(account_ids))
    rows = session.execute(_outcomes().where(*wanted)).all()
    return {view.account_id: view for view in _views(session, rows)}


def _outcomes() -> Select[Any, Any]:
    """Select each outcome, and the account's name as the run saw it that wrote the outcome."""
    seen = and_(
        col(RunAlertRow.run_id) == col(OutcomeRow.run_id),
        col(RunAlertRow.account_id) == col(OutcomeRow.account_id),
        col(RunAlertRow.alert_type) == col(OutcomeRow.alert_type),
    )
    query = select(OutcomeRow, RunAlertRow.account_name).outerjoin(RunAlertRow, seen)
    return query.where(col(OutcomeRow.alert_type) == AlertType.AT_RISK)


def _after(cursor: str) -> ColumnElement[bool]:
    try:
        month, account_id = json.loads(decode_cursor(cursor))
        reached = date.fromisoformat(month)
    except (ValueError, TypeError):
        raise bad_cursor() from None
    if not isinstance(account_id, str):
        raise bad_cursor()
    same = and_(col(OutcomeRow.month) == reached, col(OutcomeRow.account_id) > account_id)
    return or_(col(OutcomeRow.month) < reached, same)


def _views(session: Session, rows: Iterable[Any]) -> list[OutcomeView]:
    rows = list(rows)
    keys = [(row.month, row.account_id) for row, _ in rows]
    settlements: dict[tuple[date, str], list[SettlementView]] = defaultdict(list)
    if keys:
        query = select(SettlementRow).where(
            tuple_(col(SettlementRow.month), col(SettlementRow.account_id)).in_(keys),
            SettlementRow.alert_type == AlertType.AT_RISK,
        )
        for row in session.exec(query.order_by(col(SettlementRow.settled_at))):
            settlements[row.month, row.account_id].append(_settlement(row))
    return [
        OutcomeView(
            **row.model_dump(),
            account_name=account_name,
            settlements=settlements[row.month, row.account_id],
        )
        for row, account_name in rows
    ]


def _settlement(row: SettlementRow) -> SettlementView:
    return SettlementView(
        decision=Decision(row.decision),
        by=row.settled_by,
        at=row.settled_at,
        note=row.note,
        run_id=row.run_id,
        reason=row.reason,
    )
