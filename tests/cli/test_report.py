"""The report of a run, on a terminal and in Prefect's UI: all its parts, and any data as text."""

import io
import re
from dataclasses import replace

import pytest

from cli.report import PlainConsole, print_report
from core.domain import (
    Notification,
    NotificationStatus,
    RunRequest,
    RunWarning,
    SourceNotFound,
    SupportMessage,
)
from core.ledger import Ledger
from flows.artifacts import report, table_row
from tests.delivery.world import ME, MONTH, NOW, assessment, begin, failed, record, routed, sent

URI = f"file:///[red]:x:/{'x' * 80}"
REPORT = f"""\
Risk alerts 2026-01  succeeded  run run-1
Source: {URI}
month_not_in_source: No row of [month]

channel       sent  failed
amer             1
emea             2       1
(no channel)             1

failed or unconfirmed          region       ARR  streak    why
Name of A-3 (A-3)              AMER     $50,000  2 months  server_error
Name of A-4 [red] (A-4 [red])  (empty)  $50,000  2 months  unknown_region

server_error: wait until Slack has no errors; then run the month again.
unknown_region: give the region a channel in REGIONS, or fix the source; then
run the month again.

100 rows read, 3 duplicate rows, 6 at risk, 3 recovered, 4 below the ARR
threshold, 3 sent, 2 failed or unconfirmed (1 of an unknown region).
at_risk: 100 rows read, 3 duplicate rows, 6 at risk, 2 below the ARR threshold,
2 sent, 2 failed or unconfirmed (1 of an unknown region).
recovered: 100 rows read, 3 duplicate rows, 3 recovered, 2 below the ARR
threshold, 1 sent, 0 failed or unconfirmed.
Support notification: failed (no [mail] server).
"""
MARKDOWN = f"""\
# Risk alerts 2026-01: succeeded

Run `run-1` read `{URI}` (`version-1`).

- **month_not_in_source**: No row of [month]

## By channel

| channel | sent | failed |
|---|---:|---:|
| amer | 1 |  |
| emea | 2 | 1 |
| (no channel) |  | 1 |

## Failed or unconfirmed

- **server_error** (1): wait until Slack has no errors; then run the month again.
- **unknown_region** (1): give the region a channel in REGIONS, or fix the source; then run the month again.

## Counts

| count | number |
|---|---:|
| rows read | 100 |
| duplicate rows | 3 |
| at risk | 6 |
| recovered | 3 |
| below the ARR threshold | 4 |
| sent | 3 |
| failed or unconfirmed | 2 |
| of an unknown region | 1 |

All of it: `GET /runs/run-1` and `/runs/run-1/alerts` of the API.
"""


def report_of(ledger: Ledger, width: int = 80) -> str:
    """Return the report of `run-1` on a terminal, without blanks at the ends of lines."""
    out = io.StringIO()
    print_report(ledger.history.run("run-1"), ledger.history, PlainConsole(file=out, width=width))
    return re.sub(" +\n", "\n", out.getvalue())


def markdown_of(ledger: Ledger) -> str:
    """Return the report of `run-1` in Prefect's UI."""
    history = ledger.history
    return report(history.run("run-1"), history.channels("run-1"), history.open_of("run-1", 0))


def test_report_has_every_part_of_a_run(ledger: Ledger) -> None:
    alerts = [
        *(
            routed("A-1"),
            routed("A-2", "emea"),
            routed("A-3", "emea"),
            routed("A-4\n[red]", None)._replace(account_region=""),
        ),
        routed("A-1", "emea", "recovered"),
    ]
    warning = RunWarning("month_not_in_source", "No row of [month]", None)
    found = replace(assessment(alerts), warnings=(warning,))
    mail = Notification(SupportMessage("subject", "text"), NotificationStatus.FAILED, "no [mail] server")
    ledger.begin_run("run-1", RunRequest(URI, MONTH), ME, None, NOW)
    for alert in ledger.plan("run-1", found, alerts, 0, NOW):
        ledger.claim("run-1", alert, NOW)
        answer = failed("A-3") if alert.account_id == "A-3" else sent(alert.account_id, alert.alert_type)
        ledger.record_answer("run-1", answer._replace(channel=alert.channel), NOW)
    ledger.record_notification("run-1", mail, address="a@b", digest="d")
    ledger.finish("run-1", None, NOW)
    assert report_of(ledger) == REPORT
    assert markdown_of(ledger) == MARKDOWN


