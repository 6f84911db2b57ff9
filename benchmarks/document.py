"""`python -m benchmarks.document`: put the results that are there into docs/performance.md, with a plot over scale."""

from __future__ import annotations

if __name__ == "__main__":  # above the imports: Ctrl-C is answered from here on
    from pipeline.interrupt import run_module

    run_module("benchmarks.document")

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from benchmarks.results import Figure, Measurement, Run, growth, table
from pipeline.cli import command_parser, run_command, say
from pipeline.errors import SettingsError
from pipeline.units import quantity

_ROOT = Path(__file__).resolve().parents[1]
RESULTS = _ROOT / "benchmarks" / "results"
DOCUMENT = _ROOT / "docs" / "performance.md"
PLOT = _ROOT / "docs" / "assets" / "stage-times.svg"

_BEGIN, _END = "<!-- begin: written by python -m benchmarks.document -->", "<!-- end -->"
_SERVERS = {"mysql": "MySQL", "mariadb": "MariaDB"}

# The stages of the job, in its order, and what they are called in the plot.
_PLOTTED = {
    "unpack": "unpack",
    "staging load, whole command": "staging load",
    "dbt run": "dbt run",
    "dbt test": "dbt test",
    "whole job after the download": "whole job",
}


def read_runs(folder: Path) -> list[Run]:
    """Read all results of a folder, the smallest scale first and MySQL before MariaDB."""
    runs = [_run(json.loads(path.read_text(encoding="utf-8"))) for path in folder.glob("*.json")]
    return sorted(runs, key=lambda run: (run.scale, list(_SERVERS).index(run.server)))


def _run(content: Mapping[str, Any]) -> Run:
    return Run(**{**content, "measurements": [_measurement(each) for each in content["measurements"]]})


def _measurement(content: Mapping[str, Any]) -> Measurement:
    known = {each.name: content[each.name] for each in fields(Measurement)}
    return Measurement(**{**known, "figure": Figure(**content["figure"]) if content["figure"] else None})


def written(runs: Sequence[Run]) -> str:
    """Give the part of the document that shows the runs."""
    parts = ["![Seconds of each stage over the share of train, on both servers](assets/stage-times.svg)"]
    for run in sorted(runs, key=lambda run: -run.scale):  # stable: MySQL stays before MariaDB
        earlier = next((each for each in runs if each.server == run.server and _is_tenth(each, run)), None)
        measurements = [each for each in run.measurements if not each.stage.startswith("growth of ")]
        if earlier:
            measurements += growth(_seconds(earlier), measurements)
        parts += [f"### {_title(run)}", _conditions(run), "\n".join(table(measurements)), _slowest(run)]
    return "\n\n".join(parts)


def _is_tenth(one: Run, other: Run) -> bool:
    return abs(one.scale * 10 / other.scale - 1) < 1e-6


def _seconds(run: Run) -> dict[str, float]:
    return {each.stage: each.seconds for each in run.measurements if each.seconds is not None}


def _title(run: Run) -> str:
    return f"{run.scale * 100:g} % of train, {_SERVERS[run.server]}"


def _conditions(run: Run) -> str:
    told = run.conditions
    size = f"{quantity(told['csv_bytes'], 'B')} of CSV, {told['staged_rows']:,} staged rows"
    return f"{told['server']}, {told['machine']}, on {told['measured_at'][:10]}; {size}."


def _slowest(run: Run) -> str:
    slowest = sorted(run.dbt_seconds.items(), key=lambda each: -each[1])[:8]
    return "dbt's longest, in seconds: " + ", ".join(f"`{name}` {seconds:.1f}" for name, seconds in slowest) + "."


def put_into(document: str, part: str) -> str:
    """Replace what stands between the two marks of a document.

    Raises:
        SettingsError: it has no such marks.
    """
    before, begin, rest = document.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise SettingsError(f"{DOCUMENT} has lost the marks between which the results stand")
    return f"{before}{begin}\n{part}\n{end}{after}"


def draw(runs: Iterable[Run], path: Path) -> None:
    """Draw the seconds of the job's stages over the scale, a panel a server, as SVG."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import
    from matplotlib.figure import Figure as Drawing  # noqa: PLC0415

    by_server = {server: [run for run in runs if run.server == server] for server in _SERVERS}
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "deepcvr", "font.family": "sans-serif"})
    drawing = Drawing(figsize=(9, 3.6), layout="constrained", facecolor="white")
    panels = drawing.subplots(1, len(by_server), sharex=True, sharey=True)
    for panel, (server, of_server) in zip(panels, by_server.items(), strict=True):
        for stage, name in _PLOTTED.items():
            points = [(run.scale * 100, _seconds(run)[stage]) for run in of_server if stage in _seconds(run)]
            panel.loglog(*zip(*points, strict=True), marker="o", label=name)
        panel.set_title(_SERVERS[server], loc="left")
        panel.set_xlabel("share of train, %")
        panel.xaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_major_formatter("{x:g}")
        panel.grid(visible=True, which="major", alpha=0.3)
    panels[0].set_ylabel("seconds")
    drawing.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, format="svg", metadata={"Date": None})


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the document and the plot, and give the exit code."""
    parser = command_parser(
        "python -m benchmarks.document",
        "Put the results in benchmarks/results into docs/performance.md, with a plot of stage times over scale.",
        examples="  SCALE=0.01 SERVER=both make bench && python -m benchmarks.document",
    )
    options = parser.parse_args(arguments)

    def run() -> None:
        runs = read_runs(RESULTS)
        DOCUMENT.write_text(put_into(DOCUMENT.read_text(encoding="utf-8"), written(runs)), encoding="utf-8")
        draw(runs, PLOT)
        say(f"{len(runs)} runs written into {DOCUMENT.relative_to(_ROOT)} and {PLOT.relative_to(_ROOT)}")

    return run_command(run, verbose=options.verbose, interrupted="the same command writes all of it again")
