"""The reports of runs and previews on a terminal."""

from collections.abc import Container, Iterable, Mapping, Sequence
from functools import partial

from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from core.alerts import AlertView, PreviewView, shown_months
from core.domain import Counts, LedgerError, RunStatus, RunWarning, money, one_line, shown_region
from core.ledger import History, RunView

PlainConsole = partial(Console, emoji=False, highlight=False)
"""A console that shows data as it is: no `:x:` as an emoji, and no number in a color."""
SHOWN = 1000
"""The most alerts in a table, or of each status of a run: a bad file may have millions."""


def print_report(run: RunView, history: History, console: Console) -> None:
    """Print the result of the run, the counts of each channel, and the alerts that need a person."""
    color = "green" if run.status == RunStatus.SUCCEEDED else "red"
    console.print(f"[bold]{run.title}[/bold]  [{color}]{run.status.value}[/{color}]  run {run.run_id}")
    console.print(f"Source: {escape(run.source_uri)}", soft_wrap=True)
    if run.error:
        console.print(f"[red]{run.error.code}[/red]: {escape(run.error.message)}")
    elif run.status == RunStatus.RUNNING:
        console.print(f"[red]{LedgerError.code}[/red]: The run's end is not recorded; run the month again")
    _print_warnings(run.warnings, console)
    channels = history.channels(run.run_id)
    print_table(("channel", *channels.columns), channels.texts, console, right=channels.columns)
    by_reason = history.open_of(run.run_id, SHOWN)
    rows = [(*_account_cells(alert), found.reason) for found in by_reason for alert in found.alerts]
    print_table(("failed or unconfirmed", "region", "ARR", "streak", "why"), rows, console, right={"ARR"})
    _print_more(run.counts.failed_deliveries - len(rows), f"GET /runs/{run.run_id}/alerts", console)
    if by_reason:
        console.print()
    for found in by_reason:
        console.print(f"[bold]{escape(found.reason)}[/bold]: {found.advice}.")
    _print_counts(run.counts.summary(run.alert_types), run.counts_by_type, console)
    if run.support_notification:
        error = f" ({escape(run.support_error)})" if run.support_error else ""
        console.print(f"Support notification: {run.support_notification.value}{error}.")


def print_preview(found: PreviewView, console: Console) -> None:
    """Print what a run would do with each alert."""
    console.print(f"[bold]Preview of {found.month:%Y-%m}[/bold]: nothing was sent")
    _print_warnings(found.warnings, console)
    rows = [
        (
            alert.label,
            money(alert.arr),
            shown_months(alert.duration_months),
            alert.channel or f"none for {shown_region(alert.account_region)}",
            alert.reason or "would send",
        )
        for alert in found.alerts[:SHOWN]
    ]
    print_table(("account", "ARR", "streak", "channel", "status"), rows, console, right={"ARR"})
    _print_more(len(found.alerts) - len(rows), "--json", console)
    _print_counts(found.counts.summary(found.counts_by_type), found.counts_by_type, console)


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], console: Console, right: Container[str] = ()
) -> None:
    """Print a blank line and a table, or nothing without rows; the columns in `right` are right-aligned."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        # Wrap long cells: a channel or an ID that is cut off cannot be looked up. But not an amount, whose
        # first line would look like a smaller amount.
        side: JustifyMethod = "right" if column in right else "left"
        table.add_column(column, justify=side, overflow="fold", no_wrap=column == "ARR")
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    if table.rows:
        console.print()
        console.print(table)


def _print_more(number: int, where: str, console: Console) -> None:
    if number:
        console.print(f"… and {number:,} more: {where} has them all")


def _account_cells(alert: AlertView) -> tuple[str, ...]:
    return (
        alert.label,
        shown_region(alert.account_region),
        money(alert.arr),
        shown_months(alert.duration_months),
    )


def _print_counts(summary: str, by_type: Mapping[str, Counts], console: Console) -> None:
    """Print the counts, and those of each alert type if there are several."""
    console.print(f"\n{escape(summary)}.")
    if len(by_type) > 1:
        for alert_type, counts in by_type.items():
            console.print(f"[bold]{escape(alert_type)}[/bold]: {escape(counts.summary([alert_type]))}.")


def _print_warnings(warnings: Iterable[RunWarning], console: Console) -> None:
    for warning in warnings:
        console.print(f"[yellow]{warning.code}[/yellow]: {escape(warning.message)}")
