"""dbt as make calls it: it is of this project, whatever the shell holds for another one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# Each of these alone would stop it, or have it work elsewhere.
FOREIGN = {
    "DBT_PROFILES_DIR": "/none",
    "DBT_PROJECT_DIR": "/none",
    "DBT_TARGET_PATH": "/proc/none",
    "DBT_LOG_PATH": "/proc/none",
    "DBT_LOG_LEVEL": "nonsense",
}


def test_what_a_shell_holds_for_another_dbt_project_does_not_matter(root: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "pipeline.run_dbt", "--no-use-colors", "parse"],
        cwd=root,
        env=os.environ | FOREIGN,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"Performance info: {root}/target/" in ended.stdout
