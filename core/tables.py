"""The ledger's tables. A change needs a migration in `core/migrations/versions`, named in `core.database`."""

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, ForeignKey, Index, MetaData, Text
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

# Constraints need names, or a later migration can't drop them; set before the first table is made.
METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """An instant: stored in UTC, and read back with its zone even where the database keeps none."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Bring the instant to UTC; a naive one is refused, since nobody knows what it means."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant needs a time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give the zone back that SQLite dropped, and UTC for the session's that PostgreSQL gives."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Table(SQLModel):
    """What every table of the ledger shares."""

    metadata = METADATA


class RunRow(Table, table=True):
    """One run: what it was asked, who runs it, how it went."""

    __tablename__ = "runs"
    __table_args__ = (Index(None, "started_at", "run_id"), Index(None, "status"), Index(None, "month"))

    run_id: str = Field(primary_key=True)
    flow_run_id: str | None = None
    source_uri: str = Field(sa_type=Text)
    source_version: str | None = Field(default=None, sa_type=Text)
    month: date
    dry_run: bool
    retry_unconfirmed: bool
    status: str
    started_at: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)

    host: str
    pid: int
    process_started: str
    heartbeat_at: datetime = Field(sa_type=UtcDateTime)

    rows_scanned: int = Field(default=0, sa_type=BigInteger)
    duplicates_found: int = Field(default=0, sa_type=BigInteger)
    at_risk: int = 0
    below_threshold: int = 0
    alerts_sent: int = 0
    skipped_replay: int = 0
    failed_deliveries: int = 0
    would_send: int = 0
    unknown_region: int = 0
    unconfirmed: int = 0

    warnings: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSON)
    error_code: str | None = None
    error_message: str | None = Field(default=None, sa_type=Text)
    support_notification: str | None = None
    support_error: str | None = Field(default=None, sa_type=Text)
    support_subject: str | None = Field(default=None, sa_type=Text)
    support_body: str | None = Field(default=None, sa_type=Text)


class OutcomeRow(Table, table=True):
    """What became of an alert for good; its key is what makes an alert unique."""

    __tablename__ = "alert_outcomes"
    __table_args__ = (Index(None, "run_id", "status"),)

    account_id: str = Field(primary_key=True, sa_type=Text)
    month: date = Field(primary_key=True)
    alert_type: str = Field(primary_key=True)
    region: str | None = Field(default=None, sa_type=Text)
    channel: str | None = Field(default=None, sa_type=Text)
    status: str
    reason: str | None = None
    error: str | None = Field(default=None, sa_type=Text)
    attempts: int = 0
    run_id: str
    sent_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class RunAlertRow(Table, table=True):
    """An alert as one run saw it: later runs settle the outcome, but never change this."""

    __tablename__ = "run_alerts"
    __table_args__ = (Index(None, "run_id", "position"), Index(None, "run_id", "status", "position"))

    run_id: str = Field(primary_key=True, sa_column_args=[ForeignKey("runs.run_id")])
    account_id: str = Field(primary_key=True, sa_type=Text)
    alert_type: str = Field(primary_key=True)
    position: int
    account_name: str = Field(sa_type=Text)
    account_region: str | None = Field(default=None, sa_type=Text)
    arr: int | None = Field(default=None, sa_type=BigInteger)
    renewal_date: date | None = None
    account_owner: str | None = Field(default=None, sa_type=Text)
    duration_months: int
    risk_start_month: date
    channel: str | None = Field(default=None, sa_type=Text)
    status: str
    reason: str | None = None
    error: str | None = Field(default=None, sa_type=Text)
    attempts: int = 0
    sent_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class SupportToldRow(Table, table=True):
    """What support was told of an alert, the last time; apart from its outcome, which later tries change."""

    __tablename__ = "support_told"

    account_id: str = Field(primary_key=True, sa_type=Text)
    month: date = Field(primary_key=True)
    alert_type: str = Field(primary_key=True)
    status: str
    reason: str | None = None
    channel: str | None = Field(default=None, sa_type=Text)
    region: str | None = Field(default=None, sa_type=Text)
    tried_by: str | None = None
    told_to: str | None = Field(default=None, sa_type=Text)
    """The address; none when it was only logged."""
    told_at: datetime = Field(sa_type=UtcDateTime)
    run_id: str


class SettlementRow(Table, table=True):
    """What a person decided of an unconfirmed alert; one row a decision, none is ever changed."""

    __tablename__ = "settlements"
    __table_args__ = (Index(None, "month", "account_id"),)

    settlement_id: str = Field(primary_key=True)
    account_id: str = Field(sa_type=Text)
    month: date
    alert_type: str
    decision: str
    settled_by: str = Field(sa_type=Text)
    settled_at: datetime = Field(sa_type=UtcDateTime)
    note: str | None = Field(default=None, sa_type=Text)
    run_id: str
    """The run whose try it was that may have been delivered."""
    reason: str | None = None
    """Why it was unconfirmed."""


class HealthCheckRow(Table, table=True):
    """The one row that a health check writes, to see that the ledger takes a commit."""

    __tablename__ = "health_checks"

    id: int = Field(primary_key=True)
    checked_at: datetime = Field(sa_type=UtcDateTime)
