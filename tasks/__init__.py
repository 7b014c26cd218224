"""The stages of a run, one a file: a pure function that decides, and a thin Prefect task around it."""
