"""Running statements by ranges of a key, several at a time, each with a connection and a transaction of its own."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from pipeline.mysql import MysqlConnection

# Where the condition of a range goes in a statement.
RANGE = "/* range */ true"


@dataclass(frozen=True)
class Work:
    """A statement, and how it is cut.

    Attributes:
        statement: with `RANGE` in its conditions.
        table: what it fills or reads, as it stands in SQL.
        key: the column that the ranges are of, in the statement and in `keys`.
        keys: a table with an index that begins with the key, as it stands in SQL. A key that it lacks has a range too.
        keys_per_range: how many rows of `keys` a range has.
        session: what each connection says first.
    """

    statement: str
    table: str
    key: str
    keys: str
    keys_per_range: int
    session: Sequence[str]


@dataclass(frozen=True)
class Ran:
    """What a range has brought: how many rows the server counts, and those that it gives, where it gives any."""

    num_rows: int
    rows: Sequence[tuple[Any, ...]]


class Shares:
    """How many connections each of the statements under way may use: `most` together, and one each at least."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.changed = threading.Condition()
        self.is_cancelled = False
        self._num_under_way = 0

    @property
    def of_each(self) -> int:
        """Give the number of each."""
        return max(1, self.most // self._num_under_way)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Have a share. Others have less from their next range on, and more again at the end."""
        with self.changed:
            self._num_under_way += 1
        try:
            yield
        finally:
            with self.changed:
                self._num_under_way -= 1
                self.changed.notify_all()

    def cancel(self) -> None:
        """Let no further range begin."""
        with self.changed:
            self.is_cancelled = True
            self.changed.notify_all()


def run_by_ranges(work: Work, connect: Callable[[], MysqlConnection], shares: Shares) -> list[Ran]:
    """Run a statement for every range.

    Args:
        work: the statement.
        connect: opens a connection on which each statement is a transaction unless one is begun.
        shares: how many ranges are run at a time.

    Raises:
        pymysql.err.MySQLError: a range has failed, while others were run.
        InterruptedError: it was cancelled.
    """
    ran: list[Ran] = []

    def run(number: int) -> None:
        try:
            if condition := take(number):
                with closing(connect()) as connection:
                    for statement in work.session:
                        connection.query(statement)
                    while condition:
                        ran.append(_run_one(connection, work, condition))
                        condition = take(number)
        except BaseException:
            with shares.changed:
                stretches.clear()
                shares.changed.notify_all()
            raise

    def take(number: int) -> str | None:
        """Give the next range: of one's own stretch, or of the longest."""
        with shares.changed:
            shares.changed.wait_for(lambda: shares.is_cancelled or not any(stretches) or number < shares.of_each)
            if shares.is_cancelled:
                raise InterruptedError
            if not any(stretches):
                return None
            condition = (stretches[number] or max(stretches, key=len)).popleft()
            shares.changed.notify_all()
            return condition

    with closing(connect()) as reader, shares.taken(), ThreadPoolExecutor(shares.most) as pool:
        ranges = list(_ranges(reader, work))
        # Connections that fill neighbouring ranges would meet at the pages above those of the rows.
        length = -(-len(ranges) // shares.most)
        stretches = [deque(ranges[begin * length :][:length]) for begin in range(shares.most)]
        for each in [pool.submit(run, number) for number in range(shares.most)]:
            each.result()
    return ran


def _ranges(reader: MysqlConnection, work: Work) -> Iterator[str]:
    """Cut all keys that there can be into ranges, as conditions of which each key meets one."""
    lower = ""
    while True:
        with reader.cursor() as cursor:
            cursor.execute(
                f"select {work.key} from {work.keys} where {lower or 'true'}"
                f" order by {work.key} limit 1 offset {work.keys_per_range - 1}"
            )
            last = cursor.fetchone()
        if last is None:
            yield lower or "true"
            return
        value = reader.literal(last[0])
        yield " and ".join(filter(None, [lower, f"{work.key} <= {value}"]))
        lower = f"{work.key} > {value}"


def _run_one(connection: MysqlConnection, work: Work, condition: str) -> Ran:
    """Run one range.

    The look at the table keeps its name for this transaction: a dbt that is killed leaves its last statement to the
    server, and what that fills cannot be the table that the next run makes by the same name.
    """
    connection.begin()
    connection.query(f"select 1 from {work.table} limit 0")
    with connection.cursor() as cursor:
        num_rows = cursor.execute(work.statement.replace(RANGE, condition))
        rows = cursor.fetchall()
    connection.commit()
    return Ran(num_rows, rows)
