"""One probe of the server before the work: what a run will ask of it is done once, and all that it lacks is told.

It works in the databases of the run, on tables of its own, in the loader's session and in the manner of dbt's macros.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, suppress

from pymysql.err import InterfaceError, MySQLError

from pipeline.errors import DatabaseError, LoadError
from pipeline.load_data import StreamConnection
from pipeline.mysql import MysqlConnection, connect, explained, remedy_for
from pipeline.registry import TABLE_OPTIONS, create_databases
from pipeline.settings import Settings

# Two probes of one server take turns.
_LOCKS = ("deepcvr:probe", "deepcvr:probe:2")
_SECONDS_FOR_ANOTHER_PROBE = 60

_COLUMNS = "id int unsigned not null, name varchar(16) character set ascii collate ascii_bin not null, primary key (id)"
_DENIED = re.compile(r"^([A-Z ]+) command denied")
_NO_PRIVILEGE = {1044, 1142, 1143, 1227, 1370}
# What follows from something that was refused before: no such table, view or database.
_CONSEQUENCES = {1005, 1046, 1049, 1050, 1051, 1146, 1347, 1356, 1824, 4092}


def require_server(settings: Settings) -> None:
    """Find out before hours of work what the server does not let the run do in the end.

    The databases of the run are made if they are missing. What the probe makes it drops.

    Args:
        settings: name the server and the databases.

    Raises:
        DatabaseError: the server cannot be reached, or lacks something; one line lists all of it, with what to change.
    """
    with explained(settings.mysql), closing(connect(settings.mysql)) as connection:
        problems = list(_problems(connection, settings))
        if problems:
            privileges = sorted({privilege for privilege in map(_privilege, problems) if privilege})
            told = [_grant(connection, settings, privileges)] if privileges else []
            told += _remedies([problem for problem in problems if not _privilege(problem)], has_more=bool(told))
            raise DatabaseError(f"{settings.mysql.address} lacks what a run needs: {'; '.join(told)}")


def _problems(connection: MysqlConnection, settings: Settings) -> Iterator[tuple[str, MySQLError]]:
    """Do everything, and give what was refused."""
    with connection.cursor() as cursor:
        for lock in _LOCKS:
            cursor.execute("select get_lock(%s, %s)", (lock, _SECONDS_FOR_ANOTHER_PROBE))
            if cursor.fetchone() != (1,):
                raise DatabaseError(
                    f"{settings.mysql.address} does not give the lock {lock}: another probe holds it, or a proxy on the"
                    " way keeps no sessions: connect to the server itself"
                )
    try:
        create_databases(connection, settings)
    except MySQLError as error:
        yield "create a database", error
    for statement in _leftovers(settings):
        with suppress(MySQLError):
            _run(connection, statement)
    for what, statement in _statements(settings):
        try:
            if statement:
                _run(connection, statement)
            else:
                _load_a_row(settings)
        except InterfaceError:  # there is no connection any more
            raise
        except MySQLError as error:
            yield what, error


def _statements(settings: Settings) -> Iterator[tuple[str, str]]:
    """Give what a run does, in its order, each with a word for it; nothing for what is no plain statement."""
    staged = f"`{settings.staging_database}`.deepcvr_probe"
    parent, child, view = (f"`{settings.database}`.deepcvr_probe_{name}" for name in ("parent", "child", "view"))
    yield "create a table", f"create table {staged} ({_COLUMNS}) {TABLE_OPTIONS}"
    yield "LOAD DATA LOCAL", ""
    yield "lock a row", f"select name from {staged} where id = 1 for update"
    yield "update", f"update {staged} set name = 'b' where id = 1"
    yield "delete", f"delete from {staged} where id = 2"
    for table in (parent, child):
        yield "create a table", f"create table {table}__next ({_COLUMNS}, check (id > 0)) {TABLE_OPTIONS}"
        yield "copy rows", f"insert into {table}__next (id, name) select id, name from {staged}"
    yield "add an index", f"alter table {child}__next add index name (name)"
    yield "add a foreign key", "set session foreign_key_checks = 0"
    yield (
        "add a foreign key",
        f"alter table {child}__next add foreign key (id) references {parent}__next (id), algorithm = inplace",
    )
    yield "rename tables", f"rename table {parent}__next to {parent}, {child}__next to {child}"
    for _ in range(2):
        yield "replace a view", f"create or replace view {view} as select id from {staged}"
    yield "read a view", f"select * from {view}"
    yield "truncate a table", f"truncate table {staged}"
    for statement in _leftovers(settings):
        yield "drop", statement


def _leftovers(settings: Settings) -> Iterator[str]:
    """Give the statements that drop all that a probe makes, a killed one too."""
    names = [f"{name}{ending}" for name in ("child", "parent") for ending in ("", "__next")]
    yield f"drop view if exists `{settings.database}`.deepcvr_probe_view"
    yield f"drop table if exists {', '.join(f'`{settings.database}`.deepcvr_probe_{name}' for name in names)}"
    yield f"drop table if exists `{settings.staging_database}`.deepcvr_probe"


def _run(connection: MysqlConnection, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        cursor.fetchall()


def _load_a_row(settings: Settings) -> None:
    """By a connection of its own: a proxy that does not know the command may end it."""
    mysql = settings.mysql
    with closing(connect(mysql, connection_class=StreamConnection)) as connection:
        assert isinstance(connection, StreamConnection)  # noqa: S101 - for the type checker
        connection.select_db(settings.staging_database)
        if connection.load("deepcvr_probe", "id, name", [b"1\ta\n"]) != 1:
            raise LoadError(f"{mysql.address} loses rows of LOAD DATA LOCAL")


def _privilege(problem: tuple[str, MySQLError]) -> str | None:
    """Name the privilege that was missing, if it was one."""
    what, error = problem
    if error.args[0] not in _NO_PRIVILEGE:
        return None
    found = _DENIED.match(str(error.args[1]))
    return found[1].lower() if found else "create" if what.startswith("create") else "all privileges"


def _grant(connection: MysqlConnection, settings: Settings, privileges: list[str]) -> str:
    user, literal = "the user", ""
    with suppress(MySQLError), connection.cursor() as cursor:
        cursor.execute("select current_user()")
        name, _, host = str((cursor.fetchone() or ("",))[0]).rpartition("@")
        user = f"'{name}'@'{host}'"
        cursor.execute("select @@global.partial_revokes")
        if cursor.fetchone() == (1,):
            literal = "; partial_revokes is on, so that % and _ in the name of a database stand for themselves"
    databases = (settings.database, settings.staging_database)
    what = ", ".join(privileges)
    grants = " and ".join(f"`grant {what} on `{database}`.* to {user}`" for database in databases)
    return f"the user lacks the privileges {what}: let an administrator {grants} (docs/mysql.md{literal})"


def _remedies(problems: list[tuple[str, MySQLError]], *, has_more: bool) -> list[str]:
    """Give what to do about each, once for all that have the same cause."""
    causes = [problem for problem in problems if problem[1].args[0] not in _CONSEQUENCES]
    if not causes and not has_more:
        causes = problems
    told: dict[str, list[str]] = {}
    for what, error in causes:
        code, text = error.args[0], " ".join(str(error.args[1] if len(error.args) > 1 else error).split())
        remedy = remedy_for(code)
        told.setdefault(f"{remedy} " if remedy else "", []).append(f"{what}: {text}, error {code}")
    return [f"{remedy}({'; '.join(dict.fromkeys(refused))})" for remedy, refused in told.items()]
