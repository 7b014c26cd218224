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

TARGETS = {"DuckDB": (0.9, 0.9, 0.75), "Polars": (1.2, 1.2, 0.5)}
"""The most of each peer's time, CPU and memory that ours may take."""
REQUESTS_PER_GROUP = 2
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
    """Return the results as Markdown."""
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    rounds = ", ".join(f"{part} {found['rounds']}" for part, found in result["parts"].items())
    days = sorted({found["at"][:10] for found in result["parts"].values()})
    loads = [load for found in result["parts"].values() for load in found["load_before_and_after"]]
    conditions = (
        f"{versions}; {result['cpus']} processors ({result['processor']}), {result['threads']} threads."
        f" Measured {', '.join(days)}, load of the machine at most {max(loads)}. Rounds: {rounds}."
    )
    lines = [conditions, ""]
    measured = [item for found in result["parts"].values() for item in found["measured"]]
    lines += _readers_table([item for item in measured if "readers" in item])
    lines += ["", *_wire_table([item for item in measured if "store" in item])]
    lines += ["", *_history([item for item in measured if "wire_bytes" in item])]
    lines += _limit(measured)
    return "\n".join(lines) + "\n"


def ratios(item: Json, key: str, against: str) -> list[float]:
    """Return our value divided by a peer's, for each round."""
    pairs = zip(item["readers"][OURS][key], item["readers"][against][key], strict=True)
    return [ours / theirs for ours, theirs in pairs]


def _readers_table(items: list[Json]) -> Iterator[str]:
    peers = "".join(
        f" | ÷ {peer}: time ≤ {time} | CPU ≤ {cpu} | memory ≤ {memory}"
        for peer, (time, cpu, memory) in TARGETS.items()
    )
    yield f"| source, million rows | alerts | ours: time, CPU, memory added{peers} |"
    yield f"|---|--:|--:{'|--:' * 3 * len(TARGETS)}|"
    for item in items:
        ours = {key: statistics.median(values) for key, values in item["readers"][OURS].items()}
        cells = [
            f"{_name(item)}, {item['rows'] / 1e6:.1f}",
            f"{item['answer']['alerts']:,}",
            f"{ours['seconds']:.2f} s, {ours['cpu_seconds']:.2f} s, {ours['added_mb']:.0f} MB",
        ]
        for peer in TARGETS:
            cells.append(spread(ratios(item, "seconds", peer)))
            cells += [
                f"{statistics.median(ratios(item, key, peer)):.2f}" for key in ("cpu_seconds", "added_mb")
            ]
        yield f"| {' | '.join(cells)} |"


def _wire_table(items: list[Json]) -> Iterator[str]:
    yield (
        f"| source | store, pause | requests ÷ (files + {REQUESTS_PER_GROUP} a row group) ≤ 1"
        " | bytes ÷ needed ≤ 1.1 | time ÷ local ≤ 3 at 50 ms |"
    )
    yield "|---|---|--:|--:|--:|"
    for item in items:
        allowed = item["files"] + REQUESTS_PER_GROUP * item["row_groups"]
        cells = [
            _name(item),
            f"{item['store']}, {item['pause_seconds'] * 1000:.0f} ms",
            f"{item['requests']} ÷ {allowed} = {item['requests'] / allowed:.2f}",
            f"{item['bytes'] / (item['needed_bytes'] + item['footer_bytes']):.2f}",
            spread(item["ratios"]),
        ]
        yield f"| {' | '.join(cells)} |"
    if items:
        yield ""
        yield f"Bytes fetched twice: {sum(item['bytes_twice'] for item in items)}."


def _history(items: list[Json]) -> Iterator[str]:
    for item in items[1:]:
        share = item["wire_bytes"] / items[0]["wire_bytes"]
        yield f"{_name(item)} needs {share:.2f} of the bytes of {_name(items[0])}."


def _limit(measured: list[Json]) -> Iterator[str]:
    by_month = [
        item["readers"][OURS]["seconds"] for item in measured if item.get("data") == "by-month.parquet"
    ]
    for item in [item for item in measured if "decode_seconds" in item]:
        reading, decoding = (statistics.median(item[key]) for key in ("pread_seconds", "decode_seconds"))
        shares = " and ".join(f"{statistics.median(seconds) / decoding:.2f}" for seconds in by_month)
        yield (
            f"The account, month, status and `updated_at` of every row of by-month are"
            f" {item['bytes'] / 1e6:.0f} MB. Reading them takes {reading:.2f} s, and decoding them with"
            f" pyarrow {decoding:.2f} s; our whole answers take {shares} times as long as the decoding."
        )


def _name(item: Json) -> str:
    return str(item["data"]).removesuffix(".parquet")


def spread(values: list[float], digits: int = 2) -> str:
    """Return the median, and the lowest and highest value."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} - {max(values):.{digits}f})"


def chart(result: Json) -> str:
    """Return an SVG chart of seconds and memory by layout and reader, for light and dark pages."""
    items = result["parts"]["layouts"]["measured"]
    most = max(statistics.median(run["seconds"]) for item in items for run in item["readers"].values())
    scale = (WIDTH - LEFT - 150) / most
    shapes, y = [], 34
    for item in items:
        label = f"{_name(item)}, {item['answer']['alerts']:,} alerts"
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
