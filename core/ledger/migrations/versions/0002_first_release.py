"""The schema of the first release, as in `core.ledger.schema`; 0001 was that of development versions."""

from alembic import op

from core.ledger.schema import METADATA

revision = "0002"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Do nothing."""


def downgrade() -> None:
    """Drop every table of the ledger."""
    METADATA.drop_all(op.get_bind())
