"""The tables and the chart of docs/performance.md, from what `bench.scan` measured.

It imports only the standard library, so that a test can compare the page with the numbers.
"""

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
KEPT = DOCS / "performance.json"
PAGE = DOCS / "performance.md"
CHART = DOCS / "performance.svg"
BEGIN, END = "<!-- measured by bench.scan -->", "<!-- end -->"

TARGETS = (("DuckDB", 0.9, 0.75), ("Polars", 1.2, 0.5))
"""Each peer, and the most of its time and of its memory that ours may take."""
HISTORY_TARGET = 1.2
BYTES_TARGET = 1.1
TIME_TARGET = 3.0
REQUESTS_TARGET = 2
TITLES = {
    "layouts": "Layouts",
    "large": "Ten times as many rows",
    "history": "History: no streak is older than 12 months",
    "long": "Ten accounts at risk for 120 months",
    "files": "A folder with 500 files",
    "remote": "Object storage",
    "limit": "The physical limit",
}
OURS = "ours"

Json = dict[str, Any]
BAR, GAP, LEFT, WIDTH = 16, 22, 210, 760
COLORS = {"ours": "#2f81f7", "DuckDB": "#d29922", "Polars": "#8957e5"}
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1f2328}.dim{fill:#59636e}"
    "@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.dim{fill:#9198a1}}"
)


def write() -> None:
    """Write the page and the chart from docs/performance.json."""
    result = json.loads(KEPT.read_text(encoding="utf-8"))
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), result), encoding="utf-8")
    CHART.write_text(chart(result), encoding="utf-8")


def page(text: str, result: Json) -> str:
    """Return the page with the tables between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables(result)}\n{END}{after}"


def tables(result: Json) -> str:
    """Return the results as Markdown tables."""
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    lines = [f"{versions}; {result['cpus']} processors, {result['threads']} threads."]
    for part, title in TITLES.items():
        if part not in result["parts"]:
            continue
        found = result["parts"][part]
        before, after = found["load_before_and_after"]
        lines += ["", f"### {title}", ""]
        lines.append(
            f"{found['at'][:10]}, medians of {found['rounds']}, in brackets the lowest and highest. Load of"
            f" the machine: {before} before, {after} after."
        )
        lines.append("")
        measured = found["measured"]
        readers = [item for item in measured if "readers" in item]
        wires = [item for item in measured if "store" in item]
        if readers:
            lines += list(_readers_table(readers))
        if part == "history":
            lines += list(_history(readers))
        if wires:
            lines += ["", *_wire_table(wires)] if readers else list(_wire_table(wires))
        if part == "limit":
            lines += list(_limit(measured[0]))
    return "\n".join(lines) + "\n"


def ratios(item: Json, key: str, against: str) -> list[float]:
    """Return our value divided by a peer's, for each round."""
    pairs = zip(item["readers"][OURS][key], item["readers"][against][key], strict=True)
    return [ours / theirs for ours, theirs in pairs]


def _readers_table(items: list[Json]) -> Iterator[str]:
    peers = "".join(
        f" | ÷ {peer}: time, CPU (≤ {time}), memory (≤ {memory})" for peer, time, memory in TARGETS
    )
    yield f"| source | alerts | ours: time, CPU, memory added{peers} |"
    yield "|---|--:|--:|--:|--:|"
    for item in items:
        ours = item["readers"][OURS]
        cells = [
            f"{_name(item['data'])}, {item['rows'] / 1e6:.1f} M rows",
            f"{item['answer']['alerts']:,}",
            ", ".join(
                (
                    _spread(ours["seconds"], " s"),
                    f"{statistics.median(ours['cpu_seconds']):.2f} s",
                    f"{statistics.median(ours['added_mb']):.0f} MB",
                )
            ),
        ]
        for peer, *_ in TARGETS:
            shares = [ratios(item, key, peer) for key in ("seconds", "cpu_seconds", "added_mb")]
            cells.append(
                f"{_spread(shares[0])}, " + ", ".join(f"{statistics.median(one):.2f}" for one in shares[1:])
            )
        yield f"| {' | '.join(cells)} |"


