"""Check an installation: everything that a run needs, concurrently and in bounded time."""

import asyncio
import contextlib
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial

import click
from rich.console import Console
from rich.text import Text

from core.domain import REASONS, RiskAlertsError, SettingsError, Verdict
from core.ledger import try_write, warning_about
from core.run import utc_now
from core.runtime import (
    Settings,
    host_of,
    in_thread,
    load_settings,
    one_line,
    redact,
    shown_database,
    shown_region,
)
from core.slack import Answer, SlackWebhooks
from core.sources import describe, open_uri, parse_source
from core.support import MailError, send_mail

SECONDS = 15
"""The limit of a check in seconds, in addition to the timeout of one request in the settings."""
TRIED_SETTINGS = "the environment and CONFIG_FILE"
TEST_MESSAGE = "Test message of Account Risk Alerts: this channel is reached. Nothing needs to be done."


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; `status` is `ok`, `failed` or `skipped`."""

    found: str
    status: str = "ok"
    advice: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """One check: `work` tries `tried`. `late` is the advice if it takes longer than `seconds`."""

    name: str
    tried: str
    work: Callable[[], Finding]
    late: str = "Run the check again."
    seconds: float = SECONDS


def check_installation(
    source_uri: str | None, month: date | None, *, post_test_message: bool, as_json: bool
) -> bool:
    """Check everything and print the findings; return whether nothing failed.

    Raises `InvalidRequest` or `SourceSchemeUnsupported` for a URI that cannot be a source.
    """
    try:
        settings = load_settings()
    except SettingsError as error:
        bad = Finding(str(error), "failed", "Correct it; nothing else was checked.")
        return _show([(Check("settings", TRIED_SETTINGS, lambda: bad), bad)], as_json=as_json)
    checks = list(_checks(settings, source_uri, month, post_test_message=post_test_message))
    started = time.monotonic()
    running = [in_thread(check.work, f"check-{check.name}") for check in checks]
    results = [
        (check, _finding(check, future, started)) for check, future in zip(checks, running, strict=True)
    ]
    passed = _show(results, as_json=as_json)
    if not all(future.done() for future in running):
        # Threads of libraries that still wait would delay the end of the process.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0 if passed else 1)
    return passed


def _checks(
    settings: Settings, source_uri: str | None, month: date | None, *, post_test_message: bool
) -> Iterator[Check]:
    yield Check("settings", TRIED_SETTINGS, partial(_settings, settings))
    ledger = shown_database(settings.database_url)
    yield Check("ledger", ledger, partial(_ledger, settings), "Look for a process that keeps it locked.")
    if source_uri:
        yield Check(
            "source",
            parse_source(source_uri).uri,  # without credentials
            partial(_source, source_uri, month, settings),
            "Check the network and the store's endpoint.",
            SECONDS + settings.source_timeout_seconds,
        )
    else:
        yield Check("source", "--source-uri", lambda: Finding("not given", "skipped"))
    if url := settings.slack_webhook_base_url or settings.slack_webhook_url:
        late_and_seconds = "Check the network and the proxy.", SECONDS + settings.slack_timeout_seconds
        host = host_of(url.get_secret_value())
        yield Check("slack", f"Slack's host {host}", partial(_slack, settings), *late_and_seconds)
        # One message for each channel, or only one in single webhook mode.
        channels = list(dict.fromkeys(settings.regions.values()))[: 1 if settings.single_webhook else None]
        for channel in channels if post_test_message else ():
            yield Check(
                "slack", f"a message to #{channel}", partial(_post, settings, channel), *late_and_seconds
            )
    else:
        missing = Finding("not set", "failed", "Set one of them; without it, only dry runs work.")
        yield Check("slack", "SLACK_WEBHOOK_BASE_URL or SLACK_WEBHOOK_URL", lambda: missing)
    if settings.smtp_host:
        server = f"{settings.smtp_host}:{settings.smtp_port}"
        yield Check("mail", server, partial(_mail, settings), "Check SMTP_HOST and SMTP_PORT.")
    else:
        without = Finding("not set, so the support notification is logged", "skipped")
        yield Check("mail", "SMTP_HOST", lambda: without)
    yield Check("prefect", "PREFECT_API_URL", _prefect, "Check the network.", 2 * SECONDS)


def _finding(check: Check, future: "Future[Finding]", started: float) -> Finding:
    """Wait for a check until it is late, and return what it found."""
    try:
        return future.result(max(0, started + check.seconds - time.monotonic()))
    except RiskAlertsError as error:
        return Finding(str(error), "failed")
    except Exception as error:  # noqa: BLE001  # a defect of one check must not hide the others
        if not future.done():
            return Finding(f"no answer in {check.seconds:g} s", "failed", check.late)
        what = f"internal error: {redact(str(error))}"
        return Finding(what, "failed", "This is a defect: report it.")


def _settings(settings: Settings) -> Finding:
    if not settings.regions:
        return Finding("REGIONS is not set", "failed", "Give each region its channel in REGIONS.")
    regions = ", ".join(f"{region} to #{channel}" for region, channel in settings.regions.items())
    return Finding(f"{regions}; ARR_THRESHOLD {settings.arr_threshold:,}")


def _ledger(settings: Settings) -> Finding:
    warning = warning_about(settings.database_url)
    found = try_write(settings.database_url, utc_now())
    return Finding(found, notes=(warning,) if warning else ())


def _source(source_uri: str, month: date | None, settings: Settings) -> Finding:
    found = describe(open_uri(source_uri, settings), month, settings.source_timezone)
    span = "months unknown, as it has no statistics"
    if found.months:
        span = "months {:%Y-%m} to {:%Y-%m}".format(*found.months)
    files = f"{found.files:,} {'file' if found.files == 1 else 'files'}"
    text = f"{found.rows:,} rows in {files}, {span}, written by {', '.join(found.writers)}"
    if not found.has_month:
        return Finding(f"no rows of {month}: {text}", "failed", "Check --month and the export.")
    unrouted = [shown_region(region) for region in found.regions if region not in settings.regions]
    notes = {"columns that are ignored": found.ignored, "regions without a channel": unrouted}
    return Finding(text, notes=tuple(f"{name}: {', '.join(those)}" for name, those in notes.items() if those))


def _slack(settings: Settings) -> Finding:
    async def reach() -> None:
        async with SlackWebhooks(settings) as webhooks:
            await webhooks.reach()

    try:
        asyncio.run(reach())
    except ConnectionError as error:
        return Finding(str(error), "failed", "Check the webhook's URL, the network and the proxy.")
    return Finding("answers; nothing was posted")


def _post(settings: Settings, channel: str) -> Finding:
    async def post() -> Answer:
        async with SlackWebhooks(settings) as webhooks:
            return await webhooks.post(channel, {"text": TEST_MESSAGE})

    answer = asyncio.run(post())
    if answer.verdict is Verdict.DELIVERED:
        return Finding("delivered")
    reason = REASONS.get(answer.reason or "")
    return Finding(answer.error or "not delivered", "failed", f"{reason.meaning}." if reason else None)


def _mail(settings: Settings) -> Finding:
    try:
        send_mail(settings, None)
    except MailError as error:
        return Finding(str(error), "failed")
    login = "accepts the login" if settings.smtp_username else "accepts the connection"
    return Finding(f"{login}; nothing was sent")


def _prefect() -> Finding:
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            from flows.prefect_engine import configured_api, probe  # noqa: PLC0415  # it takes a second
    except SystemExit as ended:
        return Finding(str(ended.__cause__), "failed")
    url = configured_api()
    if not url:
        return Finding("not set, so runs do not use Prefect", "skipped")
    try:
        probe(url)
    except RiskAlertsError as error:
        return Finding(str(error), "failed", "Start it, or unset PREFECT_API_URL to run without Prefect.")
    return Finding(f"host {host_of(url)} answers")


_MARKS = {"ok": ("✓", "green"), "failed": ("✗", "red"), "skipped": ("-", "dim")}


def _show(results: list[tuple[Check, Finding]], *, as_json: bool) -> bool:
    """Print the findings; return whether nothing failed."""
    failed = sum(finding.status == "failed" for _, finding in results)
    if as_json:
        checks = [{"name": check.name, "tried": check.tried, **asdict(found)} for check, found in results]
        click.echo(json.dumps({"ok": not failed, "checks": checks}, indent=2, ensure_ascii=False))
        return not failed
    console = Console(emoji=False, highlight=False)
    width = max(len(check.name) for check, _ in results)
    for check, finding in results:
        named = check.tried in finding.found
        lines = [finding.found if named else f"{check.tried}: {finding.found}"]
        lines += [f"note: {note}" for note in finding.notes]
        lines += [f"→ {finding.advice}"] if finding.advice else []
        first, *others = map(one_line, lines)
        mark = _MARKS[finding.status]
        console.print(Text.assemble(mark, f" {check.name:{width}}  {first}"), soft_wrap=True)
        for line in others:
            console.print(Text(f"{'':{width + 4}}{line}"), soft_wrap=True)
    end = f"{failed} of {len(results)} checks failed." if failed else "All is well."
    console.print(Text(end, "red" if failed else "green"))
    return not failed
