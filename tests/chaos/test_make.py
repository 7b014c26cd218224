"""`make chaos` and `make fuzz` call programs that accept their options."""

import os
import sys
from pathlib import Path

import pytest

from tests.cli.calling import ROOT, run_program


@pytest.mark.parametrize(
    ("target", "programs"),
    [
        (["chaos"], 1),
        (["chaos", "SEED=7", "LANES=1", "DATABASE=postgresql", "PREFECT=none"], 1),
        (["fuzz", "SEED=7"], 2),
    ],
)
def test_programs_accept_the_options_of_make(target: list[str], programs: int) -> None:
    installed = os.path.relpath(Path(sys.executable).parent, ROOT)
    as_it_is = [f"--old-file={name}" for name in ("install", ".venv-fuzz/.installed")]
    recipe = run_program("make", "--dry-run", *as_it_is, f"BIN={installed}", *target).stdout
    called = recipe.replace("\\\n", " ").splitlines()
    assert len(called) == programs
    for line in called:
        # Options before `--help` are parsed first.
        end = run_program("sh", "-c", f"{line} --help")
        assert (end.returncode, end.stderr) == (0, "")
