"""The table of faults names tests that exist, so that nobody believes in one that is gone."""

from __future__ import annotations

import ast
import re
from pathlib import Path

_NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def _names_in(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


def _rows(document: str) -> list[str]:
    """The rows of the tables whose last column is the test."""
    blocks = re.findall(r"^\|[^\n]*\| test \|\n\|[-|]+\|\n((?:\|[^\n]*\n)+)", document, re.MULTILINE)
    return [row for block in blocks for row in block.splitlines()]


def test_every_fault_of_the_table_names_a_test_that_exists(root: Path) -> None:
    document = (root / "docs" / "reliability.md").read_text()
    named = set(_NAMED.findall(document))
    missing = {
        f"{path}::{name}"
        for path, name in named
        if not (root / "tests" / path).is_file() or name not in _names_in(root / "tests" / path)
    }
    without = [row for row in _rows(document) if not _NAMED.search(row.rstrip("| ").rpartition(" | ")[2])]

    assert missing == set()
    assert without == []
    assert len(_rows(document)) > 40
