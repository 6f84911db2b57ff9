"""The compiled functions are compiled, whatever the shell holds for other work with numba."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
from spark_jobs.explode import load_machine_code
from spark_jobs.compiled import compiled

load_machine_code()
print(type(compiled(lambda number: number + 1)).__name__)
"""


def test_a_shell_that_switches_the_compiler_off_does_not_matter(root: Path) -> None:
    """Python's numbers have no end: the same functions would count otherwise."""
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "NUMBA_NUM_THREADS": "nonsense"}
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=root, env=environment, capture_output=True, text=True, check=False
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "CPUDispatcher\n", "")
