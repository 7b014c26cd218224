"""Unconfirmed alerts: list them, and record a person's decision about one."""

from datetime import date
from typing import Any

import click

from cli.report import PlainConsole, print_table
from core.domain import Decision, OutcomeStatus, Resolution, one_line
from core.ledger import OutcomeView, open_ledger
from core.run import utc_now
from core.runtime import configure_logs, load_settings


def show_unconfirmed(month: date | None, *, as_json: bool) -> None:
    """Print the unconfirmed alerts of a month, or of all months, those of dead runs included."""
    settings = load_settings()
    configure_logs(settings)
    ledger = open_ledger(settings.database_url)
    ledger.close_dead_runs(utc_now())
    found = ledger.history.outcomes(month=month, status=OutcomeStatus.UNCONFIRMED)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
    elif not found.outcomes:
        click.echo("Nothing is unconfirmed.")
    else:
        console = PlainConsole()
        rows = [
            (
                outcome.month.isoformat(),
                _alert(outcome),
                outcome.channel or "-",
                f"{outcome.updated_at:%Y-%m-%d %H:%M}",
                outcome.reason or "-",
            )
            for outcome in found.outcomes
        ]
        print_table(("month", "alert", "channel", "updated (UTC)", "why"), rows, console)
        console.print("\nLook in each channel, then record what you saw: risk-alerts resolve --help")


def record(*, as_json: bool, **given: Any) -> None:
    """Record the given `Resolution`, also of an alert of a dead run, and print what happens next.

    Raises the errors of `Ledger.resolve`.
    """
    settings = load_settings()
    configure_logs(settings)
    resolution = Resolution(**given, at=utc_now())
    ledger = open_ledger(settings.database_url)
    ledger.close_dead_runs(resolution.at)
    outcome = ledger.resolve(resolution)
    if as_json:
        click.echo(outcome.model_dump_json(indent=2))
        return
    sends = resolution.decision is Decision.SEND_AGAIN
    then = f"the next run of {outcome.month} sends it" if sends else "it is never sent again"
    alert = one_line(_alert(outcome))
    click.echo(f"{alert}, {outcome.month}: resolved as {resolution.decision} by {resolution.by}; {then}")


def _alert(outcome: OutcomeView) -> str:
    return f"{outcome.account_name or '?'} ({outcome.account_id}), {outcome.alert_type}"
