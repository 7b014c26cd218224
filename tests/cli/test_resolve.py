"""`risk-alerts unconfirmed` and `risk-alerts resolve`: the open alerts, a decision, and the next run."""

import json
from pathlib import Path

import pytest

from core.ledger import Ledger
from core.run import utc_now
from tests.cli.calling import call
from tests.cli.conftest import Run
from tests.delivery.world import GONE, MONTH, OTHER_MONTH, begin, key, leave_unconfirmed, outcome_of, routed

ONE = ["--month", MONTH.isoformat(), "--account", "A-1"]


@pytest.fixture
def ledger(ledger: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """Return the command's ledger, with two unconfirmed alerts in it."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{path}")
    monkeypatch.setenv("COLUMNS", "80")
    leave_unconfirmed(ledger, "first", routed("A-1"), routed("A-2 [red]", "emea"))
    return ledger


def leave_sending(ledger: Ledger, account_id: str) -> None:
    """Leave an alert as a killed process does."""
    ledger.claim("killed", begin(ledger, "killed", [routed(account_id)], owner=GONE)[0], utc_now())


def test_resolved_alert_leaves_the_list(ledger: Ledger, run: Run) -> None:
    listed = run("unconfirmed").out
    assert max(map(len, listed.splitlines())) <= 80
    assert listed.endswith("\nLook in each channel, then record what you saw: risk-alerts resolve --help\n")
    assert run("resolve", *ONE, "--send-again", "--by", "ana", "--note", "not there").out == (
        "Name of A-1 (A-1), at_risk, 2026-01-01: resolved as send_again by ana;"
        " the next run of 2026-01-01 sends it\n"
    )
    [left] = json.loads(run("unconfirmed", "--month", MONTH.isoformat(), "--json").out)["outcomes"]
    assert left["account_id"] == "A-2 [red]"
    assert run("unconfirmed", "--month", OTHER_MONTH.isoformat()).out == "Nothing is unconfirmed.\n"
    assert begin(ledger, "second", [routed("A-1"), routed("A-2 [red]", "emea")]) == [routed("A-1")]


def test_list_shows_where_to_look_and_why(ledger: Ledger, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert [line.rstrip() for line in run("unconfirmed").out.splitlines()[1:4]] == [
        "month       alert                                   channel  updated (UTC)     why",
        "2026-01-01  Name of A-1 (A-1), at_risk              amer     2026-01-02 03:04  process_died",
        "2026-01-01  Name of A-2 [red] (A-2 [red]), at_risk  emea     2026-01-02 03:04  process_died",
    ]


def test_alert_of_a_killed_run_is_listed_at_once(ledger: Ledger, run: Run) -> None:
    leave_sending(ledger, "A-9")
    listed = [one["account_id"] for one in json.loads(run("unconfirmed", "--json").out)["outcomes"]]
    assert sorted(listed) == ["A-1", "A-2 [red]", "A-9"]


def test_alert_of_a_killed_run_can_be_resolved_at_once(ledger: Ledger) -> None:
    leave_sending(ledger, "A-9")
    assert call("resolve", *ONE[:2], "--account", "A-9", "--delivered", "--by", "ana") == 0
    found = outcome_of(ledger, key("A-9"))
    assert (found.status, found.sent_at) == ("sent", found.updated_at)


def test_narrow_list_cuts_nothing_off(ledger: Ledger, run: Run) -> None:
    channels = ("a-channel-with-a-long-name", "emea-risk-alerts")
    leave_unconfirmed(ledger, "second", *(routed(f"a-long-id-{channel}", channel) for channel in channels))
    listed = run("unconfirmed").out
    assert "…" not in listed
    assert "long-name" in listed
    assert " emea-risk-alerts " in listed


def test_type_selects_the_alert_of_an_account(ledger: Ledger, run: Run) -> None:
    recovered = routed("A-1", alert_type="recovered")._replace(account_name="Zoë\n& Co")
    leave_unconfirmed(ledger, "second", recovered)
    said = "Zoë & Co (A-1), recovered, 2026-01-01: resolved as delivered by ana; it is never sent again\n"
    assert run("resolve", *ONE, "--type", "recovered", "--delivered", "--by", "ana").out == said
    assert outcome_of(ledger, key("A-1", "recovered")).status == "sent"
    assert outcome_of(ledger, key("A-1")).status == "unconfirmed"


def test_refusal_is_one_line_and_an_exit_code(ledger: Ledger, run: Run) -> None:
    resolve = [*ONE, "--delivered", "--by", "ana", "--note", "seen"]
    [kept] = json.loads(run("resolve", *resolve, "--json").out)["resolutions"]
    assert (kept["decision"], kept["by"], kept["note"]) == ("delivered", "ana", "seen")
    [line] = run("resolve", *resolve, code=1).err.splitlines()
    assert " ERROR   already_resolved: " in line


@pytest.mark.parametrize(
    ("command", "code", "ended"),
    [
        (["unconfirmed"], "ledger_unavailable", 1),
        (["resolve", *ONE, "--delivered", "--by", "ana"], "outcome_not_found", 1),
        (["resolve", *ONE, "--delivered", "--by", " "], "invalid_request", 2),
        (["preview", "--source-uri", "file:///no/such.parquet", *ONE[:2]], "source_not_found", 1),
        (["run", "--source-uri", "s3://a@b", *ONE[:2]], "invalid_request", 2),
    ],
)
def test_error_is_json_where_the_log_is(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: list[str], code: str, ended: int
) -> None:
    folder = tmp_path / "folder"
    if code == "ledger_unavailable":
        folder.touch()
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{folder}/ledger.db")
    monkeypatch.setenv("LOG_FORMAT", "json")
    # The log also names a new ledger, and warns of a ledger inside a container.
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setattr("os.path.ismount", lambda _: False)
    *before, last = map(json.loads, run(*command, code=ended).err.splitlines())
    assert last["message"].startswith(f"{code}: ")
    assert [line["level"] for line in before] == ["info", "warning"] * (code == "outcome_not_found")


@pytest.mark.parametrize(
    "arguments",
    [
        ONE,
        [*ONE, "--delivered"],
        [*ONE, "--by", "ana"],
        [*ONE, "--delivered", "--send-again", "--by", "ana"],
        [*ONE, "--delivered", "--by", " "],
        [*ONE, "--delivered", "--by", "ana", "--note", "x" * 2001],
        [*ONE, "--delivered", "--by", "ana", "--account", "\udcff"],
        [*ONE, "--delivered", "--by", "ana", "--type", "\udcff"],
        ["--month", "January"],
        ["--account", "A-1", "--delivered", "--by", "ana"],
        [*ONE[:2], "--delivered", "--by", "ana"],
        ["--delivered"],
    ],
)
def test_usage_error_changes_nothing(ledger: Ledger, arguments: list[str]) -> None:
    assert call("resolve", *arguments) == 2
    assert outcome_of(ledger, key("A-1")).status == "unconfirmed"
