"""The flow, and the code that runs it with and without Prefect's engine."""
