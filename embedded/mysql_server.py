"""A MySQL or MariaDB server of one's own, in any folder, run as the current user.

In its folder, `mysql.sock` is the socket, `data/mysql` the databases and `log/mysql.log` the log. User `root` has no
password: the folder's mode guards the socket.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from embedded.processes import (
    find_process,
    lock,
    open_log,
    require_free_space,
    start_detached,
    started_at,
    stop_process,
)
from embedded.programs import NAMES, Kind, MysqlProgram, replace_folder, series, work_folder
from pipeline.errors import ServiceError
from pipeline.files import private_folder, read_json, write_json

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

SOCKET_NAME = "mysql.sock"

_MARKER = "deepcvr.json"
_START_SECONDS = 300
_STOP_SECONDS = 60
_PROGRAMS = ("mysqld", "mariadbd")
_MIB = 1024 * 1024
_ROOM_TO_RUN = 1_000_000_000
_ROOM_FOR_NEW_DATA = 2_000_000_000
_SQL_MODE = (
    "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
    "NO_ENGINE_SUBSTITUTION"
)
# In the order in which MariaDB's own installer feeds them to the server.
_MARIADB_SCRIPTS = (
    "system_tables.sql",
    "performance_tables.sql",
    "system_tables_data.sql",
    "fill_help_tables.sql",
    "maria_add_gis_sp_bootstrap.sql",
    "sys_schema.sql",
)


@dataclass(frozen=True)
class TcpOptions:
    """A TCP port beside the socket, and a user with all privileges that may come through it.

    Attributes:
        port: on 127.0.0.1.
        user: the user's name.
        password: the user's password.
    """

    port: int
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Sizes:
    """InnoDB's memory and logs.

    Attributes:
        buffer_pool_bytes: its cache.
        redo_log_bytes: its redo log, which takes this much of the disk from the start.
    """

    buffer_pool_bytes: int
    redo_log_bytes: int = 1024 * _MIB


@dataclass(frozen=True)
class MysqlServer:
    """A running server.

    Attributes:
        kind: which server it is.
        version: such as `9.7.0`.
        base: its folder.
        pid: its process.
        was_running: whether it was found running rather than started.
    """

    kind: Kind
    version: str
    base: Path
    pid: int
    was_running: bool

    @property
    def title(self) -> str:
        """The server as messages name it."""
        return f"{NAMES[self.kind]} {self.version}"

    @property
    def unix_socket(self) -> Path:
        """The socket."""
        return self.base / SOCKET_NAME

    @property
    def started_at(self) -> datetime:
        """When it was started, in UTC."""
        return started_at(self.pid)


def data_folder(base: Path) -> Path:
    """Give the folder of a server's databases."""
    return base / "data" / "mysql"


def find_mysql(base: Path) -> MysqlServer | None:
    """Find the server of a folder if it is running, ready or not."""
    folder = data_folder(base)
    marker = _read_marker(folder)
    process = next(filter(None, (find_process(folder, program) for program in _PROGRAMS)), None)
    return MysqlServer(*marker, base, process.pid, was_running=True) if marker and process else None


def start_mysql(
    program: MysqlProgram,
    base: Path,
    *,
    tcp: TcpOptions | None = None,
    sizes: Sizes | None = None,
    options: Sequence[str] = (),
) -> MysqlServer:
    """Start the server of a folder, making its databases first where there are none, and wait until it answers.

    Args:
        program: the server program.
        base: the server's folder.
        tcp: listen on a TCP port too; by default on the socket alone.
        sizes: InnoDB's memory and logs; by default what suits the machine.
        options: further options of its command line, which go before this project's own.

    Returns:
        the server; one that runs already is returned as it is.

    Raises:
        ServiceError: it does not start, or the databases were made by another server.
    """
    base = private_folder(base).resolve()
    with lock(base / "mysql.lock", "starting or stopping the MySQL server"):
        running = find_mysql(base)
        if running:
            wait_until_ready(base)
            return running
        return _start(program, base, tcp, sizes or choose_sizes(memory_bytes()), options)


def wait_until_ready(base: Path, process: subprocess.Popen[bytes] | None = None, *, log_offset: int = 0) -> None:
    """Wait until the server of a folder answers.

    Args:
        base: its folder.
        process: the server, where this process has started it.
        log_offset: where in its log the lines of this start begin.

    Raises:
        ServiceError: it has ended, or does not answer in time.
    """
    import pymysql

    log = _log(base)
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with connect_as_root(base):
                return
        except (pymysql.err.MySQLError, OSError):
            if process is not None and process.poll() is not None:
                reason = _last_error(log, log_offset)
                raise ServiceError(f"the MySQL server did not start: {reason} (see {log})") from None
            if time.monotonic() > deadline:
                raise ServiceError(f"the MySQL server does not answer after {_START_SECONDS} s (see {log})") from None
            time.sleep(0.05)


