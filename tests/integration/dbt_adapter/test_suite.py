"""dbt-tests-adapter, the tests by which dbt's own adapters are told to be adapters."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest

from tests.integration.dbt_adapter.spelling import spelled_modules

pytestmark = pytest.mark.soak


def _has_tests(cls: type) -> bool:
    return any(name.startswith("test_") and inspect.isfunction(value) for name, value in inspect.getmembers(cls))


def _adds_nothing(cls: type) -> bool:
    return len(cls.__bases__) == 1 and all(name.startswith("__") for name in vars(cls))


def _classes() -> Iterator[type]:
    for module in spelled_modules():
        for cls in vars(module).values():
            if (
                inspect.isclass(cls)
                and cls.__module__ == module.__name__
                and _has_tests(cls)
                and not _adds_nothing(cls)
            ):
                yield cls


for _cls in _classes():
    _name = f"Test{_cls.__name__.removeprefix('Test').removeprefix('Base')}"
    globals()[_name] = type(_name, (_cls,), {})
