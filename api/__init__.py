"""The HTTP API: it starts runs in this process and reads the ledger."""
