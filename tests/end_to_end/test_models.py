"""The model of docs/esmm.md, from an archive to its AUC."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from source_data import write_archive
from tests.end_to_end.conftest import Shell
from tests.model_environment import make_model_environment

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def python(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_environment(tmp_path_factory.mktemp("models"), root)


@pytest.mark.parametrize(("signal", "least", "most"), [(True, 0.7, 1.0), (False, 0.42, 0.58)])
def test_a_model_finds_the_signal_that_is_there_and_none_where_there_is_none(
    shell: Shell, root: Path, tmp_path: Path, python: Path, signal: bool, least: float, most: float
) -> None:
    write_archive(tmp_path / "train.tar.gz", "train", scale=0.002, signal=signal)
    for command in ("make run", f"make export VOCABULARY=5 SHUFFLE=1 OUTPUT={tmp_path / 'export'}"):
        ended = shell(command, SOURCE=str(tmp_path / "train.tar.gz"))
        assert ended.returncode == 0, ended.stdout + ended.stderr
    trained = subprocess.run(
        [python, root / "docs" / "esmm.py", tmp_path / "export"], check=True, capture_output=True, text=True
    ).stdout
    click, conversion = (float(number) for number in re.findall(r"\d\.\d{3}", trained.splitlines()[-1]))

    assert least < click < most, trained
    if signal:  # without, there are too few conversions to tell
        assert conversion > least, trained
