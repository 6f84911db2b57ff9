"""The four published tables, held for a reader: of one load, and not to be replaced while they are read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

import pymysql

from pipeline.commands import dbt_command, make_command
from pipeline.errors import DatabaseError
from pipeline.mysql import MysqlConnection, connect, explained
from pipeline.registry import current_partitions, has_loaded_features
from pipeline.settings import CORE_TABLES, Settings
from pipeline.waiting import waits_reported

# What dbt writes into the comment of each table that it publishes; with persist_docs its description follows.
_LOAD_COMMENT = re.compile(r"built from load ([0-9]+)(?::.*)?", re.DOTALL)
_NO_SUCH_DATABASE, _NO_SUCH_TABLE, _INVALID_VIEW = 1049, 1146, 1356
_LOCK_WAIT_TIMEOUT, _DEADLOCK, _TABLE_CHANGED = 1205, 1213, 1412
# For a connection after the first; the shortest that a server takes.
_SECONDS_BEHIND_ANOTHER = 1


@dataclass(frozen=True)
class Published:
    """The published tables of one load.

    Attributes:
        load_id: the load.
        readers: connections to the database of the tables. Each sees them, and all that is held with them, as they were
            when its transaction began.
    """

    load_id: int
    readers: Sequence[MysqlConnection]


@contextmanager
def hold_tables(
    settings: Settings, number: int, *, views: Sequence[str] = (), staging: Sequence[str] = ()
) -> Iterator[Published]:
    """Open connections that see the four tables of one load, and hold them until they are closed.

    Each has a transaction that has read all that it holds: while it is open the server lets nobody replace or drop any
    of it. dbt waits, for five minutes at most, and `make extract` for an hour.

    Args:
        settings: name the server and the databases.
        number: how many connections.
        views: of the database of the tables, to be held too.
        staging: tables of the staging database to be held too. It must then hold the same load, and that whole.

    Raises:
        DatabaseError: something is not there, the tables are not of one load, or staging holds another one.
    """
    names = [f"`{settings.database}`.`{name}`" for name in CORE_TABLES]
    names += [f"`{settings.staging_database}`.`{name}`" for name in staging]
    # Nothing of a view is read: that could take as long as all the rest.
    looks = [f"(select 1 from {name} limit 1)" for name in names]
    looks += [f"(select 1 from `{settings.database}`.`{name}` limit 0)" for name in views]
    with ExitStack() as stack, explained(settings.mysql):
        readers = [stack.enter_context(closing(connect(settings.mysql))) for _ in range(number)]
        with waits_reported(settings.mysql, settings.database):
            try:
                _begin(readers, settings.database, f"select {', '.join(looks)}")
            except pymysql.err.MySQLError as error:
                if error.args[0] not in (_NO_SUCH_DATABASE, _NO_SUCH_TABLE, _INVALID_VIEW):
                    raise
                raise DatabaseError(_what_is_missing(readers[0], settings, [*CORE_TABLES, *views])) from error
        load_id = _load_of(readers[0], settings)
        if staging:
            for reader in readers:
                _require_staged(reader, settings, load_id)
        yield Published(load_id, readers)


def _begin(readers: Sequence[MysqlConnection], database: str, look: str) -> None:
    """Begin the transactions. One statement locks all tables or waits with none, so that it can be in nobody's way.

    Who waits for the first connection would be in the way of the others: then all are given up, and begun again.
    """
    for reader in readers:
        reader.select_db(database)
        _run(reader, "set session transaction isolation level repeatable read")
    for reader in readers[1:]:
        _run(reader, f"set session lock_wait_timeout = {_SECONDS_BEHIND_ANOTHER}")
    while not all(_looks(reader, look, is_first=reader is readers[0]) for reader in readers):
        for reader in readers:
            reader.rollback()


def _looks(reader: MysqlConnection, look: str, *, is_first: bool) -> bool:
    """Begin a transaction, or tell that it is in somebody's way."""
    try:
        _run(reader, "start transaction read only")
        _run(reader, look)
    except pymysql.err.MySQLError as error:
        if is_first or error.args[0] not in (_LOCK_WAIT_TIMEOUT, _DEADLOCK, _TABLE_CHANGED):
            raise
        return False
    return True


def _run(reader: MysqlConnection, statement: str) -> None:
    with reader.cursor() as cursor:
        cursor.execute(statement)


def _what_is_missing(reader: MysqlConnection, settings: Settings, names: Sequence[str]) -> str:
    with reader.cursor() as cursor:
        cursor.execute("select table_name from information_schema.tables where table_schema = %s", (settings.database,))
        present = {str(name) for (name,) in cursor.fetchall()}
    missing = [name for name in names if name not in present]
    what = (
        f"{settings.database} has no table or view {missing[0]}"
        if missing
        else f"{settings.staging_database} lacks a table"
    )
    return f"{what}: {_built_again(settings, extract=True)}"


def _load_of(reader: MysqlConnection, settings: Settings) -> int:
    with reader.cursor() as cursor:
        cursor.execute(
            "select table_comment from information_schema.tables where table_schema = %s and table_name in %s",
            (settings.database, CORE_TABLES),
        )
        found = [_LOAD_COMMENT.fullmatch(str(comment)) for (comment,) in cursor.fetchall()]
    loads = sorted({int(comment[1]) for comment in found if comment})
    if len(loads) == 1 and None not in found:
        return loads[0]
    names = [*map(str, loads), *(["an unknown one"] if None in found else [])]
    which = f"loads {', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "an unknown load"
    raise DatabaseError(
        f"the tables of {settings.database} are of {which}, because dbt run is at work or was stopped: run"
        f" {dbt_command('run', settings)} to its end, then the same command again"
    )


def _require_staged(reader: MysqlConnection, settings: Settings, load_id: int) -> None:
    reader.select_db(settings.staging_database)
    staged, states = current_partitions(reader)
    is_whole = staged is not None and {*states.values()} == {"loaded"} and has_loaded_features(reader, staged)
    reader.select_db(settings.database)
    if staged == load_id and is_whole:
        return
    held = "no load" if staged is None else f"load {staged}{'' if is_whole else ', which is not complete'}"
    raise DatabaseError(
        f"the tables of {settings.database} are of load {load_id}, and {settings.staging_database} holds {held}:"
        f" {_built_again(settings, extract=not is_whole)}"
    )


def _built_again(settings: Settings, *, extract: bool) -> str:
    commands = [make_command("extract", settings)] if extract else []
    return f"run {', then '.join([*commands, dbt_command('run', settings)])}, then the same command again"
