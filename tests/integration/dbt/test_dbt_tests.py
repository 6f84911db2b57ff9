"""The tests of the dbt project: each planted defect makes exactly the named ones fail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from _pytest.mark import ParameterSet

from tests.integration.dbt.project import STAGING, DbtProject, Published
from tests.servers import MARIADB_IN_SOAK

mariadb_in_soak = pytest.mark.parametrize("mysql", MARIADB_IN_SOAK, indirect=True)

RESTORE_STRUCTURES = f"insert ignore into {{0}} select {{1}}, feature_id, feature_value from {STAGING}.{{0}}"
RESTORE_SAMPLE_FEATURE = RESTORE_STRUCTURES.format("sample_feature", "sample_id")
RESTORE_GROUP = RESTORE_STRUCTURES.format("common_feature_group", "common_feature_index")
SKELETON = "source_file = 'sample_skeleton_train.csv' and partition_number = 0"

# The servers name checks differently.
DROP_FIRST_CHECK = (
    "set @statement = (select concat('alter table sample drop constraint ', min(constraint_name))"
    " from information_schema.table_constraints"
    " where table_schema = database() and table_name = 'sample' and constraint_type = 'CHECK');"
    " prepare dropping from @statement; execute dropping"
)
NAME_TYPE = "varchar(16) character set ascii collate ascii_bin"
VALUE_TYPE = "varchar(24) character set ascii collate ascii_bin"

# What is wrong, the statement that plants it, the one that takes it away, and the tests that see it.
DEFECTS = [
    (
        "foreign key dropped",
        "alter table sample_feature drop foreign key sample_feature_ibfk_2",
        (
            "alter table sample_feature add constraint sample_feature_ibfk_2 foreign key (feature_id)"
            " references feature (feature_id)"
        ),
        {"contract_is_enforced_sample_feature_"},
    ),
    (
        "orphan behind a foreign key that was dropped",
        (
            "alter table sample_feature drop foreign key sample_feature_ibfk_1;"
            " update sample_feature set sample_id = 4000000000 where sample_id = 7 order by feature_id limit 1"
        ),
        (
            "delete from sample_feature where sample_id = 4000000000;"
            " alter table sample_feature add constraint sample_feature_ibfk_1 foreign key (sample_id)"
            f" references sample (sample_id); {RESTORE_SAMPLE_FEATURE}"
        ),
        {
            "contract_is_enforced_sample_feature_",
            "assert_num_features_match_sample_feature",
            "assert_structures_reach_sample_feature",
        },
    ),
    (
        "check dropped and a label out of range",
        DROP_FIRST_CHECK + "; update sample set click_label = 2 where sample_id = 7",
        (
            f"update sample set click_label = (select click_label from {STAGING}.sample where sample_id = 7)"
            " where sample_id = 7; alter table sample add check (click_label in (0, 1))"
        ),
        {
            "contract_is_enforced_sample_",
            "accepted_values_sample_click_label__False__0__1",
            "assert_samples_reach_sample",
        },
    ),
    (
        "duplicate behind a primary key that was dropped",
        (
            "alter table common_feature_group drop primary key;"
            " insert into common_feature_group select * from common_feature_group limit 1"
        ),
        (
            "delete from common_feature_group;"
            " alter table common_feature_group add primary key (common_feature_index, feature_id);" + RESTORE_GROUP
        ),
        {
            "contract_is_enforced_common_feature_group_",
            "assert_num_features_match_common_feature_group",
            "assert_structures_reach_common_feature_group",
        },
    ),
    (
        "index dropped",
        "alter table sample drop index common_feature_index",
        "alter table sample add index common_feature_index (common_feature_index)",
        {"contract_is_enforced_sample_"},
    ),
    (
        "column that may be null",
        f"alter table common_feature_group modify feature_value {VALUE_TYPE} null",
        f"alter table common_feature_group modify feature_value {VALUE_TYPE} not null",
        {"contract_is_enforced_common_feature_group_"},
    ),
    (
        "key that ignores case",
        "alter table feature modify feature_name varchar(16) character set ascii collate ascii_general_ci not null",
        f"alter table feature modify feature_name {NAME_TYPE} not null",
        {"contract_is_enforced_feature_"},
    ),
    (
        "row of an impression lost",
        "delete from sample_feature where sample_id = 7 and feature_id between 9351665 and 9351724",
        RESTORE_SAMPLE_FEATURE,
        {"assert_num_features_match_sample_feature", "assert_structures_reach_sample_feature"},
    ),
    (
        "row of a common group lost",
        "delete from common_feature_group where feature_id = 3438658 limit 1",
        RESTORE_GROUP,
        {"assert_num_features_match_common_feature_group", "assert_structures_reach_common_feature_group"},
    ),
    (
        "value changed",
        "update sample_feature set feature_value = '9.9' where sample_id = 7 order by feature_id limit 1",
        "delete from sample_feature where feature_value = '9.9'; " + RESTORE_SAMPLE_FEATURE,
        {"assert_structures_reach_sample_feature"},
    ),
    (
        "value of a common group changed",
        "update common_feature_group set feature_value = '1.00' where feature_value = '1.0' limit 1",
        "update common_feature_group set feature_value = '1.0' where feature_value = '1.00'",
        {"assert_structures_reach_common_feature_group"},
    ),
    (
        "impression lost",
        "set foreign_key_checks = 0; delete from sample where sample_id = 7",
        (
            "insert into sample select sample_id, click_label, conversion_label, common_feature_index"
            f" from {STAGING}.sample where sample_id = 7"
        ),
        {"assert_samples_reach_sample"},
    ),
    (
        "label changed",
        "update sample set click_label = 1 - click_label where sample_id = 7",
        "update sample set click_label = 1 - click_label where sample_id = 7",
        {"assert_samples_reach_sample"},
    ),
    (
        "sample of a group that is not there",
        "update sample set common_feature_index = reverse(common_feature_index) where sample_id = 7",
        "update sample set common_feature_index = reverse(common_feature_index) where sample_id = 7",
        {"assert_samples_reach_sample", "assert_every_sample_has_its_common_group"},
    ),
    (
        "feature under another name than in staging",
        "update feature set feature_name = '206' where feature_name = '205' order by feature_id limit 1",
        "update feature set feature_name = '205' where feature_id between 4186222 and 4186281",
        {"assert_features_reach_feature"},
    ),
    (
        "feature under two names in staging",
        f"insert into {STAGING}.feature values (9351665, '205')",
        f"delete from {STAGING}.feature where feature_id = 9351665 and feature_name = '205'",
        {"assert_features_reach_feature"},
    ),
    (
        "features that the load did not count",
        f"update {STAGING}.feature_load set num_features = num_features + 1",
        f"update {STAGING}.feature_load set num_features = num_features - 1",
        {"assert_features_reach_feature"},
    ),
    (
        "feature lost",
        "set foreign_key_checks = 0; delete from feature where feature_id = 9351665",
        "insert into feature values (9351665, '301')",
        {"assert_features_reach_feature"},
    ),
    (
        "feature of a field that nobody knows",
        "update feature set feature_name = '999' where feature_id = 9351665",
        "update feature set feature_name = '301' where feature_id = 9351665",
        {"assert_features_reach_feature", "relationships_feature_feature_name__feature_name__ref_feature_field_"},
    ),
    (
        "field described twice",
        (
            "alter table feature_field drop primary key;"
            " insert into feature_field select * from feature_field where feature_name = '101'"
        ),
        (
            "delete from feature_field where feature_name = '101' limit 1;"
            " alter table feature_field add primary key (feature_name)"
        ),
        {"unique_feature_field_feature_name"},
    ),
    (
        "field without a name",
        (
            f"alter table feature_field drop primary key, modify feature_name {NAME_TYPE} null;"
            " update feature_field set feature_name = null where feature_name = '702'"
        ),
        (
            "update feature_field set feature_name = '702' where feature_name is null;"
            f" alter table feature_field modify feature_name {NAME_TYPE} not null, add primary key (feature_name)"
        ),
        {"not_null_feature_field_feature_name"},
    ),
    (
        "field with words that nobody knows",
        ("update feature_field set side = 'both', multi_valued = 2, value_kind = 'colour' where feature_name = '702'"),
        (
            "update feature_field set side = 'sample', multi_valued = 0, value_kind = 'log_count'"
            " where feature_name = '702'"
        ),
        {
            "accepted_values_feature_field_side__sample__common",
            "accepted_values_feature_field_multi_valued__False__0__1",
            "accepted_values_feature_field_value_kind__one__log_count__fraction",
        },
    ),
    (
        "conversion label out of range",
        DROP_FIRST_CHECK.replace("min(", "max(") + "; update sample set conversion_label = 3 where sample_id = 7",
        (
            f"update sample set conversion_label = (select conversion_label from {STAGING}.sample where sample_id = 7)"
            " where sample_id = 7; alter table sample add check (conversion_label in (0, 1))"
        ),
        {
            "contract_is_enforced_sample_",
            "accepted_values_sample_conversion_label__False__0__1",
            "assert_samples_reach_sample",
        },
    ),
    (
        "row of staging lost",
        (
            f"create table {STAGING}.lost as select * from {STAGING}.sample where sample_id = 7;"
            f" delete from {STAGING}.sample where sample_id = 7"
        ),
        f"insert into {STAGING}.sample select * from {STAGING}.lost; drop table {STAGING}.lost",
        {"assert_staged_rows_match_load", "assert_samples_reach_sample"},
    ),
    (
        "feature that nothing has",
        "insert into feature values (5000000, '205')",
        "delete from feature where feature_id = 5000000",
        {"assert_every_feature_occurs", "assert_features_reach_feature"},
    ),
    (
        "feature that nothing has, where another has come to be on both sides",
        (
            f"create table {STAGING}.lost as select sample_id, feature_id from sample_feature inner join ("
            "  select feature_id from sample_feature group by feature_id order by count(*), feature_id limit 1"
            ") as rarest using (feature_id);"
            f" update sample_feature inner join {STAGING}.lost using (sample_id, feature_id)"
            "  set sample_feature.feature_id = (select min(feature_id) from common_feature_group)"
        ),
        (
            f"update sample_feature inner join {STAGING}.lost using (sample_id)"
            "  set sample_feature.feature_id = lost.feature_id"
            "  where sample_feature.feature_id = (select min(feature_id) from common_feature_group);"
            f" drop table {STAGING}.lost"
        ),
        {"assert_every_feature_occurs", "assert_structures_reach_sample_feature"},
    ),
    (
        "line of the file that was never planned",
        f"update {STAGING}.asset set num_rows = num_rows + 1 where uri like '%#sample%'",
        f"update {STAGING}.asset set num_rows = num_rows - 1 where uri like '%#sample%'",
        {"assert_load_covers_its_files"},
    ),
    (
        "file that nobody has unpacked",
        f"update {STAGING}.asset set sha256 = repeat('f', 64) where uri like '%#sample%'",
        f"update {STAGING}.asset set sha256 = repeat('a', 64) where uri like '%#sample%'",
        {"assert_load_covers_its_files"},
    ),
    (
        "line that is neither row nor reject",
        (
            f"update {STAGING}.load_partition set num_lines = num_lines + 1 where {SKELETON};"
            f" update {STAGING}.asset set num_rows = num_rows + 1 where uri like '%#sample%'"
        ),
        (
            f"update {STAGING}.load_partition set num_lines = num_lines - 1 where {SKELETON};"
            f" update {STAGING}.asset set num_rows = num_rows - 1 where uri like '%#sample%'"
        ),
        {"assert_lines_are_rows_or_rejects"},
    ),
    (
        "reject that the load did not count",
        f"insert into {STAGING}.rejected_record values ('sample_skeleton_train.csv', 1, 0, 'label', '1,2,3')",
        f"delete from {STAGING}.rejected_record",
        {"assert_rejects_are_recorded", "assert_no_record_is_rejected"},
    ),
    (
        "more rejects than the share allows",
        (
            f"update {STAGING}.load_partition set num_lines = num_lines + 9, num_rejects = 9 where {SKELETON};"
            f" update {STAGING}.asset set num_rows = num_rows + 9 where uri like '%#sample%';"
            f" insert into {STAGING}.rejected_record select 'sample_skeleton_train.csv', sample_id, 0, 'label', '1'"
            f" from {STAGING}.sample where sample_id < 10"
        ),
        (
            f"update {STAGING}.load_partition set num_lines = num_lines - 9, num_rejects = 0 where {SKELETON};"
            f" update {STAGING}.asset set num_rows = num_rows - 9 where uri like '%#sample%';"
            f" delete from {STAGING}.rejected_record"
        ),
        {"assert_few_records_are_rejected", "assert_no_record_is_rejected"},
    ),
    (
        "num_features that are right in sum alone",
        f"update {STAGING}.sample set num_features = num_features + if(sample_id = 7, 1, -1) where sample_id in (7, 8)",
        f"update {STAGING}.sample set num_features = num_features - if(sample_id = 7, 1, -1) where sample_id in (7, 8)",
        {"assert_num_features_match_sample_feature"},
    ),
    (
        "structures that the load did not count",
        f"update {STAGING}.load_partition set num_structures = num_structures - 1 where {SKELETON}",
        f"update {STAGING}.load_partition set num_structures = num_structures + 1 where {SKELETON}",
        {"assert_staged_rows_match_load", "assert_structures_reach_sample_feature"},
    ),
]


TWICE = "select * from {0}__right union all select * from {0}__right"
ONE_MORE = "select side, num_features, num_lists + {0} as num_lists from feature_list_length__right"
# A reporting view, what is wrong with it, and the tests that see it.
WRONG_VIEWS = [
    ("dataset_summary", TWICE, {"assert_dataset_summary_counts_every_table"}),
    (
        "dataset_summary",
        "select table_name, num_rows + (table_name = 'feature') as num_rows from {0}__right",
        {"assert_dataset_summary_counts_every_table"},
    ),
    ("load_reconciliation", TWICE, {"assert_load_reconciliation_reconciles"}),
    (
        "load_reconciliation",
        "select * from {0}__right where side = 'sample'",
        {"assert_load_reconciliation_reconciles"},
    ),
    (
        "load_reconciliation",
        (
            "select source_file, side, num_lines, num_rows, num_rejects, num_non_records, recorded_rejects,"
            " staged_rows, table_rows - (side = 'sample') as table_rows, num_structures, staged_structures,"
            " table_structures"
            " from {0}__right"
        ),
        {"assert_load_reconciliation_reconciles"},
    ),
    ("load_history", TWICE, {"assert_load_history_has_every_line"}),
    (  # the sums are right
        "feature_list_length",
        f"{ONE_MORE.format(-1)} union all select side, num_features, 1 from {{0}}__right",
        {"assert_feature_list_length_counts_samples", "assert_feature_list_length_counts_groups"},
    ),
    (  # the grain is right
        "feature_list_length",
        ONE_MORE.format("(side = 'sample')"),
        {"assert_feature_list_length_counts_samples"},
    ),
    ("common_feature_group_size", TWICE, {"assert_common_feature_group_size_counts_samples"}),
    ("feature_field_cardinality", TWICE, {"assert_feature_field_cardinality_counts_features"}),
    (
        "rejected_record_summary",
        "select 'a.csv' as source_file, 'label' as reason, 1 as num_rejects",
        {"assert_rejected_record_summary_counts_rejects"},
    ),
    ("sampling_stratum", TWICE, {"assert_sampling_stratum_counts_samples"}),
    (
        "sampling_stratum",
        "select click_label, conversion_label, num_samples, share / 2 as share from {0}__right",
        {"assert_sampling_stratum_counts_samples"},
    ),
    ("feature_field_summary", TWICE, {"assert_feature_field_summary_is_whole"}),
    (
        "feature_field_summary",
        "select feature_name, 'sample' as side, num_structures from {0}__right",
        {"assert_feature_field_summary_is_whole"},
    ),
    ("sample_feature_full", TWICE, {"assert_sample_feature_full_has_both_sides"}),
    (
        "sample_feature_full",
        "select * from {0}__right where side = 'sample'",
        {"assert_sample_feature_full_has_both_sides"},
    ),
]
OF_VIEWS = {name for _, _, seen in WRONG_VIEWS for name in seen}


@contextmanager
def replaced_view(project: DbtProject, view: str, query: str) -> Iterator[None]:
    """Another view in the place of one, which the query knows as `{0}__right`."""
    project.query(f"rename table {view} to {view}__right", f"create view {view} as {query.format(view)}")
    try:
        yield
    finally:
        project.query(f"drop view {view}", f"rename table {view}__right to {view}")


@mariadb_in_soak
@pytest.mark.parametrize(("view", "wrong", "seen"), WRONG_VIEWS)
def test_a_view_that_is_wrong_is_seen(
    project: DbtProject, published: Published, view: str, wrong: str, seen: set[str]
) -> None:
    assert published
    with replaced_view(project, view, wrong):
        failed = project.failed_tests("--select", view, "--indirect-selection", "eager")
    assert failed == seen


def test_above_the_limit_a_view_of_all_structures_is_not_even_read(project: DbtProject, published: Published) -> None:
    assert published
    views = {"dataset_summary": "table_name", "load_reconciliation": "side", "feature_field_summary": "side"}
    arguments = ("--select", *views, "--exclude", "test_type:unit", "--indirect-selection", "eager")
    with ExitStack() as stack:
        for view, column in views.items():
            # Each row is an error, that the subquery gives more than one.
            two_rows = f"select sample_id from sample where sample_id < 3 and found.{column} is not null"
            stack.enter_context(
                replaced_view(project, view, f"select * from {{0}}__right as found where ({two_rows}) > 0")
            )
        read = project.failed_tests(*arguments)
        unread = project.failed_tests(*arguments, "--vars", "max_view_test_structures: 10")
    assert len(read) == len(views)
    assert unread == set()


# A reporting view, and what it would decide otherwise.
OTHER_DECISIONS = {
    "sampling_stratum": ("when click_label = 1 and conversion_label = 0", "when click_label = 1"),
    "load_history": ("state = 'superseded'", "state = 'loaded'"),
    "load_reconciliation": ("state <> 'superseded'", "state <> ''"),
}


@mariadb_in_soak
def test_a_view_that_decides_otherwise_is_seen_by_its_unit_test(project: DbtProject, published: Published) -> None:
    assert published
    files = {view: project.folder / f"dbt_project/models/reporting/{view}.sql" for view in OTHER_DECISIONS}
    right = {view: file.read_text() for view, file in files.items()}
    for view, file in files.items():
        assert OTHER_DECISIONS[view][0] in right[view]
        file.write_text(right[view].replace(*OTHER_DECISIONS[view]))
    _, output = project.run("test", "--select", "test_type:unit")
    for view, file in files.items():
        file.write_text(right[view])
    assert {view for view in files if re.search(rf"FAIL 1 {view}::unit_", output)} == files.keys(), output


def test_a_sound_build_passes_every_test(project: DbtProject, published: Published) -> None:
    assert published
    assert project.failed_tests() == set()


def defects_by_server() -> Iterator[ParameterSet]:
    """Every defect on MySQL; on MariaDB those that show each test once, and the others in the soak."""
    shown: set[str] = set()
    for name, plant, restore, seen in DEFECTS:
        yield pytest.param("mysql", plant, restore, seen, id=f"mysql-{name}")
        marks = [pytest.mark.soak] if seen <= shown else []
        yield pytest.param("mariadb", plant, restore, seen, id=f"mariadb-{name}", marks=marks)
        shown |= seen


@pytest.mark.parametrize(("mysql", "plant", "restore", "seen"), list(defects_by_server()), indirect=["mysql"])
def test_a_defect_is_seen_by_the_tests_that_are_there_for_it(
    project: DbtProject, published: Published, plant: str, restore: str, seen: set[str]
) -> None:
    project.query(*plant.split(";"))
    failed = project.failed_tests()
    project.query(*restore.split(";"))
    # The views show what the tables hold, so that theirs may see a defect too.
    assert failed - OF_VIEWS == seen
    assert project.contents() == published.contents


@mariadb_in_soak
def test_files_may_have_any_names(project: DbtProject, published: Published) -> None:
    tables = ("load_partition", "rejected_record")
    rename = "update {} set source_file = if(source_file = '{}', '{}', source_file)"
    names = [
        ("sample_skeleton_train.csv", "common_features_x.csv"),
        ("common_features_train.csv", "sample_skeleton_x.csv"),
    ]
    project.query(*(rename.format(table, *pair) for table in tables for pair in names), database=STAGING)
    failed = project.failed_tests()
    sides = project.query("select source_file, side from load_history order by source_file")
    counts = project.query("select side, num_rows = staged_rows and staged_rows = table_rows from load_reconciliation")
    project.query(*(rename.format(table, *pair[::-1]) for table in tables for pair in names), database=STAGING)
    assert failed == set()
    assert sides == [("common_features_x.csv", "sample"), ("sample_skeleton_x.csv", "common")]
    assert sorted(counts) == [("common", 1), ("sample", 1)]
    assert published


@mariadb_in_soak
def test_a_variable_says_what_orphan_samples_are(project: DbtProject, published: Published) -> None:
    statement = "update sample set common_feature_index = reverse(common_feature_index) where sample_id = 7"
    arguments = ("test", "-s", "assert_every_sample_has_its_common_group")
    project.query(statement)
    warned = project.run(*arguments)
    failed = project.run(*arguments, "--vars", "orphan_samples: {development: error}")
    project.query(statement)
    assert warned[0]
    assert "WARN 1 assert_every_sample_has_its_common_group" in warned[1]
    assert not failed[0]
    assert "FAIL 1 assert_every_sample_has_its_common_group" in failed[1]
    assert project.contents() == published.contents


@mariadb_in_soak
def test_a_variable_says_how_many_rejects_are_too_many(project: DbtProject, published: Published) -> None:
    plant, restore = next(defect[1:3] for defect in DEFECTS if defect[0] == "more rejects than the share allows")
    arguments = ("test", "-s", "assert_few_records_are_rejected")
    project.query(*plant.split(";"))
    failed = project.run(*arguments)
    # 9 of the 2,009 records that the skeleton file then has.
    passed = project.run(*arguments, "--vars", "max_reject_share: 0.005")
    project.query(*restore.split(";"))
    assert published
    assert not failed[0]
    assert passed[0], passed[1]


@mariadb_in_soak
@pytest.mark.parametrize(
    ("command", "variables", "message"),
    [
        ("test", "orphan_samples: {development: eror}", "orphan_samples.development is eror, expected warn or error"),
        ("test", "max_reject_share: much", "max_reject_share is much, expected a number from 0 to 1"),
        ("run", "max_reject_share: 10", "max_reject_share is 10, expected a number from 0 to 1"),
        ("build", "max_reject_share: .nan", "max_reject_share is nan, expected a number from 0 to 1"),
        ("test", "max_view_test_structures: -1", "max_view_test_structures is -1, expected a number of structures"),
    ],
)
def test_a_variable_that_makes_no_sense_is_named(
    project: DbtProject, published: Published, command: str, variables: str, message: str
) -> None:
    succeeded, output = project.run(command, "--vars", variables)
    assert not succeeded
    assert f"The variable {message}" in output
    assert project.schema() == published.schema


@mariadb_in_soak
def test_orphan_samples_are_an_error_in_production_mode(project: DbtProject) -> None:
    name = "assert_every_sample_has_its_common_group"
    succeeded, output = project.run("compile", "-s", name, "--target-path", "compiled", MODE="production")
    assert succeeded, output
    (compiled,) = (project.folder / "compiled").rglob(f"{name}.sql")
    assert "'error' as severity" in compiled.read_text()


def test_a_check_that_mysql_has_and_does_not_enforce_is_seen(project: DbtProject, published: Published) -> None:
    if project.mysql.host is not None:
        pytest.skip("MariaDB enforces every check that it has")
    project.query("alter table sample alter check sample_chk_1 not enforced")
    failed = project.failed_tests()
    project.query("alter table sample alter check sample_chk_1 enforced")
    assert failed == {"contract_is_enforced_sample_"}
    assert project.schema() == published.schema


@mariadb_in_soak
def test_every_test_has_a_defect_that_it_sees(project: DbtProject) -> None:
    succeeded, output = project.run("ls", "--resource-type", "test", "--output", "name", "--quiet")
    assert succeeded
    seen = OF_VIEWS.union(*(defect[3] for defect in DEFECTS))
    assert seen == set(output.split())
