"""An HTML page that stands alone: its style and its plots are in it, for a desk and a phone, in light and dark.

What is put into a page is escaped, unless it is `Markup` already; and what would not be shown of it is made visible.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from pipeline.printable import printable, printable_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Drawn in these colours, which the page then replaces by its own, one set for light and one for dark.
_COLOURS = {
    "#0a0001": "var(--ink)",
    "#0a0002": "var(--faint)",
    "#0a0003": "var(--line)",
    "#0a0004": "var(--first)",
    "#0a0005": "var(--second)",
}
INK, FAINT, LINE, FIRST, SECOND = _COLOURS

# Inches. A phone shows a plot at about its own size, and two small ones side by side.
SIZE = (4.6, 3.0)
SMALL_SIZE = (2.2, 1.7)
# Right of the axes and above them: half a number of the axis.
_GAP = 0.1

_STYLE = Markup("""
:root { --ink: #1f2933; --faint: #66727f; --line: #d5dbe1; --paper: #ffffff; --card: #f6f8fa; --first: #0b6e99;
  --second: #d9622b; --warn: #fff4e5; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --faint: #9aa5b1; --line: #3e4c59; --paper: #161b22;
  --card: #1f2630; --first: #5ab4dc; --second: #f59e6c; --warn: #3a2d1c; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 72rem; padding: 1.2rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .3rem; text-wrap: balance; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .4rem; } h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p { max-width: 46rem; margin: .5rem 0; } .faint { color: var(--faint); font-size: .875rem; }
.warning { background: var(--warn); border-left: 4px solid var(--second); padding: .6rem .9rem; border-radius: .3rem; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: 1rem 0; font-size: .9rem; }
a { color: var(--first); text-underline-offset: .15em; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.9rem, 1fr)); gap: .7rem; margin: 1.1rem 0;
  padding: 0; }
.tiles div { background: var(--card); border-radius: .5rem; padding: .6rem .8rem; display: flex;
  flex-direction: column-reverse; justify-content: flex-end; }
.tiles dt { color: var(--faint); font-size: .8rem; line-height: 1.3; }
.tiles dd { margin: 0; font-size: 1.3rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); gap: 1rem;
  margin: .8rem 0; }
.plots.small { grid-template-columns: repeat(auto-fill, minmax(min(48%, 12rem), 1fr)); gap: .6rem; }
figure { margin: 0; padding: .8rem; background: var(--card); border-radius: .5rem; min-width: 0; }
.small figure { padding: .5rem; display: flex; flex-direction: column; justify-content: space-between; }
figcaption { font-size: .875rem; margin-bottom: .4rem; } .small figcaption { font-size: .8rem; line-height: 1.3; }
.small .faint { font-size: inherit; }
svg { width: 100%; height: auto; display: block; }
.table { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap;
  vertical-align: top; }
th { color: var(--faint); font-weight: 500; vertical-align: bottom; }
.text { text-align: left; } td.text + td.text { white-space: normal; min-width: 8rem; max-width: 24rem; }
th:first-child, td:first-child { padding-left: 0; position: sticky; left: 0; background: var(--paper); }
code { overflow-wrap: anywhere; }
.bar { display: inline-block; width: 5rem; height: .55rem; background: var(--line); border-radius: .2rem;
  vertical-align: baseline; margin-left: .5rem; overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--first); }
@media (max-width: 40rem) { table { font-size: .8rem; } th, td { padding: .3rem .4rem; }
  .bar { display: block; width: 100%; margin: .2rem 0; } }
