"""The flow, and how it is run: under Prefect's engine when a Prefect API is configured, else without it."""
