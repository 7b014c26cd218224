"""The stages of a run, one per file: a thin Prefect task, and the pure functions that decide for it."""
