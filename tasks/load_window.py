"""Read the rows of the month, and the rows of earlier months that a streak may need."""

import logging
from datetime import date

from prefect import task

from core.alerts import rules_named
from core.runtime import ROWS_SCANNED, Settings
from core.sources import Need, Window, open_uri, read_window

logger = logging.getLogger(__name__)


@task
def load_window(source_uri: str, month: date, settings: Settings) -> Window:
    """Read the rows that the enabled alert types need for `month`, all from one version of the source.

    Raises `InvalidRequest`, a `SourceError`, or `Interrupted` when the process is stopped.
    """
    source = open_uri(source_uri, settings)
    logger.info("Reading %s", source.uri)
    rules = rules_named(settings.alert_types)
    need = Need(
        arr_threshold=settings.arr_threshold,
        at_risk_before=any(rule.anchor < 0 for rule in rules),
        look_back=max(rule.look_back for rule in rules),
    )
    window = read_window(source, month, need, settings.source_timezone)
    ROWS_SCANNED.inc(window.rows_scanned)
    source.verify_unchanged()
    logger.info("Read %d rows of version %s", window.rows_scanned, source.version)
    return window
