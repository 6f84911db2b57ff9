"""What `dbt parse` makes of the project, without a database."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def manifest(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The project as dbt understands it."""
    target = tmp_path_factory.mktemp("dbt")
    dbt = Path(sys.executable).with_name("dbt")
    parsed = subprocess.run(
        [dbt, "--warn-error", "parse", "--target-path", target, "--log-path", target],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert parsed.returncode == 0, parsed.stdout
    found: dict[str, Any] = json.loads((target / "manifest.json").read_text())
    return found
