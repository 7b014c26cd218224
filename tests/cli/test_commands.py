"""The command `risk-alerts`: its help, version, completion, launcher, and imports."""

import sys
import tomllib
from pathlib import Path

import pytest

from cli.commands import risk_alerts
from tests.cli.calling import ROOT, call, run_program, run_python
from tests.cli.conftest import Run


@pytest.mark.parametrize("name", ["", *risk_alerts.commands])
def test_help_has_examples_and_exit_codes(name: str, run: Run) -> None:
    shown = run(*name.split(), "--help").out
    assert f"\n    risk-alerts {name}" in shown
    assert "Exit codes: 0 " in shown


def test_each_option_has_a_help_text() -> None:
    options = [option for command in risk_alerts.commands.values() for option in command.params]
    assert [option.name for option in options if not getattr(option, "help", None)] == []


def test_check_has_its_own_exit_codes(run: Run) -> None:
    """A bad setting is a finding; the other commands exit with 2."""
    assert "Exit codes: 0 success, 1 a check failed, 2 usage error.\n" in run("check", "--help").out


@pytest.mark.parametrize("port", ["0", "65536"])
def test_serve_refuses_a_number_that_is_no_port(port: str) -> None:
    assert call("serve", f"--prefect-port={port}") == 2


def test_version_is_the_projects(run: Run) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert run("--version").out == f"risk-alerts {version}\n"


def test_shell_completes_a_command() -> None:
    words = {"COMP_WORDS": "risk-alerts re", "COMP_CWORD": "1"}
    ended = run_python("-m", "cli", _RISK_ALERTS_COMPLETE="bash_complete", **words)
    assert (ended.returncode, ended.stdout) == (0, "plain,resolve\n")


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["run"]])
def test_help_and_usage_import_nothing_heavy(arguments: list[str]) -> None:
    ended = run_python("-X", "importtime", "-m", "cli", *arguments)
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert "cli.commands" in imported
    assert imported.isdisjoint({"prefect", "pyarrow", "fastapi", "sqlalchemy", "httpx"})


def test_unexpected_error_shows_no_secret() -> None:
    defect = "raise KeyError('https://hooks.slack.com/services/canary')"
    code = f"from cli import commands; commands.risk_alerts = lambda **_: exec({defect!r}); commands.main()"
    ended = run_python("-c", code)
    assert ended.returncode == 1
    assert ended.stderr.endswith("KeyError: 'https://hooks.slack.com/***'\n")
    assert "canary" not in ended.stderr


def test_unconfirmed_needs_neither_prefect_nor_metrics(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    ignored = {"PREFECT_LOGGING_LEVEL": "canary", "PROMETHEUS_MULTIPROC_DIR": "/no/such/folder"}
    ended = run_python("-X", "importtime", "-m", "cli", "unconfirmed", DATABASE_URL=url, **ignored)
    assert (ended.returncode, ended.stdout) == (0, "Nothing is unconfirmed.\n")
    assert " prefect" not in ended.stderr


def test_launcher_runs_the_checkout_from_any_folder(tmp_path: Path) -> None:
    # An environment that is newer than its lock, so that make has only the launcher to write.
    python = tmp_path / "venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    (tmp_path / "venv/.installed-dev").touch()
    made = run_program("make", "--silent", "install", f"VENV={tmp_path}/venv")
    assert made.returncode == 0, made
    # Files in the folder must not shadow the modules that the command imports.
    (tmp_path / "core.py").write_text("raise SystemExit('shadowed')", encoding="utf-8")
    ended = run_program(tmp_path / "venv/bin/risk-alerts", "run", "--month", "January", cwd=tmp_path)
    assert ended.returncode == 2
    assert "YYYY-MM-01" in ended.stderr
