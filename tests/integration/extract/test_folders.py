"""A run in a folder that Spark could not be told of says so before it downloads anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.surroundings import copy_project

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_a_python_that_has_no_name_for_the_projects_folder_is_told_before_the_download(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "bücher")
    ended = subprocess.run(
        [sys.executable, "-m", "extract"],
        cwd=project,
        env=os.environ | ASCII,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: ")
    assert line.endswith(" is not UTF-8 to this Python, and Java is told of it so: set PYTHONUTF8=1, as make does")
    assert "[1/3]" not in ended.stdout
