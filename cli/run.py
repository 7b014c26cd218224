"""The batch job and the preview: a report on stdout, and everything else on stderr."""

import gc
import logging

import click
from pydantic_core import to_json

from cli.report import PlainConsole, print_preview, print_report
from core.domain import RiskAlertsError, RunRequest, RunStatus
from core.run import prepare_run
from core.runtime import configure_logs, load_settings, stopped_by_signals
from flows.prefect_engine import drain
from flows.preview import preview
from flows.start import run_month


def run_batch_job(request: RunRequest, *, as_json: bool) -> bool:
    """Run a month, print its report, and return whether it succeeded; raise an error if no run was begun."""
    # Keep the imported modules out of garbage collection.
    gc.freeze()
    settings = load_settings()
    configure_logs(settings)
    with stopped_by_signals():
        run = prepare_run(request, settings)
        try:
            run_month(run)
        except RiskAlertsError as error:
            if error.run_id is None:
                raise
        finally:
            drain()
    stored = run.ledger.history.run(run.run_id)
    if as_json:
        click.echo(stored.model_dump_json(indent=2))
    else:
        print_report(stored, run.ledger.history, PlainConsole())
    return stored.status is RunStatus.SUCCEEDED


def show_preview(request: RunRequest, *, as_json: bool) -> None:
    """Print what a run of the month would do with each alert."""
    settings = load_settings()
    configure_logs(settings, level=logging.WARNING)
    with stopped_by_signals():
        found = preview(request, settings)
    if as_json:
        # Bytes: a string with one emoji takes four bytes per character.
        click.echo(to_json(found, indent=2))
    else:
        print_preview(found, PlainConsole())
