"""The repository: its locks, packages, commands, and what no file may contain."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.cli.calling import ROOT
from tests.tiers import FAULTS, INTEGRATION

PACKAGES = ("api", "cli", "core", "flows", "tasks")
LOCKS = (
    "requirements/runtime.txt",
    "requirements/dev.txt",
    "requirements/audit.txt",
    "requirements/fuzz.txt",
    "requirements/bench.txt",
)

# These words are assembled, so that this file does not contain them.
REGISTRY_HOSTS = (
    "pypi." + "org",
    "pythonhosted." + "org",
    "npmjs." + "org",
    "npmjs." + "com",
    "docker." + "io",
)


def _tree() -> list[Path]:
    """Return the files of the repository, including those that are not committed yet."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        answer = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    names = {name for name in answer.stdout.decode().split("\0") if name}
    return [path for path in (ROOT / name for name in sorted(names)) if path.is_file()]


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _locked(name: str) -> list[str]:
    lines = [line for line in _text(ROOT / name).splitlines() if not line.lstrip().startswith("#")]
    return [line.strip() for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line.strip()]


def _pins(name: str) -> dict[str, set[str]]:
    pins: dict[str, set[str]] = {}
    for line in _locked(name):
        requirement = Requirement(line.split(" --hash=")[0])
        pins.setdefault(canonicalize_name(requirement.name), set()).add(str(requirement.specifier)[2:])
    return pins


def test_no_file_names_a_registry() -> None:
    """Without a host, the lock works behind any mirror."""
    named = [(path.name, host) for path in _tree() for host in REGISTRY_HOSTS if host in _text(path).lower()]
    assert named == []


def test_each_tier_entry_matches_a_test() -> None:
    """A renamed test must not move to the tier `unit` unnoticed."""
    tests = [
        f"{path.relative_to(ROOT / 'tests').as_posix()}::{name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^ *(?:async )?def (test_\w+)", _text(path), re.MULTILINE)
    ]
    entries = (*FAULTS, *INTEGRATION)
    assert [entry for entry in entries if not any(test.startswith(entry) for test in tests)] == []


@pytest.mark.parametrize("name", LOCKS)
def test_each_requirement_is_locked_with_hashes(name: str) -> None:
    """Only files with these hashes are installed."""
    locked = re.compile(r"[a-z0-9-]+==[^\s*]+( ;[^=]*[=<>!].*?)?(\s+--hash=sha256:[0-9a-f]{64})+")
    assert [line for line in _locked(name) if not locked.fullmatch(line)] == []


def test_dev_lock_includes_the_runtime_lock() -> None:
    assert _pins("requirements/runtime.txt").items() <= _pins("requirements/dev.txt").items()


def test_dev_lock_leaves_out_rfc3987_syntax() -> None:
    """With it, jsonschema spends two seconds on a grammar in each process that a test starts."""
    assert "rfc3987-syntax" not in _pins("requirements/dev.txt")


def test_locks_satisfy_pyproject() -> None:
    """An added or raised dependency must be locked again."""
    project = tomllib.loads(_text(ROOT / "pyproject.toml"))
    groups = project["dependency-groups"]
    wanted = project["project"]["dependencies"], *map(groups.get, ("dev", "audit", "fuzz", "bench"))
    for name, dependencies in zip(LOCKS, wanted, strict=True):
        pins = _pins(name)
        for dependency in map(Requirement, dependencies):
            versions = pins.get(canonicalize_name(dependency.name), set())
            assert versions, f"{dependency} is not in {name}: make lock"
            assert all(map(dependency.specifier.contains, versions)), f"{dependency}: make lock"


def test_every_package_is_listed() -> None:
    """Automatic discovery would leave out `tasks`."""
    project = tomllib.loads(_text(ROOT / "pyproject.toml"))
    folders = {
        ".".join(path.relative_to(ROOT).parent.parts)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    assert sorted(project["tool"]["setuptools"]["packages"]) == sorted(folders)


def test_ci_script_ends_with_the_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert _text(script).rstrip().splitlines()[-1] == "make test"


def test_image_has_every_package_and_the_runtime_lock() -> None:
    """The image has no development tools, and does not run as root."""
    dockerfile = _text(ROOT / "Dockerfile")
    for package in PACKAGES:
        assert f"COPY {package}/ {package}/" in dockerfile
    assert "--require-hashes --requirement /tmp/runtime.txt" in dockerfile
    assert "dev.txt" not in dockerfile
    assert re.search(r"^USER \d+:\d+$", dockerfile, re.MULTILINE)
    assert "chmod -R a+rX ." in dockerfile


def test_dockerignore_lets_in_what_the_image_copies() -> None:
    """Otherwise the build fails."""
    copied = set(re.findall(r"^COPY (?!--from)(\S+) ", _text(ROOT / "Dockerfile"), re.MULTILINE))
    assert copied >= {f"{package}/" for package in PACKAGES}
    lines = _text(ROOT / ".dockerignore").splitlines()
    assert "*" in lines
    let_in = tuple(line.removeprefix("!") for line in lines if line.startswith("!"))
    assert [path for path in sorted(copied) if path in lines or not path.startswith(let_in)] == []
