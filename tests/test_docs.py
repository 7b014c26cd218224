"""The docs describe everything that users can use, and nothing else."""

import json
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.commands import risk_alerts
from core.alerts import RULES
from core.domain import REASONS, AlertStatus, advice, errors
from core.runtime import CONFIG_FILE, Settings, load_settings
from core.slack.verdicts import judge, judge_failure
from tests.cli.calling import ROOT

DOCS = ROOT / "docs"
README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
PAGES = [README, CONTRIBUTING, ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
FAILURES: dict[str, tuple[bool, list[type[httpx.RequestError]]]] = {
    "no connection": (False, [httpx.ConnectError, httpx.ConnectTimeout]),
    "the request left": (True, [httpx.ReadTimeout, httpx.ReadError, httpx.RemoteProtocolError]),
}
"""The failures of the table in docs/delivery.md: whether the request had started, and the errors of httpx."""
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]+)?\)")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


ALL_TEXT = "\n".join(_text(page) for page in PAGES)


def _blocks(kind: str) -> list[tuple[str, str]]:
    """Return the fenced blocks of a kind, each with the name of its page."""
    return [
        (page.name, body) for page in PAGES for found, body in _FENCE.findall(_text(page)) if found == kind
    ]


def _commands() -> list[list[str]]:
    """Return the words of every command in the bash blocks, without comments."""
    lines = [line for _, body in _blocks("bash") for line in body.replace("\\\n", " ").splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", _text(ROOT / "Makefile"), re.MULTILINE))


def _codes() -> list[str]:
    kinds: list[type[errors.RiskAlertsError]] = [errors.RiskAlertsError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    return sorted({kind.code for kind in kinds})


def _rows(page: str, pattern: str) -> list[Any]:
    """Return the matches of the pattern in the table rows of a page of docs/."""
    found = re.findall(rf"^\| {pattern} \|", _text(DOCS / page), re.MULTILINE)
    assert found, f"docs/{page} has no such table"
    return found


def _shown(default: Any) -> str:
    if default is None:
        return "none"
    return json.dumps(default) if isinstance(default, bool | list) else str(default)


def test_each_setting_is_documented_with_its_default() -> None:
    expected = {name.upper(): _shown(field.default) for name, field in Settings.model_fields.items()}
    expected |= {"OWNERS": "none", "REGIONS": "none"}
    documented = _rows("settings.md", r"`([A-Z0-9_]+)` \| (\S+) \| \S.*?")
    assert {name: default.strip("`") for name, default in documented} == expected
    assert len(documented) == len(expected)
    assert f"`{CONFIG_FILE}`" in _text(DOCS / "settings.md")


def test_each_alert_type_is_documented() -> None:
    types = _rows("settings.md", r"`ALERT_TYPES` \| \S+ \| [^:]*: (.*?)")
    types += _rows("api.md", r"(.*?) \| accounts that each alert type found")
    assert [re.findall(r"`(\w+)`", text) for text in types] == [list(RULES)] * 2


def test_only_real_endpoints_are_documented() -> None:
    from api.service import create_app  # noqa: PLC0415  # takes seconds to import

    paths = create_app(Settings()).openapi()["paths"]
    real = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert set(_rows("api.md", r"`((?:GET|POST) /\S*)` \| \S.*?")) == real


def test_each_code_is_documented_with_its_http_status() -> None:
    from api.problems import STATUS  # noqa: PLC0415  # takes seconds to import

    documented = {
        code: int(status) for status, code in _rows("codes.md", r"(\d{3}) \| `(\w+)` \| \S.*? \| \S.*?")
    }
    assert documented == STATUS
    assert set(_codes()) <= STATUS.keys()


def test_each_reason_is_documented_with_what_to_do() -> None:
    """The reports read the same table."""
    text = _text(DOCS / "codes.md").partition("## Reasons")[2].partition("\n## ")[0]
    rows = []
    for code, reason in REASONS.items():
        to_do = advice(code, AlertStatus.FAILED)
        rows.append(f"| `{code}` | {reason.meaning} |" + ("" if reason.channel_wide else f" {to_do} |"))
        assert to_do in text
    assert re.findall(r"^\| `.*", text, re.MULTILINE) == rows


def test_only_real_make_targets_are_documented() -> None:
    named = set(re.findall(r"`make ([a-z-]+)", ALL_TEXT))
    named |= {words[1] for words in _commands() if words[0] == "make" and len(words) > 1}
    assert named <= _targets()
    for_people = _text(README) + _text(CONTRIBUTING) + _text(DOCS / "deployment.md")
    assert {target for target in _targets() if f"make {target}" not in for_people} == set()


def test_each_command_and_option_is_documented() -> None:
    documented = {
        (command, option)
        for options, commands in _rows("commands.md", r"(`--.*?`) \| (`.*?`) \| \S.*?")
        for option in re.findall(r"`(.*?)`", options)
        for command in re.findall(r"`(.*?)`", commands)
    }
    real = {
        (name, option)
        for name, command in risk_alerts.commands.items()
        for parameter in command.params
        for option in parameter.opts
    }
    assert documented == real
    assert set(_rows("commands.md", r"`risk-alerts (\w+)` \| \S.*?")) == set(risk_alerts.commands)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_has_a_target(page: Path) -> None:
    text = re.sub(_FENCE, "", _text(page))
    for target, anchor in _LINK.findall(text):
        if "://" not in target:
            linked = page.parent / target
            assert linked.is_file(), target
            assert not anchor or anchor[1:] in _anchors(_text(linked)), anchor
    for anchor in re.findall(r"\]\(#([^)\s]+)\)", text):
        assert anchor in _anchors(_text(page)), anchor


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", re.sub(_FENCE, "", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_file_named_on_a_page_exists(page: Path) -> None:
    folders = "api|cli|core|flows|tasks|tests|examples|docs|requirements"
    named = re.findall(rf"[`\[]((?:{folders})/[\w./-]+)(?:::\w+)?[`\]]", _text(page))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_each_test_named_on_a_page_exists() -> None:
    named = re.findall(r"`(tests/[\w./-]+\.py)::(\w+)`", ALL_TEXT)
    assert named
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).is_file() or not re.search(rf"\bdef {name}\(", _text(ROOT / path))
    ]
    assert missing == []


