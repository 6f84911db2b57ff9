"""Set-up with the real pip, in virtual environments of its own. It needs no network."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from embedded.installation import install_packages
from pipeline.errors import ServiceError


def test_an_environment_is_made_anew_by_its_own_python(root: Path, tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("")
    install_packages(tmp_path / ".venv", [requirements])
    (tmp_path / ".venv" / "requirements-stamp").unlink()
    code = (
        "from pathlib import Path; from embedded.installation import install_packages;"
        "install_packages(Path('.venv'), [Path('requirements.txt')])"
    )
    subprocess.run(
        [tmp_path / ".venv" / "bin" / "python", "-c", code],
        cwd=tmp_path,
        check=True,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    assert (tmp_path / ".venv" / "requirements-stamp").exists()


def test_a_package_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("./no-such-package\n")
    with pytest.raises(ServiceError, match=r"cannot install the Python packages: ERROR: .*no-such-package"):
        install_packages(tmp_path / ".venv", [requirements])
