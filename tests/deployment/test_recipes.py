"""The recipes in deploy/ match the providers' schemas, and have secrets only by reference."""

import json
import re
import shlex
from datetime import timedelta
from typing import Any

import kubernetes_validate
import pytest
import yaml
from botocore import xform_name
from botocore.session import get_session
from botocore.validate import ParamValidator
from googleapiclient.discovery_cache import get_static_doc
from jsonschema import Draft4Validator
from prefect.utilities.templating import apply_values

from core.runtime import Settings
from tests.cli.calling import ROOT

DEPLOY = ROOT / "deploy"
DEPLOYMENT = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
TASK = json.loads((DEPLOY / "ecs-task.json").read_text(encoding="utf-8"))
(CONTAINER,) = TASK["containerDefinitions"]
KNOWN = {name.upper() for name in Settings.model_fields} | {"TZ"}
SECRETS = {"SLACK_WEBHOOK_URL", "DATABASE_URL", "API_TOKEN", "SMTP_PASSWORD", "GCS_TOKEN"}


def _mappings(value: Any) -> list[dict[str, Any]]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = [value] if isinstance(value, dict) else []
    return own + [found for item in inner for found in _mappings(item)]


@pytest.mark.parametrize("name", ["kubernetes-cronjob.yaml", "cloud-run-job.yaml", "ecs-task.json"])
def test_recipe_names_only_what_exists(name: str) -> None:
    text = (DEPLOY / name).read_text(encoding="utf-8")
    mappings = _mappings(json.loads(text) if name.endswith("json") else list(yaml.safe_load_all(text)))
    variables = [found for found in mappings if {"name"} < found.keys() <= {"name", "value", "valueFrom"}]
    assert {found["name"] for found in variables} <= KNOWN
    referred = {found["name"] for found in variables if "valueFrom" in found}
    assert referred == {"SLACK_WEBHOOK_URL", "DATABASE_URL"}
    assert not {found["name"] for found in variables if "value" in found} & SECRETS


def _cronjob() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes-cronjob.yaml").read_text(encoding="utf-8")))


def _pool_job() -> dict[str, Any]:
    """Return the Job that a Kubernetes worker makes from its pool's template and defaults."""
    template = json.loads((DEPLOY / "prefect-pool-kubernetes.json").read_text(encoding="utf-8"))
    variables = template["variables"]["properties"]
    values = {name: variable["default"] for name, variable in variables.items() if "default" in variable}
    values |= {"name": "risk-alerts", "command": ["prefect", "flow-run", "execute"], "labels": {}, "env": []}
    job: dict[str, Any] = apply_values(template["job_configuration"]["job_manifest"], values)
    # Prefect's worker requires these two keys in this place, where Kubernetes ignores them.
    pod = job["spec"]["template"]["spec"]
    assert (pod.pop("parallelism"), pod.pop("completions")) == (1, 1)
    return job


