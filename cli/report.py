"""A stored run as a person reads it on a terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core.domain import AlertStatus, open_by_reason
from core.ledger import AlertView, ChannelView, History, RunView
from core.runtime import money, one_line


def print_report(run: RunView, history: History, console: Console) -> None:
    """Print how the run ended, what went to which channel, and what needs a person."""
    colour = "green" if run.status == "succeeded" else "red"
    console.print(
        f"[bold]Risk alerts {run.month:%Y-%m}[/bold]{' (dry run)' if run.dry_run else ''}"
        f"  [{colour}]{run.status.value}[/{colour}]  run {run.run_id}",
        highlight=False,
    )
    console.print(f"Source: {escape(run.source_uri)}", highlight=False, soft_wrap=True)
    if run.error:
        console.print(f"[red]{run.error.code}[/red]: {escape(run.error.message)}", highlight=False)
    for warning in run.warnings:
        console.print(f"[yellow]{warning.code}[/yellow]: {escape(warning.message)}", highlight=False)
    _print_channels(history.channels(run.run_id), console)
    _print_open(history.alerts(run.run_id, None, None, None).alerts, console)
    counts = run.counts
    found = ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in run.found_by_type.items())
    console.print(
        f"\n{counts.rows_scanned:,} rows read, {counts.duplicates_found:,} duplicates;"
        f" {found}, {counts.below_threshold:,} below the ARR threshold.",
        highlight=False,
    )
    if run.support_notification:
        error = f" ({escape(run.support_error)})" if run.support_error else ""
        console.print(f"Support notification: {run.support_notification.value}{error}.", highlight=False)


def _print_channels(channels: list[ChannelView], console: Console) -> None:
    if not channels:
        return
    shown = [status for status in AlertStatus if any(one.alerts.get(status) for one in channels)]
    table = Table("channel", *(status.value.replace("_", " ") for status in shown), box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for one in channels:
        table.add_row(
            escape(one.channel or "(no channel)"), *(str(one.alerts.get(status, "")) for status in shown)
        )
    console.print()
    console.print(table)


def _print_open(alerts: list[AlertView], console: Console) -> None:
    """List what was not delivered, or not surely, one by one."""
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
