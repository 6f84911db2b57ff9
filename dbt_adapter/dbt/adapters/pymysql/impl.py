"""What dbt asks an adapter about the database, and dbt-mysql's macros do not answer."""

from __future__ import annotations

import csv
import os
import re
from dataclasses import dataclass, field, replace
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from dbt.adapters.base import BaseAdapter, BaseRelation, Column, available
from dbt.adapters.base.impl import ConstraintSupport
from dbt.adapters.base.relation import EventTimeFilter
from dbt.adapters.contracts.relation import Policy
from dbt.adapters.sql import SQLAdapter
from dbt_common.contracts.constraints import ConstraintType
from dbt_common.exceptions import DbtDatabaseError
from pymysql.constants import ER

from .connections import PymysqlConnectionManager
from .ranges import Ran, Work

if TYPE_CHECKING:
    import agate


@dataclass
class _SchemaAndName(Policy):
    """A relation has no database beside its schema."""

    database: bool = False


@dataclass(frozen=True, eq=False, repr=False)
class PymysqlRelation(BaseRelation):
    """A table or a view."""

    quote_policy: Policy = field(default_factory=_SchemaAndName)
    include_policy: Policy = field(default_factory=_SchemaAndName)
    quote_character: str = "`"

    def _render_event_time_filtered(self, event_time_filter: EventTimeFilter) -> str:
        """Give bounds in UTC, which is the session's time: not every server takes an offset."""
        start, end = (
            time and time.astimezone(UTC).replace(tzinfo=None)
            for time in (event_time_filter.start, event_time_filter.end)
        )
        return super()._render_event_time_filtered(replace(event_time_filter, start=start, end=end))


_TEXTS = {"tinytext": 255, "text": 65_535, "mediumtext": 16_777_215, "longtext": 4_294_967_295}
_LONGEST_VARCHAR = 16_383  # of utf8mb4
# Ranges that MySQL fills side by side meet at its redo log.
_MOST_THREADS = 16


@dataclass
class PymysqlColumn(Column):
    """A column, whose type is the server's own word for it."""

    TYPE_LABELS: ClassVar[dict[str, str]] = {"STRING": "text", "TIMESTAMP": "datetime"}

    @property
    def quoted(self) -> str:
        """The name as it stands in SQL."""
        return f"`{self.column}`"

    @property
    def data_type(self) -> str:
        """The type as it stands in SQL."""
        return self.dtype

    def is_string(self) -> bool:
        """Whether it holds text."""
        return self._word in ("char", "varchar", *_TEXTS)

    def string_size(self) -> int:
        """How much text it takes."""
        return _TEXTS.get(self._word) or int(self.dtype.partition("(")[2].partition(")")[0])

    def is_integer(self) -> bool:
        """Whether it holds whole numbers."""
        return self._word in ("tinyint", "smallint", "mediumint", "int", "integer", "bigint")

    def is_numeric(self) -> bool:
        """Whether it holds decimal fractions."""
        return self._word in ("decimal", "numeric")

    def is_float(self) -> bool:
        """Whether it holds binary fractions."""
        return self._word in ("float", "double", "real")

    @property
    def _word(self) -> str:
        return re.split(r"\W", self.dtype.lower(), maxsplit=1)[0]

    @classmethod
    def string_type(cls, size: int) -> str:
        """The type that takes so much text."""
        return next((name for name, most in _TEXTS.items() if most >= size > _LONGEST_VARCHAR), f"varchar({size})")


