"""Chromium, as the scripts that make pictures use it: a page on this machine in, a PNG out."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--disable-background-networking",
)
"""For a browser that looks at our own pages alone, also as root in a container."""


def find_chromium() -> str:
    """Give the browser's program; ends the script where there is none."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        sys.exit("Chromium is needed (apt-get install chromium)")
    return found


def photograph(html: str, out: Path, width: int, height: int) -> None:
    """Write what a page of `html` looks like, so many pixels large, to `out`."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(html, encoding="utf-8")
        subprocess.run(  # noqa: S603  # the browser of this machine on our own page
            [
                find_chromium(),
                *QUIET,
                f"--user-data-dir={folder}/profile",
                f"--window-size={width},{height}",
                f"--screenshot={out.resolve()}",
                page.as_uri(),
            ],
            check=True,
            stderr=subprocess.DEVNULL,
            timeout=120,
        )
    print(out)