def test_readme_has_both_diagrams() -> None:
    kinds = {body.split()[0] for page, body in _blocks("mermaid") if page == README.name}
    assert {"flowchart", "sequenceDiagram"} <= kinds


def test_each_documented_answer_has_its_verdict() -> None:
    pattern = r"(\d{3}) \| (?:`(.*)`)? ?\| `(\w+)` \| (?:`(\w+)`)? ?"
    for status, body, verdict, reason in _rows("delivery.md", pattern):
        answer = judge(int(status), httpx.Headers(), body.encode(), body_complete=True, now=datetime.now(UTC))
        assert (status, body, answer.verdict, answer.reason or "") == (status, body, verdict, reason)


def test_each_documented_failure_has_its_verdict() -> None:
    documented = {
        failure: (verdict, reason)
        for failure, verdict, reason in _rows("delivery.md", r"([a-z][\w ]+)[^|]* \| `(\w+)` \| `(\w+)`")
    }
    assert documented.keys() == FAILURES.keys()
    for failure, (started, kinds) in FAILURES.items():
        for kind in kinds:
            answer = judge_failure(kind("x"), request_started=started)
            assert (answer.verdict, answer.reason) == documented[failure]


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_each_documented_command_can_be_called(words: list[str]) -> None:
    for position, word in enumerate(words):
        if word == "-m":
            module = words[position + 1].replace(".", "/")
            assert (ROOT / f"{module}.py").is_file() or (ROOT / module / "__main__.py").is_file(), module
        if word.startswith("examples/"):
            assert (ROOT / word).is_file(), word
        if Path(word).name == "risk-alerts" and "work-pool" not in words and "--pool" not in words:
            name, *arguments = words[position + 1 :]
            risk_alerts.commands[name].make_context(name, arguments)


@pytest.mark.parametrize("kind", ["json", "toml"])
def test_config_examples_of_the_readme_are_valid(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = [body for page, body in _blocks(kind) if page == README.name]
    assert blocks
    for body in blocks:
        path = tmp_path / f"config.{kind}"
        path.write_text(body, encoding="utf-8")
        monkeypatch.setenv(CONFIG_FILE, str(path))
        assert load_settings().regions
