"""The ledger's schema versions, run by `core.ledger.database` when a ledger is opened."""
