"""The commands of `risk-alerts`: arguments, help and exit codes.

A command imports its code when it is called, so that `risk-alerts --help` loads neither Prefect nor Arrow.
"""

import logging
import signal
import sys
import traceback
from collections.abc import Callable
from datetime import date
from functools import partial
from types import TracebackType
from typing import Any

import click

from cli.streams import protect_streams
from core import __version__, domain

Command = Callable[..., Any]

logger = logging.getLogger(__name__)


def main() -> None:
    """Run the command that the arguments of the process name, and end the process with its exit code."""
    protect_streams()
    sys.excepthook = _print_masked
    # A closed terminal stops a command like SIGTERM does, unless `nohup` ignores the signal.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    risk_alerts(prog_name="risk-alerts")


def _print_masked(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    """Print an unexpected error, without the secrets that its traceback may quote."""
    from core.runtime import redact

    click.echo(redact("".join(traceback.format_exception(error))), nl=False, err=True)


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a `RiskAlertsError` ends it with a line of the log and an exit code."""
        try:
            return super().invoke(ctx)
        except domain.SettingsError as error:
            # Not in the log, whose format is one of the settings.
            from core.runtime import exit_with

            exit_with(error)
        except domain.RiskAlertsError as error:
            logger.error("%s: %s", error.code, error)
            ctx.exit(2 if isinstance(error, domain.InvalidRequest) else 1)


def _ending(*examples: str, codes: str = "1 failure, 2 usage error or bad settings") -> str:
    r"""Return the end of a help text: examples and exit codes. After `\b`, click wraps no lines."""
    ending = f"Exit codes: 0 success, {codes}."
    return "\n".join(["\b", "Examples:", *(f"  risk-alerts {line}" for line in examples), "", ending])


def _command(*examples: str, **codes: str) -> Callable[[Command], click.Command]:
    return risk_alerts.command(epilog=_ending(*examples, **codes))


_source_uri = partial(click.option, "--source-uri", metavar="URI", help=domain.SOURCE_HELP)
_month = partial(
    click.option, "--month", metavar="YYYY-MM-01", type=domain.parse_month, help=domain.MONTH_HELP
)
_port = partial(
    click.option, metavar="PORT", type=click.IntRange(1, 65_535), show_default=True, show_envvar=True
)


def _json(what: str) -> Callable[[Command], Command]:
    return click.option("--json", "as_json", is_flag=True, help=f"Print {what}.")


def _request(command: Command) -> Command:
    """Add the options that a run and a preview share."""
    command = click.option("--retry-unconfirmed", is_flag=True, help=domain.RETRY_HELP)(command)
    return _source_uri(required=True)(_month(required=True)(command))


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_ending(
        "check --source-uri gs://bucket/status.parquet --month 2026-01-01",
        "run --source-uri gs://bucket/status.parquet --month 2026-01-01",
    ),
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def risk_alerts() -> None:
    """Post one Slack alert for each account that is At Risk in a month."""


@_command("run --source-uri file:///data/status.parquet --month 2026-01-01")
@_request
@click.option("--dry-run", is_flag=True, help="Send nothing, write no outcome, and notify no one.")
@_json("the run as JSON, like GET /runs/{run_id}")
def run(*, as_json: bool, **request: Any) -> None:
    """Run a month: send its alerts, and print a report.

    Safe to repeat: an alert that was sent is skipped.
    """
    from cli.run import run_batch_job

    succeeded = run_batch_job(domain.RunRequest(**request), as_json=as_json)
    sys.exit(0 if succeeded else 1)


@_command("preview --source-uri gs://bucket/status.parquet --month 2026-01-01")
@_request
@_json("the preview as JSON, like POST /preview")
def preview(*, as_json: bool, **request: Any) -> None:
    """Show what a run of a month would do; nothing is sent."""
    from cli.run import show_preview

    show_preview(domain.RunRequest(**request), as_json=as_json)


@_command(
    "check",
    "check --source-uri gs://bucket/status.parquet --month 2026-01-01",
    codes="1 a check failed, 2 usage error",
)
@_source_uri()
@_month(help="The month that the source must have.")
@click.option(
    "--post-test-message", is_flag=True, help="Post one test message to each channel or the single webhook."
)
@_json("the findings as JSON")
def check(*, source_uri: str | None, month: date | None, post_test_message: bool, as_json: bool) -> None:
    """Check an installation before its first run.

    It checks settings, ledger, source, Slack, mail server and Prefect API.
    Without --post-test-message, it sends and stores nothing.
    """
    if month and source_uri is None:
        raise click.UsageError("--month needs --source-uri.")
    from cli.check import check_installation

    well = check_installation(source_uri, month, post_test_message=post_test_message, as_json=as_json)
    sys.exit(0 if well else 1)


@_command("unconfirmed", "unconfirmed --month 2026-01-01 --json")
@_month(help="Only this month.")
@_json("the alerts as JSON, like GET /outcomes")
def unconfirmed(*, month: date | None, as_json: bool) -> None:
    """List the alerts that may or may not be in their channel."""
    from cli.resolve import show_unconfirmed

    show_unconfirmed(month, as_json=as_json)


@_command(
    'resolve --month 2026-01-01 --account ACC-1 --delivered --by ana --note "seen in #amer"',
    "resolve --month 2026-01-01 --account ACC-2 --send-again --by ana",
)
@_month(required=True)
@click.option("--account", required=True, metavar="ID", help="The account_id of the alert.")
@click.option("--type", "alert_type", default=domain.DEFAULT_ALERT_TYPE, show_default=True, help="Its type.")
@click.option("--delivered", is_flag=True, help="The alert is in the channel: never send it again.")
@click.option("--send-again", is_flag=True, help="The alert is not in the channel: the next run sends it.")
@click.option("--by", required=True, metavar="NAME", help="The person who decides.")
@click.option("--note", metavar="TEXT", help="The reason for the decision.")
@_json("the alert as JSON, like POST /outcomes/{month}/{account_id}/resolve")
def resolve(*, delivered: bool, send_again: bool, as_json: bool, **given: Any) -> None:
    """Record a person's decision about an unconfirmed alert.

    It sends nothing. After --send-again, the next run of the month sends the alert.
    """
    if delivered == send_again:
        raise click.UsageError("Give one of --delivered and --send-again.")
    from cli.resolve import record

    key = domain.AlertKey(given.pop("account"), given.pop("alert_type"))
    decision = domain.Decision.DELIVERED if delivered else domain.Decision.SEND_AGAIN
    record(key=key, decision=decision, as_json=as_json, **given)


@_command("serve", "serve --api-port 8080 --prefect-port 4300")
@_port("--api-port", default=8000, envvar="API_PORT", help="The port of the API.")
@_port("--prefect-port", default=4200, envvar="PREFECT_PORT", help="The port of the Prefect server.")
def serve(**ports: int) -> None:
    """Serve the API, and a Prefect server that shows its runs."""
    from cli.serve import serve_both

    serve_both(**ports)