def stop_mysql(base: Path) -> bool:
    """Stop the server of a folder, by SIGKILL where it does not end by itself within a minute.

    Returns:
        whether one ran.
    """
    return any(stop_process(data_folder(base), name, patience_seconds=_STOP_SECONDS) for name in _PROGRAMS)


def server_command(program: MysqlProgram, base: Path, sizes: Sizes, tcp: TcpOptions | None) -> list[str]:
    """Build the server's command line. What each choice is for stands in docs/decisions."""
    folder = data_folder(base)
    options = [
        *_common_options(program, folder),
        # Relative to the data folder, so that a deep path does not exceed the ~107 bytes of a socket's address.
        f"--socket=../../{SOCKET_NAME}",
        "--pid-file=mysqld.pid",
        f"--tmpdir={base / 'data' / 'mysql_tmp'}",
        f"--secure-file-priv={base / 'data' / 'mysql_files'}",
        "--local-infile=ON",
        "--character-set-server=utf8mb4",
        "--default-time-zone=+00:00",
        f"--sql-mode={_SQL_MODE}",
        "--skip-log-bin",
        "--skip-name-resolve",
        f"--innodb-buffer-pool-size={sizes.buffer_pool_bytes}",
        "--innodb-flush-log-at-trx-commit=2",
        "--max-allowed-packet=64M",
    ]
    options += _redo_log_options(program, sizes.redo_log_bytes)
    if program.kind == "mysql":
        options.append("--mysqlx=OFF")
    if tcp:
        options += ["--bind-address=127.0.0.1", f"--port={tcp.port}"]
    else:
        options.append("--skip-networking")
    return [*program.command, *options]


