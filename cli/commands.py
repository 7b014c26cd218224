"""The commands of `risk-alerts`: arguments, help and exit codes.

A command imports what it does when it is called: `risk-alerts --help` loads neither Prefect nor Arrow.
"""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, NoReturn

import click

from cli.exits import FAILED, SUCCEEDED, exit_code
from core import __version__
from core.domain import (
    DEFAULT_ALERT_TYPE,
    AlertKey,
    Decision,
    Resolution,
    RiskAlertsError,
    RunRequest,
    check_by,
    check_note,
    parse_month,
)
from flows.streams import protect_streams

Command = Callable[..., Any]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command that the arguments name, and end the process with its exit code."""
    protect_streams()
    risk_alerts.main(arguments, prog_name="risk-alerts")
    raise SystemExit(SUCCEEDED)


class _Commands(click.Group):
    """A group whose commands end with one line for an error that is known."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; report a `RiskAlertsError` on stderr."""
        try:
            return super().invoke(ctx)
        except RiskAlertsError as error:
            click.echo(f"error: {error.code}: {error}", err=True)
            ctx.exit(exit_code(error))


class _Checked(click.ParamType[Any]):
    """An argument that a function of the domain parses or refuses."""

    def __init__(self, name: str, check: Callable[[str], Any]) -> None:
        self.name = name
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the checked value; a `ValueError` is a usage error."""
        try:
            return self._check(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


_MONTH = _Checked("YYYY-MM-01", parse_month)


def _source_uri(*, required: bool) -> Callable[[Command], Command]:
    return click.option(
        "--source-uri",
        required=required,
        metavar="URI",
        help="A Parquet file or folder: file://, gs:// or s3://.",
    )


def _month(*, required: bool, help: str = "The first day of the month.") -> Callable[[Command], Command]:  # noqa: A002
    return click.option("--month", required=required, type=_MONTH, metavar="YYYY-MM-01", help=help)


def _json(what: str) -> Callable[[Command], Command]:
    return click.option("--json", "as_json", is_flag=True, help=f"Print {what} as JSON.")


_retry_unconfirmed = click.option(
    "--retry-unconfirmed", is_flag=True, help="Also send alerts again that an earlier run may have delivered."
)


def _epilog(*examples: str, codes: str) -> str:
    r"""Return the end of a help text; `\b` keeps its lines as they are."""
    return "\n".join(["\b", "Examples:", *(f"  {example}" for example in examples), "", codes])


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_epilog(
        "risk-alerts check --source-uri gs://bucket/status.parquet --month 2026-01-01",
        "risk-alerts run --source-uri gs://bucket/status.parquet --month 2026-01-01",
        "",
        "Shell completion (also zsh_source, fish_source):",
        '  eval "$(_RISK_ALERTS_COMPLETE=bash_source risk-alerts)"',
        codes="Exit codes: 0 success, 1 failure, 2 usage error or bad settings.",
    ),
)
@click.version_option(__version__, prog_name="risk-alerts", message="%(prog)s %(version)s")
def risk_alerts() -> None:
    """Alert each region's Slack channel on the accounts that are At Risk in a month, once."""


@risk_alerts.command(
    epilog=_epilog(
        "risk-alerts run --source-uri gs://bucket/status.parquet --month 2026-01-01",
        "risk-alerts run --source-uri file:///data/status.parquet --month 2026-01-01 --dry-run",
        codes="Exit codes: 0 the run succeeded, 1 it failed, 2 usage error or bad settings.",
    )
)
@_source_uri(required=True)
@_month(required=True)
@click.option("--dry-run", is_flag=True, help="Do all but send; notify no one.")
@_retry_unconfirmed
@_json("the run, as GET /runs/{run_id} gives it,")
@click.pass_context
def run(ctx: click.Context, /, *, as_json: bool, **request: Any) -> None:
    """Run a month: send its alerts, and print a report.

    Safe to repeat: an alert that was sent is skipped.
    """
    from cli.run import run_batch_job

    ctx.exit(run_batch_job(RunRequest(**request), as_json=as_json))


@risk_alerts.command(
    epilog=_epilog(
        "risk-alerts preview --source-uri gs://bucket/status.parquet --month 2026-01-01",
        "risk-alerts preview --source-uri gs://bucket/status.parquet --month 2026-01-01 --json",
        codes="Exit codes: 0 success, 1 failure, 2 usage error or bad settings.",
    )
)
@_source_uri(required=True)
@_month(required=True)
@_retry_unconfirmed
@_json("the preview, as POST /preview gives it,")
def preview(*, as_json: bool, **request: Any) -> None:
    """Show what a run of a month would do; nothing is sent."""
    from cli.preview import show_preview

    show_preview(RunRequest(**request), as_json=as_json)


