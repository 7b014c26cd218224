"""Settings, the environment, logs, redaction, metrics and the stop signal; every package uses them."""

from core.runtime.environment import (
    check_certificate_files,
    check_certificates,
    clean_variables,
    is_direct,
    prepare_proxies,
)
from core.runtime.logs import (
    OUR_LOGGERS,
    configure_logs,
    current_request_id,
    current_run_id,
    logged_as,
)
from core.runtime.metrics import DELIVERIES, PROCESS, ROWS_SCANNED, STEP_SECONDS, STEPS
from core.runtime.redaction import mask_record, protect, redact
from core.runtime.settings import CONFIG_FILE, Settings, load_settings
from core.runtime.stopping import StopSignal, in_thread, process_stop, stopped_by_signals, wait_for
from core.runtime.text import money, months, one_line, shown_region, streak
from core.runtime.urls import check_http_url, host_of, shown_database
from core.runtime.validation import invalid_value

__all__ = [
    "CONFIG_FILE",
    "DELIVERIES",
    "OUR_LOGGERS",
    "PROCESS",
    "ROWS_SCANNED",
    "STEPS",
    "STEP_SECONDS",
    "Settings",
    "StopSignal",
    "check_certificate_files",
    "check_certificates",
    "check_http_url",
    "clean_variables",
    "configure_logs",
    "current_request_id",
    "current_run_id",
    "host_of",
    "in_thread",
    "invalid_value",
    "is_direct",
    "load_settings",
    "logged_as",
    "mask_record",
    "money",
    "months",
    "one_line",
    "prepare_proxies",
    "process_stop",
    "protect",
    "redact",
    "shown_database",
    "shown_region",
    "stopped_by_signals",
    "streak",
    "wait_for",
]
