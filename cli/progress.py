"""A run's progress on a terminal: what it is at, and how many alerts of each channel have a result."""

from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from core.domain import AlertStatus
from core.runtime import ChannelProgress, Progress, count_recorded, one_line

MOST_CHANNELS = 12
"""So many lines of channels; the others are counted together."""
CHANNEL_WIDTH, BAR_WIDTH = 24, 16


def shown_progress(progress: Progress, *, interactive: bool) -> AbstractContextManager[object]:
    """Show a run's progress on the terminal of standard error; elsewhere the log does.

    What was shown is gone at the end: the report says it all.
    """
    if not interactive:
        return nullcontext()
    spinner = Spinner("dots")
    console = Console(stderr=True, emoji=False)
    # With a first frame at once: a small source is read before the second.
    return Live(spinner, get_renderable=lambda: _draw(progress, spinner), console=console, transient=True)


def _draw(progress: Progress, spinner: Spinner) -> RenderableType:
    """Draw what a run is at: one line, and one for each channel."""
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
        table.add_row(Text(one_line(name)), bar, f"{one.recorded:,}/{one.total:,}", _note(one))
    if len(ordered) > MOST_CHANNELS:
        table.add_row(Text(f"and {len(ordered) - MOST_CHANNELS} more channels"))
    return Group(spinner, table)


def _note(channel: ChannelProgress) -> Text:
    if channel.waits_until and channel.waits_at(datetime.now(UTC)):
        return Text(f"waits for Slack until {channel.waits_until.astimezone():%H:%M:%S}", style="yellow")
    troubles = (AlertStatus.FAILED, AlertStatus.UNCONFIRMED)
    words = [f"{channel.done[status]:,} {status.value}" for status in troubles if channel.done[status]]
    return Text(", ".join(words), style="red")
