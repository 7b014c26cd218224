"""What people decided of unconfirmed alerts, and who they were."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring a ledger of the previous version to this one."""
    op.create_table(
        "settlements",
        sa.Column("settlement_id", sa.String(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("alert_type", sa.String(), nullable=False),
        sa.Column("decision", sa.String(), nullable=False),
        sa.Column("settled_by", sa.Text(), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("note", sa.Text()),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("reason", sa.String()),
        sa.PrimaryKeyConstraint("settlement_id", name="pk_settlements"),
    )
    op.create_index("ix_settlements_month_account_id", "settlements", ["month", "account_id"])


def downgrade() -> None:
    """Take this version back."""
    op.drop_table("settlements")
