"""The alert rules, the dashboard and the bill of materials work with the tools that read them."""

import json
import re
import shutil
import warnings
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from core.domain import METRIC_LABELS, OutcomeStatus, RunStatus
from core.runtime import STEPS
from tests.cli.calling import ROOT, run_program
from tests.delivery.world import new_ledger

OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
GROUPS = yaml.safe_load((ROOT / "examples" / "alerts.yml").read_text(encoding="utf-8"))["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
RECORDED = [rule["record"] for rule in RULES if "record" in rule]
ALERTS = [rule["alert"] for rule in RULES if "alert" in rule]
DASHBOARD = json.loads((ROOT / "examples" / "grafana_dashboard.json").read_text(encoding="utf-8"))
TARGETS = [target for panel in DASHBOARD["panels"] for target in panel["targets"]]
EXPRESSIONS = [found["expr"] for found in (*RULES, *TARGETS)]

Exposed = dict[str, set[tuple[str, str]]]


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Exposed:
    """Return the labels of each metric of a scrape."""
    with new_ledger(tmp_path_factory.mktemp("ledger") / "ledger.db") as ledger:
        scrape = generate_latest() + generate_latest(ledger.history.gauges())
    found: Exposed = {}
    for family in text_string_to_metric_families(scrape.decode()):
        assert family.documentation
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels.items())
    return found


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_each_metric_in_rules_and_panels_is_exposed(expression: str, exposed: Exposed) -> None:
    named = re.findall(r"\b((?:risk_alerts|process)[_:]\w+)(?:\{([^}]*)\})?", expression)
    assert named or re.search(r"\bup\{", expression)
    for name, selector in named:
        # A recorded metric is named after its source, and has labels of it.
        source = name.replace(":", "_") if name in RECORDED else name
        assert source in exposed, name
        for label, kind, value in re.findall(r'(\w+)(=~|=)"([^"]*)"', selector):
            if label == "job":  # added by Prometheus
                continue
            for wanted in value.split("|") if kind == "=~" else [value]:
                assert (label, wanted) in exposed[source], (name, label, wanted)


def test_each_rule_fires_as_documented() -> None:
    cases = sorted(Path(__file__).parent.glob("alerts*_test.yml"))
    tried = {
        name for case in cases for name in re.findall(r"alertname: (\w+)", case.read_text(encoding="utf-8"))
    }
    assert tried == set(ALERTS)
    if shutil.which("promtool") is None:
        warnings.warn("promtool is not installed: the test of the alert rules is SKIPPED", stacklevel=2)
        pytest.skip("promtool is not installed (apt-get install prometheus)")
    done = run_program("promtool", "test", "rules", *cases)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_rule_is_on_the_operations_page() -> None:
    described = re.findall(r"^\| `(RiskAlerts\w+)` \|", OPERATIONS, re.MULTILINE)
    assert described == ALERTS


def test_each_metric_is_on_the_operations_page(exposed: Exposed) -> None:
    ours = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in exposed if name.startswith("risk_")}
    assert {name for name in ours if f"`{name}" not in OPERATIONS} == set()


def test_labels_have_few_known_values(exposed: Exposed) -> None:
    """Each series exists before its first count, which `increase()` would miss."""
    labels = {label for name, found in exposed.items() if name.startswith("risk_") for label in found}
    known = {("status", status) for status in (*RunStatus, *OutcomeStatus)} | {("alert_type", "at_risk")}
    known |= {("step", step) for step in STEPS} | {("answer", answer) for answer in METRIC_LABELS}
    assert {(label, value) for label, value in labels if label != "le"} == known


def test_sbom_lists_the_lock_with_hashes(tmp_path: Path) -> None:
    stamp = ".venv-audit/.installed"
    if not (ROOT / stamp).exists():
        warnings.warn("make sbom has not been run: its test is SKIPPED", stacklevel=2)
        pytest.skip("the tools are not installed (make sbom)")
    path = tmp_path / "sbom.cdx.json"
    # A test must not install anything.
    done = run_program("make", f"--old-file={stamp}", "sbom", f"SBOM={path}")
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["bomFormat"] == "CycloneDX"
    assert document["metadata"]["component"]["name"] == "account-risk-alerts"
    lock = (ROOT / "requirements" / "runtime.txt").read_text(encoding="utf-8")
    locked = set(re.findall(r"^([a-z0-9.-]+)==([^\s;\\]+)", lock, re.MULTILINE))
    assert {(part["name"], part["version"]) for part in document["components"]} == locked
    assert all(part["externalReferences"][0]["hashes"] for part in document["components"])
