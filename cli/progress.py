"""A run's progress on a terminal: one line, which is gone at the end, because the report says it all."""

from contextlib import AbstractContextManager, nullcontext

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner

from core.run import Progress


def shown_progress(progress: Progress, *, interactive: bool) -> AbstractContextManager[object]:
    """Show a run's progress on the terminal of standard error; elsewhere the log does."""
    if not interactive:
        return nullcontext()
    spinner = Spinner("dots")

    def draw() -> Spinner:
        spinner.update(text=describe(progress))
        return spinner

    # With a first frame at once: a small source is read before the second.
    return Live(spinner, get_renderable=draw, console=Console(stderr=True, emoji=False), transient=True)


def describe(progress: Progress) -> str:
    """Return what a run is at, in one line."""
    if progress.rows_read is None:
        return "Reading the source …"
    return f"{progress.rows_read:,} rows read; {progress.recorded:,} of {progress.to_send:,} alerts recorded"
