"""Set-up with the real pip, in virtual environments of its own. It needs no network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from embedded.installation import install_packages
from pipeline.errors import ServiceError

# As of `docker run --user 12345`.
NO_PASSWD_ENTRY = ["unshare", "--user", "--map-user=12345", "--map-group=12345"]


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


def test_a_pip_conf_that_sends_packages_to_the_home_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual environment refuses that."""
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "pip.conf").write_text("[install]\nuser = true\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("")
    install_packages(tmp_path / ".venv", [requirements])
    assert (tmp_path / ".venv" / "requirements-stamp").exists()


def test_a_package_that_asks_for_a_home_finds_one_where_the_user_has_none(root: Path) -> None:
    """setuptools does, for each package that is built."""
    if subprocess.run([*NO_PASSWD_ENTRY, "true"], check=False).returncode:
        pytest.skip("this system lets its users make no others")
    asks = "import pathlib; pathlib.Path.home()"
    code = f"import sys; from embedded.installation import _run; _run([sys.executable, '-c', {asks!r}], 'find a home')"
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    for program, exit_code in ((asks, 1), (code, 0)):
        ended = subprocess.run(
            [*NO_PASSWD_ENTRY, sys.executable, "-c", program],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == exit_code, ended.stderr
