"""The batch job from a shell: its report, its exit code, and its output streams."""

import json
import os
import re
from pathlib import Path

import pytest

from core.domain import RunRequest
from core.ledger import open_ledger
from examples.mock_slack import MockSlack
from tests.cli.calling import call, run_python
from tests.service import MONTH, closed_port, variables, write_source
from tests.warm import Ended, Program

GOOD = ["--source-uri", "file:///x", "--month", MONTH]


def program(folder: Path, slack: MockSlack, uri: str, *options: str, **settings: str) -> Ended:
    environment = os.environ | variables(slack.url, folder, **settings)
    return Program(folder, "--month", MONTH, "--source-uri", uri, *options, environment=environment).end()


def test_exit_code_is_0_for_success_and_1_for_failure(slack: MockSlack, source: str, tmp_path: Path) -> None:
    report = program(tmp_path, slack, source)
    failed = program(tmp_path, slack, "file:///no/such.parquet")
    assert (report.code, failed.code) == (0, 1)
    assert "failed: source_not_found: " in failed.err
    assert "Traceback" not in report.err + failed.err
    # A report without a terminal has no colors, and its lines fit.
    assert "\x1b" not in report.out
    assert all(len(line) <= 80 for line in report.out.splitlines() if not line.startswith("Source: "))
    assert f"Source: {source}" in report.out
    assert report.out.endswith("Support notification: logged.\n")
    assert re.search(r"\d\d:\d\d:\d\d INFO +Reading file:///", report.err)


@pytest.mark.parametrize("code", [0, 1])
def test_json_prints_only_the_stored_run(code: int, slack: MockSlack, source: str, tmp_path: Path) -> None:
    uri = "file:///no/such.parquet" if code else source
    ended = program(tmp_path, slack, uri, "--json", LOG_FORMAT="json")
    run = json.loads(ended.out)
    stored = open_ledger(f"sqlite:///{tmp_path}/ledger.db").history.run(run["run_id"])
    assert run == stored.model_dump(mode="json")
    assert (ended.code, run["counts"]["alerts_sent"]) == (code, 0 if code else 2)
    lines = [json.loads(line) for line in ended.err.splitlines()]
    assert {line["run_id"] for line in lines} - {None} == {run["run_id"]}


def test_flags_reach_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[RunRequest] = []
    monkeypatch.setattr("cli.run.run_batch_job", lambda request, **_: asked.append(request) or True)
    for flags in ([], ["--dry-run"], ["--retry-unconfirmed"]):
        assert call("run", *GOOD, *flags) == 0
    assert [(one.source_uri, str(one.month)) for one in asked] == [("file:///x", MONTH)] * 3
    assert [one.dry_run for one in asked] == [False, True, False]
    assert [one.retry_unconfirmed for one in asked] == [False, False, True]


@pytest.mark.parametrize(
    ("arguments", "settings", "code", "said"),
    [
        ([], {}, 2, "--source-uri"),
        (GOOD[:2], {}, 2, "--month"),
        ([*GOOD, "--source-uri", ""], {}, 2, "must not be empty"),
        ([*GOOD, "--month", "2026-01-15"], {}, 2, "first day"),
        ([*GOOD, "--month", "January"], {}, 2, "YYYY-MM-01"),
        ([*GOOD, "--nonsense"], {}, 2, "--nonsense"),
        ([*GOOD, "--source-uri", "s3://user:canary@bucket/x"], {}, 2, "credentials"),
        ([*GOOD, "--source-uri", "gs://bucket/x?sig=canary"], {}, 2, "query string"),
        ([*GOOD, "--source-uri", "file:///x\udcff"], {}, 2, "unprintable"),
        (GOOD, {"LOG_FORMAT": "canary"}, 2, "LOG_FORMAT"),
        (GOOD, {"DATABASE_URL": "sqlite:////proc/x/y.db"}, 1, "ledger"),
        (["--help"], {}, 0, "Exit codes"),
    ],
)
def test_run_that_cannot_begin_is_explained(
    arguments: list[str],
    settings: dict[str, str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name, value in {"DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db", **settings}.items():
        monkeypatch.setenv(name, value)
    ended = call("run", *arguments)
    out, err = capfd.readouterr()
    assert (ended, said in (out if code == 0 else err)) == (code, True), err
    assert "Traceback" not in out + err
    assert "canary" not in err
    assert not (code and out)


def test_missing_prefect_api_of_the_profile_begins_no_run(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{closed_port()}/api"
    profile = f'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "{url}"\n'
    (tmp_path / "profiles.toml").write_text(profile)
    month, source = ("--month", MONTH), ("--source-uri", write_source(tmp_path / "x.parquet"))
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db", "LOG_FORMAT": "json"}
    program = ("-m", "flows.monthly_risk_alerts", *month, *source, "--json")
    ended = run_python(*program, **settings, PREFECT_HOME=str(tmp_path))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "orchestrator_unreachable" in json.loads(ended.stderr.splitlines()[-1])["message"]
