"""Dbt-tests-adapter, the tests by which dbt's own adapters are known to be adapters, on each supported server."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from dbt.tests import adapter

from tests.integration.dbt_adapter.spelling import spelled_modules

pytestmark = [pytest.mark.soak, pytest.mark.filterwarnings("ignore:Class-scoped fixture")]

# Classes that cannot hold, by module and name, and why.
LEFT_OUT: Mapping[str, str] = {
    r"functions\..*": "dbt's user-defined functions, which dbt-mysql has no macros for",
    r"python_model\..*|sample_mode.*Python.*": "models in Python",
    r"materialized_view\..*|catalog\.relation_types.*": "materialized views, which dbt-mysql has no macros for",
    r".*Array.*": "arrays, which the servers do not have",
    r".*MergeExcludeColumns": "`merge`, which the servers do not have",
    r".*(SameAliasDifferentDatabases|SimpleCopyUppercase|BaseCaching\w+|NoPopulateCache)": "databases beside schemas",
    r".*(ClonePossible|CloneSameSourceAndTarget)": "a copy of a table without its rows: `dbt clone` makes views",
    r".*CurrentTimestampAware": "times with a zone; its twin for times without one is run",
    r".*EmptyInlineSourceRef": "a query in `from` without a name",
    r".*Ephemeral(Multi|Nested)": "compare the text of a view with that of Postgres; dbt's other tests of them are run",
    r".*(Constraint\w*(Ddl|Runtime)\w*|Constraint\w*Rollback|ConstraintQuotedColumn)": (
        "compare the DDL with that of Postgres; dbt-mysql's own tests have them in MySQL's"
    ),
    r".*IncrementalForeignKeyConstraint": "foreign keys, which the adapter writes for no plain table",
    r".*GetCatalogForSingleRelation": "an optional method",
    r".*(SimpleSeedColumnOverride|TypeBoolean|TypeInt|TypeString)": "types of columns that are not those of `cast`",
    r".*\.(BaseConstraintsColumnsEqual|BaseContractSqlHeader|BaseDataTypeMacro)": "bases of others",
}


def _has_tests(cls: type) -> bool:
    return any(name.startswith("test_") and inspect.isfunction(value) for name, value in inspect.getmembers(cls))


def _adds_nothing(cls: type) -> bool:
    return len(cls.__bases__) == 1 and all(name.startswith("__") for name in vars(cls))


def _all_classes() -> Iterator[type]:
    for module in spelled_modules():
        for cls in vars(module).values():
            if (
                inspect.isclass(cls)
                and cls.__module__ == module.__name__
                and _has_tests(cls)
                and not _adds_nothing(cls)
            ):
                yield cls


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__name__}".removeprefix(f"{adapter.__name__}.")


class _PersistDocs:
    def _assert_has_view_comments(self, view_node: Any, *_: bool) -> None:
        assert view_node["metadata"]["comment"] is None


class _ColumnsEqual:
    """Of the types that a contract tells apart."""

    @pytest.fixture
    def int_type(self) -> str:
        return "INTEGER"

    @pytest.fixture
    def data_types(self) -> list[list[str]]:
        return [
            ["1", "integer", "INTEGER"],
            ["'1'", "text", "TEXT"],
            ["cast('2013-11-03' as date)", "date", "DATE"],
            ["cast('2013-11-03' as datetime)", "datetime", "DATETIME"],
            ["cast('1' as decimal(8, 2))", "decimal(8, 2)", "DECIMAL"],
        ]


class _SimpleCopy:
    """MariaDB has no materialized views."""

    test_simple_copy_with_materialized_views = None


_CHANGED: Mapping[str, type] = {
    r".*BasePersistDocs": _PersistDocs,
    r".*ConstraintsColumnsEqual": _ColumnsEqual,
    r".*SimpleCopyBase": _SimpleCopy,
}

_CLASSES = {_path(cls): cls for cls in _all_classes()}

for _name, _cls in _CLASSES.items():
    if not any(re.fullmatch(pattern, _name) for pattern in LEFT_OUT):
        _changes = [change for pattern, change in _CHANGED.items() if re.fullmatch(pattern, _name)]
        _test = f"Test{_cls.__name__.removeprefix('Test').removeprefix('Base')}"
        globals()[_test] = type(_test, (*_changes, _cls), {})


def test_what_is_left_out_or_changed_is_in_the_package() -> None:
    for pattern in (*LEFT_OUT, *_CHANGED):
        assert any(re.fullmatch(pattern, name) for name in _CLASSES), pattern
