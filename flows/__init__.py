"""The flow, and the code that runs it with and without Prefect's engine."""

import flows.checked_prefect  # noqa: F401  # before any module of this package imports Prefect
