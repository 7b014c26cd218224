"""The examples are real answers of the service, and the demo prints the truth."""

import json
import tomllib
from pathlib import Path

import pytest

from core.runtime import CONFIG_FILE, load_settings
from examples import demo
from tests.cli.calling import ROOT, started

EXAMPLES = ROOT / "examples"
MADE = ("preview.json", "run.json", "slack_message.json", "support_mail.txt")


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generate the examples in another process, into a new folder; return the folder."""
    folder = tmp_path_factory.mktemp("examples")
    done = started("examples/make_examples.py", "--out", str(folder))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(MADE)
    return folder


@pytest.mark.parametrize("name", MADE)
def test_example_is_what_the_service_answers(name: str, generated: Path) -> None:
    """If this fails, run `make examples`."""
    made, kept = generated / name, EXAMPLES / name
    assert made.read_text(encoding="utf-8") == kept.read_text(encoding="utf-8"), "make examples"


@pytest.mark.parametrize("name", ["config.json", "config.toml"])
def test_example_config_files_are_accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIG_FILE, str(EXAMPLES / name))
    settings = load_settings()
    assert settings.regions["APAC"] == "apac-risk-alerts"
    assert settings.smtp_host == "smtp-relay.example.com"


def test_example_config_files_are_equal() -> None:
    as_json = json.loads((EXAMPLES / "config.json").read_text(encoding="utf-8"))
    assert as_json == tomllib.loads((EXAMPLES / "config.toml").read_text(encoding="utf-8"))


def test_demo_counts_skipped_alerts() -> None:
    report = "40 at risk, 1 below the ARR threshold, 0 sent, 1,028\nsent before, 4 not delivered"
    assert demo.skipped(report) == 1028
    assert demo.skipped("Risk alerts 2026-01  failed") == 0


def test_demo_finds_the_support_mail_in_the_log() -> None:
    before, mail, after = (f"2026-01-01 08:00:0{second} " for second in range(3))
    log = f"{before}INFO    Sending\n{mail}WARNING To a@b: subject\nbody\n\nend\n{after}INFO    Done\n"
    assert demo.support_mail(log) == "To a@b: subject\nbody\n\nend"
    assert demo.support_mail(f"{before}INFO    Sending\n") == ""


def test_demo_cuts_lines_by_terminal_columns() -> None:
    assert demo.clip("x" * 80) == "x" * 80
    assert demo.clip("x" * 81) == "x" * 77 + "..."
    assert demo.clip("🚩" * 41) == "🚩" * 38 + "..."
