"""A table that is filled by ranges of its key has every row once, or the fill has failed."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Any

import pymysql
import pytest

from pipeline.mysql import MysqlConnection, connect
from pipeline.settings import MysqlSettings

ranges = importlib.import_module("dbt.adapters.pymysql.ranges")  # mypy does not see what is editable

_DATABASE = "filled_by_ranges"
_FILL = ranges.Work(
    statement="insert into filled select id, part from (select * from source) as model_rows where /* range */ true",
    table="filled",
    keys="source_keys",
    key="id",
    keys_per_range=3,
    session=["set session transaction isolation level read committed"],
)


@pytest.fixture
def connection(mysql: MysqlSettings) -> Iterator[MysqlConnection]:
    with closing(connect(mysql)) as connection:
        connection.query(f"create database {_DATABASE}")
        connection.select_db(_DATABASE)
        try:
            yield connection
        finally:
            connection.query(f"drop database {_DATABASE}")


def make_tables(
    connection: MysqlConnection, key_type: str, rows: Sequence[tuple[object, int]], keys: set[object]
) -> None:
    with connection.cursor() as cursor:
        for table in ("source", "filled"):
            cursor.execute(f"create table {table} (id {key_type}, part int, primary key (id, part))")
        cursor.execute(f"create table source_keys (id {key_type} primary key)")
        cursor.executemany("insert into source values (%s, %s)", rows)
        cursor.executemany("insert into source_keys values (%s)", [(key,) for key in keys])


def fill(mysql: MysqlSettings, what: Any = _FILL, *, shares: Any = None) -> int:
    ran = ranges.run_by_ranges(what, lambda: connect(mysql, database=_DATABASE), shares or ranges.Shares(4))
    return sum(each.num_rows for each in ran)


def filled(connection: MysqlConnection) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute("select * from filled order by id, part")
        return list(cursor.fetchall())


_NUMBERS = [(key, part) for key in (0, 1, 2, 7, 8, 30, 31, 32, 33, 4_294_967_295) for part in range(5)]
_TEXTS = [(key, part) for key in ("", "0'; --", "A", "Z", "\\", "a", "b%s") for part in range(2)]


@pytest.mark.parametrize(
    ("key_type", "rows", "keys"),
    [
        pytest.param("int unsigned", _NUMBERS, {key for key, _ in _NUMBERS}, id="numbers"),
        pytest.param("int unsigned", _NUMBERS, {2, 5, 30}, id="keys that the table of keys lacks"),
        pytest.param("int unsigned", _NUMBERS, set(), id="no keys"),
        pytest.param("int unsigned", [], set(range(10)), id="no rows"),
        pytest.param("char(16) character set ascii collate ascii_bin", _TEXTS, {key for key, _ in _TEXTS}, id="texts"),
    ],
)
def test_every_row_is_there_once(
    mysql: MysqlSettings, connection: MysqlConnection, key_type: str, rows: list[tuple[object, int]], keys: set[object]
) -> None:
    make_tables(connection, key_type, rows, keys)

    assert fill(mysql) == len(rows)
    assert filled(connection) == rows


def test_what_is_read_comes_from_every_range(mysql: MysqlSettings, connection: MysqlConnection) -> None:
    make_tables(connection, "int unsigned", _NUMBERS, {key for key, _ in _NUMBERS})
    read = replace(_FILL, table="source", statement="select id, part from source where /* range */ true")

    ran = ranges.run_by_ranges(read, lambda: connect(mysql, database=_DATABASE), ranges.Shares(4))

    assert len(ran) > 1
    assert sorted(row for each in ran for row in each.rows) == _NUMBERS


def test_statements_that_run_at_once_share_the_connections(mysql: MysqlSettings, connection: MysqlConnection) -> None:
    make_tables(connection, "int unsigned", [], set(range(90)))
    statement = "select sleep(0.1) from (select 0 as id) as one where /* range */ true or true"
    shares, slow = ranges.Shares(4), replace(_FILL, statement=statement)
    running, most = "select 1 from information_schema.processlist where info like 'select sleep%'", 0
    with ThreadPoolExecutor(2) as pool:
        under_way = [pool.submit(fill, mysql, slow, shares=shares) for _ in range(2)]
        time.sleep(0.5)  # the first has all of them before it knows of the second
        while not all(each.done() for each in under_way):
            most = max(most, connection.query(running))
        assert [each.result() for each in under_way] == [31, 31]
    assert 2 < most <= 4


def test_a_range_that_fails_ends_the_fill(mysql: MysqlSettings, connection: MysqlConnection) -> None:
    rows = [(key, 0) for key in range(300)]
    make_tables(connection, "int unsigned", rows, set(range(300)))
    connection.query("alter table filled add check (id <> 10)")

    with pytest.raises(pymysql.err.MySQLError, match=r"(?i)constraint"):
        fill(mysql, replace(_FILL, statement=f"{_FILL.statement} and sleep(0.02) = 0"))
    assert len(filled(connection)) < 150


def test_a_command_that_is_ended_begins_no_further_range(mysql: MysqlSettings, connection: MysqlConnection) -> None:
    make_tables(connection, "int unsigned", [(1, 1)], {1})

    shares = ranges.Shares(4)
    shares.cancel()

    with pytest.raises(InterruptedError):
        fill(mysql, shares=shares)
    assert filled(connection) == []


def test_nobody_takes_the_tables_name_while_a_statement_is_under_way(
    mysql: MysqlSettings, connection: MysqlConnection
) -> None:
    """As a killed dbt leaves one behind, which may not have opened the table yet."""
    make_tables(connection, "int unsigned", [], set())
    connection.query("set session lock_wait_timeout = 1")
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(fill, mysql, replace(_FILL, statement="do sleep(3) and /* range */ true"))
        while not connection.query("select 1 from information_schema.processlist where info like 'do sleep%'"):
            time.sleep(0.01)
        with pytest.raises(pymysql.err.OperationalError, match="Lock wait timeout"):
            connection.query("drop table filled")
        under_way.result()
    connection.query("drop table filled")
