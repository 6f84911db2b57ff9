"""The marts: beside the four tables, made from them, and only where somebody asks for them."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path

import pytest

from pipeline.mysql import connect
from tests.integration.dbt.project import DATABASE, STAGING, DbtProject, Published, create_project
from tests.servers import MARIADB_IN_SOAK
from tests.surroundings import CHECKOUT

mariadb_in_soak = pytest.mark.parametrize("mysql", MARIADB_IN_SOAK, indirect=True)

MARTS = ("dim_common_feature_group", "dim_feature", "fct_impression")
TEST_DATABASE = "deepcvr_development_test"
Rows = list[tuple[object, ...]]


@pytest.fixture
def marts(project: DbtProject, published: Published) -> Iterator[DbtProject]:
    """The four tables and the marts, which no other test finds."""
    assert published
    project.succeed("build", "-s", "marts")
    yield project
    drop_marts(project)


def drop_marts(project: DbtProject) -> None:
    project.query(f"drop table if exists {', '.join(MARTS)}")


def columns_of(mart: str) -> dict[str, str]:
    """The field of each column that has the ids of one, by the column's name."""
    sql = (CHECKOUT / f"dbt_project/models/marts/{mart}.sql").read_text()
    return {column: field for field, column in re.findall(r"'(\w+)' then features\.feature_id end\) as (\w+)", sql)}


def expected_marts(contents: dict[str, Rows]) -> dict[str, Rows]:
    """What the marts must hold beside these tables, as plain Python counts it."""
    names = {row[0]: row[1] for row in contents["feature"]}
    own, common = (by_field(contents[table], names) for table in ("sample_feature", "common_feature_group"))
    groups = sorted({str(row[0]) for row in contents["common_feature_group"]})
    sizes = Counter(row[3] for row in contents["sample"])
    counts = Counter(row[1] for row in contents["sample_feature"])
    for group, feature_id, _ in contents["common_feature_group"]:
        counts[feature_id] += sizes[group]
    ranks: Counter[object] = Counter()
    rows = []
    with (CHECKOUT / "dbt_project/seeds/feature_field.csv").open() as file:
        fields = {row["feature_name"]: (row["meaning"], row["side"]) for row in csv.DictReader(file)}
    for feature_id in sorted(names, key=lambda each: (-counts[each], int(str(each)))):
        ranks[names[feature_id]] += 1
        rank = ranks[names[feature_id]]
        name = str(names[feature_id])
        rows.append((feature_id, name, *fields[name], counts[feature_id], rank))
    return {
        "dim_common_feature_group": [
            (
                group,
                *(
                    common.get((group, field), (None, None))[0]
                    for field in columns_of("dim_common_feature_group").values()
                ),
            )
            for group in groups
        ],
        "dim_feature": sorted(rows),
        "fct_impression": [
            (*row, *chain.from_iterable(valued(own, row[0], field) for field in columns_of("fct_impression").values()))
            for row in contents["sample"]
        ],
    }


def by_field(rows: Rows, names: dict[object, object]) -> dict[tuple[object, object], tuple[object, object]]:
    return {(key, names[feature_id]): (feature_id, value) for key, feature_id, value in rows}


def valued(own: dict[tuple[object, object], tuple[object, object]], key: object, field: str) -> tuple[object, ...]:
    """The columns of a field: its id, and for the crossed ones the value as a number."""
    feature_id, value = own.get((key, field), (None, None))
    if field not in ("508", "509", "702"):
        return (feature_id,)
    return feature_id, None if value is None else float(str(value))


def test_the_marts_hold_what_the_four_tables_hold(marts: DbtProject, published: Published) -> None:
    expected = expected_marts(published.contents)
    assert {mart: marts.rows(mart) for mart in MARTS} == expected
    assert any(row[-2] is None for row in expected["fct_impression"])
    schema = marts.schema()
    assert {re.findall("COMMENT='(.*)'", schema[mart])[0] for mart in MARTS} == {"built from load 1"}
    assert marts.failed_tests("-s", "marts") == set()


@mariadb_in_soak
def test_the_docs_have_the_types_of_their_columns(marts: DbtProject) -> None:
    succeeded, output = marts.run("docs", "generate", "--select", "fqn:*", "source:*")
    assert succeeded, output
    catalog = json.loads((marts.folder / "target/catalog.json").read_text())
    for mart in MARTS:
        types = {name: column["type"] for name, column in catalog["nodes"][f"model.deepcvr.{mart}"]["columns"].items()}
        assert list(types) == [str(row[0]) for row in marts.query(f"show columns from {mart}")]
        assert all(types.values())


