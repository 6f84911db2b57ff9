"""Amounts and times as a person reads them. Standard library only: set-up uses it too."""

from __future__ import annotations

from typing import Literal

Unit = Literal["B", "rows"]


def quantity(amount: float, unit: Unit) -> str:
    """Write an amount as a person reads it: `8.1 MB`, `42,300 rows`."""
    if unit == "rows":
        return f"{amount:,.0f} rows"
    for prefix in ("", "k", "M", "G"):
        if abs(amount) < 1000:
            return f"{amount:.1f} {prefix}B" if prefix else f"{amount:.0f} B"
        amount /= 1000
    return f"{amount:.1f} TB"


def duration(seconds: float) -> str:
    """Write a time span as a person reads it: `4.2 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
