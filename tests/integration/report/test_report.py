"""The report over tables that dbt has built, on each supported server, beside a plain reading of the staged rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pymysql
import pytest

from pipeline.errors import DatabaseError, PipelineError
from pipeline.mysql import MysqlConnection, connect
from pipeline.settings import MysqlSettings, Settings, load_settings
from report.__main__ import main
from report.comparison import compare
from report.counts import SIDES, Side, built_tables, count_files, read_counts
from report.drawing import _structures, draw_sides
from report.occurrences import count_occurrences
from report.rates import read_rates
from report.report import write_report
from tests.integration.dbt.project import create_project
from tests.integration.dbt.staged_data import Tables, generate_load, stage

# Not the database of the other tests of dbt, which share the servers.
MODE = "production"
WHOLE: dict[Side, int] = {"sample": 10_000, "common": 10_000}
REJECTED = ("sample_skeleton_train.csv", 301, 1, "wrong number of columns", b"<b>1,0,0</b>")


@dataclass(frozen=True)
class Built:
    """Tables that dbt has built.

    Attributes:
        settings: where they are.
        load: the rows per staging table that they were built from.
    """

    settings: Settings
    load: Tables

    @property
    def names(self) -> dict[object, str]:
        """The field of each feature."""
        return {feature_id: str(name) for feature_id, name in self.load["feature"]}

    def structures(self, side: Side) -> dict[str, list[tuple[object, int, float]]]:
        """Key, feature and value of each structure, by field."""
        found = defaultdict(list)
        for key, feature_id, value in self.load["sample_feature" if side == "sample" else "common_feature_group"]:
            assert isinstance(feature_id, int)
            found[self.names[feature_id]].append((key, feature_id, float(str(value))))
        return found


@pytest.fixture(scope="session")
def built(mysql: MysqlSettings, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A load of 2,000 impressions with a rejected record, built by dbt on each server in turn."""
    settings = replace(load_settings(root=root, environ={"MODE": MODE}), mysql=mysql)
    load = generate_load(num_samples=2000, num_groups=60)
    load["rejected_record"] = [REJECTED]
    stage(mysql, settings.database, load, root)
    project = create_project(tmp_path_factory.mktemp("report") / "root", root, mysql)
    replace(project, environment=project.environment | {"DEEPCVR_MODE": MODE}).succeed("run")
    return Built(settings, load)


def test_what_is_exact_is_what_was_staged(built: Built) -> None:
    with built_tables(built.settings, 1) as (connection,):
        counts = read_counts(connection, built.settings)
    sample = built.load["sample"]
    groups = Counter(row[3] for row in sample)

    labels = Counter((row[1], row[2]) for row in sample)
    assert {(s.click_label, s.conversion_label): s.num_samples for s in counts.strata} == labels
    assert counts.lengths["sample"] == Counter(row[4] for row in sample)
    assert counts.lengths["common"] == Counter(row[1] for row in built.load["common_feature"])
    assert {(s.num_samples, s.has_features): s.num_groups for s in counts.group_sizes} == Counter(
        (size, True) for size in groups.values()
    )
    assert {f.feature_name: f.num_features for f in counts.fields} == Counter(built.names.values())
    assert next(f.meaning for f in counts.fields if f.feature_name == "301") == "Scene of the impression"
    assert [(r.reason, r.num_rejects, r.first_line) for r in counts.rejects] == [("wrong number of columns", 1, 301)]
    assert [(f.load_id, f.source_file, f.num_rows, f.is_current) for f in counts.history] == [
        (1, "sample_skeleton_train.csv", 2000, True),
        (1, "common_features_train.csv", 60, True),
    ]


def test_an_impression_has_its_own_features_and_those_of_its_group(built: Built) -> None:
    with built_tables(built.settings, 1) as (connection,):
        shown = read_counts(connection, built.settings).impression

    own = {(name, *rest[1:]) for name, rows in built.structures("sample").items() for rest in rows if rest[0] == 1}
    group = built.load["sample"][0][3]
    common = {
        (name, *rest[1:]) for name, rows in built.structures("common").items() for rest in rows if rest[0] == group
    }
    assert shown
    assert {feature[1:] for feature in shown.features if feature[0] == "sample"} == own
    assert {feature[1:] for feature in shown.features if feature[0] == "common"} == common


def rows_read(connection: MysqlConnection) -> int:
    """How many rows the session has read so far, by any way."""
    with connection.cursor() as cursor:
        cursor.execute("show session status like 'Handler_read%'")
        return sum(int(value) for _, value in cursor.fetchall())


