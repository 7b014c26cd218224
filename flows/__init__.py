"""The flow, and what runs it with and without Prefect's engine."""
