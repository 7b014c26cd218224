"""Resolve unconfirmed alerts: `python -m flows.resolve` lists them, with an account it resolves one."""

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core.domain import (
    DEFAULT_ALERT_TYPE,
    AlertKey,
    Decision,
    OutcomeStatus,
    Resolution,
    RiskAlertsError,
    SettingsError,
    check_by,
    check_note,
)
from core.ledger import OutcomePage, OutcomeView, open_ledger
from core.run import utc_now
from core.runtime import load_settings, one_line
from flows.arguments import CALLED_WRONGLY, FAILED, SUCCEEDED, checked_by, month_argument
from flows.streams import protect_streams

EXAMPLES = """examples:
  python -m flows.resolve
  python -m flows.resolve --month 2026-01-01 --account ACC-1 --delivered --by ana --note "seen in #amer"
  python -m flows.resolve --month 2026-01-01 --account ACC-1 --send-again --by ana

Nothing is sent by this: what is to be sent again is sent by the next run of the month.
exit codes: 0 listed or resolved, 1 refused, 2 usage error
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """List what is unconfirmed, or resolve one alert; return the exit code."""
    protect_streams()
    parser = _parser()
    options = parser.parse_args(arguments)
    resolving = options.account is not None
    if resolving != (options.decision is not None) or (resolving and not (options.month and options.by)):
        parser.error("to resolve, give --month, --account, --by, and --delivered or --send-again")
    try:
        ledger = open_ledger(load_settings().database_url)
        if not resolving:
            found = ledger.history.outcomes(month=options.month, status=OutcomeStatus.UNCONFIRMED)
            _show_open(found, as_json=options.json)
            return SUCCEEDED
        key = AlertKey(options.account, options.type)
        ledger.resolve(
            Resolution(
                key,
                options.month,
                options.decision,
                by=options.by,
                note=options.note,
                at=utc_now(),
            )
        )
        _show_resolved(ledger.history.outcome(options.month, key), as_json=options.json)
    except RiskAlertsError as error:
        print(f"error: {error.code}: {error}", file=sys.stderr)  # noqa: T201  # a command speaks on its terminal
        return CALLED_WRONGLY if isinstance(error, SettingsError) else FAILED
    return SUCCEEDED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flows.resolve",
        description="List the alerts that may or may not be in their channel, or resolve one of them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--month", type=month_argument, metavar="YYYY-MM-01", help="the month; without, all are listed"
    )
    parser.add_argument("--account", metavar="ID", help="the account_id of the alert to resolve")
    parser.add_argument(
        "--type",
        default=DEFAULT_ALERT_TYPE,
        metavar="TYPE",
        help=f"the alert type (default: {DEFAULT_ALERT_TYPE})",
    )
    decision = parser.add_mutually_exclusive_group()
    decision.add_argument(
        "--delivered",
        dest="decision",
        action="store_const",
        const=Decision.DELIVERED,
        help="it is in the channel: never send it again",
    )
    decision.add_argument(
        "--send-again",
        dest="decision",
        action="store_const",
        const=Decision.SEND_AGAIN,
        help="it is not: the next run of the month sends it",
    )
    parser.add_argument("--by", type=checked_by(check_by), metavar="NAME", help="who decides")
    parser.add_argument("--note", type=checked_by(check_note), metavar="TEXT", help="why, for later")
    parser.add_argument("--json", action="store_true", help="print what GET /outcomes or resolve would give")
    return parser


def _show_open(found: OutcomePage, *, as_json: bool) -> None:
    if as_json:
        print(found.model_dump_json(indent=2))  # noqa: T201
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
    console.print("\nLook into each channel, then resolve: --month … --account … --delivered or --send-again")


def _show_resolved(outcome: OutcomeView, *, as_json: bool) -> None:
    if as_json:
        print(outcome.model_dump_json(indent=2))  # noqa: T201
        return
    last = outcome.resolutions[-1]
    then = {
        Decision.DELIVERED: "it is never sent again",
        Decision.SEND_AGAIN: f"the next run of {outcome.month} sends it",
    }[last.decision]
    account = one_line(f"{outcome.account_name or '?'} ({outcome.account_id})")
    print(f"{account}, {outcome.month}: resolved as {last.decision} by {last.by}; {then}")  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
