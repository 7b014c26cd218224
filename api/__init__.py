"""HTTP in, the flow called in-process, the ledger read back."""
