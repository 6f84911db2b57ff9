"""Connections of dbt: encrypted and verified as the profile says, in a session that is the project's own."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mysql.connector
from dbt.adapters.mysql.connections import MySQLConnectionManager, MySQLCredentials
from dbt.contracts.connection import Connection, ConnectionState
from dbt.exceptions import DbtDatabaseError, DbtRuntimeError, FailedToConnectError

MODES = ("disabled", "preferred", "required", "verify_ca", "verify_identity")

# What a server says may hold what a terminal takes for commands.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

# What a session sets is the project's: the same as in pipeline/mysql.py, which says why, and which a test compares.
_VARIABLES: Mapping[str, str | int] = {
    "sql_mode": "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
    "time_zone": "'+00:00'",
    "autocommit": 1,
    "completion_type": "'NO_CHAIN'",
    "foreign_key_checks": 1,
    "unique_checks": 1,
    "sql_safe_updates": 0,
    "sql_auto_is_null": 0,
    "sql_big_selects": 1,
    "sql_select_limit": 18_446_744_073_709_551_615,
    "max_sort_length": 1024,
    "group_concat_max_len": 1 << 20,
    "div_precision_increment": 4,
    "net_read_timeout": 600,
    "net_write_timeout": 600,
    "wait_timeout": 31_536_000,
    "lock_wait_timeout": 3600,
    "innodb_lock_wait_timeout": 600,
}
# Of one of the servers. MariaDB skips MySQL's comments from 50700 to 50999.
_VARIABLES_OF_ONE = (
    " /*!50708 , max_execution_time = 0 */"
    " /*M!100600 , max_statement_time = 0, check_constraint_checks = 1, idle_transaction_timeout = 0,"
    " idle_readonly_transaction_timeout = 0, idle_write_transaction_timeout = 0 */"
    " /*M!110602 , innodb_snapshot_isolation = 0 */"
)
SESSION = (
    "set names utf8mb4 collate utf8mb4_bin",
    f"set session {', '.join(f'{name} = {value}' for name, value in _VARIABLES.items())}{_VARIABLES_OF_ONE}",
    "set session transaction isolation level repeatable read, read write",
)

_SECONDS_TO_CONNECT = 10
# Seconds of silence, seconds between questions, questions without an answer; milliseconds that what was sent may wait.
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6, "TCP_USER_TIMEOUT": 300_000}
# What the driver says of one that is silent or closes, when it is to let a client in.
_NOBODY = {2003, 2013, 2055, 3024}

# Proxies end connections that are quiet.
_SECONDS_BETWEEN_WORDS = 5


@dataclass(init=False)
class TlsCredentials(MySQLCredentials):
    """What a profile of `type: mysql_tls` holds beside what one of `type: mysql` does.

    Attributes:
        ssl_mode: a mode of MySQL's own clients (the MySQL manual, `--ssl-mode`); empty means verify_ca where a CA is
            given, and preferred where none is, as it does to them.
        ssl_ca: the file with the certificates of the authorities, in PEM.
    """

    ssl_mode: str = ""
    ssl_ca: str = ""

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)  # type: ignore[no-untyped-call]
        if self.server and not self.username:
            raise DbtRuntimeError("MYSQL_HOST is set but MYSQL_USER is not: set MYSQL_USER and MYSQL_PASSWORD")
        if self.server and not 0 < int(self.port or 3306) < 65536:
            raise DbtRuntimeError(f"MYSQL_PORT is {self.port}, expected a number from 1 to 65535")
        self.ssl_mode = (self.ssl_mode or ("verify_ca" if self.ssl_ca else "preferred")).lower()
        if self.ssl_mode not in MODES:
            raise DbtRuntimeError(f"ssl_mode is {self.ssl_mode}, expected {', '.join(MODES[:-1])} or {MODES[-1]}")
        if self._is_verified != bool(self.ssl_ca):
            problem = "verifies nothing: leave out ssl_ca" if self.ssl_ca else "needs ssl_ca, the file of the CA"
            raise DbtRuntimeError(f"ssl_mode {self.ssl_mode} {problem}")
        if self.ssl_ca and not Path(self.ssl_ca).is_file():
            raise DbtRuntimeError(f"ssl_ca: there is no file {self.ssl_ca}")

    @property
    def type(self) -> str:
        """The adapter's name in profiles."""
        return "mysql_tls"

    @property
    def driver_arguments(self) -> dict[str, Any]:
        """What mysql-connector calls the mode. For `required` it has no name: see `open`."""
        if self.ssl_mode == "disabled" or not self.server:
            return {"ssl_disabled": True}
        if not self._is_verified:
            return {}
        return {
            "ssl_ca": self.ssl_ca,
            "ssl_verify_cert": True,
            "ssl_verify_identity": self.ssl_mode == "verify_identity",
        }

    @property
    def _is_verified(self) -> bool:
        return self.ssl_mode.startswith("verify_")

    def _connection_keys(self) -> tuple[str, ...]:
        return (*super()._connection_keys(), "ssl_mode", "ssl_ca")  # type: ignore[no-untyped-call]


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

    def close(self) -> None:
        """Give all locks back."""
        self._ended.set()
        with suppress(mysql.connector.Error):
            self._handle.close()

    def _ask(self, statement: str, parameters: tuple[Any, ...] = ()) -> Any:
        with self._turn, self._handle.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchone()

    def _keep_talking(self) -> None:
        with suppress(mysql.connector.Error):
            while not self._ended.wait(_SECONDS_BETWEEN_WORDS):
                self._ask("select 1")


