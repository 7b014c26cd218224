"""A run's progress on a terminal: what it is at, and how many alerts of each channel have a result."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from core.domain import AlertStatus
from core.runtime import ChannelProgress, Progress, count_recorded, one_line

SECONDS = 0.25
MOST_CHANNELS = 12
"""So many lines of channels; the others are counted together."""
CHANNEL_WIDTH, BAR_WIDTH = 24, 16


@contextmanager
def shown_progress(progress: Progress, *, interactive: bool) -> Iterator[None]:
    """Show a run's progress on the terminal of standard error; elsewhere the log does.

    What was shown is gone at the end: the report says it all.
    """
    if not interactive:
        yield
        return
    over = threading.Event()
    console = Console(stderr=True, emoji=False)
    spinner = Spinner("dots")
    # From the first frame on: a small source is read before the second.
    first = draw(progress, spinner, datetime.now(UTC))
    with Live(first, console=console, transient=True, auto_refresh=False) as live:

        def watch() -> None:
            while not over.wait(SECONDS):
                live.update(draw(progress, spinner, datetime.now(UTC)), refresh=True)

        watcher = threading.Thread(target=watch, name="progress", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()


def draw(progress: Progress, spinner: Spinner, now: datetime) -> RenderableType:
    """Draw what a run is at: one line, and one for each channel; `now` is aware."""
    rows, channels = progress.now()
    if rows is None:
        spinner.update(text="Reading the source …")
        return spinner
    recorded, total = count_recorded(channels)
    spinner.update(text=f"{rows:,} rows read; {recorded:,} of {total:,} alerts recorded")
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=CHANNEL_WIDTH)
    table.add_column(width=BAR_WIDTH)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis")
    # Those that are under way first; what is done needs no watching.
    ordered = sorted(channels.items(), key=lambda item: (item[1].recorded == item[1].total, item[0]))
    for name, one in ordered[:MOST_CHANNELS]:
        bar = ProgressBar(total=one.total, completed=one.recorded, width=BAR_WIDTH, complete_style="cyan")
        table.add_row(Text(one_line(name)), bar, f"{one.recorded:,}/{one.total:,}", _note(one, now))
    if len(ordered) > MOST_CHANNELS:
        table.add_row(Text(f"and {len(ordered) - MOST_CHANNELS} more channels"))
    return Group(spinner, table)


def _note(channel: ChannelProgress, now: datetime) -> Text:
    if channel.waits_until and channel.waits_at(now):
        return Text(f"waits for Slack until {channel.waits_until.astimezone():%H:%M:%S}", style="yellow")
    troubles = (AlertStatus.FAILED, AlertStatus.UNCONFIRMED)
    words = [f"{channel.done[status]:,} {status.value}" for status in troubles if channel.done[status]]
    return Text(", ".join(words), style="red")