class PymysqlAdapter(SQLAdapter):
    """MySQL and MariaDB."""

    Relation = PymysqlRelation
    Column = PymysqlColumn
    ConnectionManager = PymysqlConnectionManager
    CONSTRAINT_SUPPORT = {  # noqa: RUF012 - dbt's form
        ConstraintType.check: ConstraintSupport.ENFORCED,
        ConstraintType.not_null: ConstraintSupport.ENFORCED,
        ConstraintType.unique: ConstraintSupport.ENFORCED,
        ConstraintType.primary_key: ConstraintSupport.ENFORCED,
        # dbt replaces a table by renaming, which its children would follow.
        ConstraintType.foreign_key: ConstraintSupport.NOT_SUPPORTED,
    }
    check_schema_exists = BaseAdapter.check_schema_exists

    def __init__(self, config: Any, mp_context: Any) -> None:
        """Make the adapter of a command. `threads: 0` in a profile means as many as this machine has cores."""
        config.threads = config.threads or min(len(os.sched_getaffinity(0)), _MOST_THREADS)
        super().__init__(config, mp_context)

    @available.parse_none
    def get_relation(self, database: str | None, schema: str, identifier: str) -> BaseRelation | None:  # noqa: ARG002
        """Find a table or a view, whatever a macro makes of the database that there is not."""
        return super().get_relation(None, schema, identifier)  # type: ignore[no-any-return]

    @available.parse(lambda *_: (True, None))
    def hold_lock(self, name: str, seconds: int) -> tuple[bool, int | None]:
        """Hold a lock of the server until this command of dbt has ended.

        Args:
            name: the lock's, of at most 64 characters.
            seconds: to wait for it.

        Returns:
            Whether it is held; and which connection holds it else, where that is known.
        """
        connections: Any = self.connections
        held, holder = connections.hold_lock(name, seconds)
        return held, holder

    @available.parse(lambda *_: True)
    def holds_lock(self, name: str) -> bool:
        """Tell whether this command of dbt holds a lock of the server, by the lock's name."""
        connections: Any = self.connections
        return bool(connections.holds_lock(name))

    @available.parse(lambda **_: [])
    def run_by_ranges(self, **work: Any) -> list[Ran]:
        """Run a statement by ranges of a key, as many at a time as dbt has threads, each in a transaction of its own.

        Args:
            work: the attributes of `ranges.Work`.

        Returns:
            What each range has brought. If one fails, so does this, and a table holds what others have filled in.
        """
        connections: Any = self.connections
        ran: list[Ran] = connections.run_by_ranges(Work(**work))
        return ran

    @available.parse(lambda *_: [])
    def read_seed(self, seed: dict[str, Any]) -> list[list[str]]:
        """Read the CSV of a seed, which dbt lets nobody but the seed itself do.

        Args:
            seed: the seed in the graph.

        Returns:
            Its lines, the head first, each value as text.
        """
        with (Path(seed["root_path"]) / seed["original_file_path"]).open(encoding="utf-8-sig", newline="") as file:
            return list(csv.reader(file))

    @available.parse_list
    def get_columns_in_relation(self, relation: BaseRelation) -> list[PymysqlColumn]:
        """Give the columns of a table or a view, and none of what is not there."""
        try:
            return list(super().get_columns_in_relation(relation))  # type: ignore[no-untyped-call]
        except DbtDatabaseError as error:
            if str(error.msg).startswith(f"{ER.NO_SUCH_TABLE}:"):
                return []
            raise

    def valid_incremental_strategies(self) -> list[str]:
        """Name the strategies that there are macros for."""
        return ["append", "delete+insert", "microbatch"]

    def timestamp_add_sql(self, add_to: str, number: int = 1, interval: str = "hour") -> str:
        """Give the SQL of a later time."""
        return f"{add_to} + interval {number} {interval}"

    def string_add_sql(self, add_to: str, value: str, location: str = "append") -> str:
        """Give the SQL of a longer text."""
        first, second = (add_to, f"'{value}'") if location == "append" else (f"'{value}'", add_to)
        return f"concat({first}, {second})"

    @classmethod
    def date_function(cls) -> str:
        """Give the SQL of today's date."""
        return "current_date()"

    @classmethod
    def convert_datetime_type(cls, agate_table: agate.Table, col_idx: int) -> str:  # noqa: ARG003 - dbt's signature
        """Give the type of a column of a seed that holds times."""
        return "datetime"

    @classmethod
    def quote(cls, identifier: str) -> str:
        """Write a name as it stands in SQL."""
        return f"`{identifier}`"

    @classmethod
    def _catalog_filter_table(cls, table: agate.Table, used_schemas: frozenset[tuple[str, str]]) -> agate.Table:  # noqa: ARG003
        """Keep all rows: the macro finds what is asked for alone, and dbt would drop what has no database."""
        return table


class MysqlMacros(PymysqlAdapter):
    """The name by which dbt knows dbt-mysql's macros."""

    @classmethod
    def type(cls) -> str:
        """The adapter that the macros are named after."""
        return "mysql"
