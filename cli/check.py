"""Checks of an installation: what a run will need, tried side by side, each in bounded time."""

import asyncio
import contextlib
import io
import json
import os
import sys
import threading
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
from core.runtime import Settings, host_of, load_settings, one_line, redact, shown_ledger
from core.slack import Answer, SlackWebhooks
from core.sources import describe, open_uri, parse_source
from core.support import MailError, try_login

SECONDS = 15
"""The longest that a check may take, beyond the settings' own limits of one request."""
ORDER = ("settings", "ledger", "source", "slack", "mail", "prefect")
TRIED = "the environment and CONFIG_FILE"
TEST_MESSAGE = "Test message of Account Risk Alerts: this channel is reached. Nothing needs to be done."


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check tried and found; `status` is `ok`, `failed` or `skipped`."""

    name: str
    status: str
    tried: str
    found: str
    advice: str | None = None
    notes: tuple[str, ...] = ()


class CheckFailed(Exception):
    """What a check found wrong, and what to do about it."""

    def __init__(self, found: str, advice: str | None = None) -> None:
        super().__init__(found)
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Check:
    """What `work` tries; it returns what it found and notes, or raises. `late`: the advice when it hangs."""

    name: str
    tried: str
    work: Callable[[], tuple[str, list[str]]]
    late: str
    seconds: float = SECONDS


def check_installation(
    source_uri: str | None, month: date | None, *, post_test_message: bool, as_json: bool
) -> bool:
    """Check everything and print the findings; return whether nothing failed.

    Raises `InvalidRequest` or `SourceSchemeUnsupported` for a URI that can't be a source.
    """
    try:
        settings = load_settings()
    except SettingsError as error:
        advice = "Correct it; nothing else was checked."
        return _show([Finding("settings", "failed", TRIED, str(error), advice)], as_json=as_json)
    checks = list(_checks(settings, source_uri, month, post_test_message=post_test_message))
    running = [_start(check) for check in checks]
    findings = [_settings(settings), *_unneeded(settings, source_uri)]
    # Imported here, while the others run: Prefect takes a second.
    findings.append(_prefect())
    findings += [_finding(*one) for one in running]
    findings.sort(key=lambda finding: ORDER.index(finding.name))
    well = _show(findings, as_json=as_json)
    if not all(future.done() for _, future, _ in running):
        # Threads of libraries that still wait for an answer would hold up the end of the process.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0 if well else 1)
    return well


def _checks(
    settings: Settings, source_uri: str | None, month: date | None, *, post_test_message: bool
) -> Iterator[Check]:
    ledger = shown_ledger(settings.database_url)
    yield Check("ledger", ledger, partial(_ledger, settings), "Look for a process that keeps it locked.")
    if source_uri:
        yield Check(
            "source",
            parse_source(source_uri).uri,  # which is free of credentials
            partial(_source, source_uri, month, settings),
            "Check the network and the store's endpoint.",
            SECONDS + settings.source_timeout_seconds,
        )
    if settings.slack_configured:
        in_time = "Check the network and the proxy.", SECONDS + settings.slack_timeout_seconds
        yield Check("slack", f"Slack's host {_slack_host(settings)}", partial(_slack, settings), *in_time)
        for channel in _destinations(settings) if post_test_message else ():
            yield Check("slack", f"a message to #{channel}", partial(_post, settings, channel), *in_time)
    if settings.smtp_host:
        server = f"{settings.smtp_host}:{settings.smtp_port}"
        yield Check("mail", server, partial(_mail, settings), "Check SMTP_HOST and SMTP_PORT.")


def _start(check: Check) -> tuple[Check, Future[tuple[str, list[str]]], float]:
    future: Future[tuple[str, list[str]]] = Future()

    def work() -> None:
        try:
            future.set_result(check.work())
        except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
            future.set_exception(error)

    threading.Thread(target=work, name=f"check-{check.name}", daemon=True).start()
    return check, future, time.monotonic() + check.seconds


def _finding(check: Check, future: Future[tuple[str, list[str]]], deadline: float) -> Finding:
    """Wait for a check until its deadline, and return what it found."""
    try:
        found, notes = future.result(max(0, deadline - time.monotonic()))
    except CheckFailed as failure:
        return Finding(check.name, "failed", check.tried, str(failure), failure.advice)
    except RiskAlertsError as error:
        return Finding(check.name, "failed", check.tried, str(error))
    except Exception as error:  # noqa: BLE001  # a defect of one check must not hide the others
        if not future.done():
            late = f"no answer in {check.seconds:g} s"
            return Finding(check.name, "failed", check.tried, late, check.late)
        what = f"internal error: {redact(str(error))}"
        return Finding(check.name, "failed", check.tried, what, "This is a defect: report it.")
    return Finding(check.name, "ok", check.tried, found, notes=tuple(notes))


def _settings(settings: Settings) -> Finding:
    if not settings.regions:
        missing = "REGIONS is not set", "Give each region its channel in REGIONS."
        return Finding("settings", "failed", TRIED, *missing)
    regions = ", ".join(f"{region} to #{channel}" for region, channel in settings.regions.items())
    return Finding("settings", "ok", TRIED, f"{regions}; ARR_THRESHOLD {settings.arr_threshold:,}")


def _unneeded(settings: Settings, source_uri: str | None) -> Iterator[Finding]:
    """Yield what is not configured, and so not tried."""
    if not settings.slack_configured:
        missing = "SLACK_WEBHOOK_BASE_URL or SLACK_WEBHOOK_URL", "not set", "Without one only dry runs work."
        yield Finding("slack", "failed", *missing)
    if not source_uri:
        yield Finding("source", "skipped", "--source-uri", "not given")
    if not settings.smtp_host:
        yield Finding("mail", "skipped", "SMTP_HOST", "not set, so the support notification is logged")


def _ledger(settings: Settings) -> tuple[str, list[str]]:
    forgotten = warning_about(settings.database_url)
    return try_write(settings.database_url, utc_now()), [forgotten] if forgotten else []


def _slack(settings: Settings) -> tuple[str, list[str]]:
    async def reach() -> None:
        async with SlackWebhooks(settings) as webhooks:
            await webhooks.reach()

    try:
        asyncio.run(reach())
    except ConnectionError as error:
        raise CheckFailed(str(error), "Check the webhook's URL, the network and the proxy.") from None
    return "answers; nothing was posted", []


def _slack_host(settings: Settings) -> str:
    url = settings.slack_webhook_base_url or settings.slack_webhook_url
    return host_of(url.get_secret_value()) if url else "?"


def _destinations(settings: Settings) -> list[str]:
    """Return each channel once; one webhook for all takes one message."""
    channels = list(dict.fromkeys(settings.regions.values()))
    return channels[:1] if settings.single_webhook else channels


def _post(settings: Settings, channel: str) -> tuple[str, list[str]]:
    async def post() -> Answer:
        async with SlackWebhooks(settings) as webhooks:
            return await webhooks.post(channel, {"text": TEST_MESSAGE})

    answer = asyncio.run(post())
    if answer.verdict is not Verdict.DELIVERED:
        reason = REASONS.get(answer.reason or "")
        raise CheckFailed(answer.error or "not delivered", f"{reason.meaning}." if reason else None)
    return "delivered", []


def _mail(settings: Settings) -> tuple[str, list[str]]:
    try:
        try_login(settings)
    except MailError as error:
        raise CheckFailed(error.why) from None
    login = "accepts the login" if settings.smtp_username else "accepts the connection"
    return f"{login}; nothing was sent", []


def _prefect() -> Finding:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            from flows.prefect_engine import PROBE_SECONDS, configured_api, probe  # noqa: PLC0415
    except SystemExit as ended:
        return Finding("prefect", "failed", "Prefect's settings", str(ended.__cause__))
    url = configured_api()
    if not url:
        return Finding("prefect", "skipped", "PREFECT_API_URL", "not set, so runs do without Prefect")
    tried = f"PREFECT_API_URL (host {host_of(url)})"
    try:
        probe(url, PROBE_SECONDS)
    except RiskAlertsError as error:
        advice = "Start it, or unset PREFECT_API_URL: runs then do without Prefect."
        return Finding("prefect", "failed", tried, str(error), advice)
    return Finding("prefect", "ok", tried, "answers")


def _source(source_uri: str, month: date | None, settings: Settings) -> tuple[str, list[str]]:
    found = describe(open_uri(source_uri, settings), month, settings.source_timezone)
    span = "months unknown, as it has no statistics"
    if found.months:
        span = "months {:%Y-%m} to {:%Y-%m}".format(*found.months)
    files = f"{found.files:,} {'file' if found.files == 1 else 'files'}"
    text = f"{found.rows:,} rows in {files}, {span}, written by {', '.join(found.writers)}"
    if not found.has_month:
        raise CheckFailed(f"no rows of {month}: {text}", "Check --month and the export.")
    unrouted = [repr(region) for region in found.regions if region not in settings.regions]
    notes = [("columns that are ignored", found.ignored), ("regions without a channel", unrouted)]
    return text, [f"{name}: {', '.join(those)}" for name, those in notes if those]


_MARKS = {"ok": ("✓", "green"), "failed": ("✗", "red"), "skipped": ("-", "dim")}


def _show(findings: list[Finding], *, as_json: bool) -> bool:
    """Print the findings; return whether nothing failed."""
    failed = sum(finding.status == "failed" for finding in findings)
    if as_json:
        checks = [asdict(finding) for finding in findings]
        click.echo(json.dumps({"ok": not failed, "checks": checks}, indent=2, ensure_ascii=False))
        return not failed
    console = Console(emoji=False, highlight=False)
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark, style = _MARKS[finding.status]
        named = finding.tried in finding.found
        lines = [
            finding.found if named else f"{finding.tried}: {finding.found}",
            *(f"note: {note}" for note in finding.notes),
        ]
        lines += [f"→ {finding.advice}"] if finding.advice else []
        first, *others = map(one_line, lines)
        console.print(Text.assemble((mark, style), f" {finding.name:{width}}  {first}"), soft_wrap=True)
        for line in others:
            console.print(Text(f"{'':{width + 4}}{line}"), soft_wrap=True)
    end = f"{failed} of {len(findings)} checks failed." if failed else "All is well."
    console.print(Text(end, "red" if failed else "green"))
    return not failed
