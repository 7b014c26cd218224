"""The batch job: one run, a report on stdout, everything else on stderr, and an exit code that tells."""

import argparse
import gc
import logging
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console

from core.domain import InvalidRequest, RiskAlertsError, RunNotFound, RunRequest, RunStatus, SettingsError
from core.ledger import open_ledger
from core.run import new_run_id, prepare_run
from core.runtime import Progress, Settings, configure_logs, load_settings, process_stop, stopped_by_signals
from flows.arguments import CALLED_WRONGLY, FAILED, SUCCEEDED, month_argument
from flows.console_progress import shown_progress
from flows.console_report import print_report
from flows.prefect_engine import drain
from flows.start import run_month
from flows.streams import protect_streams

logger = logging.getLogger(__name__)

EXAMPLES = """examples:
  python -m flows.monthly_risk_alerts --source-uri gs://bucket/status.parquet --month 2026-01-01
  python -m flows.monthly_risk_alerts --source-uri file:///data/status.parquet --month 2026-01-01 --dry-run

exit codes: 0 the run succeeded, 1 it failed, 2 called wrongly
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the month that the arguments ask for, and give the exit code."""
    # What is imported stays: the garbage collector need not walk through it again and again.
    gc.freeze()
    protect_streams()
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
    except SettingsError as error:
        print(f"error: {error.code}: {error}", file=sys.stderr)  # noqa: T201  # a command speaks on its terminal
        return CALLED_WRONGLY
    request = RunRequest(options.source_uri, options.month, options.dry_run, options.retry_unconfirmed)
    # On a terminal the progress line tells the story; the report says the rest.
    interactive = sys.stderr.isatty() and settings.log_format == "text"
    configure_logs(settings, level=logging.WARNING if interactive else logging.INFO)
    return _run(request, settings, as_json=options.json, interactive=interactive)


def _run(request: RunRequest, settings: Settings, *, as_json: bool, interactive: bool) -> int:
    run_id = new_run_id()
    failure: RiskAlertsError | None = None
    progress = Progress()

    def work() -> None:
        run = prepare_run(request, settings, run_id)
        run.progress = progress
        run_month(run)

    with (
        stopped_by_signals(process_stop),
        shown_progress(progress, interactive=interactive),
        ThreadPoolExecutor(1, thread_name_prefix="run") as executor,
    ):
        try:
            # Not in this thread: a signal must only ask it to stop, never break off a request.
            executor.submit(work).result()
        except RiskAlertsError as error:
            failure = error
        drain()
    try:
        run = open_ledger(settings.database_url).history.run(run_id)
    except RiskAlertsError as error:
        # Nothing was begun, so there is no run to report.
        reason = failure if isinstance(error, RunNotFound) and failure else error
        if settings.log_format == "json":
            logger.error("%s: %s", reason.code, reason)  # noqa: TRY400  its text says it all
        else:
            print(f"error: {reason.code}: {reason}", file=sys.stderr)  # noqa: T201
        return CALLED_WRONGLY if isinstance(reason, InvalidRequest) else FAILED
    if as_json:
        print(run.model_dump_json(indent=2), flush=True)  # noqa: T201
    else:
        print_report(run, open_ledger(settings.database_url).history, Console(emoji=False))
    return SUCCEEDED if run.status is RunStatus.SUCCEEDED else FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flows.monthly_risk_alerts",
        description="Alert each region's Slack channel on the accounts that are At Risk in a month, once.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--source-uri", required=True, metavar="URI", help="a Parquet file or folder: file://, gs:// or s3://"
    )
    parser.add_argument(
        "--month", required=True, type=month_argument, metavar="YYYY-MM-01", help="the first day of the month"
    )
    parser.add_argument("--dry-run", action="store_true", help="do all but send")
    parser.add_argument(
        "--retry-unconfirmed",
        action="store_true",
        help="also send alerts again that an earlier run may have delivered",
    )
    parser.add_argument("--json", action="store_true", help="print the run as GET /runs/{run_id} gives it")
    return parser