.first { color: var(--first); } .second { color: var(--second); }
""")

_PAGE = Markup("""<!doctype html>
<html lang=en>
<meta charset=utf-8>
<meta name=viewport content="width=device-width, initial-scale=1">
<meta http-equiv=Content-Security-Policy content="default-src 'none'; style-src 'unsafe-inline'">
<title>{}</title>
<style>{}</style>
<h1>{}</h1>
{}</html>
""")


def page(title: str, parts: Iterable[Markup], *, headline: str | None = None) -> str:
    """Put a page together.

    Args:
        title: of the window.
        parts: what the page holds, in order.
        headline: stands at the top of the page; the title by default.
    """
    return printable_lines(_PAGE.format(title, _STYLE, headline or title, Markup().join(parts)))


def paragraph(text: str, kind: str | None = None) -> Markup:
    """Give a paragraph; `kind` is a class of the style, such as `faint`."""
    return Markup("<p class={}>{}</p>\n").format(kind, text) if kind else Markup("<p>{}</p>\n").format(text)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, num_text_columns: int = 1) -> Markup:
    """Give a table, which scrolls where the page is too narrow for it.

    Args:
        head: a name for each column.
        rows: as many cells each.
        num_text_columns: how many of the first columns are text; the others are numbers.
    """
    return Markup("<div class=table><table>{}{}</table></div>\n").format(
        _row("th", head, num_text_columns), Markup().join(_row("td", row, num_text_columns) for row in rows)
    )


def _row(kind: str, cells: Sequence[str], num_text_columns: int) -> Markup:
    row = (
        Markup("<{0}{1}>{2}").format(kind, Markup(" class=text") if number < num_text_columns else "", cell)
        for number, cell in enumerate(cells)
    )
    return Markup("<tr>{}\n").format(Markup().join(row))


def figure(
    caption: str,
    draw: Callable[[Axes], None],
    *,
    size: tuple[float, float] = SIZE,
    margins: tuple[float, float] | None = None,
    label: str | None = None,
) -> Markup:
    """Draw a plot.

    Args:
        caption: stands above it.
        draw: draws it, in the colours of this module.
        size: in inches.
        margins: room left of the axes and below them, in inches; by default it is measured, which takes time.
        label: what somebody is told who cannot see it; the caption by default.
    """
    label = printable(label or escape(caption).striptags())
    return Markup("<figure><figcaption>{}</figcaption>{}</figure>\n").format(
        caption, _inline(_drawn(draw, size, margins), label)
    )


def _drawn(draw: Callable[[Axes], None], size: tuple[float, float], margins: tuple[float, float] | None) -> str:
    colours = dict.fromkeys(
        ("axes.edgecolor", "xtick.color", "ytick.color", "xtick.labelcolor", "ytick.labelcolor"), FAINT
    )
    style: Any = {
        **colours,
        "text.color": INK,
        "axes.labelcolor": FAINT,
        "axes.labelsize": 9.5,
        "ytick.labelcolor": INK,
        "font.size": 9.5,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        # Names come from the data: a dollar in one is no formula.
        "text.parse_math": False,
        "svg.fonttype": "none",
        "svg.hashsalt": "page",
    }
    with mpl.rc_context(style):
        drawing = Figure(figsize=size, layout=None if margins else "constrained")
        draw(drawing.add_axes(_place(size, margins)) if margins else drawing.add_subplot())
        written = io.StringIO()
        drawing.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return written.getvalue()


def _place(size: tuple[float, float], margins: tuple[float, float]) -> tuple[float, float, float, float]:
    """Where the axes are, in parts of the plot: left, bottom, width and height."""
    (width, height), (left, bottom) = size, margins
    return left / width, bottom / height, (width - left - _GAP) / width, (height - bottom - _GAP) / height


def _inline(svg: str, label: str) -> Markup:
    """Make a plot part of the page: as wide as its place, in the page's colours and font."""
    opening, content = re.fullmatch(r".*?(<svg[^>]*>)(.*)", svg, re.DOTALL).groups()  # type: ignore[union-attr]
    view = re.search(r'viewBox="[^"]*"', opening)
    # Identifiers of one plot must not meet those of another on the page.
    prefix = f"p{zlib.crc32((label + svg).encode()):x}-"
    content = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}", content)
    content = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px system-ui, sans-serif", content)
    for drawn, on_page in _COLOURS.items():
        content = content.replace(drawn, on_page)
    spaces = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
    drawing = f'<svg {view[0] if view else ""} {spaces} role="img" aria-label="{escape(label)}">{content}'
    return Markup(drawing)  # noqa: S704 - matplotlib has escaped what is in it


def count(number: float) -> str:
    """Write a number as short as an axis has it: `7`, `1.5k`, `40M`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def percent(share: float) -> str:
    """Write a share as an axis has it: `100 %`, `0.01 %`."""
    return f"{share * 100:.3g} %" if share == 0 or share >= 1e-6 else f"{share * 100:.0e} %"


def log_axis(axes: Axes, which: Literal["x", "y"], write: Callable[[float], str], *, num_marks: int = 5) -> None:
    """Give an axis a logarithmic scale with few marks, which `write` writes: `count` or `percent`."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis.set_major_locator(LogLocator(numticks=num_marks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda number, _: write(number)))