def test_looking_at_one_impression_reads_no_other(built: Built) -> None:
    with built_tables(built.settings, 1) as (connection,), connection.cursor() as cursor:
        before = rows_read(connection)
        cursor.execute("select * from sample_feature_full where sample_id = 7")
        num_rows = len(cursor.fetchall())
        # A server may read the few features whole, to join them by a hash.
        assert rows_read(connection) - before < 10 * num_rows + 5 * len(built.load["feature"])
        assert 10 * num_rows + 5 * len(built.load["feature"]) < len(built.load["sample_feature"])


@pytest.mark.parametrize("side", SIDES)
def test_where_all_rows_are_drawn_every_figure_is_exact(built: Built, side: Side) -> None:
    with built_tables(built.settings, 1) as (connection,):
        sample = draw_sides(connection, built.settings, read_counts(connection, built.settings), WHOLE)[side]
    expected = built.structures(side)

    assert sample.is_whole
    assert sample.num_structures == sum(map(len, expected.values()))
    assert sample.fields.keys() == expected.keys()
    for name, rows in expected.items():
        field = sample.fields[name]
        lengths, ids, values = (Counter(row[part] for row in rows) for part in range(3))
        assert field.num_rows == len(lengths)
        assert Counter(field.lengths.tolist()) == Counter(lengths.values())
        assert dict(zip(field.feature_ids.tolist(), field.feature_counts.tolist(), strict=True)) == ids
        assert dict(zip(field.values.tolist(), field.value_counts.tolist(), strict=True)) == values
        if name in sample.ranks:
            shares = sorted((number / sample.num_all for number in ids.values()), reverse=True)
            assert sample.ranks[name].head.tolist() == shares


def test_a_part_of_the_rows_stands_for_all(built: Built) -> None:
    with built_tables(built.settings, 1) as (connection,):
        counts = read_counts(connection, built.settings)
        sample = draw_sides(connection, built.settings, counts, {"sample": 200, "common": 20})["sample"]

    assert 130 < sample.num_rows < 280
    assert sample.num_all == 2000
    assert sample.num_structures == pytest.approx(counts.num_structures["sample"] / 10, rel=0.3)
    assert all(field.num_rows == sample.num_rows for field in sample.fields.values())
    # 60 features of 205, equally frequent: each is counted in all rows.
    exact = sorted(Counter(row[1] for row in built.structures("sample")["205"]).values(), reverse=True)
    ranks = sample.ranks["205"]
    assert ranks.tail_ranks[-1] == pytest.approx(59.5)
    counted = (ranks.tail * 2000).round().astype(int).tolist()
    assert counted == exact[len(exact) - len(counted) :]
    assert np.all(ranks.head * 200 >= 3)


@pytest.mark.parametrize("side", SIDES)
def test_the_structures_of_drawn_rows_are_read_and_no_others(built: Built, side: Side) -> None:
    table = "sample_feature" if side == "sample" else "common_feature_group"
    drawn = list({row[0] for row in built.load[table]})[:10]
    with built_tables(built.settings, 1) as (connection,):
        before = rows_read(connection)
        num_rows = sum(len(rows) for rows in _structures(connection, side, drawn))
        read = rows_read(connection) - before

    assert num_rows == sum(row[0] in drawn for row in built.load[table])
    # Each structure and its feature.
    assert read < 3 * num_rows + 50


def test_every_row_of_every_table_is_counted(built: Built) -> None:
    with built_tables(built.settings, 1) as (connection,):
        files = count_files(connection)
    assert files
    skeleton, common = files

    num_structures = len(built.load["sample_feature"])
    assert (skeleton.num_rows, skeleton.staged_rows, skeleton.table_rows) == (2000, 2000, 2000)
    assert (skeleton.num_structures, skeleton.staged_structures, skeleton.table_structures) == (num_structures,) * 3
    assert (skeleton.num_rejects, skeleton.recorded_rejects) == (0, 1)
    assert common.table_structures == len(built.load["common_feature_group"])


def test_every_feature_is_counted_in_all_impressions(built: Built) -> None:
    with built_tables(built.settings, 1) as (connection,):
        found = count_occurrences(connection)

    sizes = Counter(row[3] for row in built.load["sample"])
    for side in SIDES:
        for name, structures in built.structures(side).items():
            impressions = Counter[int]()
            for key, feature_id, _ in structures:
                impressions[feature_id] += sizes[key] if side == "common" else 1
            pairs = zip(found[side][name].counts.tolist(), found[side][name].num_features.tolist(), strict=True)
            assert dict(pairs) == Counter(impressions.values())


