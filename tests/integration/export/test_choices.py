"""Exports with indexes, and in a random order: the same rows as the tables have, by a count that shares no code."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from export import __main__ as command
from export.job import Choices, export
from tests.integration.export.conftest import Tables
from tests.integration.export.test_round_trip import FEATURES, KEYS, assert_the_tables_are_there, read_manifest

# Index and count of each id, by field.
Indexes = dict[str, dict[int, tuple[int, int]]]


def expected_indexes(tables: Tables, minimum: int) -> Indexes:
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    own = "select f.feature_name, f.feature_id from sample_feature as t inner join feature as f using (feature_id)"
    common = (
        "select f.feature_name, f.feature_id from sample as s"
        " inner join common_feature_group as t using (common_feature_index) inner join feature as f using (feature_id)"
    )
    for statement in (own, common):
        for name, one in tables.query(statement):
            counts[str(name)][int(str(one))] += 1
    expected = {}
    for name, counted in counts.items():
        kept = [one for one, count in sorted(counted.items(), key=lambda pair: (-pair[1], pair[0])) if count >= minimum]
        expected[name] = {one: (number, counted[one]) for number, one in enumerate(kept, start=1)}
    return expected


def indexed_features(folder: Path, side: str) -> Counter[tuple[object, ...]]:
    rows = pq.read_table(folder / side).to_pylist()
    return Counter(
        (row[KEYS[side]], field["name"], one, value)
        for field in read_manifest(folder)[side]["fields"]
        for row in rows
        for one, value in zip(row[field["indexes"]], row[field["values"]], strict=True)
    )


def assert_the_features_are_there(tables: Tables, folder: Path, expected: Indexes) -> None:
    for side, table in FEATURES.items():
        wanted = Counter(
            (key, name, expected.get(str(name), {}).get(int(str(one)), (0, 0))[0], float(np.float32(str(value))))
            for key, name, one, value in tables.features(table, KEYS[side])
        )
        assert indexed_features(folder, side) == wanted


def ids_of(folder: Path) -> list[int]:
    found: list[int] = pq.read_table(folder / "sample", columns=["sample_id"]).column(0).to_pylist()
    return found


@pytest.mark.parametrize("shuffle", [None, 7])
@pytest.mark.parametrize("minimum", [1, 5])
def test_indexes_count_impressions_and_the_groups_of_impressions(
    tables: Tables, tmp_path: Path, minimum: int, shuffle: int | None
) -> None:
    export(tables.settings, tmp_path / "out", 2, Choices(minimum, shuffle))

    expected = expected_indexes(tables, minimum)
    assert_the_features_are_there(tables, tmp_path / "out", expected)
    declared = read_manifest(tmp_path / "out")["vocabulary"]
    assert declared["minimum"] == minimum
    for name, field in declared["fields"].items():
        entries = pq.read_table(tmp_path / "out" / field["path"]).to_pylist()
        found = {entry["id"]: (entry["index"], entry["count"]) for entry in entries}
        assert found == expected.get(name, {})
        assert field["size"] == len(entries)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "sample",
        "common_feature_group",
        "vocabulary",
        "manifest.json",
    }


@pytest.fixture
def new_feature(tables: Tables) -> Iterator[None]:
    """One that train does not know."""
    tables.query("insert into feature values (4000000001, '210')")
    tables.query("insert into sample_feature values (1, 4000000001, '1.0')")
    yield
    tables.query("delete from sample_feature where feature_id = 4000000001")
    tables.query("delete from feature where feature_id = 4000000001")


def test_another_data_set_gets_the_indexes_of_train(
    tables: Tables, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    export(tables.settings, tmp_path / "train", 1, Choices(3))
    expected = expected_indexes(tables, 3)
    request.getfixturevalue("new_feature")
    export(tables.settings, tmp_path / "test", 1, Choices(tmp_path / "train"))

    assert_the_features_are_there(tables, tmp_path / "test", expected)
    train, test = (read_manifest(tmp_path / name)["vocabulary"] for name in ("train", "test"))
    assert test == train
    # An export that is made anew from its own vocabulary, and one of it.
    export(tables.settings, tmp_path / "test", 1, Choices(tmp_path / "test", 1))
    assert_the_features_are_there(tables, tmp_path / "test", expected)


def test_a_shuffle_has_every_row_in_an_order_that_the_seed_fixes(tables: Tables, tmp_path: Path) -> None:
    for name, connections, seed in (("a", 1, 7), ("b", 3, 7), ("c", 1, 8)):
        export(tables.settings, tmp_path / name, connections, Choices(shuffle=seed))

    for part in (tmp_path / "a" / "sample").iterdir():
        assert part.read_bytes() == (tmp_path / "b" / "sample" / part.name).read_bytes()
    assert ids_of(tmp_path / "a") != ids_of(tmp_path / "c")
    assert sorted(ids_of(tmp_path / "a")) == sorted(ids_of(tmp_path / "c"))
    export(tables.settings, tmp_path / "plain", 1)
    assert_the_tables_are_there(tables, tmp_path / "plain")
    by_id = {row["sample_id"]: row for row in pq.read_table(tmp_path / "plain" / "sample").to_pylist()}
    rows = pq.read_table(tmp_path / "a" / "sample").to_pylist()
    assert {row["sample_id"]: row for row in rows} == by_id
    assert read_manifest(tmp_path / "a")["shuffle"] == 7


def test_a_sample_names_the_row_of_its_group_and_has_folds(tables: Tables, tmp_path: Path) -> None:
    export(tables.settings, tmp_path / "out", 1)

    groups = pq.read_table(tmp_path / "out" / "common_feature_group").column("common_feature_index").to_pylist()
    own = ["sample_id", "common_feature_index", "common_feature_row", "sample_fold", "group_fold"]
    rows = pq.read_table(tmp_path / "out" / "sample", columns=own).to_pylist()
    assert {row["common_feature_row"] is None for row in rows} == {True, False}
    for row in rows:
        if row["common_feature_row"] is None:
            assert row["common_feature_index"] not in groups
        else:
            assert groups[row["common_feature_row"]] == row["common_feature_index"]
    fold = "conv(left(sha2({}, 256), 8), 16, 10) % 100"
    assert [tuple(row.values())[3:] for row in rows] == [
        (int(float(str(of_sample))), int(float(str(of_group))))
        for of_sample, of_group in tables.query(
            f"select {fold.format('sample_id')}, {fold.format('common_feature_index')} from sample order by sample_id"
        )
    ]


def test_the_manifest_describes_each_field_as_the_tables_have_it(tables: Tables, tmp_path: Path) -> None:
    export(tables.settings, tmp_path / "out", 1)
    manifest = read_manifest(tmp_path / "out")

    for side, table in FEATURES.items():
        counted: dict[str, Counter[object]] = defaultdict(Counter)
        ids: dict[str, set[object]] = defaultdict(set)
        values: dict[str, set[object]] = defaultdict(set)
        for key, name, one, value in tables.features(table, KEYS[side]):
            counted[str(name)][key] += 1
            ids[str(name)].add(one)
            values[str(name)].add(value)
        fields: dict[str, dict[str, Any]] = {field["name"]: field for field in manifest[side]["fields"]}
        assert set(fields) == set(counted)
        for name, field in fields.items():
            assert field["side"] == side
            assert field["cardinality"] == len(ids[name])
            assert field["coverage"] == pytest.approx(len(counted[name]) / manifest[side]["rows"])
            assert field["longest"] == max(counted[name].values())
            assert field["multi_valued"] == (field["longest"] > 1)
            assert (field["value_kind"] == "one") == (values[name] == {"1.0"})
    (field,) = [field for field in manifest["sample"]["fields"] if field["name"] == "206"]
    assert field["meaning"] == "Category of the item"


def test_a_reader_of_another_user_may_read_what_the_umask_lets_them(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.settings.load_settings", lambda **_: tables.settings)
    monkeypatch.setenv("OUTPUT", str(tmp_path / "new" / "out"))
    monkeypatch.setenv("VOCABULARY", "2")
    monkeypatch.setenv("SHUFFLE", "1")
    for umask in (0o022, 0o027):
        before = os.umask(umask)
        try:
            assert command.main([]) == 0
        finally:
            os.umask(before)
        made = [tmp_path / "new" / "out", *(tmp_path / "new" / "out").rglob("*")]
        assert len(made) > 20
        for path in made:
            assert path.stat().st_mode & 0o777 == (0o777 if path.is_dir() else 0o666) & ~umask, path
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o755
    assert json.loads((tmp_path / "new" / "out" / "manifest.json").read_text())["vocabulary"]["minimum"] == 2


@pytest.mark.parametrize(
    ("variable", "value"),
    [("VOCABULARY", "0"), ("VOCABULARY", "ten"), ("VOCABULARY", "-1"), ("SHUFFLE", "x"), ("SHUFFLE", str(1 << 64))],
)
def test_a_choice_that_makes_no_sense_is_refused_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, variable: str, value: str
) -> None:
    monkeypatch.setenv("OUTPUT", str(tmp_path / "out"))
    monkeypatch.setenv(variable, value)

    assert command.main(["--check"]) == 2

    assert f"error: {variable} is " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
