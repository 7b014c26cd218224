"""Unconfirmed alerts: list them, and record a person's decision about one."""

from datetime import date

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core.domain import Decision, OutcomeStatus, Resolution
from core.ledger import OutcomeView, open_ledger
from core.runtime import load_settings, one_line


def show_unconfirmed(month: date | None, *, as_json: bool) -> None:
    """Print the unconfirmed alerts of a month, or of all months."""
    ledger = open_ledger(load_settings().database_url)
    found = ledger.history.outcomes(month=month, status=OutcomeStatus.UNCONFIRMED)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    console = Console(emoji=False)
    if not found.outcomes:
        console.print("Nothing is unconfirmed.")
        return
    table = Table("month", "account", "type", "channel", "last heard of", "why", box=None, pad_edge=False)
    for outcome in found.outcomes:
        account = one_line(f"{outcome.account_name or '?'} ({outcome.account_id})")
        table.add_row(
            outcome.month.isoformat(),
            escape(account),
            escape(one_line(outcome.alert_type)),
            escape(one_line(outcome.channel or "-")),
            f"{outcome.updated_at:%Y-%m-%d %H:%M} UTC",
            escape(outcome.reason or "-"),
        )
    console.print(table)
    console.print("\nLook into each channel, then record what you saw: risk-alerts resolve --help")


def record(resolution: Resolution, *, as_json: bool) -> None:
    """Record a decision in the ledger and print what comes next; raise what the ledger refuses."""
    ledger = open_ledger(load_settings().database_url)
    ledger.resolve(resolution)
    _show_resolved(ledger.history.outcome(resolution.month, resolution.key), as_json=as_json)


def _show_resolved(outcome: OutcomeView, *, as_json: bool) -> None:
    if as_json:
        click.echo(outcome.model_dump_json(indent=2))
        return
    last = outcome.resolutions[-1]
    then = {
        Decision.DELIVERED: "it is never sent again",
        Decision.SEND_AGAIN: f"the next run of {outcome.month} sends it",
    }[last.decision]
    account = one_line(f"{outcome.account_name or '?'} ({outcome.account_id})")
    click.echo(f"{account}, {outcome.month}: resolved as {last.decision} by {last.by}; {then}")
