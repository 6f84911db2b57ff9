"""`LOAD DATA LOCAL` from the program's memory: a connection that offers the server rows, and never a file."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, TypeAlias

from pymysql.connections import MySQLResult
from pymysql.cursors import Cursor
from pymysql.err import MySQLError
from pymysql.protocol import LoadLocalPacketWrapper

from pipeline.errors import LoadError, RepeatedKeyError
from pipeline.mysql import MysqlConnection, largest_packet

Buffer: TypeAlias = bytes | memoryview

# The name that LOAD DATA LOCAL gives the server, and that the server must ask for.
_STREAM_NAME = "deepcvr-stream"

# MySQL's packets hold 16 MiB; smaller ones keep the server reading while the next is made.
_LARGEST_CHUNK = 1 << 20

_DUPLICATE_KEY = 1062


class StreamConnection(MysqlConnection):
    """A connection that answers `LOAD DATA LOCAL` with what the program gives it, and never with a file.

    A server can answer any statement by asking the client for any of its files. This client has none to send: it
    sends the chunks given to `load`, once, for the name that it chose itself, and refuses everything else.
    """

    chunks: Iterable[Buffer] | None = None

    def __init__(self, **arguments: Any) -> None:
        # The driver's own connections leave it off, because they would send any file.
        super().__init__(**{**arguments, "local_infile": True})
        self.chunk_size = min(_LARGEST_CHUNK, largest_packet(self) // 2)

    def load(self, table: str, columns: str, chunks: Iterable[Buffer]) -> int:
        """Load rows into a table and give their number.

        Args:
            table: name of the table.
            columns: the columns that a row has, as SQL.
            chunks: text of the rows, cut anywhere.

        Raises:
            RepeatedKeyError: the server skipped a row because of its key.
            LoadError: the server changed or skipped a row.
        """
        self.chunks = chunks
        with self.cursor() as cursor:
            cursor.execute(
                f"load data local infile '{_STREAM_NAME}' into table `{table}` character set binary"
                f" fields terminated by '\\t' escaped by '\\\\' lines terminated by '\\n' ({columns})"
            )
            num_rows = cursor.rowcount
            if cursor.warning_count:
                raise _refused(cursor, table)
        return num_rows

    def _read_query_result(self, unbuffered: bool = False) -> int:
        """As in the driver, with a result that streams."""
        if unbuffered:
            raise NotImplementedError
        self._result = None
        result = _StreamResult(self)
        result.read()
        self._result = result
        if result.server_status is not None:
            self.server_status = result.server_status
        return result.affected_rows or 0


def _refused(cursor: Cursor, table: str) -> LoadError:
    cursor.execute("show warnings")
    warnings = cursor.fetchall()
    for _, code, message in warnings:
        if code == _DUPLICATE_KEY:
            return RepeatedKeyError(
                f"two records of the source have the same key, which table {table} cannot hold: {message}"
            )
    message = warnings[0][2] if warnings else "no reason given"
    return LoadError(f"the server would not take every row of table {table} as it is: {message}")


class _StreamResult(MySQLResult):
    def _read_load_local_packet(self, first_packet: Any) -> None:
        connection: Any = self.connection
        asked_for = LoadLocalPacketWrapper(first_packet).filename
        chunks, connection.chunks = connection.chunks, None
        refusal = LoadError(f"the MySQL server asked for a file ({asked_for!r}) that it was not offered")
        try:
            if chunks is None or asked_for != _STREAM_NAME.encode():
                raise refusal
            for chunk in chunks:
                view = memoryview(chunk)
                for begin in range(0, len(view), connection.chunk_size):
                    connection.write_packet(view[begin : begin + connection.chunk_size])
        except MySQLError:  # there is no connection any more
            raise
        except BaseException:
            with suppress(MySQLError):
                _end_of_data(connection)
            raise
        answer = _end_of_data(connection)
        if not answer.is_ok_packet():  # it asks once more
            raise refusal
        self._read_ok_packet(answer)  # type: ignore[attr-defined] # the stubs leave out what is not public


def _end_of_data(connection: Any) -> Any:
    connection.write_packet(b"")
    return connection._read_packet()
