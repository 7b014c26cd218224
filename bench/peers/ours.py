"""Our own three stages, without Prefect."""

from bench.support.answer import Answer, Question
from core.alerts import Assessment, objects
from core.domain import total
from core.runtime import Settings
from tasks.compute_streaks import compute_streaks
from tasks.dedupe import dedupe
from tasks.load_window import load_window

SETTINGS = Settings()
ROW = (
    "account_id",
    "duration_months",
    "risk_start_month",
    "account_name",
    "account_region",
    "arr",
    "renewal_date",
    "account_owner",
)


def answer(question: Question) -> Answer:
    """Return the answer as a run computes it."""
    assessment = assess(question)
    alerts = zip(*(objects(assessment.alerts[name]) for name in ROW), strict=True)
    counts = total(assessment.counts_by_type.values())
    return Answer(list(alerts), counts.at_risk, counts.below_threshold, counts.duplicates_found)


def assess(question: Question) -> Assessment:
    """Run the stages. Their tables are gone before all alerts become objects; a run makes a few at a time."""
    settings = SETTINGS.model_copy(update={"arr_threshold": question.threshold})
    window = load_window.fn(question.uri, question.month, settings)
    return compute_streaks.fn(window, dedupe.fn(window.rows), settings)