def choose_sizes(memory: int) -> Sizes:
    """Choose InnoDB's cache: a quarter of the memory, from 128 MiB to 4 GiB."""
    return Sizes(buffer_pool_bytes=max(128 * _MIB, min(memory // 4, 4096 * _MIB)))


def memory_bytes(root: Path = Path("/")) -> int:
    """Give the memory that this process may use: the machine's, or its control group's where that is less."""
    match = re.search(r"^MemTotal:\s+(\d+) kB", (root / "proc/meminfo").read_text(encoding="ascii"), re.M)
    limits = [int(match[1]) * 1024] if match else []
    for name in ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            limits.append(int((root / name).read_text(encoding="ascii")))
    return min(limits, default=1024 * _MIB)


@contextmanager
def connect_as_root(base: Path) -> Iterator[Connection[Cursor]]:
    """Connect by the socket of a server's folder, however deep that folder is.

    Raises:
        pymysql.err.MySQLError: the server does not answer.
    """
    import pymysql

    descriptor = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
    try:
        socket = f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"
        with pymysql.connect(
            unix_socket=socket, user="root", charset="utf8mb4", autocommit=True, connect_timeout=10
        ) as connection:
            yield connection
    finally:
        os.close(descriptor)


def _start(
    program: MysqlProgram, base: Path, tcp: TcpOptions | None, sizes: Sizes, options: Sequence[str]
) -> MysqlServer:
    folder = data_folder(base)
    _require_matching_data(program, folder)
    log = open_log(_log(base))
    for name in _PROGRAMS:  # it would keep its memory for nobody
        stop_process(folder, name, patience_seconds=5, is_removed=True)
    if not folder.exists():
        require_free_space(base, sizes.redo_log_bytes + _ROOM_FOR_NEW_DATA, "new MySQL databases")
        _make_databases(program, base)
    require_free_space(base, _ROOM_TO_RUN, "the MySQL server")
    for name in ("mysql_tmp", "mysql_files"):
        (base / "data" / name).mkdir(exist_ok=True, mode=0o700)
    # What a killed server left: the number in its lock file may by now be another process's.
    for name in (SOCKET_NAME, f"{SOCKET_NAME}.lock"):
        (base / name).unlink(missing_ok=True)
    offset = log.stat().st_size
    process = start_detached(
        [*server_command(program, base, sizes, tcp), *options], folder=folder, log=log, environment=_environment()
    )
    wait_until_ready(base, process, log_offset=offset)
    if tcp:
        _grant(base, tcp)
    return MysqlServer(program.kind, program.version, base, process.pid, was_running=False)


def _environment() -> dict[str, str]:
    """Build the server's whole environment: what the caller has in its own, such as passwords, is none of its business.

    Both servers set a umask of their own, by these variables.
    """
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "UMASK": "0600", "UMASK_DIR": "0700"}


def _log(base: Path) -> Path:
    return base / "log" / "mysql.log"


def _common_options(program: MysqlProgram, folder: Path) -> list[str]:
    options = ["--no-defaults", f"--datadir={folder}"]
    if program.is_unpacked:
        options += [f"--basedir={program.prefix}", f"--lc-messages-dir={program.share}"]
        options += [f"--plugin-dir={program.plugins}"] if program.plugins else []
    if os.getuid() == 0:
        options.append("--user=root")
    return options


def _redo_log_options(program: MysqlProgram, size: int) -> list[str]:
    if program.kind == "mariadb":
        return [f"--innodb-log-file-size={size}"]
    if tuple(int(part) for part in program.version.split(".")) >= (8, 0, 30):
        return [f"--innodb-redo-log-capacity={size}"]
    return [f"--innodb-log-file-size={size // 2}"]  # of two files


def _read_marker(folder: Path) -> tuple[Kind, str] | None:
    try:
        declared = read_json(folder / _MARKER) or {}
        return declared["kind"], declared["version"]
    except KeyError:
        return None


def _write_marker(folder: Path, program: MysqlProgram) -> None:
    write_json(folder / _MARKER, {"kind": program.kind, "version": program.version})


def _require_matching_data(program: MysqlProgram, folder: Path) -> None:
    if not folder.exists():
        return
    marker = _read_marker(folder)
    remedy = f"remove {folder} (its databases are lost, until they are built again)"
    if marker is None:
        raise ServiceError(f"{folder} was not made by this project: move it elsewhere, or {remedy}")
    kind, version = marker
    if kind != program.kind or series(version) != series(program.version):
        raise ServiceError(
            f"the databases in {folder} were made by {NAMES[kind]} {version}, and the server at hand is"
            f" {program.title}: {remedy}"
        )


def _make_databases(program: MysqlProgram, base: Path) -> None:
    """Make the system tables beside, and move them into place when they are complete."""
    log = _log(base)
    with work_folder(base / "tmp_databases") as folder, log.open("ab") as output:
        made = folder / "mysql"
        made.mkdir(mode=0o700)
        offset = output.tell()
        options = [*_common_options(program, made), f"--tmpdir={folder}", "--skip-log-bin", "--skip-networking"]
        if program.kind == "mysql":
            command, script = [*program.command, *options, "--initialize-insecure"], b""
        else:
            bootstrap = ["--bootstrap", "--log-warnings=0", "--max-allowed-packet=8M"]
            command, script = [*program.command, *options, *bootstrap], _mariadb_script(program)
        result = subprocess.run(  # noqa: S603 - the server program that was looked up
            command, input=script, stdout=output, stderr=subprocess.STDOUT, check=False, env=_environment()
        )
        if result.returncode != 0:
            raise ServiceError(f"{program.title} cannot make its databases: {_last_error(log, offset)} (see {log})")
        _write_marker(made, program)
        replace_folder(made, data_folder(base))


def _mariadb_script(program: MysqlProgram) -> bytes:
    parts = [b"create database if not exists mysql;", b"use mysql;", b"set @auth_root_socket = null;"]
    for name in _MARIADB_SCRIPTS:
        paths = [program.share / f"{prefix}{name}" for prefix in ("mariadb_", "mysql_", "")]
        parts += [path.read_bytes() for path in paths if path.exists()][:1]
    # The installer makes passwordless roots for other host names too.
    parts.append(b"\ndelete from mysql.global_priv where user = 'root' and host <> 'localhost';\n")
    parts.append(b"delete from mysql.proxies_priv where host <> 'localhost';\n")
    return b"\n".join(parts)


def _last_error(log: Path, offset: int) -> str:
    with log.open("rb") as file:
        file.seek(offset)
        lines = file.read().decode("utf-8", errors="replace").splitlines()
    errors = [line for line in lines if "ERROR" in line and "Aborting" not in line] or lines[-1:] or ["no reason given"]
    return re.sub(r"^.*?\[?ERROR\]?:?\s*(\[[^\]]*\]\s*)*", "", errors[0]).strip()


def _grant(base: Path, tcp: TcpOptions) -> None:
    with connect_as_root(base) as connection, connection.cursor() as cursor:
        for host in ("127.0.0.1", "localhost"):
            cursor.execute(f"create user if not exists %s@'{host}' identified by %s", (tcp.user, tcp.password))
            cursor.execute(f"grant all privileges on *.* to %s@'{host}' with grant option", (tcp.user,))
