"""An environment as people have it who train models on an export."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def make_model_environment(folder: Path, root: Path) -> Path:
    """Install what docs/esmm.py and the blocks of docs/export.md need, and give the environment's Python."""
    python = folder / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    requirements = str(root / "docs" / "requirements-models.txt")
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", "--requirement", requirements], check=True)
    return python
