"""A stored run as a person reads it on a terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core.domain import open_by_reason
from core.ledger import AlertView, ChannelTable, History, RunView
from core.runtime import money, one_line


def print_report(run: RunView, history: History, console: Console) -> None:
    """Print how the run ended, what went to which channel, and what needs a person."""
    colour = "green" if run.status == "succeeded" else "red"
    console.print(
        f"[bold]{run.title}[/bold]  [{colour}]{run.status.value}[/{colour}]  run {run.run_id}",
        highlight=False,
    )
    console.print(f"Source: {escape(run.source_uri)}", highlight=False, soft_wrap=True)
    if run.error:
        console.print(f"[red]{run.error.code}[/red]: {escape(run.error.message)}", highlight=False)
    for warning in run.warnings:
        console.print(f"[yellow]{warning.code}[/yellow]: {escape(warning.message)}", highlight=False)
    _print_channels(history.channels(run.run_id), console)
    _print_open(history.alerts(run.run_id, None, None, None).alerts, console)
    console.print(f"\n{_counts(run.labeled_counts)}", highlight=False)
    if len(run.counts_by_type) > 1:
        for alert_type, counts in run.counts_by_type.items():
            console.print(
                f"[bold]{escape(alert_type)}[/bold]: {_counts(counts.labeled([alert_type]))}", highlight=False
            )
    if run.support_notification:
        error = f" ({escape(run.support_error)})" if run.support_error else ""
        console.print(f"Support notification: {run.support_notification.value}{error}.", highlight=False)


def _counts(labeled: list[tuple[str, str, int]]) -> str:
    return escape(", ".join(f"{number:,} {label}" for _, label, number in labeled) + ".")


def _print_channels(channels: ChannelTable, console: Console) -> None:
    if not channels.rows:
        return
    table = Table("channel", *channels.columns, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for label, numbers in channels.rows:
        table.add_row(escape(label), *(str(number or "") for number in numbers))
    console.print()
    console.print(table)


def _print_open(alerts: list[AlertView], console: Console) -> None:
    """Print what was not delivered or is unconfirmed, one by one."""
    by_reason = open_by_reason(alerts)
    if not by_reason:
        return
    table = Table("not delivered", "region", "ARR", "at risk", "why", box=None, pad_edge=False)
    table.columns[2].justify = "right"
    for reason, _, those in by_reason:
        for alert in those:
            table.add_row(
                escape(one_line(alert.label)),
                escape(one_line(alert.account_region)) if alert.account_region else "-",
                money(alert.arr),
                f"{alert.duration_months} mo",
                escape(reason),
            )
    console.print()
    console.print(table)
    console.print()
    for reason, advice, _ in by_reason:
        console.print(f"[bold]{escape(reason)}[/bold]: {advice}.", highlight=False)
