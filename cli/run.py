"""The batch job: one run, a report on stdout, and everything else on stderr."""

import gc
import logging
import sys
from concurrent.futures import ThreadPoolExecutor

import click
from rich.console import Console

import flows.checked_prefect  # noqa: F401  # isort: skip  # before anything else imports Prefect
from cli.exits import FAILED, SUCCEEDED, exit_code
from cli.progress import shown_progress
from cli.report import print_report
from core.domain import RiskAlertsError, RunNotFound, RunRequest, RunStatus
from core.ledger import open_ledger
from core.run import new_run_id, prepare_run
from core.runtime import Progress, Settings, configure_logs, load_settings, process_stop, stopped_by_signals
from flows.prefect_engine import drain
from flows.start import run_month

logger = logging.getLogger(__name__)


def run_batch_job(request: RunRequest, *, as_json: bool) -> int:
    """Run a month, print its report, and return the exit code; raise what kept the run from beginning."""
    # What is imported stays: the garbage collector need not walk through it again and again.
    gc.freeze()
    settings = load_settings()
    # On a terminal the progress line shows the same; the report says the rest.
    interactive = sys.stderr.isatty() and settings.log_format == "text"
    configure_logs(settings, level=logging.WARNING if interactive else logging.INFO)
    return _run(request, settings, as_json=as_json, interactive=interactive)


def _run(request: RunRequest, settings: Settings, *, as_json: bool, interactive: bool) -> int:
    run_id = new_run_id()
    failure: RiskAlertsError | None = None
    progress = Progress()

    def work() -> None:
        run = prepare_run(request, settings, open_ledger(settings.database_url), run_id)
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
        if settings.log_format != "json":
            raise reason from None
        logger.error("%s: %s", reason.code, reason)  # noqa: TRY400  its text says it all
        return exit_code(reason)
    if as_json:
        click.echo(run.model_dump_json(indent=2))
    else:
        print_report(run, open_ledger(settings.database_url).history, Console(emoji=False))
    return SUCCEEDED if run.status is RunStatus.SUCCEEDED else FAILED
