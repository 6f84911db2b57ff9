"""`python -m pipeline.erd`: draw the tables of the normal form, from what dbt knows of their contracts.

A table's contract is what the database gets, and the dbt test `contract_is_enforced` holds the two together.
"""

from __future__ import annotations

if __name__ == "__main__":  # above the imports: Ctrl-C is answered from here on
    from pipeline.interrupt import run_module

    run_module("pipeline.erd")

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from pipeline.cli import command_parser, run_command, say
from pipeline.errors import UsageError

_REF = re.compile(r"ref\('(\w+)'\)")
_GRAIN = re.compile(r"One (row per [^,:.]+)")
_CHARACTER_SET = re.compile(r" character set (\w+) collate \w+")

# Pixels. A character of the monospaced font is 0.6 of its size wide.
_FONT_SIZE = 13
_CHARACTER = _FONT_SIZE * 0.6
_ROW = 24
_HEAD = 46
_GAP = 14
_BETWEEN = (130, 36)
_MARGIN = 12
_FOOT = 34

_INK, _LINE, _HEAD_FILL, _PAPER, _FAINT = "#1f2933", "#52606d", "#0b4f6c", "#ffffff", "#52606d"


@dataclass(frozen=True)
class Column:
    """A column of a table; `keys` are its marks, `PK` and `FK`."""

    name: str
    type: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table with its grain, such as `row per impression`."""

    name: str
    grain: str
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Relationship:
    """A column that refers to another; `enforced` if the database holds it, else a test does."""

    child: str
    child_column: str
    parent: str
    parent_column: str
    enforced: bool


def read_manifest(manifest: Mapping[str, Any]) -> tuple[list[Table], list[Relationship]]:
    """Read the tables with an enforced contract and what relates them.

    Args:
        manifest: dbt's `manifest.json`, of version 12.

    Returns:
        The tables, in the order of the manifest, and their relationships: foreign keys, and the tests
        `relationship_to_many` for what no foreign key can hold.
    """
    nodes = manifest["nodes"].values()
    models = [
        node
        for node in nodes
        if node["resource_type"] == "model"
        and node["contract"]["enforced"]
        and node["config"]["materialized"] == "table"
    ]
    tables = [_table(model) for model in models]
    relationships = [
        Relationship(model["name"], column, *_parent(constraint), enforced=True)
        for model in models
        for column, constraint in _constraints(model)
        if constraint["type"] == "foreign_key"
    ]
    for node in nodes:
        test = node.get("test_metadata") or {}
        if node["resource_type"] == "test" and test.get("name") == "relationship_to_many":
            child = manifest["nodes"][node["attached_node"]]["name"]
            (parent,) = _REF.findall(test["kwargs"]["to"])
            relationships.append(
                Relationship(child, node["column_name"], parent, test["kwargs"]["field"], enforced=False)
            )
    return tables, relationships


def _table(model: Mapping[str, Any]) -> Table:
    keys: dict[str, list[str]] = {name: [] for name in model["columns"]}
    for mark, kind in (("PK", "primary_key"), ("FK", "foreign_key")):
        for column, constraint in _constraints(model):
            if constraint["type"] == kind:
                keys[column].append(mark)
    columns = tuple(
        Column(name, _CHARACTER_SET.sub(r" \1", column["data_type"]), tuple(keys[name]))
        for name, column in model["columns"].items()
    )
    grain = _GRAIN.match(model["description"])
    return Table(model["name"], grain[1] if grain else "", columns)


def _constraints(model: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Each constraint with each column that it is on, whether declared at the column or at the table."""
    at_columns = [(name, found) for name, column in model["columns"].items() for found in column["constraints"]]
    return at_columns + [(name, found) for found in model["constraints"] for name in found["columns"]]


def _parent(constraint: Mapping[str, Any]) -> tuple[str, str]:
    (parent,) = _REF.findall(constraint["to"])
    return parent, constraint["to_columns"][0]


