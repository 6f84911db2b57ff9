"""A MySQL server that tests may do anything to."""

from __future__ import annotations

import os
import resource
import select
import signal
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pymysql.cursors import Cursor
from pymysql.err import MySQLError

from embedded.mysql_server import Sizes, TcpOptions, connect_as_root, find_mysql, start_mysql, stop_mysql
from embedded.programs import Kind, MysqlProgram
from pipeline.mysql import connect
from pipeline.settings import MysqlSettings, TlsMode, TlsSettings

# Of a parametrized fixture: what the first server has shown of the project's own work, the second shows in the soak.
MARIADB_IN_SOAK = ["mysql", pytest.param("mariadb", marks=pytest.mark.soak)]

SMALL = Sizes(buffer_pool_bytes=128 << 20, redo_log_bytes=16 << 20)


# Room for the tables that are made while innodb_file_per_table is off.
_SHARED_SPACE_MIB = 40


@dataclass(frozen=True)
class FragileServer:
    """A server of one kind in a folder of its own.

    Attributes:
        program: its program.
        base: its folder.
        tcp: its port and its user.
        tls: the options that give it its certificate.
    """

    program: MysqlProgram
    base: Path
    tcp: TcpOptions
    tls: Sequence[str]

    @property
    def kind(self) -> Kind:
        """Which server it is."""
        return self.program.kind

    @property
    def settings(self) -> MysqlSettings:
        """How its user connects."""
        return MysqlSettings("127.0.0.1", self.tcp.port, self.tcp.user, self.tcp.password, self.base / "mysql.sock")

    def trusting(self, ca: Path | None, mode: TlsMode) -> MysqlSettings:
        """How its user connects with TLS."""
        return replace(self.settings, tls=TlsSettings(mode, ca, ca.read_text() if ca else None))

    def start(self) -> None:
        """Start it, if it does not run."""
        # A write beyond the limit of a file's size then fails, as on a full disk, and does not end the server.
        command = ("env", "--ignore-signal=XFSZ", *self.program.command)
        options = [*self.tls, f"--innodb-data-file-path=ibdata1:12M:autoextend:max:{_SHARED_SPACE_MIB}M"]
        start_mysql(replace(self.program, command=command), self.base, tcp=self.tcp, sizes=SMALL, options=options)

    def stop(self) -> None:
        """Stop it in good order."""
        stop_mysql(self.base)

    def kill(self) -> None:
        """End it by SIGKILL, as a machine short of memory does."""
        descriptor = os.pidfd_open(self.pid)
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        ended, _, _ = select.select([descriptor], [], [], 30)
        os.close(descriptor)
        assert ended

    @property
    def pid(self) -> int:
        """Its process."""
        server = find_mysql(self.base)
        assert server
        return server.pid

    def as_root(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as root and give the rows of the last."""
        with connect_as_root(self.base) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    @contextmanager
    def connection(self, database: str) -> Iterator[Cursor]:
        """A connection of another client's, which ends as a client does that is gone."""
        with closing(connect(self.settings, database=database)) as connection, connection.cursor() as cursor:
            yield cursor

    @contextmanager
    def user(self, name: str, password: str, *, grants: Sequence[str] = ()) -> Iterator[MysqlSettings]:
        """A further user, with these privileges alone, and how it connects."""
        with connect_as_root(self.base) as connection, connection.cursor() as cursor:
            cursor.execute("drop user if exists %s", (name,))
            cursor.execute("create user %s identified by %s", (name, password))
            for grant in grants:
                cursor.execute(grant)
        yield replace(self.settings, user=name, password=password)
        self.as_root(f"drop user {name}")

    @contextmanager
    def variable(self, name: str, value: str) -> Iterator[None]:
        """Let a global variable have another value, given as SQL, for new connections."""
        ((before,),) = self.as_root(f"select @@global.{name}")
        self.as_root(f"set global {name} = {value}")
        try:
            yield
        finally:
            self.as_root(f"set global {name} = {before!r}")

    @contextmanager
    def shared_space_filled(self) -> Iterator[None]:
        """Make new tables in one space that is full and cannot grow. MariaDB finds room in it again after a moment."""
        with self.variable("innodb_file_per_table", "off"):
            self.as_root(
                "create database if not exists filler",
                "create table filler.filler (number int primary key auto_increment, content varchar(2000))",
                "insert into filler.filler (content) values (repeat('x', 2000))",
            )
            more = "insert into filler.filler (content) select content from filler.filler"
            for num_rows in (1000, 100, 10, 1):
                with suppress(MySQLError):
                    while True:
                        self.as_root(f"{more} limit {num_rows}")
            try:
                yield
            finally:
                self.as_root("drop database filler")

    @contextmanager
    def files_limited_to(self, size: int) -> Iterator[None]:
        """Let none of its files grow beyond a size: to the server a disk that is full, for any user of the machine."""
        pid = self.pid
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
