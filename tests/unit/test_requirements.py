"""What pip would not put together stands in requirements-dbt.txt; all that it asks for stands in the other files."""

from __future__ import annotations

import re
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# What is not installed: dbt runs without the parser, and of dbt-mysql only the SQL is used.
LEFT_OUT = {"dbt-core-experimental-parser", "mysql-connector-python", "dbt-core"}


def pins(path: Path) -> dict[str, str]:
    """The version of each package that a file pins."""
    lines = [line.partition("#")[0].strip() for line in path.read_text().splitlines()]
    found = [re.fullmatch(r"([\w.-]+)(?:\[.+\])?==(\S+)", line) for line in lines if line and not line.startswith("--")]
    assert all(found), path
    return {canonicalize_name(pin[1]): pin[2] for pin in found if pin}


def test_all_that_dbt_asks_for_is_pinned_at_a_version_that_it_takes(root: Path) -> None:
    resolved = pins(root / "requirements.txt") | pins(root / "requirements-checks.txt")
    alone = pins(root / "requirements-dbt.txt")
    for package in alone:
        for text in requires(package) or []:
            wanted = Requirement(text)
            name = canonicalize_name(wanted.name)
            if (wanted.marker is None or wanted.marker.evaluate({"extra": ""})) and name not in LEFT_OUT:
                assert wanted.specifier.contains((resolved | alone)[name]), f"{package} asks for {text}"


def test_each_file_begins_with_the_command_that_installs_it(root: Path) -> None:
    first = (root / "requirements.txt").read_text().splitlines()[0]
    alone = (root / "requirements-dbt.txt").read_text().splitlines()[0]
    assert first.startswith("# pip install --requirement requirements.txt")
    assert alone.startswith("# pip install --no-deps --requirement requirements-dbt.txt")