def draw(tables: Sequence[Table], relationships: Sequence[Relationship]) -> str:
    """Draw the tables as SVG: those that others refer to at the left, those that refer to them right of them.

    Args:
        tables: at least one.
        relationships: between these tables; the foreign keys among them go round in no circle.

    Returns:
        The SVG, the same for the same arguments.
    """
    widths = {table.name: _width(table) for table in tables}
    places, width, height = _places(tables, _layers(tables, relationships), widths)
    svg = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {width} {height + _FOOT}",
            "width": str(width),
            "height": str(height + _FOOT),
            "role": "img",
            "font-family": "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace",
            "font-size": str(_FONT_SIZE),
        },
    )
    ET.SubElement(svg, "title").text = "The tables of the normal form"
    ET.SubElement(svg, "rect", {"width": "100%", "height": "100%", "fill": _PAPER})
    for relationship in relationships:
        _draw_relationship(svg, relationship, tables, places, widths)
    for table in tables:
        _draw_table(svg, table, *places[table.name], widths[table.name])
    _draw_legend(svg, height)
    ET.indent(svg)
    return ET.tostring(svg, encoding="unicode") + "\n"


def _layers(tables: Sequence[Table], relationships: Sequence[Relationship]) -> list[list[str]]:
    """Names of the tables by the number of foreign keys that lead from them, one after the other, at most."""
    parents = {
        table.name: {link.parent for link in relationships if link.child == table.name and link.enforced} - {table.name}
        for table in tables
    }

    def depth(name: str) -> int:
        return 1 + max(map(depth, parents[name]), default=-1)

    depths = {table.name: depth(table.name) for table in tables}
    return [[name for name in depths if depths[name] == layer] for layer in range(max(depths.values()) + 1)]


def _places(
    tables: Sequence[Table], layers: Iterable[Sequence[str]], widths: Mapping[str, float]
) -> tuple[dict[str, tuple[float, float]], int, int]:
    heights = {table.name: _HEAD + _ROW * len(table.columns) for table in tables}
    places: dict[str, tuple[float, float]] = {}
    x, bottom = float(_MARGIN), 0.0
    for names in layers:
        y = float(_MARGIN)
        for name in names:
            places[name] = (x, y)
            y += heights[name] + _BETWEEN[1]
        bottom = max(bottom, y - _BETWEEN[1])
        x += max(widths[name] for name in names) + _BETWEEN[0]
    return places, round(x - _BETWEEN[0] + _MARGIN), round(bottom + _MARGIN)


def _width(table: Table) -> float:
    names = max(len(column.name) for column in table.columns)
    types = max(len(column.type) for column in table.columns)
    return round(_CHARACTER * max(6 + names + 2 + types, len(table.grain)) + 2 * _GAP)


def _draw_table(svg: ET.Element, table: Table, x: float, y: float, width: float) -> None:
    height = _HEAD + _ROW * len(table.columns)
    box = {"x": _n(x), "y": _n(y), "width": _n(width)}
    ET.SubElement(svg, "rect", {**box, "height": _n(height), "fill": _PAPER, "stroke": _HEAD_FILL})
    ET.SubElement(svg, "rect", {**box, "height": _n(_HEAD), "fill": _HEAD_FILL})
    _text(svg, x + _GAP, y + 20, table.name, fill=_PAPER, weight="bold")
    _text(svg, x + _GAP, y + 37, f"one {table.grain}", fill="#cfe3ee", size=11)
    types = x + _GAP + _CHARACTER * (6 + 2 + max(len(column.name) for column in table.columns))
    for number, column in enumerate(table.columns):
        line = y + _HEAD + _ROW * number + 16
        _text(svg, x + _GAP, line, " ".join(column.keys), fill=_HEAD_FILL, size=11)
        _text(svg, x + _GAP + _CHARACTER * 6, line, column.name, weight="bold" if "PK" in column.keys else "normal")
        _text(svg, types, line, column.type, fill=_FAINT)