@pytest.mark.parametrize("manifest", [*_cronjob(), _pool_job()], ids=lambda manifest: manifest["kind"])
def test_manifest_matches_the_kubernetes_schema(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def test_pods_meet_the_restricted_security_standard() -> None:
    """A namespace that enforces the standard refuses other pods: the run of the month would never start."""
    jobs = _cronjob()[1]["spec"]["jobTemplate"], _pool_job()
    for pod in (job["spec"]["template"]["spec"] for job in jobs):
        # With links, a Service named smtp would set SMTP_PORT.
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert all(volume.keys() == {"name", "emptyDir"} for volume in pod["volumes"])
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_job_of_a_month_ends_before_the_next() -> None:
    """With Forbid, a Job that is still active makes the CronJob skip the next month."""
    spec = _cronjob()[1]["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    longest = spec["startingDeadlineSeconds"] + spec["jobTemplate"]["spec"]["activeDeadlineSeconds"]
    assert longest < timedelta(days=28).total_seconds()


def _google_schema(api: str, version: str, name: str) -> Draft4Validator:
    """Return the schema of a resource from Google's discovery document."""
    schemas = json.loads(get_static_doc(api, version))["schemas"]
    for schema in _mappings(schemas):
        if isinstance(reference := schema.get("$ref"), str):
            schema["$ref"] = f"#/schemas/{reference}"
        if schema.get("format") == "int64":  # a string in JSON, a number in YAML
            schema["type"] = ["string", "integer"]
        if schema.get("type") == "object" and "properties" in schema:
            schema["additionalProperties"] = False
    return Draft4Validator({"$ref": f"#/schemas/{name}", "schemas": schemas})


def _cloud_run_job() -> Any:
    return yaml.safe_load((DEPLOY / "cloud-run-job.yaml").read_text(encoding="utf-8"))


def test_job_matches_the_cloud_run_schema() -> None:
    schema = _google_schema("run", "v1", "Job")
    job = _cloud_run_job()
    assert [error.message for error in schema.iter_errors(job)] == []
    job["spec"]["template"]["spec"]["template"]["spec"]["maxRetry"] = 1
    assert not schema.is_valid(job)


def test_job_may_reach_cloud_sql_by_its_socket() -> None:
    """Without the annotation, /cloudsql/… does not exist, and the run fails with `ledger_unavailable`."""
    (annotation,) = _cloud_run_job()["spec"]["template"]["metadata"]["annotations"].items()
    execution = json.loads(get_static_doc("run", "v1"))["schemas"]["ExecutionTemplateSpec"]
    assert f"`{annotation[0]}`" in execution["properties"]["metadata"]["description"]
    assert f"host=/cloudsql/{annotation[1]}" in DEPLOYMENT
    assert "`roles/cloudsql.client`" in DEPLOYMENT


def test_cloud_scheduler_calls_a_cloud_run_address() -> None:
    """The address is the `:run` method of the API's discovery document."""
    document = json.loads(get_static_doc("run", "v2"))
    run = document["resources"]["projects"]["resources"]["locations"]["resources"]["jobs"]["methods"]["run"]
    path = re.sub(r"\{\w+\}", r"[\\w-]+", run["flatPath"])
    (address,) = re.findall(r"--uri (\S+)", DEPLOYMENT)
    assert re.fullmatch(re.escape(document["rootUrl"]) + path, address)
    assert f"--http-method {run['httpMethod']} " in DEPLOYMENT


def test_cloud_scheduler_retries_a_failed_call() -> None:
    """By default it waits for the next month."""
    retry = json.loads(get_static_doc("cloudscheduler", "v1"))["schemas"]["RetryConfig"]
    count = retry["properties"]["retryCount"]["description"]
    (attempts,) = re.findall(r"--max-retry-attempts (\d+) ", DEPLOYMENT)
    assert f"Values greater than {attempts}" in count


def _operation(service: str, name: str) -> Any:
    return get_session().get_service_model(service).operation_model(name).input_shape


def test_task_definition_matches_the_ecs_model() -> None:
    """No key is unknown, missing, or of a wrong type."""
    shape = _operation("ecs", "RegisterTaskDefinition")
    assert ParamValidator().validate(TASK, shape).generate_report() == ""
    assert ParamValidator().validate({**TASK, "cpus": 1}, shape).has_errors()
    assert TASK["requiresCompatibilities"][0] in shape.members["requiresCompatibilities"].member.enum


def test_task_on_fargate_keeps_its_log() -> None:
    """Without SMTP_HOST, the support notification is in the log."""
    log = CONTAINER["logConfiguration"]
    assert log["logDriver"] == "awslogs"
    # Fargate requires these three.
    assert log["options"].keys() == {"awslogs-group", "awslogs-region", "awslogs-stream-prefix"}
    assert f"`{log['options']['awslogs-group']}`" in DEPLOYMENT


def test_task_can_write_where_it_mounts() -> None:
    """On Fargate, a volume belongs to root unless the image declares its path as a VOLUME."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    declared = re.findall(r"^VOLUME (\S+)$", dockerfile, re.MULTILINE)
    assert [mount["containerPath"] for mount in CONTAINER["mountPoints"]] == declared == ["/data"]
    assert [mount["containerPath"] for mount in CONTAINER["linuxParameters"]["tmpfs"]] == ["/tmp"]  # noqa: S108


def test_task_names_its_secrets_by_complete_arn() -> None:
    """ECS takes nothing else: Secrets Manager ends the ARN with a hyphen and six characters of its own."""
    assert all(secret["valueFrom"].endswith("-SUFFIX") for secret in CONTAINER["secrets"])
    assert "`SUFFIX`" in DEPLOYMENT


def test_eventbridge_command_matches_the_scheduler_model() -> None:
    found = re.search(r"^    aws scheduler create-schedule(.*?'.*?')$", DEPLOYMENT, re.MULTILINE | re.DOTALL)
    words = shlex.split(found[1].replace("\\\n", " "))
    given = dict(zip(words[::2], words[1::2], strict=True))
    shape = _operation("scheduler", "CreateSchedule")
    options = {f"--{xform_name(name).replace('_', '-')}": name for name in shape.members}
    assert set(given) <= set(options)
    assert {f"--{xform_name(name).replace('_', '-')}" for name in shape.required_members} <= set(given)
    target = json.loads(given["--target"])
    assert ParamValidator().validate(target, shape.members["Target"]).generate_report() == ""
    assert given["--flexible-time-window"] == "Mode=OFF"
    # Six fields; the day of the week is `?`.
    assert re.fullmatch(r"cron\(0 8 1 \* \? \*\)", given["--schedule-expression"])
