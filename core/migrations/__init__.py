"""The ledger's schema versions, run by `core.database` when a ledger is opened."""