def _draw_relationship(
    svg: ET.Element,
    link: Relationship,
    tables: Sequence[Table],
    places: Mapping[str, tuple[float, float]],
    widths: Mapping[str, float],
) -> None:
    ends = {(link.child, link.child_column): True, (link.parent, link.parent_column): not link.enforced}
    (left, many_left), (right, many_right) = sorted(ends.items(), key=lambda end: places[end[0][0]][0])
    x1, y1 = places[left[0]][0] + widths[left[0]], _row_middle(tables, places, left)
    x2, y2 = places[right[0]][0], _row_middle(tables, places, right)
    bend = (x2 - x1) / 2
    path = f"M{_n(x1)} {_n(y1)} C{_n(x1 + bend)} {_n(y1)} {_n(x2 - bend)} {_n(y2)} {_n(x2)} {_n(y2)}"
    style = {"fill": "none", "stroke": _LINE, "stroke-width": "1.5"}
    ET.SubElement(svg, "path", {"d": path, **style, **({} if link.enforced else {"stroke-dasharray": "5 4"})})
    for x, y, direction, many in ((x1, y1, 1, many_left), (x2, y2, -1, many_right)):
        mark = (
            f"M{_n(x)} {_n(y - 6)} L{_n(x + 11 * direction)} {_n(y)} L{_n(x)} {_n(y + 6)}"
            if many
            else f"M{_n(x + 8 * direction)} {_n(y - 6)} L{_n(x + 8 * direction)} {_n(y + 6)}"
        )
        ET.SubElement(svg, "path", {"d": mark, **style})


def _row_middle(tables: Sequence[Table], places: Mapping[str, tuple[float, float]], column: tuple[str, str]) -> float:
    table = next(table for table in tables if table.name == column[0])
    number = [found.name for found in table.columns].index(column[1])
    return places[table.name][1] + _HEAD + _ROW * number + _ROW / 2


def _draw_legend(svg: ET.Element, top: float) -> None:
    x, y = float(_MARGIN), top + 14
    for dashes, meaning in ((None, "foreign key"), ("5 4", "held by a dbt test")):
        line = {"d": f"M{_n(x)} {_n(y)} H{_n(x + 34)}", "stroke": _LINE, "stroke-width": "1.5"}
        ET.SubElement(svg, "path", line | ({"stroke-dasharray": dashes} if dashes else {}))
        _text(svg, x + 42, y + 4, meaning, fill=_FAINT, size=11)
        x += 42 + _CHARACTER * len(meaning) + 2 * _GAP


def _text(
    svg: ET.Element, x: float, y: float, content: str, *, fill: str = _INK, weight: str = "normal", size: int = 0
) -> None:
    attributes = {"x": _n(x), "y": _n(y), "fill": fill}
    if weight != "normal":
        attributes["font-weight"] = weight
    if size:
        attributes["font-size"] = str(size)
    ET.SubElement(svg, "text", attributes).text = content


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the tables and give the exit code."""
    parser = command_parser(
        "python -m pipeline.erd",
        "Draw the tables of the normal form, from what dbt knows of their contracts.",
        examples="  dbt parse && python -m pipeline.erd            after a change of a contract (make erd)\n",
    )
    parser.add_argument(
        "--manifest",
        type=Path,
        default=Path("target/manifest.json"),
        help="what dbt parse wrote (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("dbt_project/docs/assets/erd.svg"),
        help="the picture (default: %(default)s)",
    )
    options = parser.parse_args(arguments)

    def make() -> None:
        try:
            manifest = json.loads(options.manifest.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            raise UsageError(f"{options.manifest} is missing or damaged: run dbt parse") from None
        options.output.write_text(draw(*read_manifest(manifest)), encoding="utf-8")
        say(f"{options.output} is drawn from {options.manifest}")

    return run_command(
        make, verbose=options.verbose, interrupted="the same command draws the picture anew", is_private=False
    )