class TlsConnectionManager(MySQLConnectionManager):
    """Opens connections as the credentials say, and makes their session the project's; the rest is dbt-mysql's."""

    TYPE = "mysql_tls"
    keeper: Keeper | None = None

    @classmethod
    def open(cls, connection: Connection) -> Connection:
        """Open a connection, as dbt-mysql does but for TLS and the session.

        Raises:
            FailedToConnectError: the server cannot be reached, refuses, or is not believed.
        """
        if connection.state == ConnectionState.OPEN:
            return connection
        credentials = cls.get_credentials(connection.credentials)  # type: ignore[no-untyped-call]
        try:
            connection.handle = connect(credentials)
        except Exception as error:  # whatever the driver makes of what is no server
            connection.handle, connection.state = None, ConnectionState.FAIL
            raise FailedToConnectError(printable(_explanation(error, credentials))) from error
        connection.state = ConnectionState.OPEN
        return connection

    @contextmanager
    def exception_handler(self, sql: str) -> Iterator[None]:
        """As dbt-mysql's, with what the server says made harmless for a terminal."""
        try:
            with super().exception_handler(sql):
                yield
        except DbtDatabaseError as error:
            raise DbtDatabaseError(printable(str(error.msg))) from error

    def hold_lock(self, name: str, seconds: int) -> tuple[bool, int | None]:
        """Hold a lock of the server until this command of dbt has ended; see `Keeper.hold`."""
        try:
            self.keeper = self.keeper or Keeper(connect(self.profile.credentials))
            return self.keeper.hold(name, seconds)
        except mysql.connector.Error as error:
            raise DbtDatabaseError(printable(str(error))) from error

    def cleanup_all(self) -> None:
        """Give up all connections, and the locks."""
        super().cleanup_all()
        if self.keeper:
            self.keeper.close()
            self.keeper = None


def printable(text: str) -> str:
    """Write what a terminal would take for a command as its number."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def connect(credentials: Any) -> Any:
    """Open a connection of the driver's, in the project's session.

    Raises:
        mysql.connector.Error: the server cannot be reached, refuses, or is not believed.
    """
    local = {"unix_socket": credentials.unix_socket}
    host = {"host": credentials.server, **({"port": credentials.port} if credentials.port else {})}
    optional = {name: getattr(credentials, name) for name in ("charset", "collation")}
    handle = mysql.connector.connect(
        user=credentials.username,
        passwd=credentials.password,
        buffered=True,
        connection_timeout=_SECONDS_TO_CONNECT,
        **(host if credentials.server else local),
        **{name: value for name, value in optional.items() if value},
        **credentials.driver_arguments,
    )
    if credentials.ssl_mode == "required" and credentials.server:
        _require_cipher(handle)
    _keep_alive(handle)
    with handle.cursor() as cursor:
        for statement in SESSION:
            cursor.execute(statement)
    return handle


def _keep_alive(handle: Any) -> None:
    """Let the system notice within minutes that a peer is gone: a statement may be silent for hours, a peer not."""
    sock = getattr(getattr(handle, "_socket", None), "sock", None)
    if sock is None or sock.family == socket.AF_UNIX:  # the driver's C extension keeps its socket to itself
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _require_cipher(handle: Any) -> None:
    with handle.cursor() as cursor:
        cursor.execute("show session status like 'Ssl_cipher'")
        row = cursor.fetchone()
    if not row or not row[1]:
        handle.close()
        raise mysql.connector.InterfaceError("the server does not offer TLS", errno=2026)


def _explanation(error: Exception, credentials: TlsCredentials) -> str:
    is_answer = isinstance(error, mysql.connector.Error)
    text = " ".join(str(error).split()) if is_answer else type(error).__name__
    if not credentials.server:
        return text
    server = f"{credentials.server}:{credentials.port}"
    if "certificate verify failed" in text.lower():
        return (
            f"{server} is not believed: check MYSQL_SSL_CA ({credentials.ssl_ca}) and MYSQL_HOST;"
            f" MYSQL_SSL_MODE is {credentials.ssl_mode} ({text})"
        )
    if not is_answer or getattr(error, "errno", None) in _NOBODY:
        return f"no MySQL server answers at {server}: check MYSQL_HOST and MYSQL_PORT ({text})"
    return f"{server}: {text} (MYSQL_SSL_MODE is {credentials.ssl_mode})"
