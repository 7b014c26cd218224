"""The stages of a run, one per file: a pure function that decides, and a thin Prefect task around it."""
