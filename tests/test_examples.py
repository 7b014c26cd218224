"""The examples are real answers of the service, and the demo prints the truth."""

import re
import shutil
from pathlib import Path

import pytest
from rich.cells import cell_len

from core.runtime import CONFIG_FILE, load_settings
from tests.cli.calling import ROOT, run_python
from tests.service import closed_port

EXAMPLES = ROOT / "examples"
MADE = ("preview.json", "run.json", "slack_message.json", "support_mail.txt")


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generate the examples in another process, into a new folder; return the folder."""
    folder = tmp_path_factory.mktemp("examples")
    users = {"PREFECT_API_URL": f"http://127.0.0.1:{closed_port()}/api", "ARR_THRESHOLD": "0"}
    done = run_python("examples/make_examples.py", "--out", str(folder), **users)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(MADE)
    return folder


@pytest.mark.parametrize("name", MADE)
def test_example_is_what_the_service_answers(name: str, generated: Path) -> None:
    """If this fails, run `make examples`."""
    made, kept = generated / name, EXAMPLES / name
    assert made.read_text(encoding="utf-8") == kept.read_text(encoding="utf-8"), "make examples"


def test_example_config_file_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIG_FILE, str(EXAMPLES / "config.toml"))
    settings = load_settings()
    assert settings.regions["APAC"] == "apac-risk-alerts"
    assert settings.smtp_host == "smtp-relay.example.com"


def test_demo_shows_a_run_then_its_replay(tmp_path: Path) -> None:
    """In a copy of the checkout, because the demo keeps its files there."""
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    for package in ("cli", "core", "flows", "tasks"):
        (tmp_path / package).symlink_to(ROOT / package)
    first, replay = (run_python(str(tmp_path / "examples/demo.py")) for _ in range(2))
    assert (first.returncode, replay.returncode) == (0, 0), first.stderr + replay.stderr
    [posted] = re.findall(r"^(\d+) alerts were posted to 3 channels\.$", first.stdout, re.MULTILINE)
    assert f"\nNothing was posted: all {posted} were sent before.\n" in replay.stdout
    assert "\nTo support@quadsci.ai: " in first.stdout
    assert max(map(cell_len, first.stdout.partition("REPORT OF THE RUN")[0].splitlines())) <= 80
