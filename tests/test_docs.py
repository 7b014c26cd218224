"""The documentation misses nothing that the outside can use, and names nothing that is not there."""

import json
import re
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.commands import risk_alerts
from core.domain import REASONS, errors
from core.runtime import CONFIG_FILE, Settings, load_settings
from core.slack import judge, judge_failure

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
DIAGRAMS = ("flowchart", "sequenceDiagram", "stateDiagram-v2", "erDiagram", "classDiagram")

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]+)?\)")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


ALL_TEXT = "\n".join(_text(page) for page in PAGES)


def _blocks(kind: str) -> list[tuple[str, str]]:
    """Give the fenced blocks of a kind, each with the name of its page."""
    return [
        (page.name, body) for page in PAGES for found, body in _FENCE.findall(_text(page)) if found == kind
    ]


def _commands() -> list[list[str]]:
    """Give the words of every command in the bash blocks, comments left out."""
    commands = []
    for _, body in _blocks("bash"):
        for command in _logical_lines(body):
            words = shlex.split(command, comments=True)
            if words:
                commands.append(words)
    return commands


def _logical_lines(body: str) -> list[str]:
    """Join what is continued by a backslash or an open quote."""
    lines: list[str] = []
    for line in body.replace("\\\n", " ").splitlines():
        if lines and _is_open(lines[-1]):
            lines[-1] += f"\n{line}"
        else:
            lines.append(line)
    return lines


def _is_open(command: str) -> bool:
    try:
        shlex.split(command, comments=True)
    except ValueError:
        return True
    return False


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", _text(ROOT / "Makefile"), re.MULTILINE))


def _codes() -> list[str]:
    kinds: list[type[errors.RiskAlertsError]] = [errors.RiskAlertsError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    return sorted({kind.code for kind in kinds})


def _settings_table() -> dict[str, str]:
    """Give the default of each setting as the README's table has it."""
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \| (\S+) \| \S", _text(README), re.MULTILINE)
    return {name: default.strip("`") for name, default in rows}


def _shown(default: Any) -> str:
    if default is None:
        return "none"
    return json.dumps(default) if isinstance(default, bool | list) else str(default)


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_each_setting_is_in_the_readme_with_its_default(name: str) -> None:
    """The table of settings is the class's."""
    default = "none" if name in {"owners", "regions"} else _shown(Settings.model_fields[name].default)
    assert _settings_table().get(name.upper()) == default


def test_the_readme_has_no_setting_that_is_gone() -> None:
    """Nobody sets what nothing reads."""
    assert set(_settings_table()) == {name.upper() for name in Settings.model_fields}
    assert f"`{CONFIG_FILE}`" in _text(README)


def test_each_endpoint_is_in_the_readme_and_no_other() -> None:
    """What OpenAPI lists is what the table of the API lists."""
    from api.service import create_app  # noqa: PLC0415  # takes seconds to import

    paths = create_app(Settings()).openapi()["paths"]
    real = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert set(re.findall(r"^\| `((?:GET|POST) /\S*)` \|", _text(README), re.MULTILINE)) == real


@pytest.mark.parametrize("code", _codes())
@pytest.mark.parametrize("page", [README, ROOT / "docs" / "operations.md"], ids=lambda page: page.name)
def test_each_error_code_is_explained(code: str, page: Path) -> None:
    """The README says what it is, the operations page what to do."""
    assert f"`{code}`" in _text(page)


def test_each_reason_is_on_the_operations_page_with_what_to_do() -> None:
    """The table is the one that the reports read."""
    page = _text(ROOT / "docs" / "operations.md")
    rows = [f"| `{code}` | {reason.meaning} | {reason.advice} |" for code, reason in REASONS.items()]
    assert [row for row in rows if row not in page] == []


def test_the_readme_gives_each_code_the_status_that_the_api_gives_it() -> None:
    """The table of bad input is the API's."""
    from api.problems import STATUS  # noqa: PLC0415  # takes seconds to import

    rows = re.findall(r"^\| (\d{3}) \| (.*?) \|", _text(README), re.MULTILINE)
    assert {code: int(status) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)} == STATUS


def test_each_make_target_is_in_the_readme_and_none_that_is_not_there() -> None:
    """`make X` in a text is a target, and each target is in the README."""
    named = set(re.findall(r"`make ([a-z-]+)", ALL_TEXT))
    named |= {words[1] for words in _commands() if words[0] == "make" and len(words) > 1}
    assert named <= _targets()
    assert {f"make {target}" for target in _targets() if f"make {target}" not in _text(README)} == set()


def test_each_command_is_in_the_readme_and_no_other() -> None:
    """The table of commands is the command line's."""
    documented = set(re.findall(r"^\| `risk-alerts (\w+)` \|", _text(README), re.MULTILINE))
    assert documented == set(risk_alerts.commands)


