"""Settings, the environment, logs, redaction, metrics and the stop signal; every package uses them."""

from core.runtime.environment import check_certificates, clean_variables, is_direct, prepare_libraries
from core.runtime.logs import configure_logs, current_run_id
from core.runtime.metrics import DELIVERIES, ROWS_SCANNED, STEP_SECONDS, STEPS
from core.runtime.redaction import mask_record, protect, redact
from core.runtime.settings import CONFIG_FILE, Settings, exit_with, invalid_value, load_settings
from core.runtime.stopping import POLL_SECONDS, in_thread, process_stop, stopped_by_signals
from core.runtime.urls import check_http_url, host_of, shown_database
