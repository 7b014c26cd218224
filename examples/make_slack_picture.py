"""Generate docs/pictures/slack_message.png: two messages as Slack shows them.

    python examples/make_slack_picture.py [--out FILE]

The payloads are those of `preview.json` in this folder. Chromium draws their blocks in the style of Slack, as
wide as on a phone, with the fonts of this machine (Debian packages fonts-lato and fonts-noto-color-emoji).
"""

import argparse
import html
import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from examples.devtools import photograph  # noqa: E402  # found on the path from here

SHOWN = ("ACC-90005", "ACC-90031")
WIDTH, HEIGHT = 920, 304

STYLE = """
body { margin: 0; padding: 14px; background: #f3f3f5; display: flex; gap: 14px; align-items: flex-start;
  font: 15px/1.45 Lato, "Noto Sans", "DejaVu Sans", "Noto Color Emoji", sans-serif; color: #1d1c1d; }
article { background: #fff; border: 1px solid #ddd; border-radius: 12px; padding: 12px 14px; flex: 1;
  min-width: 0; box-sizing: border-box; }
.from { display: flex; gap: 8px; align-items: center; margin-bottom: 4px; }
.from i { width: 32px; height: 32px; border-radius: 6px; background: #611f69; color: #fff; font-style: normal;
  display: grid; place-items: center; font-size: 17px; }
.from small { background: #e8e8e8; border-radius: 3px; padding: 0 4px; color: #616061; font-size: 10px; }
h2 { font-size: 18px; line-height: 1.3; margin: 6px 0 8px; }
p { margin: 6px 0; }
dl { display: grid; grid-template-columns: 1fr 1fr; gap: 8px 16px; margin: 8px 0; }
dl div, p { overflow-wrap: anywhere; }
a { color: #1264a3; text-decoration: none; }
footer { color: #616061; font-size: 12px; margin-top: 6px; }
"""


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs" / "pictures" / "slack_message.png")
    options = parser.parse_args()
    alerts = json.loads((HERE / "preview.json").read_text(encoding="utf-8"))["alerts"]
    messages = [alert["message"] for alert in alerts if alert["account_id"] in SHOWN]
    photograph(as_html(messages), options.out, WIDTH, HEIGHT)


def as_html(messages: list[dict[str, Any]]) -> str:
    """Return a page with the messages side by side."""
    articles = "".join(
        '<article><div class="from"><i>🚩</i><b>Account Risk Alerts</b><small>APP</small></div>'
        + "".join(map(_block, message["blocks"]))
        + "</article>"
        for message in messages
    )
    return f'<!doctype html><meta charset="utf-8"><style>{STYLE}</style>{articles}'


def _block(block: dict[str, Any]) -> str:
    if block["type"] == "header":
        return f"<h2>{_text(block['text'])}</h2>"
    if block["type"] == "context":
        return f"<footer>{' &nbsp; '.join(map(_text, block['elements']))}</footer>"
    fields = "".join(f"<div>{_text(field)}</div>" for field in block.get("fields", []))
    return f"<p>{_text(block['text'])}</p>" + (f"<dl>{fields}</dl>" if fields else "")


def _text(text: dict[str, Any]) -> str:
    """Return a text object as HTML; the three entities of Slack are valid in HTML too."""
    shown = html.escape(html.unescape(text["text"]), quote=False)
    if text["type"] == "mrkdwn":
        shown = re.sub(r"&lt;(https?://.+?)&gt;", r'<a href="\1">\1</a>', shown)
        shown = re.sub(r"\*([^*]+)\*", r"<b>\1</b>", shown)
    return shown


if __name__ == "__main__":
    main()