def test_rates_are_of_all_impressions(built: Built) -> None:
    with built_tables(built.settings, 1) as (connection,):
        counts = read_counts(connection, built.settings)
        found = read_rates(connection, counts, draw_sides(connection, built.settings, counts, WHOLE))

    assert found.keys() == {"121", "124", "206"}
    groups = defaultdict(list)
    labels = {}
    for sample_id, click, conversion, group, *_ in built.load["sample"]:
        labels[sample_id] = (1, click, click and conversion)
        groups[group].append(sample_id)
    shown: list[tuple[Side, str]] = [("sample", "206"), ("common", "124")]
    for side, name in shown:
        expected = defaultdict(list)
        for key, feature_id, _ in built.structures(side)[name]:
            for sample_id in groups[key] if side == "common" else [key]:
                expected[feature_id].append(labels[sample_id])
        assert found[name]
        for rate in found[name]:
            sums = tuple(map(sum, zip(*expected[rate.feature_id], strict=True)))
            assert (rate.num_samples, rate.num_clicks, rate.num_conversions) == sums


@pytest.mark.parametrize("counted", [True, False])
def test_features_of_test_are_looked_up_in_train(built: Built, root: Path, counted: bool) -> None:
    other = replace(load_settings(root=root, environ={"MODE": MODE}, data_set="test"), mysql=built.settings.mysql)
    with closing(connect(built.settings.mysql)) as connection, connection.cursor() as cursor:
        cursor.execute(f"drop database if exists {other.database}")
        cursor.execute(f"create database {other.database}")
        for table in ("feature", "sample_feature", "common_feature_group"):
            cursor.execute(f"create table {other.database}.{table} like {built.settings.database}.{table}")
            cursor.execute(f"insert into {other.database}.{table} select * from {built.settings.database}.{table}")
        # One feature of 205 has another number, which train does not know.
        (known,) = {row[1] for row in built.structures("sample")["205"][:1]}
        for table in ("feature", "sample_feature"):
            cursor.execute(f"update {other.database}.{table} set feature_id = 4000000000 where feature_id = {known}")
        found = {each.feature_name: each for each in compare(connection, built.settings, other, counted=counted)}
        cursor.execute(f"drop database {other.database}")

    ids = Counter(row[1] for row in built.structures("sample")["205"])
    assert (found["205"].num_features, found["205"].num_unknown) == (len(ids), 1)
    assert found.keys() == set(built.names.values())
    assert sum(each.num_unknown for each in found.values()) == 1
    structures = (found["205"].num_structures, found["205"].num_unknown_structures)
    assert structures == ((sum(ids.values()), ids[known]) if counted else (None, None))


