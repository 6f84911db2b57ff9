"""The documents name what exists: decisions in their index, and files behind every link."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# A task of another layer is named in pipeline.yml, and nowhere in the code. Beside it, by file, what may be imported by
# its name: of a layer above the file's own, and why.
BY_NAME = {
    # The parameters of make sample are checked before there is anything that reads pipeline.yml.
    "embedded/setup.py": ["spark_jobs.sampling.parameters"],
}
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")],
)


def test_every_decision_stands_in_the_index_once() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = re.findall(r"^\| \[([\w-]+)\]\(\1\.md\) \|", (folder / "README.md").read_text(), re.MULTILINE)

    assert sorted(listed) == sorted(path.stem for path in folder.glob("*.md") if path.stem != "README")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file(document: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", document.read_text())

    assert [link for link in links if not (document.parent / link).exists()] == []


def test_the_table_of_folders_is_that_of_the_imports() -> None:
    """Each folder of the table imports what it says, and no folder of code is missing from it."""
    table = re.findall(r"^\| [^|]+ \| `(\w+)/` \| ([^|]*)\|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    layers = {folder: allowed for folder, allowed in table if any((ROOT / folder).glob("*.py"))}
    packages = {path.parent.name for path in ROOT.glob("[!.]*/__init__.py")} - {"tests"}
    assert layers.keys() == packages
    for folder, allowed in layers.items():
        if "all" in allowed:
            continue
        may = {folder, *re.findall(r"`(\w+)`", allowed)}
        for path in (ROOT / folder).rglob("*.py"):
            named = {
                name for name in _names_of_modules(path) if name not in BY_NAME.get(str(path.relative_to(ROOT)), ())
            }
            assert {name.partition(".")[0] for name in named} & packages <= may, path


def _names_of_modules(path: Path) -> Iterator[str]:
    """Give the modules that a file imports, or has in a text of their own, as one that imports them by name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            file = ROOT / f"{node.value.replace('.', '/')}.py"
            if re.fullmatch(r"\w+(\.\w+)+", node.value) and file.exists():
                yield node.value
