"""The recipes under deploy/ parse, and name only settings that exist; secrets only by reference."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
KNOWN = {name.upper() for name in Settings.model_fields} | {"TZ"}
SECRETS = {"SLACK_WEBHOOK_URL", "DATABASE_URL", "API_TOKEN", "SMTP_PASSWORD", "GCS_TOKEN"}


def _mappings(value: Any) -> list[dict[str, Any]]:
    """Give every mapping within a document."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = [value] if isinstance(value, dict) else []
    return own + [found for item in inner for found in _mappings(item)]


@pytest.mark.parametrize("name", ["kubernetes-cronjob.yaml", "cloud-run-job.yaml", "ecs-task.json"])
def test_a_recipe_names_only_what_exists(name: str) -> None:
    text = (DEPLOY / name).read_text(encoding="utf-8")
    mappings = _mappings(json.loads(text) if name.endswith("json") else list(yaml.safe_load_all(text)))
    variables = [found for found in mappings if {"name"} < found.keys() <= {"name", "value", "valueFrom"}]
    assert {found["name"] for found in variables} <= KNOWN
    referred = {found["name"] for found in variables if "valueFrom" in found}
    assert referred == {"SLACK_WEBHOOK_URL", "DATABASE_URL"}
    assert not {found["name"] for found in variables if "value" in found} & SECRETS


def test_the_task_role_only_reads() -> None:
    policy = json.loads((DEPLOY / "ecs-task-role-policy.json").read_text(encoding="utf-8"))
    assert {found["Action"] for found in policy["Statement"]} == {"s3:ListBucket", "s3:GetObject"}
    assert all("BUCKET" in found["Resource"] for found in policy["Statement"])
