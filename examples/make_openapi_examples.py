"""Make api/examples.json, the examples of the OpenAPI document, from the examples kept here.

    python examples/make_openapi_examples.py

It comes after `make_examples.py`, whose answers it arranges by endpoint; `make examples` runs both.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.views import RunSummary  # noqa: E402  # found on the path from here


def openapi_examples() -> str:
    """Give the text of api/examples.json."""
    preview, run = (_kept(name) for name in ("preview.json", "run.json"))
    summary = {name: run[name] for name in RunSummary.model_fields}
    found = {
        "POST /runs 200": {"run_id": run["run_id"]},
        "POST /runs 202": {"run_id": run["run_id"]},
        "POST /preview 200": preview,
        "GET /runs 200": {"runs": [summary], "next_cursor": None},
        "GET /runs/{run_id} 200": run,
        # Of so small a run, the sample is every alert.
        "GET /runs/{run_id}/alerts 200": {"alerts": run["sample_alerts"], "next_cursor": None},
        "GET /health 200": {"status": "ok", "ledger": "ok", "settings": "ok", "warnings": []},
    }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _kept(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "examples" / name).read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    (ROOT / "api" / "examples.json").write_text(openapi_examples(), encoding="utf-8")
