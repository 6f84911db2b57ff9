"""What is exported is read back and compared with the tables, every row of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from export import job, reading
from export.job import export
from pipeline.errors import DatabaseError
from pipeline.mysql import MysqlConnection
from tests.integration.export.conftest import ODD_NAMES, Tables

KEYS = {"sample": "sample_id", "common_feature_group": "common_feature_index"}
FEATURES = {"sample": "sample_feature", "common_feature_group": "common_feature_group"}


def read_manifest(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return manifest


def read_features(folder: Path, side: str) -> list[tuple[object, ...]]:
    """Key, field, id and value of each feature, as the manifest says where they are."""
    rows = pq.read_table(folder / side).to_pylist()
    found: list[tuple[object, ...]] = []
    for field in read_manifest(folder)[side]["fields"]:
        for row in rows:
            pairs = zip(row[field["ids"]], row[field["values"]], strict=True)
            found += [(row[KEYS[side]], field["name"], one, value) for one, value in pairs]
    return found


def assert_the_tables_are_there(tables: Tables, folder: Path) -> None:
    manifest = read_manifest(folder)
    own = ["sample_id", "click_label", "conversion_label", "common_feature_index"]
    samples = pq.read_table(folder / "sample", columns=own).to_pylist()
    assert [tuple(row.values()) for row in samples] == tables.query("select * from sample order by sample_id")
    groups = pq.read_table(folder / "common_feature_group", columns=["common_feature_index"]).column(0).to_pylist()
    assert groups == [key for (key,) in tables.query("select distinct common_feature_index from common_feature_group")]
    for side, table in FEATURES.items():
        found = read_features(folder, side)
        assert len(found) == len(set(found))
        assert set(found) == tables.features(table, KEYS[side])
        ((num_features,),) = tables.query(f"select count(*) from `{table}`")
        ((num_rows,),) = tables.query(
            "select count(*) from sample"
            if side == "sample"
            else "select count(distinct common_feature_index) from common_feature_group"
        )
        assert (manifest[side]["rows"], manifest[side]["features"]) == (num_rows, num_features)
        files = manifest[side]["files"]
        assert {folder / file["path"] for file in files} == set((folder / side).iterdir())
        assert [file["bytes"] for file in files] == [(folder / file["path"]).stat().st_size for file in files]
        assert [file["rows"] for file in files] == [pq.read_metadata(folder / file["path"]).num_rows for file in files]
        assert (sum(file["rows"] for file in files), sum(file["features"] for file in files)) == (
            num_rows,
            num_features,
        )


def test_every_row_comes_back_as_it_is_in_the_tables(tables: Tables, tmp_path: Path) -> None:
    export(tables.settings, tmp_path / "out", 2)

    assert_the_tables_are_there(tables, tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    assert (manifest["database"], manifest["data_set"], manifest["mode"], manifest["format_version"]) == (
        "deepcvr_development_test",
        "test",
        "development",
        2,
    )
    assert set(ODD_NAMES) < {field["name"] for field in manifest["sample"]["fields"]}
    assert set(ODD_NAMES).isdisjoint(field["name"] for field in manifest["common_feature_group"]["fields"])


def test_many_files_row_groups_and_texts_cut_in_halves_hold_the_same(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes that make of few rows what full size makes of many."""
    asked: list[reading.KeyRange] = []
    halved = reading._in_halves

    def watched(reader: MysqlConnection, text: reading.Text, keys: reading.KeyRange) -> pa.Table:
        asked.append(keys)
        return halved(reader, text, keys)

    monkeypatch.setattr(reading, "_in_halves", watched)
    monkeypatch.setattr(reading, "_LONGEST_TEXT", 4_000)
    monkeypatch.setattr(reading, "_FEATURES_AT_ONCE", 7)
    monkeypatch.setattr(job, "_MOST_RANGES_PER_PART", 8)
    monkeypatch.setattr(job, "_FEWEST_PARTS", 2)
    for name in ("SAMPLES", "GROUPS"):
        monkeypatch.setattr(job, name, replace(getattr(job, name), keys_per_range=36))
    export(tables.settings, tmp_path / "out", 3)

    assert asked, "no text was too long"
    assert_the_tables_are_there(tables, tmp_path / "out")
    parts = sorted((tmp_path / "out" / "sample").iterdir())
    assert len(parts) > 1
    assert pq.read_metadata(parts[0]).num_row_groups == 2
    assert len({pq.read_schema(part).to_string() for part in parts}) == 1


def test_more_features_of_one_sample_than_fit_a_text_are_an_error_and_not_a_shorter_list(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_LONGEST_TEXT", 100)
    with pytest.raises(DatabaseError, match=r"more of \w+ \w+ than the server puts into one text"):
        export(tables.settings, tmp_path / "out", 1)

    assert not (tmp_path / "out").exists()


def test_a_value_that_is_no_number_and_would_be_taken_apart_is_an_error(tables: Tables, tmp_path: Path) -> None:
    change = "update sample_feature set feature_value = %s where sample_id = 4294967295 and feature_id = 0"
    for value in ("1\n2", "1\r2", "1\x022"):
        tables.query(change, [value])
        with pytest.raises(DatabaseError, match="sample_feature has text with a control character"):
            export(tables.settings, tmp_path / "out", 1)
    tables.query(change, ["NULL"])
    export(tables.settings, tmp_path / "out", 1)
    assert_the_tables_are_there(tables, tmp_path / "out")
    tables.query(change, ["0.10"])


def test_tables_without_a_row_give_files_without_a_row(tables: Tables, tmp_path: Path) -> None:
    names = ["common_feature_group", "sample_feature", "sample", "feature"]
    kept = {name: tables.query(f"select * from `{name}`") for name in names}
    for name in names:
        tables.query(f"delete from `{name}`")
    try:
        export(tables.settings, tmp_path / "out", 1)
    finally:
        for name in reversed(names):
            tables.insert(name, kept[name])

    assert pq.read_table(tmp_path / "out" / "sample").num_rows == 0
    assert pq.read_table(tmp_path / "out" / "common_feature_group").schema.names == ["common_feature_index"]


def test_ids_are_unsigned_and_nothing_is_null_but_the_row_of_a_group_that_is_not_there(
    tables: Tables, tmp_path: Path
) -> None:
    export(tables.settings, tmp_path / "out", 1)
    schema = pq.read_table(tmp_path / "out" / "sample").schema

    assert schema.field("sample_id").type == pa.uint32()
    assert schema.field("ids_210").type.value_type == pa.uint32()
    assert schema.field("values_210").type.value_type == pa.string()
    assert schema.field("ids_a%20b").metadata == {b"feature_name": b"a b"}
    assert [field.name for field in schema if field.nullable] == ["common_feature_row"]
