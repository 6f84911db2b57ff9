from __future__ import annotations

import io

import pytest

from pipeline.progress import Unit, duration, quantity, track


class Terminal(io.StringIO):
    """A stream that says of itself that it is a terminal."""

    def isatty(self) -> bool:
        return True


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


def test_a_log_gets_a_plain_line_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 1.0, 6.0, 7.0, 12.0])
    monkeypatch.setattr("pipeline.progress.time.monotonic", lambda: next(now))
    stream = io.StringIO()
    with track("download", 4_000_000, "B", stream=stream) as counter:
        for _ in range(4):
            counter.advance(600_000)

    assert stream.getvalue().splitlines() == [
        "  download: 1.2 MB of 4.0 MB, 200.0 kB/s, 14.0 s left",
        "  download: 2.4 MB of 4.0 MB, 200.0 kB/s, 8.0 s left",
    ]


def test_a_terminal_gets_a_bar_that_leaves_nothing_behind() -> None:
    stream = Terminal()
    with track("explode", 100, "rows", stream=stream) as counter:
        counter.advance(50)

    drawn = stream.getvalue()
    assert "explode" in drawn
    assert "\n" not in drawn
    assert drawn.endswith("\r")
