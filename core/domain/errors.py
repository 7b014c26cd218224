"""The errors of the project, with the codes of the contract.

A message is one line without secrets: what happened, to what, what to do next.
"""

from typing import ClassVar

from core.domain.text import one_line


class RiskAlertsError(Exception):
    """An error with a code; `run_id` is set when the error ended a run."""

    code: ClassVar[str] = "internal_error"

    def __init_subclass__(cls, code: str | None = None) -> None:
        """Set the code of the contract; by default that of the base."""
        cls.code = code or cls.code

    def __init__(self, message: str) -> None:
        self.message = one_line(message)
        super().__init__(self.message)
        self.run_id: str | None = None


class InternalError(RiskAlertsError, code="internal_error"):
    """An internal error, never the answer to bad input."""


class InvalidRequest(RiskAlertsError, code="invalid_request"):
    """The request is invalid, such as a month that is not a first day."""


class SettingsError(RiskAlertsError, code="settings_invalid"):
    """A setting is unknown or has a bad value."""


class SlackNotConfigured(RiskAlertsError, code="slack_not_configured"):
    """Neither webhook setting is set, and the run is no dry run."""


class TooManyAlerts(RiskAlertsError, code="too_many_alerts"):
    """The run would send more than `MAX_ALERTS_PER_RUN`, so it sends none."""


class RunNotFound(RiskAlertsError, code="run_not_found"):
    """The ledger has no run of that id."""


class OutcomeNotFound(RiskAlertsError, code="outcome_not_found"):
    """The ledger has no outcome of that account, month and alert type."""


class AlreadyResolved(RiskAlertsError, code="already_resolved"):
    """A person has already resolved the alert; nothing was changed."""


class NotUnconfirmed(RiskAlertsError, code="not_unconfirmed"):
    """The result of the alert is known, or a run is sending it now; nothing was changed."""


class Interrupted(RiskAlertsError, code="interrupted"):
    """The run was stopped, or its process died, before the run ended."""


class TooManyRuns(RiskAlertsError, code="too_many_runs"):
    """The API has reached its limit of runs; nothing was begun, and a later request may succeed."""


class OrchestratorUnreachable(RiskAlertsError, code="orchestrator_unreachable"):
    """No Prefect API answers, so nothing was begun."""


class LedgerError(RiskAlertsError, code="ledger_unavailable"):
    """The ledger cannot be opened, read or written."""


class SourceError(RiskAlertsError):
    """The source cannot be used."""


class SourceSchemeUnsupported(SourceError, code="source_scheme_unsupported"):
    """The URI has no scheme, or an unsupported one."""


class SourceNotAllowed(SourceError, code="source_not_allowed"):
    """`ALLOWED_SOURCES` does not include this source."""


class SourceNotFound(SourceError, code="source_not_found"):
    """The source does not exist, or the folder has no Parquet file."""


class SourceForbidden(SourceError, code="source_forbidden"):
    """The store refused the object or credentials, credentials are missing, or a file cannot be read."""


class SourceUnreachable(SourceError, code="source_unreachable"):
    """The store did not answer in `SOURCE_TIMEOUT_SECONDS`, or only with errors, retries included."""


class SourceChanged(SourceError, code="source_changed"):
    """The source was replaced while it was read."""


class SourceInvalid(SourceError, code="source_invalid"):
    """The source is not Parquet, is damaged, or has a missing column or one of an unsupported type."""
