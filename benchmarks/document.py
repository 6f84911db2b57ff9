"""`python -m benchmarks.document`: put the results that are there into docs/performance.md, with a plot over scale."""

from __future__ import annotations

if __name__ == "__main__":  # above the imports: Ctrl-C is answered from here on
    from pipeline.interrupt import run_module

    run_module("benchmarks.document")

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.results import RESULTS, Run, read_runs, table, with_growth
from embedded.programs import NAMES
from pipeline.cli import command_parser, run_command, say
from pipeline.errors import SettingsError
from pipeline.units import quantity

_ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = _ROOT / "docs" / "performance.md"
PLOT = _ROOT / "docs" / "assets" / "stage-times.svg"

_BEGIN, _END = "<!-- begin: written by python -m benchmarks.document -->", "<!-- end -->"

# The stages of the job, in its order, and what they are called in the plot.
_PLOTTED = {
    "unpack": "unpack",
    "staging load, whole command": "staging load",
    "dbt run": "dbt run",
    "dbt test": "dbt test",
    "whole job after the download": "whole job",
}


def written(runs: Sequence[Run]) -> str:
    """Give the part of the document that shows the runs."""
    parts = ["![Seconds of each stage over the share of train, on both servers](assets/stage-times.svg)"]
    for run in sorted(runs, key=lambda run: -run.scale):  # stable: MySQL stays before MariaDB
        parts += [f"### {_title(run)}", _conditions(run), "\n".join(table(with_growth(run, runs))), _slowest(run)]
    return "\n\n".join(parts)


def _title(run: Run) -> str:
    return f"{run.scale * 100:g} % of train, {NAMES[run.server]}"


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
    import matplotlib as mpl
    from matplotlib.figure import Figure as Drawing

    from pipeline.page import FAINT, INK, standalone

    by_server = {server: [run for run in runs if run.server == server] for server in NAMES}
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "deepcvr", "font.family": "sans-serif"})
    mpl.rcParams.update({"text.color": INK, "axes.titlecolor": INK, "axes.labelcolor": FAINT, "axes.edgecolor": FAINT})
    mpl.rcParams.update({"xtick.color": FAINT, "ytick.color": FAINT, "grid.color": FAINT})
    drawing = Drawing(figsize=(9, 3.6), layout="constrained")
    panels = drawing.subplots(1, len(by_server), sharex=True, sharey=True)
    for panel, (server, of_server) in zip(panels, by_server.items(), strict=True):
        for stage, name in _PLOTTED.items():
            points = [(run.scale * 100, run.seconds[stage]) for run in of_server if stage in run.seconds]
            panel.loglog(*zip(*points, strict=True), marker="o", label=name)
        panel.set_title(NAMES[server], loc="left")
        panel.set_xlabel("share of train, %")
        panel.xaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_major_formatter("{x:g}")
        panel.grid(visible=True, which="major", alpha=0.3)
    panels[0].set_ylabel("seconds")
    drawing.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.StringIO()
    drawing.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    path.write_text(standalone(content.getvalue()), encoding="utf-8")


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
