"""What only Linux has: without it, a test is skipped."""

import sys
from pathlib import Path

import pytest

needs_proc = pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no /proc")
needs_full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
needs_any_name = pytest.mark.skipif(sys.platform == "darwin", reason="file names of macOS are UTF-8")
