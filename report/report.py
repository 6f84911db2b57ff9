"""The steps of `make report`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from pipeline.cli import say, shown
from pipeline.files import disk_errors, make_private_folder, open_private
from pipeline.interrupt import answer_with
from pipeline.progress import working
from pipeline.settings import Settings
from pipeline.units import duration, quantity
from report.content import Findings, render
from report.counts import Side, built_tables, count_files, read_counts
from report.drawing import draw_sides


def write_report(settings: Settings, path: Path, num_rows: Mapping[Side, int]) -> None:
    """Read the tables and write the page, whole or not at all.

    Args:
        settings: name the data set and the databases.
        path: the HTML file.
        num_rows: about how many rows of each side to look into.

    Raises:
        DatabaseError: the tables are not built from what is staged, or the server cannot be reached.
        PipelineError: the page cannot be written there.
    """
    begun = time.monotonic()
    with working("read") as tell:
        findings = _find(settings, num_rows, tell)
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


def _find(settings: Settings, num_rows: Mapping[Side, int], tell: Callable[[str], None]) -> Findings:
    """Count and draw at once: the one keeps the server busy, the other this process."""
    with built_tables(settings, 2) as (counting, drawing), ThreadPoolExecutor(max_workers=2) as pool:
        files = pool.submit(count_files, counting)
        tell("labels, lists, groups and features")
        counts = read_counts(drawing, settings)
        tell("the structures of some impressions and groups")
        sides = draw_sides(drawing, settings, counts, num_rows)
        tell("every row of every table")
        return Findings(counts, files.result(), sides, settings.source.kind == "generated")


def _write(path: Path, content: bytes) -> None:
    with disk_errors(path):
        make_private_folder(path.parent)
        unfinished = path.with_name(path.name + ".tmp")
        with open_private(unfinished) as file:
            file.write(content)
        answer_with("the page is the new one or the one that was there, and whole")
        unfinished.replace(path)