def test_each_option_of_a_run_is_in_the_readme() -> None:
    """The table of options is the command's."""
    options = {name for option in risk_alerts.commands["run"].params for name in option.opts}
    assert set(re.findall(r"^\| `(--[a-z-]+)` \|", _text(README), re.MULTILINE)) == options


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_leads_somewhere(page: Path) -> None:
    """A page links to files that are there, and to headings that are there."""
    text = re.sub(_FENCE, "", _text(page))
    for target, anchor in _LINK.findall(text):
        if "://" not in target:
            linked = page.parent / target
            assert linked.is_file(), target
            assert not anchor or anchor[1:] in _anchors(_text(linked)), anchor
    for anchor in re.findall(r"\]\(#([^)\s]+)\)", text):
        assert anchor in _anchors(_text(page)), anchor


def _anchors(text: str) -> set[str]:
    """Name the headings as GitHub does."""
    headings = re.findall(r"^#+ (.+)$", re.sub(_FENCE, "", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_file_of_the_project_that_a_page_names_is_there(page: Path) -> None:
    """What is named in code style or as a link's text, and lies in one of our folders exists."""
    rooms = "api|cli|core|flows|tasks|tests|examples|docs|requirements"
    named = re.findall(rf"[`\[]((?:{rooms})/[\w./-]+)(?:::\w+)?[`\]]", _text(page))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_each_test_that_a_page_names_is_there() -> None:
    """A line of the specification is proven by a test that exists."""
    named = re.findall(r"`(tests/[\w./-]+\.py)::(\w+)`", ALL_TEXT)
    assert named
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).is_file() or not re.search(rf"\bdef {name}\(", _text(ROOT / path))
    ]
    assert missing == []


@pytest.mark.parametrize(("page", "body"), _blocks("mermaid"))
def test_each_diagram_is_of_a_known_kind_and_has_something_in_it(page: str, body: str) -> None:
    """GitHub draws it."""
    lines = [line for line in body.splitlines() if line.strip()]
    assert lines[0].split()[0] in DIAGRAMS
    assert len(lines) > 3
    opened = len(re.findall(r"^ *(?:subgraph|loop|alt|opt|par)\b", body, re.MULTILINE))
    assert opened == len(re.findall(r"^ *end$", body, re.MULTILINE))


def test_the_readme_has_the_pictures_that_were_asked_for() -> None:
    """An architecture and a sequence diagram are in the README."""
    kinds = {body.split()[0] for page, body in _blocks("mermaid") if page == README.name}
    assert {"flowchart", "sequenceDiagram"} <= kinds


def _verdict_rows(pattern: str) -> list[tuple[str, ...]]:
    rows = re.findall(pattern, _text(ROOT / "docs" / "delivery.md"), re.MULTILINE)
    assert len(rows) > 4
    return rows


def test_the_table_from_answer_to_verdict_is_the_codes() -> None:
    """What the page on delivery says of an answer is what is made of it."""
    pattern = r"^\| (\d{3}) \| (?:`(.*)`)? ?\| `(\w+)` \| (?:`(\w+)`)? ?\|$"
    for status, body, verdict, reason in _verdict_rows(pattern):
        answer = judge(int(status), {}, body.encode(), body_complete=True, now=datetime.now(UTC))
        assert (status, body, answer.verdict, answer.reason or "") == (status, body, verdict, reason)


def test_the_table_from_failure_to_verdict_is_the_codes() -> None:
    """The same for tries without an answer."""
    pattern = r"^\| `(\w+)`[^|]* \| (yes|no) \| `(\w+)` \| `(\w+)` \|$"
    for failure, begun, verdict, reason in _verdict_rows(pattern):
        answer = judge_failure(getattr(httpx, failure)("x"), request_started=begun == "yes")
        assert (failure, answer.verdict, answer.reason) == (failure, verdict, reason)


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_each_command_of_a_bash_block_is_one_that_exists(words: list[str]) -> None:
    """What a reader pastes finds its module or file."""
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
def test_the_config_examples_in_the_readme_are_settings(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader may copy them as they are."""
    blocks = [body for page, body in _blocks(kind) if page == README.name]
    assert blocks
    for body in blocks:
        path = tmp_path / f"config.{kind}"
        path.write_text(body, encoding="utf-8")
        monkeypatch.setenv(CONFIG_FILE, str(path))
        assert load_settings().regions


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.json")), ids=lambda path: path.name)
def test_each_json_file_of_the_examples_is_json(path: Path) -> None:
    """An example can be read by a machine."""
    assert json.loads(_text(path))
