"""The batch job from a shell: its report, its exit code, and its output streams."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.ledger import open_ledger
from core.runtime import redaction
from examples.mock_slack import MockSlack
from tests.cli.calling import call, started
from tests.service import COUNTS, MONTH, closed_port, variables, write_source
from tests.warm import Ended, Program


@dataclass(frozen=True)
class Story:
    """A first run with its report, a replay as JSON, and one that fails; the log of the last two is JSON."""

    report: Ended
    replay: Ended
    failed: Ended
    folder: Path


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Run the command three times for all tests that only read."""
    folder = tmp_path_factory.mktemp("cli")
    source = write_source(folder / "status.parquet")
    with MockSlack() as slack:
        environment = os.environ | variables(slack.url, folder)

        def program(uri: str, *options: str, **settings: str) -> Program:
            month = ("--month", MONTH, "--source-uri", uri)
            return Program(folder, *month, *options, environment={**environment, **settings})

        first = program(source)
        failed = program("file:///no/such.parquet", "--json", LOG_FORMAT="json")
        report = first.end()
        replay = program(source, "--json", LOG_FORMAT="json")
        yield Story(report, replay.end(), failed.end(), folder)


def test_exit_code_is_0_for_success_and_1_for_failure(story: Story) -> None:
    assert (story.report.code, story.replay.code, story.failed.code) == (0, 0, 1)
    for ended in (story.report, story.replay, story.failed):
        assert "Traceback" not in ended.out + ended.err


def test_piped_report_is_readable(story: Story) -> None:
    out = story.report.out
    assert "\x1b" not in out
    assert all(len(line) <= 80 for line in out.splitlines() if not line.startswith("Source: "))
    assert f"Source: file://{story.folder}" in out
    assert out.endswith("Support notification: logged.\n")


def test_json_prints_only_the_stored_run(story: Story) -> None:
    run = json.loads(story.replay.out)
    stored = open_ledger(f"sqlite:///{story.folder}/ledger.db").history.run(run["run_id"])
    assert run == stored.model_dump(mode="json")
    assert run["counts"] == COUNTS | {"alerts_sent": 0, "skipped_replay": 2}
    assert json.loads(story.failed.out)["error"]["code"] == "source_not_found"
    assert f"Run {json.loads(story.failed.out)['run_id']} failed: source_not_found: " in story.failed.err


def test_json_log_on_stderr_has_the_run_id(story: Story) -> None:
    assert re.search(r"\d\d:\d\d:\d\d INFO +Reading file:///", story.report.err)
    lines = [json.loads(line) for line in story.replay.err.splitlines()]
    run_id = json.loads(story.replay.out)["run_id"]
    assert {line["run_id"] for line in lines if line["logger"].startswith("tasks.")} == {run_id}


GOOD = ["--source-uri", "file:///x", "--month", MONTH]


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
    monkeypatch.setattr(redaction, "_secrets", set())
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
    ended = started(*program, **settings, PREFECT_HOME=str(tmp_path))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "orchestrator_unreachable" in json.loads(ended.stderr.splitlines()[-1])["message"]