def _history(items: list[Json]) -> Iterator[str]:
    yield ""
    yield f"| source | ours ÷ its 12 months: time, ≤ {HISTORY_TARGET} | bytes, ≤ {HISTORY_TARGET} |"
    yield "|---|--:|--:|"
    first = items[0]
    for item in items[1:]:
        pairs = zip(item["readers"][OURS]["seconds"], first["readers"][OURS]["seconds"], strict=True)
        share = item["wire_bytes"] / first["wire_bytes"]
        yield f"| {_name(item['data'])} | {_spread([long / short for long, short in pairs])} | {share:.3f} |"


def _wire_table(items: list[Json]) -> Iterator[str]:
    yield (
        "| source | store | pause | requests | files | row groups needed"
        f" | requests ÷ (files + {REQUESTS_TARGET} for each row group), ≤ 1 | bytes"
        f" | ÷ needed, ≤ {BYTES_TARGET}"
        f" | bytes twice | time ÷ local, ≤ {TIME_TARGET:g} at 50 ms |"
    )
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for item in items:
        allowed = item["files"] + REQUESTS_TARGET * item["row_groups"]
        cells = [
            _name(item["data"]),
            item["store"],
            f"{item['pause_seconds'] * 1000:.0f} ms",
            str(item["requests"]),
            str(item["files"]),
            str(item["row_groups"]),
            f"{item['requests'] / allowed:.2f}",
            f"{item['bytes'] / 1e6:.1f} MB",
            f"{item['bytes'] / (item['needed_bytes'] + item['footer_bytes']):.2f}",
            f"{item['bytes_twice'] / 1e6:.2f} MB",
            _spread(item["ratios"]),
        ]
        yield f"| {' | '.join(cells)} |"


def _limit(item: Json) -> Iterator[str]:
    yield (
        f"The account, month, status and `updated_at` of every row of by-month.parquet are"
        f" {item['bytes'] / 1e6:.0f} MB: reading them takes {_spread(item['pread_seconds'], ' s')}, decoding"
        f" them with pyarrow {_spread(item['decode_seconds'], ' s')}."
    )


def _name(data: str) -> str:
    return data.removesuffix(".parquet")


def _spread(values: list[float], unit: str = "") -> str:
    return f"{statistics.median(values):.2f}{unit} ({min(values):.2f} - {max(values):.2f})"


def chart(result: Json) -> str:
    """Return an SVG chart of seconds and memory by layout and reader, for light and dark pages."""
    items = result["parts"]["layouts"]["measured"]
    most = max(statistics.median(run["seconds"]) for item in items for run in item["readers"].values())
    scale = (WIDTH - LEFT - 150) / most
    shapes, y = [], 34
    for item in items:
        label = f"{_name(item['data'])}, {item['answer']['alerts']:,} alerts"
        shapes.append(f'<text x="{LEFT - 10}" y="{y + 1.6 * BAR:.0f}" text-anchor="end">{label}</text>')
        for reader, found in item["readers"].items():
            seconds = statistics.median(found["seconds"])
            memory = statistics.median(found["added_mb"])
            long = seconds * scale
            shapes.append(
                f'<rect x="{LEFT}" y="{y}" width="{long:.1f}" height="{BAR - 2}" fill="{COLORS[reader]}"/>'
                f'<text class="dim" x="{LEFT + long + 6:.1f}" y="{y + 12}">'
                f"{seconds:.2f} s, {memory:.0f} MB</text>"
            )
            y += BAR
        y += GAP - BAR // 2
    legend = "".join(
        f'<rect x="{LEFT + 90 * index}" y="8" width="12" height="12" fill="{color}"/>'
        f'<text x="{LEFT + 90 * index + 18}" y="19">{reader}</text>'
        for index, (reader, color) in enumerate(COLORS.items())
    )
    body = "\n".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img">\n'
        f"<title>Seconds and memory of load, dedupe and streaks, by layout and reader</title>\n"
        f"<style>{STYLE}</style>\n{legend}\n{body}\n</svg>\n"
    )
