"""Generate api/examples.json, the examples of the OpenAPI document, from the examples in this folder.

    python examples/make_openapi_examples.py

Run it after `make_examples.py`; `make examples` runs both.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.ledger import RunSummary  # noqa: E402  # found on the path from here


def openapi_examples() -> str:
    """Return the text of api/examples.json."""
    preview, run = (_kept(name) for name in ("preview.json", "run.json"))
    unconfirmed = _unconfirmed(run)
    summary = {name: run[name] for name in RunSummary.model_fields}
    found = {
        "POST /runs 200": {"run_id": run["run_id"]},
        "POST /runs 202": {"run_id": run["run_id"]},
        "POST /preview 200": preview,
        "GET /runs 200": {"runs": [summary], "next_cursor": None},
        "GET /runs/{run_id} 200": run,
        # The run has at most ten alerts, so that its sample is complete.
        "GET /runs/{run_id}/alerts 200": {"alerts": run["sample_alerts"], "next_cursor": None},
        "GET /outcomes 200": {"outcomes": [unconfirmed], "next_cursor": None},
        "POST /outcomes/{month}/{account_id}/resolve 200": _resolved(unconfirmed),
        "GET /health 200": {"status": "ok", "ledger": "ok", "settings": "ok", "warnings": []},
    }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _unconfirmed(run: dict[str, Any]) -> dict[str, Any]:
    """Return the outcome of an alert of the run as it would be without an answer from Slack."""
    alert = next(alert for alert in run["sample_alerts"] if alert["status"] == "sent")
    return {
        "account_id": alert["account_id"],
        "account_name": alert["account_name"],
        "month": run["month"],
        "alert_type": "at_risk",
        "region": alert["account_region"],
        "channel": alert["channel"],
        "status": "unconfirmed",
        "reason": "no_answer",
        "error": "No answer from Slack after the request was sent (timed out)",
        "attempts": 1,
        "run_id": run["run_id"],
        "sent_at": None,
        "updated_at": alert["sent_at"],
        "resolutions": [],
    }


def _resolved(outcome: dict[str, Any]) -> dict[str, Any]:
    """Return the outcome after a person has resolved it as delivered."""
    resolution = {
        "decision": "delivered",
        "by": "Ana Sousa",
        "at": "2026-02-01T09:30:00Z",
        "note": f"It is in #{outcome['channel']}, 09:12",
        "run_id": outcome["run_id"],
        "reason": outcome["reason"],
    }
    return outcome | {
        "status": "sent",
        "reason": "resolved_delivered",
        "error": None,
        "sent_at": outcome["updated_at"],
        "updated_at": resolution["at"],
        "resolutions": [resolution],
    }


def _kept(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "examples" / name).read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    (ROOT / "api" / "examples.json").write_text(openapi_examples(), encoding="utf-8")
