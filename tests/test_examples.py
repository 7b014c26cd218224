"""The examples are what the service really answers, and what the demo says is so."""

import importlib.util
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from core.runtime import CONFIG_FILE, load_settings

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
MADE = ("preview.json", "run.json", "slack_message.json", "support_mail.txt")


@pytest.fixture(scope="module")
def made_anew(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the examples anew, in a process of their own, in a folder of their own."""
    folder = tmp_path_factory.mktemp("examples")
    done = subprocess.run(
        [sys.executable, "examples/make_examples.py", "--out", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(MADE)
    return folder


@pytest.mark.parametrize("name", MADE)
def test_example_is_what_the_service_answers(name: str, made_anew: Path) -> None:
    """An example that is not true any more is made anew: make examples."""
    made, kept = made_anew / name, EXAMPLES / name
    assert made.read_text(encoding="utf-8") == kept.read_text(encoding="utf-8"), "make examples"


def test_previewed_message_is_the_one_that_slack_got() -> None:
    """A preview shows messages exactly as Slack gets them."""
    preview = json.loads((EXAMPLES / "preview.json").read_text(encoding="utf-8"))
    message = json.loads((EXAMPLES / "slack_message.json").read_text(encoding="utf-8"))
    assert message in [alert["message"] for alert in preview["alerts"]]


def test_run_of_the_examples_adds_up() -> None:
    """At risk is below the threshold and what became of the others."""
    counts = json.loads((EXAMPLES / "run.json").read_text(encoding="utf-8"))["counts"]
    ends = ("below_threshold", "alerts_sent", "skipped_replay", "failed_deliveries", "would_send")
    assert counts["at_risk"] == sum(counts[end] for end in ends)


@pytest.mark.parametrize("name", ["config.json", "config.toml"])
def test_example_config_files_are_accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever copies an example has settings that work."""
    monkeypatch.setenv(CONFIG_FILE, str(EXAMPLES / name))
    settings = load_settings()
    assert settings.regions["APAC"] == "apac-risk-alerts"
    assert settings.smtp_host == "smtp-relay.example.com"


def test_example_config_files_are_equal() -> None:
    """JSON and TOML are two spellings of one file."""
    as_json = json.loads((EXAMPLES / "config.json").read_text(encoding="utf-8"))
    assert as_json == tomllib.loads((EXAMPLES / "config.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    """Give the demo as a module, without running it."""
    spec = importlib.util.spec_from_file_location("examples.demo", EXAMPLES / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_demo_counts_skipped_alerts(demo: ModuleType) -> None:
    """The number in its last words is that of the report's table."""
    report = """\
Risk alerts 2026-01  succeeded

channel           skipped replay  failed
amer-risk-alerts              18
emea-risk-alerts              10       1
(no channel)                           4

not delivered  region
"""
    assert demo.skipped(report) == 28
    assert demo.skipped("Risk alerts 2026-01  failed") == 0


def test_demo_finds_the_support_mail_in_the_log(demo: ModuleType) -> None:
    """The mail is one record of many lines; the records around it are not shown."""
    log = "08:00:00 INFO    Sending\n08:00:01 WARNING To a@b: subject\nbody\n\nend\n08:00:02 INFO    Done\n"
    assert demo.support_mail(log) == "To a@b: subject\nbody\n\nend"
    assert demo.support_mail("08:00:00 INFO    Sending\n") == ""


def test_demo_cuts_lines_by_terminal_columns(demo: ModuleType) -> None:
    """An emoji is two columns wide."""
    assert demo.clip("x" * 80) == "x" * 80
    assert demo.clip("x" * 81) == "x" * 77 + "..."
    assert demo.clip("🚩" * 41) == "🚩" * 38 + "..."
