"""The alert types, each as a rule over winning rows."""

import pyarrow as pa
import pytest

from core.alerts import RULES, rules_named
from core.domain import SettingsError
from core.slack.message import WORDS

WINNERS = pa.table(
    {"at_risk": [True, True, False, False], "months_before": pa.array([0, 2, 0, 2], pa.int32())}
)


@pytest.mark.parametrize(
    ("name", "found"),
    [("at_risk", [True, True, False, False]), ("recovered", [False, False, False, True])],
)
def test_a_rule_finds_its_accounts(name: str, found: list[bool]) -> None:
    assert RULES[name].find(WINNERS).to_pylist() == found


def test_rules_come_once_in_the_order_of_the_registry() -> None:
    assert [rule.type for rule in rules_named(["recovered", "at_risk", "recovered"])] == [
        "at_risk",
        "recovered",
    ]


def test_an_unknown_alert_type_is_named() -> None:
    with pytest.raises(SettingsError, match="names at-risk, which is no alert type: use at_risk, recovered"):
        rules_named(["at_risk", "at-risk"])


def test_each_alert_type_has_its_words() -> None:
    assert WORDS.keys() == RULES.keys()
    assert {name for name, words in WORDS.items() if words.ended} == {
        name for name, rule in RULES.items() if rule.anchor < 0
    }
