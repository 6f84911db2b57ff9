from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from pipeline.erd import Column, Relationship, Table, draw, main, read_manifest

SVG = "{http://www.w3.org/2000/svg}"


def model(name: str, columns: dict[str, list[dict[str, Any]]], **further: Any) -> dict[str, Any]:
    return {
        "resource_type": "model",
        "name": name,
        "description": f"One row per {name}, and more.",
        "contract": {"enforced": True},
        "config": {"materialized": "table"},
        "constraints": [],
        "columns": {
            column: {"data_type": "char(2) character set ascii collate ascii_bin", "constraints": constraints}
            for column, constraints in columns.items()
        },
        **further,
    }


@pytest.fixture
def manifest() -> dict[str, Any]:
    """A child with a key of two columns, its parent, a test between them, and a view."""
    key = {"type": "primary_key", "columns": ["parent_id", "number"]}
    foreign_key = {"type": "foreign_key", "to": "ref('parent')", "to_columns": ["parent_id"]}
    return {
        "nodes": {
            "model.parent": model("parent", {"parent_id": [{"type": "primary_key"}], "label": []}),
            "model.child": model("child", {"parent_id": [foreign_key], "number": []}, constraints=[key]),
            "model.view": model("view", {"parent_id": []}, config={"materialized": "view"}),
            "test.one": {
                "resource_type": "test",
                "attached_node": "model.parent",
                "column_name": "label",
                "test_metadata": {
                    "name": "relationship_to_many",
                    "kwargs": {"to": "ref('child')", "field": "number"},
                },
            },
        }
    }


def test_tables_keys_and_relationships_are_those_of_the_contracts(manifest: dict[str, Any]) -> None:
    tables, relationships = read_manifest(manifest)
    assert tables == [
        Table(
            "parent",
            "row per parent",
            (Column("parent_id", "char(2) ascii", ("PK",)), Column("label", "char(2) ascii", ())),
        ),
        Table(
            "child",
            "row per child",
            (Column("parent_id", "char(2) ascii", ("PK", "FK")), Column("number", "char(2) ascii", ("PK",))),
        ),
    ]
    assert relationships == [
        Relationship("child", "parent_id", "parent", "parent_id", enforced=True),
        Relationship("parent", "label", "child", "number", enforced=False),
    ]


def test_the_drawing_names_every_table_and_column_and_dashes_what_a_test_holds(manifest: dict[str, Any]) -> None:
    svg = ET.fromstring(draw(*read_manifest(manifest)))
    texts = [text.text for text in svg.iter(f"{SVG}text")]
    assert {"parent", "child", "one row per child", "parent_id", "label", "number", "PK FK", "foreign key"} <= {*texts}
    curves = [path for path in svg.iter(f"{SVG}path") if " C" in path.attrib["d"]]
    assert ["stroke-dasharray" in path.attrib for path in curves] == [False, True]


def test_names_from_the_project_cannot_break_the_drawing() -> None:
    table = Table("<&>", 'row per "thing"', (Column("]]>", "enum('a')", ()),))
    assert "<&>" in [text.text for text in ET.fromstring(draw([table], [])).iter(f"{SVG}text")]


@pytest.mark.parametrize("content", [None, "{"])
def test_a_manifest_that_is_missing_or_damaged_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    path = tmp_path / "manifest.json"
    if content:
        path.write_text(content)
    assert main(["--manifest", str(path), "--output", str(tmp_path / "erd.svg")]) == 2
    assert "manifest.json is missing or damaged: run dbt parse" in capsys.readouterr().err
