"""The ledger's tables: a new ledger is created from them.

The first change after a release needs a new `SCHEMA_VERSION` and a migration of the ledgers that exist, in
the transaction of `database._create_tables`, which also `risk-alerts check` runs and rolls back. The version
table is that of Alembic, and all constraints have names, so that Alembic's `Operations` can do it.
"""

from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlmodel import Field, SQLModel

from core.domain import AlertStatus, Counts

SCHEMA_VERSION = "0004"
"""Development versions had 0001 to 0003."""

# A migration can drop only constraints that have names.
METADATA = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Alembic's table, not under its default name: another service's migrations may share the database.
VERSION = sa.Table("risk_alerts_version", METADATA, sa.Column("version_num", sa.String(32), primary_key=True))
TOUCH = VERSION.update().values(version_num=VERSION.c.version_num)
"""A write that changes nothing, to test a commit."""


class Base(SQLModel):
    """The base of the ledger's tables."""

    metadata = METADATA


class RunRow(Base, table=True):
    """One run: its request, its process, its result."""

    __tablename__ = "runs"
    __table_args__ = (sa.Index(None, "started_at", "run_id"),)

    run_id: str = Field(primary_key=True)
    flow_run_id: str | None
    source_uri: str
    source_version: str | None
    month: date = Field(index=True)
    dry_run: bool
    retry_unconfirmed: bool
    status: str = Field(index=True)
    started_at: datetime
    finished_at: datetime | None

    host: str
    pid: int
    process_started: str
    heartbeat_at: datetime

    counts_by_type: dict[str, dict[str, int]] = Field(sa_type=sa.JSON)
    """`Counts` by alert type: after the plan only those of the scan, after the run is closed all of them."""
    warnings: list[dict[str, Any]] = Field(sa_type=sa.JSON)
    error: dict[str, str] | None = Field(sa_type=sa.JSON(none_as_null=True))
    support_notification: str | None
    support_error: str | None
    support_message: dict[str, str] | None = Field(sa_type=sa.JSON(none_as_null=True))


class Result(Base):
    """The columns of an alert's result, in one run or across runs."""

    channel: str | None
    # By default, SQLModel stores the names of the members instead of their values.
    status: AlertStatus = Field(sa_type=sa.Enum(AlertStatus, native_enum=False, values_callable=list))
    reason: str | None
    error: str | None
    attempts: int
    sent_at: datetime | None


class OutcomeRow(Result, table=True):
    """The result of an alert across runs; the primary key makes an alert unique."""

    __tablename__ = "alert_outcomes"
    # Without a rowid, SQLite keeps the rows in the order of the key: those of a month lie together.
    __table_args__ = (sa.Index(None, "run_id", "status", "alert_type"), {"sqlite_with_rowid": False})

    month: date = Field(primary_key=True)
    account_id: str = Field(primary_key=True)
    alert_type: str = Field(primary_key=True)
    region: str | None
    run_id: str
    updated_at: datetime


class RunAlertRow(Result, table=True):
    """An alert with its result in one run, which later runs do not change."""

    __tablename__ = "run_alerts"
    __table_args__ = (sa.Index(None, "run_id", "position"), sa.Index(None, "run_id", "status", "position"))

    run_id: str = Field(primary_key=True, foreign_key="runs.run_id")
    account_id: str = Field(primary_key=True)
    alert_type: str = Field(primary_key=True)
    position: int
    account_name: str
    account_region: str | None
    arr: int | None = Field(sa_type=sa.BigInteger)
    renewal_date: date | None
    account_owner: str | None
    duration_months: int
    risk_start_month: date


class NotificationRow(Base, table=True):
    """The last notification of a month that an address accepted, and the claim of the next one."""

    __tablename__ = "notifications"

    month: date = Field(primary_key=True)
    address: str = Field(primary_key=True)
    """Empty for a notification that was only logged."""
    digest: str
    """The digest of the list of open alerts; empty as long as the address has accepted none."""
    run_id: str
    """The last run that has claimed the notification."""


class ResolutionRow(Base, table=True):
    """A person's decision about an unconfirmed alert; a row never changes."""

    __tablename__ = "resolutions"

    run_id: str = Field(primary_key=True)
    """The run whose message may have been delivered."""
    account_id: str = Field(primary_key=True)
    alert_type: str = Field(primary_key=True)
    month: date = Field(index=True)
    decision: str
    by: str
    at: datetime
    note: str | None
    reason: str | None
    """Why the alert was unconfirmed."""


RUNS, RUN_ALERTS, OUTCOMES, RESOLUTIONS, NOTIFICATIONS = (
    METADATA.tables[name] for name in ("runs", "run_alerts", "alert_outcomes", "resolutions", "notifications")
)

COUNTS = TypeAdapter(dict[str, Counts])
"""The column `counts_by_type`."""
