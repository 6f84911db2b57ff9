"""The steps of `make report`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from pipeline.cli import say, shown
from pipeline.errors import DatabaseError
from pipeline.files import disk_errors, make_private_folder, open_private
from pipeline.interrupt import answer_with
from pipeline.mysql import MysqlConnection
from pipeline.progress import working
from pipeline.published import hold_tables
from pipeline.settings import Settings
from pipeline.units import duration, quantity
from report.comparison import Unknown, compare
from report.content import Findings, render
from report.counts import FileCounts, Side, built_tables, count_files, read_counts
from report.drawing import draw_sides
from report.occurrences import Occurrences, count_occurrences
from report.rates import read_rates


def write_report(settings: Settings, path: Path, num_rows: Mapping[Side, int], other: Settings | None = None) -> None:
    """Read the tables and write the page, whole or not at all.

    Args:
        settings: name the data set and the databases.
        path: the HTML file.
        num_rows: about how many rows of each side to look into.
        other: the other data set of the same mode, which is compared where it is built.

    Raises:
        DatabaseError: the tables are not built from what is staged, or the server cannot be reached.
        PipelineError: the page cannot be written there.
    """
    begun = time.monotonic()
    with working("read") as tell:
        findings = _find(settings, num_rows, other, tell)
    num_structures = sum(side.num_structures for side in findings.sides.values())
    say(
        f"[1/2] read {settings.database}: {findings.counts.num_samples:,} impressions, {num_structures:,} structures"
        f" looked at ({duration(time.monotonic() - begun)})"
    )
    begun = time.monotonic()
    with working("page"):
        content = render(settings, findings, datetime.now(UTC)).encode()
    _write(path, content)
    say(f"[2/2] page: {shown(path)}, {quantity(len(content), 'B')} ({duration(time.monotonic() - begun)})")


def _find(
    settings: Settings, num_rows: Mapping[Side, int], other: Settings | None, tell: Callable[[str], None]
) -> Findings:
    """Count and draw at once: the one keeps the server busy, the other this process."""
    with built_tables(settings, 2) as (counting, drawing), ThreadPoolExecutor(max_workers=3) as pool:
        counted = pool.submit(_count_rows, counting)
        tell("labels, lists, groups and features")
        counts = read_counts(drawing, settings)
        compared = pool.submit(_compare, settings, other, counted=counts.is_countable) if other else None
        tell("the structures of some impressions and groups")
        sides = draw_sides(drawing, settings, counts, num_rows)
        tell("what became of the impressions, by feature")
        rates = read_rates(drawing, counts, sides)
        tell("every row of every table")
        files, occurrences = counted.result()
        unknown = compared.result() if compared else None
        is_generated = settings.source.kind == "generated"
        return Findings(counts, files, sides, is_generated, occurrences=occurrences, rates=rates, unknown=unknown)


def _count_rows(
    connection: MysqlConnection,
) -> tuple[Sequence[FileCounts] | None, Mapping[Side, Mapping[str, Occurrences]] | None]:
    """Count every row of every table, and how often each feature occurs; nothing where it would take minutes."""
    files = count_files(connection)
    return files, None if files is None else count_occurrences(connection)


def _compare(settings: Settings, other: Settings, *, counted: bool) -> Sequence[Unknown] | None:
    """Look up the features of test in train; nothing where the other data set is not built."""
    pair = sorted((settings, other), key=lambda each: list(settings.data_sets).index(each.data_set.name))
    try:
        with hold_tables(other, 1) as published:
            return compare(published.readers[0], *pair, counted=counted)
    except DatabaseError:
        return None


def _write(path: Path, content: bytes) -> None:
    with disk_errors(path):
        make_private_folder(path.parent)
        unfinished = path.with_name(path.name + ".tmp")
        with open_private(unfinished) as file:
            file.write(content)
        answer_with("the page is the new one or the one that was there, and whole")
        unfinished.replace(path)