def test_no_command_builds_them_unasked(project: DbtProject, published: Published) -> None:
    for command in ("run", "build", "test", "retry"):
        project.attempt(command)
        assert not set(MARTS) & project.schema().keys(), command
    assert project.contents() == published.contents


def test_each_single_valued_field_is_a_column() -> None:
    with (CHECKOUT / "dbt_project/seeds/feature_field.csv").open() as file:
        fields = list(csv.DictReader(file))
    for mart, side in (("fct_impression", "sample"), ("dim_common_feature_group", "common")):
        single = [row["feature_name"] for row in fields if row["side"] == side and row["multi_valued"] == "0"]
        assert sorted(columns_of(mart).values()) == sorted(single)


@mariadb_in_soak
def test_they_are_of_the_published_load_whatever_is_staged(marts: DbtProject, published: Published) -> None:
    of_first = {mart: marts.rows(mart) for mart in MARTS}
    marts.query(
        "update load_partition set load_id = 2",
        "update feature_load set load_id = 2",
        "update sample set click_label = 1 - click_label where sample_id = 7",
        database=STAGING,
    )
    marts.succeed("build", "-s", "marts")
    assert {mart: marts.rows(mart) for mart in MARTS} == of_first
    assert marts.contents() == published.contents

    marts.succeed("run")
    assert {mart: marts.rows(mart) for mart in MARTS} == of_first
    assert marts.failed_tests("-s", "marts") == {"assert_fct_impression_holds_every_field"}
    marts.succeed("build", "-s", "marts")
    assert {mart: marts.rows(mart) for mart in MARTS} == expected_marts(marts.contents()) != of_first


@mariadb_in_soak
def test_what_fails_leaves_all_as_it_was(marts: DbtProject, published: Published, root: Path, tmp_path: Path) -> None:
    before = {mart: marts.rows(mart) for mart in MARTS}
    own = create_project(tmp_path / "own", root, marts.mysql)
    path = own.folder / "dbt_project/models/marts/fct_impression.sql"
    path.write_text(path.read_text().replace("max(samples.click_label)", "max(samples.clicks)"))
    marts.query("delete from dim_feature limit 1")
    succeeded, output = own.run("run", "-s", "marts")
    assert not succeeded
    assert "clicks" in output
    assert len(marts.rows("dim_feature")) == len(before["dim_feature"]) - 1
    assert marts.contents() == published.contents
    assert {name for name in marts.schema() if "__" in name} == set()


@mariadb_in_soak
def test_what_is_not_built_is_named_with_its_command(project: DbtProject, published: Published) -> None:
    assert published
    succeeded, output = project.attempt("test", "-s", "fct_impression")
    assert not succeeded
    assert "fct_impression" in output
    assert "build -s marts" in output


def test_a_second_feature_of_a_field_is_seen(marts: DbtProject) -> None:
    defects = {
        "fct_impression": "assert_fct_impression_holds_every_field",
        "dim_common_feature_group": "assert_dim_common_feature_group_holds_every_field",
        "dim_feature": "assert_dim_feature_counts_every_structure",
    }
    for mart, seen in defects.items():
        column = {"fct_impression": "item_id", "dim_feature": "num_impressions"}.get(mart, "user_id")
        key = marts.query(f"select {column} from {mart} where {column} > 0 limit 1")[0][0]
        marts.query(f"update {mart} set {column} = {column} + 1 where {column} = {key} limit 1")
        assert marts.failed_tests("-s", "marts") == {seen}
        marts.query(f"update {mart} set {column} = {column} - 1 where {column} = {key} + 1 limit 1")


# Of each question of the page: its words, its query, and the table of what the query gives.
QUESTIONS = re.findall(
    r"^## (.+?)\n.*?```sql\n(.*?);\n```\n\n(\|.+?)\n\n",
    (CHECKOUT / "docs/marts.md").read_text() + "\n",
    re.DOTALL | re.MULTILINE,
)


@mariadb_in_soak
def test_each_question_of_the_page_has_the_columns_that_it_shows(marts: DbtProject) -> None:
    assert len(QUESTIONS) == 10
    for question, query, table in QUESTIONS:
        names = [name.strip() for name in table.splitlines()[0].strip("|").split("|")]
        with closing(connect(marts.mysql, database=DATABASE)) as connection, connection.cursor() as cursor:
            cursor.execute(query.replace(TEST_DATABASE, DATABASE))
            assert [column[0] for column in cursor.description] == names, question
            assert cursor.fetchall(), question