def test_report_of_a_failed_run_says_why(ledger: Ledger) -> None:
    begin(ledger, "run-1")
    ledger.finish("run-1", SourceNotFound("no [red] file"), NOW)
    lines = report_of(ledger).splitlines()
    assert lines[0] == "Risk alerts 2026-01  failed  run run-1"
    assert lines[2] == "source_not_found: no [red] file"
    # The only alert type has no sum of its own.
    assert len(lines) == 6


def test_report_of_a_run_without_an_end_says_what_to_do(ledger: Ledger) -> None:
    """The disk of the ledger is full, and the report has the last counts that the ledger took."""
    begin(ledger, "run-1")
    lines = report_of(ledger).splitlines()
    assert lines[2] == "ledger_unavailable: The run's end is not recorded; run the month again"


def test_amount_is_whole_on_a_narrow_terminal(ledger: Ledger) -> None:
    alerts = [routed(f"A-{number}", None)._replace(arr=1_234_567_890) for number in range(2)]
    begin(ledger, "run-1", alerts)
    assert report_of(ledger, width=40).count(" $1,234,567,890 ") == len(alerts)


def test_data_breaks_no_markdown(ledger: Ledger) -> None:
    ledger.begin_run("run-1", RunRequest("file:///a`b|c", MONTH), ME, None, NOW)
    found = replace(assessment([]), warnings=(RunWarning("a_code", "a | in it", 1),))
    ledger.plan("run-1", found, [routed("A-1", "x|y")], 0, NOW)
    ledger.finish("run-1", SourceNotFound("no `|` file"), NOW)
    text = markdown_of(ledger)
    for line in (
        "read `file:///a'b\\|c`",
        "**source_not_found**: no '\\|' file",
        "- **a_code**: a \\| in it",
        "| x\\|y | 1 |",
    ):
        assert line in text


def test_markdown_of_a_run_without_alerts_has_only_counts(ledger: Ledger) -> None:
    begin(ledger, "run-1")
    ledger.finish("run-1", None, NOW)
    assert re.findall("^## (.*)", markdown_of(ledger), re.MULTILINE) == ["Counts"]


def test_data_loads_no_image_in_prefects_ui(ledger: Ledger) -> None:
    """One UI of Prefect shows the cells of a table as Markdown."""
    data = "![i](http://evil/i.png) <img src=//evil>\n[i]: x"
    shown = "![i]\u2060(http://evil/i.png) <\u2060img src=//evil> [i]: x"
    begin(ledger, "run-1", [routed(data)])
    ledger.finish("run-1", SourceNotFound(data), NOW)
    [alert] = ledger.history.alerts("run-1", limit=9).alerts
    assert table_row(alert)["account_id"] == shown
    assert f"**source_not_found**: {shown}" in markdown_of(ledger)


def test_report_of_too_many_alerts_is_short(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad file may have millions of alerts: to print them all would take an hour and gigabytes."""
    monkeypatch.setattr("cli.report.SHOWN", 2)
    alerts = [routed(f"A-{number}", None) for number in range(1_000)]
    record(ledger, "run-1", {**dict.fromkeys(alerts), routed("B-1"): failed("B-1")})
    text = report_of(ledger)
    assert text.count("Name of A-") == 2
    assert "\n… and 999 more: GET /runs/run-1/alerts has them all\n" in text
    assert re.search(r"\n\(no channel\) +1,000\n", text)
    # A reason has its advice, even if none of its alerts is listed.
    assert "\nserver_error: wait" in text
    text = markdown_of(ledger)
    assert re.findall(r"- \*\*(\w+)\*\* \((.+)\)", text) == [
        ("server_error", "1"),
        ("unknown_region", "1,000"),
    ]
    assert "\n| (no channel) | 1,000 |\n" in text
