"""Connections of dbt: those of all other commands of the project, as a profile says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pymysql
from dbt.adapters.contracts.connection import AdapterResponse, Connection, ConnectionState, Credentials
from dbt.adapters.exceptions import FailedToConnectError
from dbt.adapters.sql import SQLConnectionManager
from dbt.flags import get_flags
from dbt_common.exceptions import DbtDatabaseError, DbtRuntimeError
from pymysql.constants import FIELD_TYPE

from pipeline.errors import DatabaseError, SettingsError
from pipeline.mysql import MysqlConnection, connect
from pipeline.printable import printable, printable_lines
from pipeline.settings import MysqlSettings, read_mysql

from .ranges import Ran, Shares, Work, run_by_ranges

# What a contract tells apart: a query has other types than the table that is made from it.
_FAMILIES = {
    "INTEGER": (FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.INT24, FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG),
    "DECIMAL": (FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL),
    "DOUBLE": (FIELD_TYPE.FLOAT, FIELD_TYPE.DOUBLE),
    "DATETIME": (FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP),
    "DATE": (FIELD_TYPE.DATE, FIELD_TYPE.NEWDATE),
    "TIME": (FIELD_TYPE.TIME,),
}
# Proxies end connections that are quiet.
_SECONDS_BETWEEN_WORDS = 5


@dataclass
class PymysqlCredentials(Credentials):
    """What a profile of `type: pymysql` holds.

    Attributes:
        database: none, or the schema: to MySQL the two are one.
        server: a host; empty for the server behind the socket.
        port: of the host.
        unix_socket: where there is no host; a relative path is one in the folder of the project, wherever dbt is run.
        username: as whom to log in.
        password: its password.
        ssl_mode: a mode of MySQL's own clients (the MySQL manual, `--ssl-mode`); empty means verify_ca where a CA is
            given, and preferred where none is, as it does to them.
        ssl_ca: the file with the certificates of the authorities, in PEM.
    """

    database: str | None = None  # type: ignore[assignment]
    schema: str = ""
    server: str = ""
    port: int | str = ""
    unix_socket: str = ".embedded/mysql.sock"
    username: str | int = ""
    password: str = ""
    ssl_mode: str = ""
    ssl_ca: str = ""

    _ALIASES = {"host": "server", "user": "username", "UID": "username", "PWD": "password"}  # noqa: RUF012 - dbt's form

    def __post_init__(self) -> None:
        """Check what can be checked without the server.

        Raises:
            DbtRuntimeError: the profile makes no sense.
        """
        if self.database not in (None, self.schema):
            raise DbtRuntimeError("leave database out of the profile: to MySQL it is the schema")
        self.database = None
        self.settings()

    def settings(self) -> MysqlSettings:
        """Give the same as all other commands have it.

        Raises:
            DbtRuntimeError: the profile makes no sense.
        """
        folder = Path(getattr(get_flags(), "PROJECT_DIR", None) or ".").absolute()  # type: ignore[no-untyped-call]
        if not self.server:
            user = str(self.username or "root")
            return MysqlSettings(None, 0, user, self.password, unix_socket=folder / self.unix_socket)
        environment = {
            "MYSQL_HOST": self.server,
            "MYSQL_PORT": str(self.port),
            "MYSQL_USER": str(self.username),
            "MYSQL_PASSWORD": self.password,
            "MYSQL_SSL_MODE": self.ssl_mode,
            "MYSQL_SSL_CA": self.ssl_ca,
        }
        try:
            return read_mysql(environment, folder)
        except SettingsError as error:
            raise DbtRuntimeError(printable(str(error))) from error

    @property
    def type(self) -> str:
        """The adapter's name in profiles."""
        return "pymysql"

    @property
    def unique_field(self) -> str:
        """What tells one server from another."""
        return self.server or self.unix_socket

    def _connection_keys(self) -> tuple[str, ...]:
        of_server = ("server", "port", "username", "ssl_mode", "ssl_ca") if self.server else ("unix_socket", "username")
        return (*of_server, "database", "schema")