def test_the_command_writes_the_page_and_says_where(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.settings.read_mysql", lambda *_: built.settings.mysql)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "pages" / "page.html"

    assert main(["--mode", MODE, "--output", str(path), "--impressions", "500"]) == 0

    printed = capsys.readouterr()
    assert "deepcvr_train: 2,000 impressions" in printed.out
    assert "page: pages/page.html, " in printed.out
    assert "error" not in printed.err
    page = path.read_text()
    assert "Ali-CCP train, production: 2,000 impressions" in page
    # The record's file and reason are there, and the record itself is not.
    assert "wrong number of columns" in page
    assert "✗ differ" in page
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    ("output", "path"),
    [
        ("pages", "pages/deepcvr_train.html"),
        ("pages/", "pages/deepcvr_train.html"),
        ("there/page.html", "there/page.html"),
        ("", None),
    ],
)
def test_output_in_the_environment_names_the_file_or_the_folder_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, path: str | None
) -> None:
    written: list[Path] = []
    monkeypatch.setattr("report.report.write_report", lambda _, path, *__: written.append(path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OUTPUT", output)

    assert main(["--mode", MODE]) == 0
    assert written == [Path(path) if path else load_settings().root / "target/report/deepcvr_train.html"]


def test_a_page_that_cannot_be_written_leaves_the_old_one(built: Built, tmp_path: Path) -> None:
    folder = tmp_path / "a file"
    folder.write_text("")
    with pytest.raises(PipelineError, match="a file"):
        write_report(built.settings, folder / "page.html", WHOLE)


def test_tables_that_are_not_built_are_told_in_one_line(built: Built) -> None:
    nothing = replace(built.settings, database="deepcvr_nothing")
    with (
        pytest.raises(
            DatabaseError,
            match=r"^deepcvr_nothing has no table or view sample: run make extract MODE=production, then"
            r" MODE=production \S*dbt run, then the same command again$",
        ),
        built_tables(nothing, 1),
    ):
        pass
    test = replace(nothing, data_set=built.settings.data_sets["test"])
    with (
        pytest.raises(
            DatabaseError, match=r"then MODE=production \S*dbt run --target test, then the same command again$"
        ),
        built_tables(test, 1),
    ):
        pass


@contextmanager
def changed(built: Built, there: str, back: str, *, database: str = "") -> Iterator[None]:
    """Something of the databases is otherwise for a while."""
    with (
        closing(connect(built.settings.mysql, database=database or built.settings.database)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(there)
        try:
            yield
        finally:
            cursor.execute(back)


@pytest.mark.parametrize(
    ("relation", "is_staged", "told"),
    [
        ("feature", False, "deepcvr_train has no table or view feature"),
        ("sampling_stratum", False, "deepcvr_train has no table or view sampling_stratum"),
        ("common_feature", True, "deepcvr_train_staging lacks a table"),
    ],
)
def test_what_is_gone_is_told_in_one_line(built: Built, relation: str, is_staged: bool, told: str) -> None:
    database = built.settings.staging_database if is_staged else built.settings.database
    with (
        changed(
            built,
            f"rename table {relation} to elsewhere",
            f"rename table elsewhere to {relation}",
            database=database,
        ),
        pytest.raises(DatabaseError, match=rf"^{told}: run make extract MODE=production, then"),
        built_tables(built.settings, 2),
    ):
        pass


def test_tables_of_two_loads_are_refused(built: Built) -> None:
    comment = "alter table sample_feature comment = 'built from load {}'"
    with (
        changed(built, comment.format(2), comment.format(1)),
        pytest.raises(
            DatabaseError, match=r"^the tables of deepcvr_train are of loads 1 and 2, because dbt run is at work"
        ),
        built_tables(built.settings, 1),
    ):
        pass


_EXTRACT_THEN_DBT = r"make extract MODE=production, then MODE=production \S*dbt run, then"


@pytest.mark.parametrize(
    ("there", "back", "told"),
    [
        (
            "update load_partition set load_id = 2",
            "update load_partition set load_id = 1",
            rf"holds load 2, which is not complete: run {_EXTRACT_THEN_DBT}",
        ),
        (
            "update load_partition set state = 'planned' limit 1",
            "update load_partition set state = 'loaded'",
            rf"holds load 1, which is not complete: run {_EXTRACT_THEN_DBT}",
        ),
        (
            "update load_partition set state = 'superseded'",
            "update load_partition set state = 'loaded'",
            rf"holds no load: run {_EXTRACT_THEN_DBT}",
        ),
        (
            "update load_partition, feature_load set load_partition.load_id = 2, feature_load.load_id = 2",
            "update load_partition, feature_load set load_partition.load_id = 1, feature_load.load_id = 1",
            r"holds load 2: run MODE=production \S*dbt run, then the same command again",
        ),
    ],
    ids=["features missing", "partition missing", "superseded", "newer"],
)
def test_staging_that_holds_another_load_or_a_part_is_told_in_one_line(
    built: Built, there: str, back: str, told: str
) -> None:
    with (
        changed(built, there, back, database=built.settings.staging_database),
        pytest.raises(
            DatabaseError, match=f"^the tables of deepcvr_train are of load 1, and deepcvr_train_staging {told}"
        ),
        built_tables(built.settings, 1),
    ):
        pass


def test_nobody_replaces_what_is_read_and_what_is_seen_stays_as_it_was(built: Built) -> None:
    mysql, staging = built.settings.mysql, built.settings.staging_database
    with (
        built_tables(built.settings, 2) as connections,
        closing(connect(mysql, database=staging)) as other,
        other.cursor() as cursor,
    ):
        cursor.execute("set session lock_wait_timeout = 1")
        for statement in ("drop table sample", "drop table rejected_record", "rename table deepcvr_train.sample to t"):
            with pytest.raises(pymysql.err.OperationalError, match="Lock wait timeout"):
                cursor.execute(statement)
        # As a make extract does before it waits.
        with changed(
            built,
            "update load_partition set state = 'superseded'",
            "update load_partition set state = 'loaded'",
            database=staging,
        ):
            assert [file.is_current for file in read_counts(connections[1], built.settings).history] == [True, True]
            assert count_files(connections[0])
