from __future__ import annotations

import pytest

from pipeline.units import Unit, duration, quantity


@pytest.mark.parametrize(
    ("amount", "unit", "text"),
    [
        (0, "B", "0 B"),
        (999, "B", "999 B"),
        (8_123_456, "B", "8.1 MB"),
        (9_000_000_000_000, "B", "9.0 TB"),
        (42_300, "rows", "42,300 rows"),
    ],
)
def test_amounts_read_as_a_person_writes_them(amount: float, unit: Unit, text: str) -> None:
    assert quantity(amount, unit) == text


@pytest.mark.parametrize(("seconds", "text"), [(4.21, "4.2 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")])
def test_durations_read_as_a_person_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
