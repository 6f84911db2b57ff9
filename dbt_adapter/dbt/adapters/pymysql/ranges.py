"""Filling a table by ranges of its key, several at a time, each over its own connection and in its own transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from typing import Any

from pipeline.mysql import MysqlConnection

# Where the condition of a range goes in a statement.
RANGE = "/* range */ true"


@dataclass(frozen=True)
class Fill:
    """What a table is filled with, and in which parts.

    Attributes:
        statement: an `insert ... select` with `RANGE` in its conditions.
        table: the table, as it stands in SQL.
        keys: a table with an index that begins with the key, as it stands in SQL. A key that it lacks is filled too.
        key: the column, in the query and in `keys`.
        keys_per_range: how many rows of `keys` a range has.
        session: what each connection says first.
    """

    statement: str
    table: str
    keys: str
    key: str
    keys_per_range: int
    session: Sequence[str]


def fill_by_ranges(
    fill: Fill,
    connect: Callable[[], MysqlConnection],
    *,
    num_connections: int,
    slot: AbstractContextManager[Any],
    cancelled: threading.Event,
) -> int:
    """Fill a table, and give the number of its rows.

    Args:
        fill: with what.
        connect: opens a connection on which each statement is a transaction unless one is begun.
        num_connections: how many ranges are filled at a time.
        slot: held while a range is filled.
        cancelled: ends the work after the ranges that have been begun.

    Raises:
        pymysql.err.MySQLError: a range could not be filled, while others were.
        InterruptedError: it was cancelled.
    """
    turn, failed = threading.Lock(), threading.Event()

    def work() -> int:
        num_rows = 0
        try:
            with closing(connect()) as connection:
                for statement in fill.session:
                    connection.query(statement)
                while (condition := take()) is not None:
                    with slot:
                        num_rows += _fill_one(connection, fill, condition)
        except BaseException:
            failed.set()
            raise
        return num_rows

    def take() -> str | None:
        with turn:
            if cancelled.is_set():
                raise InterruptedError
            return None if failed.is_set() else next(ranges, None)

    with closing(connect()) as reader, ThreadPoolExecutor(num_connections) as pool:
        ranges = _ranges(reader, fill)
        return sum(each.result() for each in [pool.submit(work) for _ in range(num_connections)])


def _ranges(reader: MysqlConnection, fill: Fill) -> Iterator[str]:
    """Cut all keys that there can be into ranges, as conditions of which each key meets one."""
    lower = ""
    while True:
        with reader.cursor() as cursor:
            cursor.execute(
                f"select {fill.key} from {fill.keys} where {lower or 'true'}"
                f" order by {fill.key} limit 1 offset {fill.keys_per_range - 1}"
            )
            last = cursor.fetchone()
        if last is None:
            yield lower or "true"
            return
        value = reader.literal(last[0])
        yield " and ".join(filter(None, [lower, f"{fill.key} <= {value}"]))
        lower = f"{fill.key} > {value}"


def _fill_one(connection: MysqlConnection, fill: Fill, condition: str) -> int:
    """Fill one range.

    The look at the table keeps its name for this transaction: a dbt that is killed leaves its last statement to the
    server, and what that fills cannot be the table that the next run makes by the same name.
    """
    connection.begin()
    connection.query(f"select 1 from {fill.table} limit 0")
    num_rows = connection.query(fill.statement.replace(RANGE, condition))
    connection.commit()
    return num_rows
