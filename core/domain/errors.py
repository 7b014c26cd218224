"""Everything that can stop a run, each with the code that the outside relies on.

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

A message says what is wrong and what to do, in one line, and never carries a secret.
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
    """A fault with a name; `run_id` is set once it belongs to a run that was begun."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.run_id: str | None = None


class InternalError(RiskAlertsError):
    """A defect of ours, never an answer to bad input."""

    code = "internal_error"


class InvalidRequest(RiskAlertsError):
    """What was asked for makes no sense, such as a month that is not a first day."""

    code = "invalid_request"


class SettingsError(RiskAlertsError):
    """A setting is unknown or has a bad value."""

    code = "settings_invalid"


class SlackNotConfigured(RiskAlertsError):
    """A run that is to send has neither webhook setting."""

    code = "slack_not_configured"


class TooManyAlerts(RiskAlertsError):
    """The run would send more than `MAX_ALERTS_PER_RUN`, so it sends none."""

    code = "too_many_alerts"


class RunNotFound(RiskAlertsError):
    """The ledger knows no run of that id."""

    code = "run_not_found"


class OutcomeNotFound(RiskAlertsError):
    """The ledger knows no outcome of that account in that month."""

    code = "outcome_not_found"


class AlreadyResolved(RiskAlertsError):
    """A person has resolved the alert before; nothing was changed."""

    code = "already_resolved"


class NotUnconfirmed(RiskAlertsError):
    """What became of the alert is known, or a run is sending it right now; nothing was changed."""

    code = "not_unconfirmed"


class Interrupted(RiskAlertsError):
    """The run was told to stop, or its process died, before it was over."""

    code = "interrupted"


class TooManyRuns(RiskAlertsError):
    """The API has as many runs in hand as it takes; nothing was begun, and another try will do."""

    code = "too_many_runs"


class OrchestratorUnreachable(RiskAlertsError):
    """No Prefect API answers, so nothing was begun."""

    code = "orchestrator_unreachable"


class LedgerError(RiskAlertsError):
    """The ledger can't be opened, read or written."""

    code = "ledger_unavailable"


class LedgerCut(LedgerError):
    """The ledger's server ended a connection or takes none; it may be back soon, as after a restart."""

    undone = False
    """Whether certainly nothing was written; only a commit without an answer leaves that open."""


class SourceError(RiskAlertsError):
    """The source can't be used."""


class SourceSchemeUnsupported(SourceError):
    """The URI is none of `file://`, `gs://` and `s3://`."""

    code = "source_scheme_unsupported"


class SourceNotAllowed(SourceError):
    """`ALLOWED_SOURCES` does not lead to this source."""

    code = "source_not_allowed"


class SourceNotFound(SourceError):
    """Nothing is there, or no Parquet file is in the folder."""

    code = "source_not_found"


class SourceForbidden(SourceError):
    """The store refused the credentials, or there are none."""

    code = "source_forbidden"


class SourceUnreachable(SourceError):
    """The store did not answer in `SOURCE_TIMEOUT_SECONDS`, retries included."""

    code = "source_unreachable"


class SourceChanged(SourceError):
    """The source was replaced while it was read."""

    code = "source_changed"


class SourceInvalid(SourceError):
    """Not Parquet, truncated, corrupt, or a column is missing or of a type that can't be read."""

    code = "source_invalid"


def error_of(code: str, message: str) -> RiskAlertsError:
    """Return the error that a stored code and message stand for."""
    kinds = [RiskAlertsError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
        if kind.code == code and kind is not RiskAlertsError:
            return kind(message)
    return InternalError(message)
