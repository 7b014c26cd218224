"""The command line `risk-alerts`: its commands, their output on a terminal, and their exit codes."""

from core.domain import InvalidRequest, RiskAlertsError, SettingsError

SUCCEEDED, FAILED, USAGE_ERROR = 0, 1, 2


def exit_code(error: RiskAlertsError) -> int:
    """Return the exit code of a command that an error has ended."""
    return USAGE_ERROR if isinstance(error, (InvalidRequest, SettingsError)) else FAILED
