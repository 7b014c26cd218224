"""The errors of the project, with the codes of the contract.

    RiskAlertsError
    ├── InternalError              internal_error
    ├── InvalidRequest             invalid_request
    ├── SettingsError              settings_invalid
    ├── SlackNotConfigured         slack_not_configured
    ├── TooManyAlerts              too_many_alerts
    ├── RunNotFound                run_not_found
    ├── OutcomeNotFound            outcome_not_found
    ├── AlreadyResolved            already_resolved
    ├── NotUnconfirmed             not_unconfirmed
    ├── Interrupted                interrupted
    ├── TooManyRuns                too_many_runs
    ├── OrchestratorUnreachable    orchestrator_unreachable
    ├── LedgerError                ledger_unavailable
    │   └── LedgerCut              the same
    └── SourceError
        ├── SourceSchemeUnsupported  source_scheme_unsupported
        ├── SourceNotAllowed         source_not_allowed
        ├── SourceNotFound           source_not_found
        ├── SourceForbidden          source_forbidden
        ├── SourceUnreachable        source_unreachable
        ├── SourceChanged            source_changed
        └── SourceInvalid            source_invalid

A message is one line without secrets: what happened, to what, what to do next.
"""

from typing import ClassVar

__all__ = [
    "AlreadyResolved",
    "InternalError",
    "Interrupted",
    "InvalidRequest",
    "LedgerCut",
    "LedgerError",
    "NotUnconfirmed",
    "OrchestratorUnreachable",
    "OutcomeNotFound",
    "RiskAlertsError",
    "RunNotFound",
    "SettingsError",
    "SlackNotConfigured",
    "SourceChanged",
    "SourceError",
    "SourceForbidden",
    "SourceInvalid",
    "SourceNotAllowed",
    "SourceNotFound",
    "SourceSchemeUnsupported",
    "SourceUnreachable",
    "TooManyAlerts",
    "TooManyRuns",
    "error_of",
]


class RiskAlertsError(Exception):
    """An error with a code; `run_id` is set when the error ended a run."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.run_id: str | None = None


class InternalError(RiskAlertsError):
    """An internal error, never the answer to bad input."""

    code = "internal_error"


class InvalidRequest(RiskAlertsError):
    """The request is invalid, such as a month that is not a first day."""

    code = "invalid_request"


class SettingsError(RiskAlertsError):
    """A setting is unknown or has a bad value."""

    code = "settings_invalid"


class SlackNotConfigured(RiskAlertsError):
    """Neither webhook setting is set, and the run is no dry run."""

    code = "slack_not_configured"


class TooManyAlerts(RiskAlertsError):
    """The run would send more than `MAX_ALERTS_PER_RUN`, so it sends none."""

    code = "too_many_alerts"


class RunNotFound(RiskAlertsError):
    """The ledger has no run of that id."""

    code = "run_not_found"


class OutcomeNotFound(RiskAlertsError):
    """The ledger has no outcome of that account in that month."""

    code = "outcome_not_found"


class AlreadyResolved(RiskAlertsError):
    """A person has already resolved the alert; nothing was changed."""

    code = "already_resolved"


class NotUnconfirmed(RiskAlertsError):
    """The result of the alert is known, or a run is sending it now; nothing was changed."""

    code = "not_unconfirmed"


class Interrupted(RiskAlertsError):
    """The run was stopped, or its process died, before the run ended."""

    code = "interrupted"


class TooManyRuns(RiskAlertsError):
    """The API has reached its limit of runs; nothing was begun, and a later request may succeed."""

    code = "too_many_runs"


class OrchestratorUnreachable(RiskAlertsError):
    """No Prefect API answers, so nothing was begun."""

    code = "orchestrator_unreachable"


class LedgerError(RiskAlertsError):
    """The ledger can't be opened, read or written."""

    code = "ledger_unavailable"


class LedgerCut(LedgerError):
    """The ledger's server ended a connection or accepts none, for example during a restart."""

    undone = False
    """Whether certainly nothing was written; after a commit without an answer that is unknown."""


class SourceError(RiskAlertsError):
    """The source can't be used."""


class SourceSchemeUnsupported(SourceError):
    """The URI's scheme is not `file`, `gs` or `s3`."""

    code = "source_scheme_unsupported"


class SourceNotAllowed(SourceError):
    """`ALLOWED_SOURCES` does not include this source."""

    code = "source_not_allowed"


class SourceNotFound(SourceError):
    """The source does not exist, or the folder has no Parquet file."""

    code = "source_not_found"


class SourceForbidden(SourceError):
    """The store refused the credentials, or they are missing."""

    code = "source_forbidden"


class SourceUnreachable(SourceError):
    """The store did not answer in `SOURCE_TIMEOUT_SECONDS`, retries included."""

    code = "source_unreachable"


class SourceChanged(SourceError):
    """The source was replaced while it was read."""

    code = "source_changed"


class SourceInvalid(SourceError):
    """The source is not Parquet, is damaged, or has a missing column or one of an unsupported type."""

    code = "source_invalid"


def error_of(code: str, message: str) -> RiskAlertsError:
    """Return the error of a stored code and message."""
    kinds = [RiskAlertsError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
        if kind.code == code and kind is not RiskAlertsError:
            return kind(message)
    return InternalError(message)
