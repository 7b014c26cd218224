"""The first schema: a new ledger is created from `core.ledger.schema`, and none is older than this."""

from alembic import op

from core.ledger.schema import METADATA

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Do nothing."""


def downgrade() -> None:
    """Drop every table of the ledger."""
    METADATA.drop_all(op.get_bind())
