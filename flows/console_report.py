"""A stored run as a person reads it on a terminal."""

from collections import Counter, defaultdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core.advice import advice
from core.domain import AlertStatus
from core.history import History
from core.message import money, one_line
from core.views import AlertView, RunView

PAGE = 1000
"""Alerts read from the ledger at a time."""


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
    alerts = _alerts(history, run.run_id)
    _print_channels(alerts, console)
    _print_open(alerts, console)
    counts = run.counts
    console.print(
        f"\n{counts.rows_scanned:,} rows read, {counts.duplicates_found:,} duplicates;"
        f" {counts.at_risk:,} at risk, {counts.below_threshold:,} below the ARR threshold.",
        highlight=False,
    )
    if run.support_notification:
        error = f" ({escape(run.support_error)})" if run.support_error else ""
        console.print(f"Support notification: {run.support_notification.value}{error}.", highlight=False)


def _alerts(history: History, run_id: str) -> list[AlertView]:
    alerts: list[AlertView] = []
    cursor = None
    while True:
        page = history.alerts(run_id, None, PAGE, cursor)
        alerts += page.alerts
        cursor = page.next_cursor
        if cursor is None:
            return alerts


def _print_channels(alerts: list[AlertView], console: Console) -> None:
    if not alerts:
        return
    by_channel: dict[str, Counter[AlertStatus]] = defaultdict(Counter)
    for alert in alerts:
        by_channel[alert.channel or "(no channel)"][alert.status] += 1
    shown = [status for status in AlertStatus if any(counter[status] for counter in by_channel.values())]
    table = Table("channel", *(status.value.replace("_", " ") for status in shown), box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for channel, counter in sorted(by_channel.items()):
        table.add_row(escape(channel), *(str(counter[status] or "") for status in shown))
    console.print()
    console.print(table)


def _print_open(alerts: list[AlertView], console: Console) -> None:
    """List what was not delivered, or not surely, one by one."""
    open_alerts = [a for a in alerts if a.status in {AlertStatus.FAILED, AlertStatus.UNCONFIRMED}]
    if not open_alerts:
        return
    table = Table("not delivered", "region", "ARR", "at risk", "why", box=None, pad_edge=False)
    table.columns[2].justify = "right"
    for alert in open_alerts:
        why = alert.reason or alert.status.value
        table.add_row(
            escape(one_line(f"{alert.account_name} ({alert.account_id})")),
            escape(one_line(alert.account_region)) if alert.account_region else "-",
            money(alert.arr),
            f"{alert.duration_months} mo",
            escape(why),
        )
    console.print()
    console.print(table)
    console.print()
    for reason in sorted({alert.reason or alert.status.value for alert in open_alerts}):
        console.print(f"[bold]{escape(reason)}[/bold]: {advice(reason)}.", highlight=False)
