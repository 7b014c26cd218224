"""Our own three stages, without Prefect."""

from bench.support.answer import Answer, Question
from core.domain import DEFAULT_ALERT_TYPE
from core.runtime import Settings
from tasks.compute_streaks import compute_streaks
from tasks.dedupe import dedupe
from tasks.load_window import load_window

SETTINGS = Settings()


def answer(question: Question) -> Answer:
    """Answer as a run does."""
    settings = SETTINGS.model_copy(update={"arr_threshold": question.threshold})
    window = load_window.fn(question.uri, question.month, settings)
    assessment = compute_streaks.fn(window, dedupe.fn(window), settings)
    alerts = [
        (
            alert.account_id,
            alert.duration_months,
            alert.risk_start_month,
            alert.account_name,
            alert.account_region,
            alert.arr,
            alert.renewal_date,
            alert.account_owner,
        )
        for alert in assessment.alerts
    ]
    scan = assessment.scan
    return Answer(alerts, *scan.found[DEFAULT_ALERT_TYPE], scan.duplicates_found)