class Keeper:
    """A connection that holds locks of the server by name, until it is closed or the process ends."""

    def __init__(self, handle: Any) -> None:
        self._handle, self._turn, self._ended = handle, threading.Lock(), threading.Event()
        threading.Thread(target=self._keep_talking, daemon=True).start()

    def hold(self, name: str, seconds: int) -> tuple[bool, int | None]:
        """Take a lock, or give up after some seconds: whether it is held, and by which connection else."""
        (held,) = self._ask("select get_lock(%s, %s)", (name, seconds))
        if held == 1:
            return True, None
        (holder,) = self._ask("select is_used_lock(%s)", (name,))
        return False, holder

    def holds(self, name: str) -> bool:
        """Whether a lock is held."""
        return bool(self._ask("select is_used_lock(%s) = connection_id()", (name,)) == (1,))

    def close(self) -> None:
        """Give all locks back."""
        self._ended.set()
        with self._turn, suppress(pymysql.err.MySQLError):
            self._handle.close()

    def _ask(self, statement: str, parameters: tuple[Any, ...] = ()) -> Any:
        with self._turn, self._handle.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchone()

    def _keep_talking(self) -> None:
        with suppress(pymysql.err.MySQLError):
            while not self._ended.wait(_SECONDS_BETWEEN_WORDS):
                self._ask("select 1")


def _connect(credentials: Any) -> MysqlConnection:
    try:
        return connect(credentials.settings())
    except DatabaseError as error:
        raise FailedToConnectError(printable(str(error))) from error


class PymysqlConnectionManager(SQLConnectionManager):
    """Opens connections as the credentials say, runs statements, and holds locks for a whole command."""

    TYPE = "pymysql"
    keeper: Keeper | None = None

    def __init__(self, profile: Any, mp_context: Any) -> None:
        """Make the manager of a command, which runs as many ranges at a time, of all tables, as it has threads."""
        super().__init__(profile, mp_context)
        self._shares = Shares(profile.threads)
        self._of_ranges: list[Any] = []

    @classmethod
    def open(cls, connection: Connection) -> Connection:
        """Open a connection.

        Raises:
            FailedToConnectError: the server cannot be reached, refuses, or is not believed.
        """
        if connection.state == ConnectionState.OPEN:
            return connection
        try:
            connection.handle = _connect(connection.credentials)
        except FailedToConnectError:
            connection.handle, connection.state = None, ConnectionState.FAIL
            raise
        connection.state = ConnectionState.OPEN
        return connection

    def cancel(self, connection: Connection) -> None:
        """Close a connection of another thread."""
        connection.handle.close()

    def cancel_open(self) -> list[str]:
        """Close the connections of all other threads, and wait for no range."""
        self._shares.cancel()
        for handle in self._of_ranges:
            with suppress(OSError, AttributeError):  # of one that is closed
                handle._sock.shutdown(socket.SHUT_RDWR)
        return super().cancel_open()

    @contextmanager
    def exception_handler(self, sql: str) -> Iterator[None]:  # noqa: ARG002 - dbt's signature
        """Tell what the server says, made harmless for a terminal.

        Raises:
            DbtDatabaseError: the server has refused a statement, or is gone.
        """
        try:
            yield
        except pymysql.err.MySQLError as error:
            self.rollback_if_open()
            words = " ".join(map(str, error.args[1:])) or type(error).__name__
            raise DbtDatabaseError(f"{error.args[0]}: {printable_lines(words)}") from error

    def hold_lock(self, name: str, seconds: int) -> tuple[bool, int | None]:
        """Hold a lock of the server until this command of dbt has ended; see `Keeper.hold`."""
        with self.exception_handler(name):
            if self.keeper is None:
                credentials: Any = self.profile.credentials
                self.keeper = Keeper(connect(credentials.settings()))
            return self.keeper.hold(name, seconds)

    def holds_lock(self, name: str) -> bool:
        """Whether this command holds a lock."""
        return self.keeper is not None and self.keeper.holds(name)

    def run_by_ranges(self, work: Work) -> list[Ran]:
        """Run a statement by ranges; see `ranges.run_by_ranges`.

        Raises:
            DbtRuntimeError: it was not run for all of them.
        """
        work = replace(work, statement=self._add_query_comment(work.statement))

        def open_one() -> MysqlConnection:
            handle = _connect(self.profile.credentials)
            self._of_ranges.append(handle)
            return handle

        with self.exception_handler(work.statement):
            try:
                return run_by_ranges(work, open_one, self._shares)
            except InterruptedError as error:
                raise DbtRuntimeError(f"{work.table} is not done: the command was ended") from error

    def cleanup_all(self) -> None:
        """Give up all connections, and the locks."""
        super().cleanup_all()
        if self.keeper:
            self.keeper.close()
            self.keeper = None

    @classmethod
    def get_response(cls, cursor: Any) -> AdapterResponse:
        """Give what is shown of a statement that has succeeded."""
        return AdapterResponse(f"SUCCESS {cursor.rowcount}", code="SUCCESS", rows_affected=cursor.rowcount)

    @classmethod
    def data_type_code_to_name(cls, type_code: int | str) -> str:
        """Name the family of a type, as the protocol numbers it."""
        return next((family for family, codes in _FAMILIES.items() if type_code in codes), "TEXT")
