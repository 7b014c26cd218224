"""The first ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring a ledger of the previous version to this one."""
    op.create_table(
        "alert_outcomes",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("alert_type", sa.String(), nullable=False),
        sa.Column("region", sa.Text()),
        sa.Column("channel", sa.Text()),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String()),
        sa.Column("error", sa.Text()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True)),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "month", "alert_type", name="pk_alert_outcomes"),
    )
    op.create_index(
        "ix_alert_outcomes_run_id_status_alert_type", "alert_outcomes", ["run_id", "status", "alert_type"]
    )
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("flow_run_id", sa.String()),
        sa.Column("source_uri", sa.Text(), nullable=False),
        sa.Column("source_version", sa.Text()),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("retry_unconfirmed", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("process_started", sa.String(), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("counts_by_type", sa.JSON(), nullable=False),
        sa.Column("warnings", sa.JSON(), nullable=False),
        sa.Column("error_code", sa.String()),
        sa.Column("error_message", sa.Text()),
        sa.Column("support_notification", sa.String()),
        sa.Column("support_error", sa.Text()),
        sa.Column("support_subject", sa.Text()),
        sa.Column("support_body", sa.Text()),
        sa.PrimaryKeyConstraint("run_id", name="pk_runs"),
    )
    op.create_index("ix_runs_month", "runs", ["month"])
    op.create_index("ix_runs_started_at_run_id", "runs", ["started_at", "run_id"])
    op.create_index("ix_runs_status", "runs", ["status"])
    op.create_table(
        "run_alerts",
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("alert_type", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("account_name", sa.Text(), nullable=False),
        sa.Column("account_region", sa.Text()),
        sa.Column("arr", sa.BigInteger()),
        sa.Column("renewal_date", sa.Date()),
        sa.Column("account_owner", sa.Text()),
        sa.Column("duration_months", sa.Integer(), nullable=False),
        sa.Column("risk_start_month", sa.Date(), nullable=False),
        sa.Column("channel", sa.Text()),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String()),
        sa.Column("error", sa.Text()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True)),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_run_alerts_run_id_runs"),
        sa.PrimaryKeyConstraint("run_id", "account_id", "alert_type", name="pk_run_alerts"),
    )
    op.create_index("ix_run_alerts_run_id_position", "run_alerts", ["run_id", "position"])
    op.create_index("ix_run_alerts_run_id_status_position", "run_alerts", ["run_id", "status", "position"])
    op.create_table(
        "notifications",
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("month", "address", name="pk_notifications"),
    )
    op.create_table(
        "resolutions",
        sa.Column("resolution_id", sa.String(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("alert_type", sa.String(), nullable=False),
        sa.Column("decision", sa.String(), nullable=False),
        sa.Column("resolved_by", sa.Text(), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("note", sa.Text()),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("reason", sa.String()),
        sa.PrimaryKeyConstraint("resolution_id", name="pk_resolutions"),
    )
    op.create_index(
        "ix_resolutions_month_account_id_alert_type", "resolutions", ["month", "account_id", "alert_type"]
    )
    op.create_table(
        "health_checks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_health_checks"),
    )


def downgrade() -> None:
    """Take this version back."""
    for table in ("health_checks", "resolutions", "notifications", "run_alerts", "runs", "alert_outcomes"):
        op.drop_table(table)
