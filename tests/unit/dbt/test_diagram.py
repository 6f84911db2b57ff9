"""The four tables as README.md draws them and as dbt's docs page lists them, from their contracts.

A table's contract is what the database gets, and the dbt test `contract_is_enforced` holds the two together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

Node = dict[str, Any]


@pytest.fixture(scope="module")
def tables(manifest: Node) -> list[Node]:
    """The models of core, in the order of their names."""
    models = [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]
    return sorted((node for node in models if node["fqn"][1] == "core"), key=lambda node: str(node["name"]))


def constrained(table: Node, kind: str) -> dict[str, str]:
    """The columns with a constraint, declared at the column or at the table, and the table that each refers to."""
    declared = [(name, found) for name, column in table["columns"].items() for found in column["constraints"]]
    declared += [(name, found) for found in table["constraints"] for name in found["columns"]]
    return {name: referred(found["to"] or "") for name, found in declared if found["type"] == kind}


def referred(to: str) -> str:
    return re.sub(r"^ref\('(\w+)'\)$", r"\1", to)


def held_by_tests(manifest: Node, table: Node) -> dict[str, str]:
    """The columns whose reference a test holds, since no foreign key can, and the table that each refers to."""
    tests = [node for node in manifest["nodes"].values() if node.get("attached_node") == table["unique_id"]]
    return {
        node["column_name"]: referred(node["test_metadata"]["kwargs"]["to"])
        for node in tests
        if (node.get("test_metadata") or {}).get("name") == "relationship_to_many"
    }


def diagram(manifest: Node, tables: list[Node]) -> Iterator[str]:
    yield "erDiagram"
    for table in tables:
        keys = {"PK": constrained(table, "primary_key"), "FK": constrained(table, "foreign_key")}
        yield f"    {table['name']} {{"
        for name, column in table["columns"].items():
            type_ = column["data_type"].partition(" character set")[0].replace(" ", "_")
            marks = ", ".join(mark for mark, columns in keys.items() if name in columns)
            yield f"        {type_} {name} {marks}".rstrip()
        yield "    }"
        for name, parent in keys["FK"].items():
            yield f'    {table["name"]} }}o--|| {parent} : "{name}"'
        for name, parent in held_by_tests(manifest, table).items():
            yield f'    {table["name"]} }}o..o{{ {parent} : "{name} (a dbt test)"'


def test_the_readme_draws_the_tables_as_their_contracts_have_them(
    manifest: Node, tables: list[Node], root: Path
) -> None:
    drawn = "```mermaid\n" + "\n".join(diagram(manifest, tables)) + "\n```\n"
    assert drawn in (root / "README.md").read_text(), f"README.md must have\n{drawn}"


def test_the_docs_page_lists_the_tables_as_their_contracts_have_them(
    manifest: Node, tables: list[Node], root: Path
) -> None:
    written = (root / "dbt_project/docs/overview.md").read_text()
    for table in tables:
        grain = re.match(r"One row per ([^,:.]+)", table["description"])
        assert grain
        key = ", ".join(f"`{name}`" for name in constrained(table, "primary_key"))
        refers = [f"`{parent}`" for parent in constrained(table, "foreign_key").values()]
        refers += [f"`{parent}` (a test)" for parent in held_by_tests(manifest, table).values()]
        row = f"| `{table['name']}` | {grain[1]} | {key} | {', '.join(refers)} |".replace("|  |", "| |")
        assert row in written, f"overview.md must have\n{row}"
