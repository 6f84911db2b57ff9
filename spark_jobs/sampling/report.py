"""The report of a sample: one HTML page with its plots inside, readable in light and dark, on a desk and on a phone."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.settings import Settings
from spark_jobs.sampling.design import Plan
from spark_jobs.sampling.findings import (
    FieldRow,
    Findings,
    RateRow,
    StratumRow,
    field_rows,
    fits,
    rate_rows,
    strata_rows,
    weighting_effect,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Drawn in these colours, which the page then replaces by its own, one set for light and one for dark.
_COLOURS = {"#0a0001": "var(--ink)", "#0a0002": "var(--faint)", "#0a0003": "var(--source)", "#0a0004": "var(--sample)"}
_INK, _FAINT, _SOURCE, _SAMPLE = _COLOURS

# Inches. A phone shows a plot at about its own size.
_WIDTH, _HEIGHT = 4.6, 3.0
_BAR_HEIGHT = 0.23
# A distribution is drawn up to the length that all but this share of the records keep to.
_TAIL = 0.001
_MOST_POINTS = 60

_STYLE = """
:root { --ink: #1f2933; --faint: #7b8794; --line: #d5dbe1; --paper: #ffffff; --card: #f6f8fa; --source: #0b6e99;
  --sample: #d9622b; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --faint: #9aa5b1; --line: #3e4c59; --paper: #161b22;
  --card: #1f2630; --source: #5ab4dc; --sample: #f59e6c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.2rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p { max-width: 46rem; } .faint { color: var(--faint); font-size: .875rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem; }
figure { margin: 0; padding: .8rem; background: var(--card); border-radius: .5rem; }
figcaption { font-size: .875rem; margin-bottom: .4rem; }
svg { width: 100%; height: auto; display: block; }
.table { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } code { overflow-wrap: anywhere; }
.source { color: var(--source); } .sample { color: var(--sample); }
"""


def write_report(path: Path, settings: Settings, findings: Findings, manifest: Mapping[str, Any]) -> None:
    """Write the report. The same findings give the same bytes with the same matplotlib.

    Args:
        path: the HTML file.
        settings: name the data set.
        findings: what was counted.
        manifest: the sample's manifest.
    """
    path.write_text("".join(_page(settings, findings, manifest)), encoding="utf-8")


def _page(settings: Settings, findings: Findings, manifest: Mapping[str, Any]) -> Iterator[str]:
    design, percent = findings.design, f"{findings.design.confidence * 100:g} %"
    title = f"Development sample of {settings.data_set.name}"
    yield "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n"
    yield '<meta name=viewport content="width=device-width, initial-scale=1">\n'
    yield f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n<h1>{_text(title)}</h1>\n"
    yield f"<p>{_text(_headline(findings))}</p>\n"
    yield f"<p class=faint>Drawn from <code>{_text(manifest['source']['uri'])}</code>, SHA-256"
    yield f" <code>{manifest['source']['sha256']}</code>, with seed {design.seed}."
    yield f" The archive has SHA-256 <code>{manifest['archive']['sha256']}</code>.</p>\n"
    yield "<h2>Strata</h2>\n"
    yield _table(
        ("", "source", "share", "sample", "share", f"{percent} interval", "weight"),
        map(_stratum, strata_rows(findings)),
    )
    yield f"<p class=faint>{_text(_about_strata(findings))}</p>\n"
    yield "<h2>Rates</h2>\n"
    yield _table(
        ("", "margin asked for", "impressions it takes", "source", "sample", f"{percent} interval", "design effect"),
        map(_rate, rate_rows(findings)),
    )
    yield f"<p class=faint>{_text(_about_rates(findings.plan))}</p>\n"
    yield "<h2>Goodness of fit</h2>\n"
    yield _table(
        ("", "chi-square", "degrees of freedom", "p", ""),
        [
            (name, f"{fit.statistic:.2f}", f"{fit.degrees}", f"{fit.p_value:.3f}", remark)
            for name, fit, remark in fits(findings)
        ],
    )
    yield "<p class=faint>Pearson's test, corrected for the finite population. A p below 0.01 says that source and"
    yield " sample differ by more than chance; one sample in a hundred has that without a fault. What the strata hold"
    yield " is closer to the source than chance would have it, but for what the minimum of a stratum adds.</p>\n"
    yield "<h2>Distributions</h2>\n"
    yield "<p><span class=source>■ source</span> &nbsp; <span class=sample>■ sample</span></p>\n<div class=plots>\n"
    yield from _plots(findings)
    yield "</div>\n"
    yield "<p class=faint>A group is drawn with its impressions, so that one with many of them is likelier to be"
    yield " here: the groups of the sample stand for impressions, not for groups.</p>\n"
    yield "<h2>Fields</h2>\n<p>The share of the impressions, and of the common feature groups, that have a field.</p>\n"
    for name, rows in _coverages(findings):
        yield f"<h3>{name}</h3>\n"
        yield _table(("field", "source", "sample", f"{percent} interval"), map(_field, rows))
    yield "</html>\n"


def _headline(findings: Findings) -> str:
    return (
        f"{findings.sample.file.num_eligible:,} of {findings.source.file.num_eligible:,} impressions and the"
        f" {findings.num_sample_groups:,} of {findings.num_groups:,} common feature groups that they refer to;"
        f" {findings.design.name}."
    )


def _about_strata(findings: Findings) -> str:
    text = (
        "The interval is Wilson's, of the share that a random sample of this size shows, corrected for the finite"
        " population. The weight is how many impressions of the source each drawn one stands for."
    )
    effect = weighting_effect(findings)
    if effect > 1.001:
        text += (
            f" Weights differ: use them where shares matter. They cost a factor of {effect:.3f} in the variance (Kish)."
        )
    for number, what in (
        (findings.source.file.num_rejects, "lines of the samples and"),
        (findings.source_groups.num_rejects, "of the common features were no good record, and"),
        (findings.source.file.num_orphans, "samples named a common feature group that is not there: none was drawn."),
    ):
        text += f" {number:,} {what}"
    return text


def _about_rates(plan: Plan) -> str:
    if plan.groups is not None:
        return (
            f"{plan.groups:,} whole groups were drawn, as many as the most demanding rate takes. The design effect is"
            " the variance's ratio to that of as many single impressions. The interval is that of a ratio of totals."
        )
    return (
        "The sample has the size that the most demanding rate takes when impressions are drawn at random. The interval"
        " is Wilson's for such a sample; where labels make the strata, the rate itself is held and does not vary."
    )


def _stratum(row: StratumRow) -> tuple[str, ...]:
    return (
        row.name,
        f"{row.source:,}",
        f"{row.source_share:.4%}",
        f"{row.sample:,}",
        f"{row.sample_share:.4%}",
        f"{row.interval.low:.4%} to {row.interval.high:.4%}",
        "none drawn" if row.weight is None else f"{row.weight:,.2f}",
    )


def _rate(row: RateRow) -> tuple[str, ...]:
    return (
        row.name,
        row.margin,
        f"{row.needed:,}",
        f"{row.source:.4%}",
        "none" if row.estimate is None else f"{row.estimate:.4%}",
        f"{row.interval.low:.4%} to {row.interval.high:.4%}",
        f"{row.design_effect:.2f}",
    )


def _field(row: FieldRow) -> tuple[str, ...]:
    interval = f"{row.interval.low:.2%} to {row.interval.high:.2%}"
    return row.name, f"{row.source_share:.2%}", f"{row.sample_share:.2%}", interval


def _coverages(findings: Findings) -> list[tuple[str, list[FieldRow]]]:
    confidence = findings.design.confidence
    return [
        ("Impressions", field_rows(findings.source.file, findings.sample.file, confidence)),
        ("Common feature groups", field_rows(findings.source_groups, findings.sample_groups, confidence)),
    ]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"<tr>{''.join(f'<th>{_text(cell)}' for cell in head)}"]
    lines += [f"<tr>{''.join(f'<td>{_text(cell)}' for cell in row)}" for row in rows]
    return f"<div class=table><table>{''.join(lines)}</table></div>\n"


def _text(text: str) -> str:
    return html.escape(str(text), quote=True)


def _plots(findings: Findings) -> Iterator[str]:
    strata = strata_rows(findings)
    yield _figure("Share of each stratum, on a logarithmic scale, with the interval", len(strata), _draw_strata, strata)
    lengths = findings.source.file.list_lengths, findings.sample.file.list_lengths
    yield _figure("Features of an impression", 0, _draw_lengths, lengths)
    lengths = findings.source_groups.list_lengths, findings.sample_groups.list_lengths
    yield _figure("Features of a common feature group", 0, _draw_lengths, lengths)
    for name, rows in _coverages(findings):
        yield _figure(f"{name} that have a field, with the interval", len(rows), _draw_coverage, rows)


def _figure(caption: str, num_bars: int, draw: Any, data: Any) -> str:
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and the executors need not have it
    from matplotlib.figure import Figure  # noqa: PLC0415

    colours = dict.fromkeys(
        ("axes.edgecolor", "xtick.color", "ytick.color", "xtick.labelcolor", "ytick.labelcolor"), _FAINT
    )
    style: Any = {
        **colours,
        "text.color": _INK,
        "axes.labelcolor": _FAINT,
        "ytick.labelcolor": _INK,
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "svg.fonttype": "none",
        "svg.hashsalt": caption,
    }
    with mpl.rc_context(style):
        height = max(_HEIGHT, 0.7 + 2 * _BAR_HEIGHT * num_bars) if num_bars else _HEIGHT
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        draw(figure.add_subplot(), data)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return f"<figure><figcaption>{_text(caption)}</figcaption>{_inline(drawn.getvalue(), caption)}</figure>\n"


def _inline(svg: str, caption: str) -> str:
    """Make a plot part of the page: as wide as its place, in the page's colours and font."""
    opening, content = re.fullmatch(r".*?(<svg[^>]*>)(.*)", svg, re.DOTALL).groups()  # type: ignore[union-attr]
    view = re.search(r'viewBox="[^"]*"', opening)
    # Identifiers of one plot must not meet those of another on the page.
    prefix = re.sub(r"\W+", "-", caption.lower())
    content = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", content)
    content = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px system-ui, sans-serif", content)
    for drawn, on_page in _COLOURS.items():
        content = content.replace(drawn, on_page)
    spaces = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {view[0] if view else ""} {spaces} role="img" aria-label="{_text(caption)}">{content}'


def _draw_strata(axes: Axes, rows: Sequence[StratumRow]) -> None:
    place = np.arange(len(rows))[::-1]
    axes.barh(place + 0.2, [row.source_share for row in rows], 0.36, color=_SOURCE)
    axes.barh(place - 0.2, [row.sample_share for row in rows], 0.36, color=_SAMPLE)
    _whiskers(axes, place - 0.2, rows)
    axes.set_xscale("log")
    axes.set_yticks(place, [row.name.replace(" and ", "\nand ").replace(", ", ",\n") for row in rows])
    axes.set_xlabel("share of the impressions")


def _draw_coverage(axes: Axes, rows: Sequence[FieldRow]) -> None:
    place = np.arange(len(rows))[::-1]
    axes.barh(place + 0.2, [row.source_share for row in rows], 0.36, color=_SOURCE)
    axes.barh(place - 0.2, [row.sample_share for row in rows], 0.36, color=_SAMPLE)
    _whiskers(axes, place - 0.2, rows)
    axes.set_yticks(place, [row.name for row in rows])
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of the records")


def _whiskers(axes: Axes, place: npt.NDArray[Any], rows: Sequence[StratumRow] | Sequence[FieldRow]) -> None:
    axes.hlines(place, [row.interval.low for row in rows], [row.interval.high for row in rows], color=_INK, linewidth=1)


def _draw_lengths(axes: Axes, lengths: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]) -> None:
    source, sample = lengths
    last = int(np.searchsorted(np.cumsum(source), source.sum() * (1 - _TAIL))) if source.sum() else 0
    width = last // _MOST_POINTS + 1
    edges = np.arange(0, last + width, width)
    for counts, colour in ((source, _SOURCE), (sample, _SAMPLE)):
        shares = np.add.reduceat(counts, edges[edges < len(counts)]) / max(1, counts.sum())
        axes.step(edges[: len(shares)], shares, where="mid", color=colour, linewidth=1.6)
    axes.set_xlabel("features" if width == 1 else f"features, in steps of {width}")
    axes.set_ylabel("share of the records")
    axes.set_ylim(bottom=0)
