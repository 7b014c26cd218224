"""What a run would do, as a table."""

import logging
from functools import partial

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import flows.checked_prefect  # noqa: F401  # isort: skip  # before anything else imports Prefect
from core.domain import RunRequest
from core.ledger import PreviewView, open_ledger
from core.runtime import configure_logs, load_settings, money, one_line, process_stop, stopped_by_signals
from flows.preview import preview


def show_preview(request: RunRequest, *, as_json: bool) -> None:
    """Print what a run of the month would do with each alert."""
    settings = load_settings()
    configure_logs(settings, level=logging.WARNING)
    with stopped_by_signals(process_stop):
        found = preview(request, settings, partial(open_ledger, settings.database_url))
    if as_json:
        click.echo(found.model_dump_json(indent=2))
    else:
        _print_preview(found, Console(emoji=False, highlight=False))


def _print_preview(found: PreviewView, console: Console) -> None:
    console.print(f"[bold]Preview of {found.month:%Y-%m}[/bold]: nothing was sent")
    for warning in found.warnings:
        console.print(f"[yellow]{warning.code}[/yellow]: {escape(warning.message)}")
    table = Table("account", "region", "ARR", "at risk", "channel", "status", box=None, pad_edge=False)
    table.columns[2].justify = "right"
    for alert in found.alerts:
        table.add_row(
            escape(one_line(alert.label)),
            escape(one_line(alert.account_region)) if alert.account_region else "-",
            money(alert.arr),
            f"{alert.duration_months} mo",
            escape(alert.channel) if alert.channel else "-",
            escape(alert.status.replace("_", " ") + (f" ({alert.reason})" if alert.reason else "")),
        )
    if found.alerts:
        console.print()
        console.print(table)
    counts = found.counts
    console.print(
        f"\n{counts.would_send:,} to send, {counts.skipped_replay:,} sent before,"
        f" {counts.failed_deliveries:,} that cannot be sent; {counts.below_threshold:,} below ARR_THRESHOLD."
    )
