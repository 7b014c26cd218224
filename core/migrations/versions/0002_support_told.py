"""What support was told of each alert, so that a replay does not tell it again."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring a ledger of the previous version to this one; what it does not know was told is told again."""
    op.create_table(
        "support_told",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("alert_type", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("reason", sa.String()),
        sa.Column("channel", sa.Text()),
        sa.Column("region", sa.Text()),
        sa.Column("tried_by", sa.String()),
        sa.Column("told_to", sa.Text()),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "month", "alert_type", name="pk_support_told"),
    )


def downgrade() -> None:
    """Take this version back."""
    op.drop_table("support_told")
