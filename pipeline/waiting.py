"""A word to the person who waits: which statement is held up by another client's lock."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial

from pymysql.err import MySQLError

from pipeline.background import beside
from pipeline.errors import DatabaseError
from pipeline.mysql import MysqlConnection, connect
from pipeline.progress import print_line
from pipeline.settings import MysqlSettings

SECONDS_TO_BE_QUIET = 5
_SECONDS_BETWEEN_LOOKS = 1.0

# A user sees the statements of its own connections without any privilege, those of executors among them. A row lock
# has no state that every server names alike, but these statements go to one row by its key, or to few.
_HELD_UP = """
select id, time, state, left(info, 60)
from information_schema.processlist
where
    db = %s
    and id <> connection_id()
    and time >= %s
    and (
        state like 'Waiting for%%lock%%'
        or info like 'select state from load\\_partition%%'
        or info like 'update load\\_partition%%'
    )
"""


@contextmanager
def waits_reported(settings: MysqlSettings, database: str) -> Iterator[None]:
    """Print a line for each connection to a database that has waited for a lock for some seconds.

    Args:
        settings: where the server is. A server that stops answering ends the reports, and nothing else.
        database: the database in use by the connections that are looked after.
    """
    with beside(partial(_watch, settings, database)):
        yield


def _watch(settings: MysqlSettings, database: str, ended: threading.Event) -> None:
    told: set[tuple[int, str]] = set()
    with suppress(DatabaseError, MySQLError), closing(connect(settings)) as connection:
        while not ended.wait(_SECONDS_BETWEEN_LOOKS):
            for number, seconds, state, statement in _held_up(connection, database):
                if (number, statement) not in told:
                    told.add((number, statement))
                    print_line(_line(database, number, seconds, state, statement), sys.stderr)


def _held_up(connection: MysqlConnection, database: str) -> list[tuple[int, int, str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(_HELD_UP, (database, SECONDS_TO_BE_QUIET))
        return [
            (int(number), int(seconds), str(state), " ".join(str(info).split()))
            for number, seconds, state, info in cursor.fetchall()
        ]


def _line(database: str, number: int, seconds: int, state: str, statement: str) -> str:
    return (
        f"waiting for a lock in {database} that another client holds: connection {number} has been at"
        f" `{statement}` for {seconds} s ({state}); `show processlist` lists the clients"
    )
