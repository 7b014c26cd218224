"""The recipes under deploy/ parse, and name only settings that exist; secrets only by reference."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore import xform_name
from botocore.session import get_session
from botocore.validate import ParamValidator

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


def _operation(service: str, name: str) -> Any:
    return get_session().get_service_model(service).operation_model(name).input_shape


def test_the_task_definition_is_one_that_ecs_takes() -> None:
    """By AWS's own model of its API: no unknown key, none missing, no wrong type."""
    task = json.loads((DEPLOY / "ecs-task.json").read_text(encoding="utf-8"))
    shape = _operation("ecs", "RegisterTaskDefinition")
    assert ParamValidator().validate(task, shape).generate_report() == ""
    assert ParamValidator().validate({**task, "cpus": 1}, shape).has_errors()
    assert task["requiresCompatibilities"][0] in shape.members["requiresCompatibilities"].member.enum


def test_the_command_for_eventbridge_is_one_that_its_scheduler_takes() -> None:
    page = (DEPLOY.parent / "docs" / "deployment.md").read_text(encoding="utf-8")
    found = re.search(r"^    aws scheduler create-schedule(.*?'.*?')$", page, re.MULTILINE | re.DOTALL)
    assert found
    words = shlex.split(found[1].replace("\\\n", " "))
    given = dict(zip(words[::2], words[1::2], strict=True))
    shape = _operation("scheduler", "CreateSchedule")
    options = {f"--{xform_name(name).replace('_', '-')}": name for name in shape.members}
    assert set(given) <= set(options)
    assert {f"--{xform_name(name).replace('_', '-')}" for name in shape.required_members} <= set(given)
    target = json.loads(given["--target"])
    assert ParamValidator().validate(target, shape.members["Target"]).generate_report() == ""
    assert given["--flexible-time-window"] == "Mode=OFF"
    # Six fields, of which the day of the week is not said.
    assert re.fullmatch(r"cron\(0 8 1 \* \? \*\)", given["--schedule-expression"])
