"""The staging tables that the explode job fills. Their grain and columns are described in dbt's sources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pymysql.err import MySQLError

from pipeline.mysql import MysqlConnection
from pipeline.registry import TABLE_OPTIONS
from pipeline.settings import RecordKind

# dbt makes its tables as these are. MariaDB passes it over: docs/decisions/compression.md.
_COMPRESSION = "/*!50708 compression = 'lz4' */"

_KEY = "character set ascii collate ascii_bin not null"

STAGING_TABLES: Mapping[str, str] = {
    "sample": f"""
        create table sample (
            sample_id int unsigned not null,
            click_label tinyint unsigned not null,
            conversion_label tinyint unsigned not null,
            common_feature_index char(16) {_KEY},
            num_features int unsigned not null,
            partition_number int unsigned not null,
            primary key (sample_id)
        )
    """,
    "common_feature": f"""
        create table common_feature (
            common_feature_index char(16) {_KEY},
            num_features int unsigned not null,
            partition_number int unsigned not null,
            primary key (common_feature_index)
        )
    """,
    "sample_feature": f"""
        create table sample_feature (
            sample_id int unsigned not null,
            feature_id int unsigned not null,
            feature_value varchar(24) {_KEY},
            primary key (sample_id, feature_id)
        )
    """,
    "common_feature_group": f"""
        create table common_feature_group (
            common_feature_index char(16) {_KEY},
            feature_id int unsigned not null,
            feature_value varchar(24) {_KEY},
            primary key (common_feature_index, feature_id)
        )
    """,
    "feature": f"""
        create table feature (
            feature_id int unsigned not null,
            feature_name varchar(16) {_KEY},
            primary key (feature_id, feature_name)
        )
    """,
    "partition_feature": f"""
        create table partition_feature (
            source_file varchar(255) {_KEY},
            partition_number int unsigned not null,
            feature_name varchar(16) {_KEY},
            first_feature_id int unsigned not null,
            num_features int unsigned not null,
            feature_ids longblob not null,
            primary key (source_file, partition_number, feature_name, first_feature_id)
        )
    """,
    "rejected_record": f"""
        create table rejected_record (
            source_file varchar(255) {_KEY},
            line_number bigint unsigned not null,
            partition_number int unsigned not null,
            reason varchar(255) {_KEY},
            record longblob not null,
            primary key (source_file, line_number)
        )
    """,
}


@dataclass(frozen=True)
class Target:
    """Where records of one kind land.

    Attributes:
        rows: table with one row per record.
        structures: table with one row per feature structure.
        columns: columns of `rows` in the order of the source, without its feature list.
        key: the column that the two tables share.
    """

    rows: str
    structures: str
    columns: tuple[str, ...]
    key: str


def has_staging_tables(connection: MysqlConnection) -> bool:
    """Tell whether all staging tables are there."""
    with connection.cursor() as cursor:
        cursor.execute("select table_name from information_schema.tables where table_schema = database()")
        present = {str(name) for (name,) in cursor.fetchall()}
    return STAGING_TABLES.keys() <= present


def empty_staging_tables(connection: MysqlConnection, names: Iterable[str] = STAGING_TABLES) -> None:
    """Make staging tables anew, empty, so that a changed definition takes effect too.

    Their pages are compressed where the server, its file system and the size of its pages let them be.
    """
    with connection.cursor() as cursor:
        for name in names:
            definition = STAGING_TABLES[name]
            cursor.execute(f"drop table if exists `{name}`")
            try:
                cursor.execute(f"{definition} {TABLE_OPTIONS} {_COMPRESSION}")
            except MySQLError:
                cursor.execute(f"{definition} {TABLE_OPTIONS}")


def target_of(kind: RecordKind) -> Target:
    """Give the tables in which records of a kind land."""
    return _TARGETS[kind]


_TARGETS: Mapping[RecordKind, Target] = {
    "sample": Target(
        rows="sample",
        structures="sample_feature",
        columns=("sample_id", "click_label", "conversion_label", "common_feature_index", "num_features"),
        key="sample_id",
    ),
    "common_feature": Target(
        rows="common_feature",
        structures="common_feature_group",
        columns=("common_feature_index", "num_features"),
        key="common_feature_index",
    ),
}
