"""Check an installation: everything that a run needs."""

import asyncio
import contextlib
import io
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import click
from rich.text import Text

from cli.report import PlainConsole
from core.domain import RiskAlertsError, SettingsError, Verdict, one_line, reason_of, shown_region
from core.ledger import container_warning, try_write
from core.runtime import Settings, configure_logs, host_of, load_settings, redact, shown_database
from core.slack import SlackWebhooks
from core.sources import describe, open_uri, parse_source
from core.support import MailError, send_mail

TRIED_SETTINGS = "the environment and CONFIG_FILE"
TEST_MESSAGE = "Test message of Account Risk Alerts: this channel is reached. Nothing needs to be done."

_MARKS = {"ok": ("✓", "green"), "failed": ("✗", "red"), "skipped": ("-", "dim")}


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; `status` is `ok`, `failed` or `skipped`."""

    found: str
    status: str = "ok"
    advice: str | None = None
    notes: tuple[str, ...] = ()


def check_installation(
    source_uri: str | None, month: date | None, *, post_test_message: bool, as_json: bool
) -> bool:
    """Run every check, print each finding as soon as it is known, and return whether none failed."""
    console = PlainConsole(quiet=as_json)
    checks = []
    for name, tried, finding in _findings(source_uri, month, post_test_message=post_test_message):
        checks.append({"name": name, "tried": tried, **asdict(finding)})
        # An error message may already name what was tried.
        lines = [finding.found if tried in finding.found else f"{tried}: {finding.found}"]
        lines += [f"note: {note}" for note in finding.notes]
        lines += [f"→ {finding.advice}"] if finding.advice else []
        text = f"\n{'':12}".join(map(one_line, lines))
        console.print(Text.assemble(_MARKS[finding.status], f" {name:8}  {text}"), soft_wrap=True)
    failed = sum(check["status"] == "failed" for check in checks)
    end = f"{failed} of {len(checks)} checks failed." if failed else "All is well."
    console.print(Text(end, "red" if failed else "green"))
    if as_json:
        click.echo(json.dumps({"ok": not failed, "checks": checks}, indent=2, ensure_ascii=False))
    return not failed


def _findings(
    source_uri: str | None, month: date | None, *, post_test_message: bool
) -> Iterator[tuple[str, str, Finding]]:
    """Yield the name of each check, what it tries, and its finding."""
    try:
        settings = load_settings()
    except SettingsError as error:
        advice = "Correct the setting; nothing else was checked."
        yield "settings", TRIED_SETTINGS, Finding(str(error), "failed", advice)
        return
    configure_logs(settings, level=logging.WARNING)
    source = "--source-uri"
    with contextlib.suppress(RiskAlertsError):
        source = parse_source(source_uri or "").uri  # without credentials
    yield "settings", TRIED_SETTINGS, _finding(_settings, settings)
    yield "ledger", shown_database(settings.database_url), _finding(_ledger, settings)
    yield "source", source, _finding(_source, settings, source_uri, month)
    webhook = settings.slack_webhook
    slack = f"Slack's host {host_of(webhook)}" if webhook else "SLACK_WEBHOOK_BASE_URL or SLACK_WEBHOOK_URL"
    yield "slack", slack, _finding(asyncio.run, _slack(settings))
    if webhook and post_test_message:
        channels = list(dict.fromkeys(settings.regions.values()))
        # One message for each channel, or only one in single webhook mode.
        for channel in channels[:1] if settings.single_webhook else channels:
            yield "slack", f"a message to #{channel}", _finding(asyncio.run, _post(settings, channel))
    mail = f"{settings.smtp_host}:{settings.smtp_port}" if settings.smtp_host else "SMTP_HOST"
    yield "mail", mail, _finding(_mail, settings)
    yield "prefect", "PREFECT_API_URL", _finding(_prefect)


def _finding(check: Callable[..., Finding], *arguments: Any) -> Finding:
    """Call a check and return its finding; an error that the check raises becomes the finding."""
    try:
        return check(*arguments)
    except (RiskAlertsError, MailError) as error:
        return Finding(str(error), "failed")
    except Exception as error:  # noqa: BLE001  # a defect of one check must not hide the others
        return Finding(f"internal error: {redact(str(error))}", "failed", "This is a defect: report it.")


def _settings(settings: Settings) -> Finding:
    if not settings.regions:
        return Finding("REGIONS is not set", "failed", "Give each region its channel in REGIONS.")
    regions = ", ".join(f"{region} to #{channel}" for region, channel in settings.regions.items())
    return Finding(f"{regions}; ARR_THRESHOLD {settings.arr_threshold:,}")


def _ledger(settings: Settings) -> Finding:
    warning = container_warning(settings.database_url)
    found = try_write(settings.database_url)
    return Finding(found, notes=(warning,) if warning else ())


def _source(settings: Settings, source_uri: str | None, month: date | None) -> Finding:
    if source_uri is None:
        return Finding("not given", "skipped")
    found = describe(open_uri(source_uri, settings), month, settings.source_timezone)
    span = "months unknown (the footers do not show them)"
    if found.months:
        span = "months {:%Y-%m} to {:%Y-%m}".format(*found.months)
    files = f"{found.files:,} {'file' if found.files == 1 else 'files'}"
    text = f"{found.rows:,} rows in {files}, {span}"
    if not found.has_month:
        return Finding(f"no rows of {month}: {text}", "failed", "Check --month and the export.")
    unrouted = [shown_region(region) for region in found.regions if region not in settings.regions]
    notes = {
        "columns that are ignored": found.ignored,
        "regions without a channel (the footers may not name all)": unrouted,
    }
    return Finding(text, notes=tuple(f"{name}: {', '.join(those)}" for name, those in notes.items() if those))


async def _slack(settings: Settings) -> Finding:
    if not settings.slack_webhook:
        return Finding("not set", "failed", "Set one of the two; without a webhook, only dry runs work.")
    try:
        async with SlackWebhooks(settings) as webhooks:
            await webhooks.reach()
    except ConnectionError as error:
        return Finding(str(error), "failed", "Check the webhook's URL, the network and the proxy.")
    return Finding("answers; nothing was posted")


async def _post(settings: Settings, channel: str) -> Finding:
    async with SlackWebhooks(settings) as webhooks:
        answer = await webhooks.post(channel, {"text": TEST_MESSAGE})
    if answer.verdict is Verdict.DELIVERED:
        return Finding("delivered")
    reason = reason_of(answer.reason)
    sentences = filter(None, (reason.meaning, f"{reason.fix}, then run the check again"))
    advice = " ".join(f"{text[0].upper()}{text[1:]}." for text in sentences)
    return Finding(answer.error or "not delivered", "failed", advice)


def _mail(settings: Settings) -> Finding:
    if not settings.smtp_host:
        return Finding("not set, so the support notification is logged", "skipped")
    send_mail(settings, None)
    login = "accepts the login" if settings.smtp_username else "accepts the connection"
    return Finding(f"{login}; nothing was sent")


def _prefect() -> Finding:
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            from flows.prefect_engine import configured_api, probe  # noqa: PLC0415  # it takes a second
    except SystemExit as ended:  # of `exit_with`
        return Finding(str(ended.__cause__), "failed")
    url = configured_api()
    if not url:
        return Finding("not set, so runs do not use Prefect", "skipped")
    probe(url, login=True)
    return Finding(f"host {host_of(url)} answers")