@risk_alerts.command(
    epilog=_epilog(
        "risk-alerts check",
        "risk-alerts check --source-uri gs://bucket/status.parquet --month 2026-01-01",
        codes="Exit codes: 0 all is well, 1 a check failed, 2 usage error.",
    )
)
@_source_uri(required=False)
@_month(required=False, help="The month that the source must have.")
@click.option("--post-test-message", is_flag=True, help="Post one test message to each channel.")
@_json("the findings")
@click.pass_context
def check(
    ctx: click.Context,
    /,
    *,
    source_uri: str | None,
    month: date | None,
    post_test_message: bool,
    as_json: bool,
) -> None:
    """Check an installation before its first run.

    Settings, ledger, source, Slack, mail server and Prefect API are checked side by side. Nothing is sent and
    nothing is stored, unless --post-test-message asks for it.
    """
    if month and not source_uri:
        raise click.UsageError("--month needs --source-uri.")
    from cli.check import check_installation

    well = check_installation(source_uri, month, post_test_message=post_test_message, as_json=as_json)
    ctx.exit(SUCCEEDED if well else FAILED)


@risk_alerts.command(
    epilog=_epilog(
        "risk-alerts unconfirmed",
        "risk-alerts unconfirmed --month 2026-01-01 --json",
        codes="Exit codes: 0 success, 1 failure, 2 usage error or bad settings.",
    )
)
@_month(required=False, help="Only this month.")
@_json("what GET /outcomes gives")
def unconfirmed(*, month: date | None, as_json: bool) -> None:
    """List the alerts that may or may not be in their channel."""
    from cli.resolve import show_unconfirmed

    show_unconfirmed(month, as_json=as_json)


@risk_alerts.command(
    epilog=_epilog(
        'risk-alerts resolve --month 2026-01-01 --account ACC-1 --delivered --by ana --note "seen in #amer"',
        "risk-alerts resolve --month 2026-01-01 --account ACC-2 --send-again --by ana",
        codes="Exit codes: 0 success, 1 refused, 2 usage error or bad settings.",
    )
)
@_month(required=True)
@click.option("--account", required=True, metavar="ID", help="The account_id of the alert.")
@click.option("--type", "alert_type", default=DEFAULT_ALERT_TYPE, show_default=True, help="The alert type.")
@click.option("--delivered", is_flag=True, help="It is in the channel: never send it again.")
@click.option("--send-again", is_flag=True, help="It is not: the next run of the month sends it.")
@click.option("--by", required=True, type=_Checked("NAME", check_by), metavar="NAME", help="Who decides.")
@click.option("--note", type=_Checked("TEXT", check_note), metavar="TEXT", help="Why.")
@_json("what POST /outcomes/{month}/{account_id}/resolve gives")
def resolve(*, delivered: bool, send_again: bool, as_json: bool, **given: Any) -> None:
    """Record a person's decision about an unconfirmed alert.

    Nothing is sent by this: the next run of the month sends what is to be sent again.
    """
    if delivered == send_again:
        raise click.UsageError("Give one of --delivered and --send-again.")
    from cli.resolve import record
    from core.run import utc_now

    resolution = Resolution(
        AlertKey(given["account"], given["alert_type"]),
        given["month"],
        Decision.DELIVERED if delivered else Decision.SEND_AGAIN,
        by=given["by"],
        note=given["note"],
        at=utc_now(),
    )
    record(resolution, as_json=as_json)


@risk_alerts.command(
    epilog=_epilog(
        "risk-alerts serve",
        "risk-alerts serve --api-port 8080 --prefect-port 4300",
        codes="Exit codes: 0 it was stopped, 1 it could not start or ended by itself, 2 usage error.",
    )
)
@click.option("--api-port", type=int, default=8000, envvar="API_PORT", show_default=True, show_envvar=True)
@click.option(
    "--prefect-port", type=int, default=4200, envvar="PREFECT_PORT", show_default=True, show_envvar=True
)
@click.pass_context
def serve(ctx: click.Context, /, *, api_port: int, prefect_port: int) -> None:
    """Serve the API, and a Prefect server with its UI that shows the API's runs."""
    from cli.serve import serve_both

    ctx.exit(SUCCEEDED if serve_both(api_port, prefect_port) else FAILED)


@risk_alerts.command(
    epilog=_epilog(
        "risk-alerts deploy",
        "risk-alerts deploy --source-uri gs://bucket/status.parquet",
        codes="Exit codes: 0 success, 1 failure, 2 usage error or bad settings.",
    )
)
@click.option("--source-uri", metavar="URI", help="The source of scheduled runs; by default prefect.yaml's.")
def deploy(*, source_uri: str | None) -> None:
    """Deploy the monthly schedule to the configured Prefect API.

    Creates the work pool risk-alerts, of processes, if it is missing, and deploys `monthly` of prefect.yaml.
    """
    from cli.deploy import deploy_monthly

    deploy_monthly(source_uri)
