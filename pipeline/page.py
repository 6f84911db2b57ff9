"""An HTML page that stands alone: its style and its plots are in it, for a desk and a phone, in light and dark.

What is put into a page is escaped, and what would not be shown of it is made visible. Templates write it; the plots are
drawn here.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from pipeline.printable import printable, printable_lines
from pipeline.units import quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Drawn in these colours, which the page then replaces by its own, one set for light and one for dark.
_COLOURS = {
    "#0a0001": "var(--ink)",
    "#0a0002": "var(--faint)",
    "#0a0004": "var(--first)",
    "#0a0005": "var(--second)",
}
INK, FAINT, FIRST, SECOND = _COLOURS
# Of a drawing that is in no page; those of a page are in style.css.
_SCHEMES = (
    "svg { --ink: #1f2933; --faint: #66727f; --first: #0b6e99; --second: #d9622b }"
    " @media (prefers-color-scheme: dark)"
    " { svg { --ink: #e4e7eb; --faint: #9aa5b1; --first: #5ab4dc; --second: #f59e6c } }"
)

# Inches. A phone shows a plot at about its own size, and two small ones side by side.
SIZE = (4.6, 3.0)
SMALL_SIZE = (2.2, 1.7)
# Right of the axes and above them: half a number of the axis.
_GAP = 0.1

_TEMPLATES = Path(__file__).with_name("templates")


def render(template: Path, **content: object) -> str:
    """Write a page.

    Args:
        template: extends `page.html`, which has the style, and may use the macros of `parts.html`. What it is given is
            escaped, unless it is `Markup` already.
        content: what the template names. Beside it there are the filters `number`, `percent`, `count`, `quantity` (of
            bytes) and `moment`.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, _TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "number": "{:,}".format,
        "percent": percent,
        "count": count,
        "quantity": lambda size: quantity(size, "B"),
        "moment": "{:%Y-%m-%d %H:%M:%S}".format,
    }
    return printable_lines(environment.get_template(template.name).render(content))


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


def standalone(svg: str) -> str:
    """Make a drawing in the colours of this module a file that suits a light page and a dark one.

    Args:
        svg: as matplotlib writes it, with a transparent ground.
    """
    for drawn, on_page in _COLOURS.items():
        svg = svg.replace(drawn, on_page)
    return re.sub(r"<svg[^>]*>", lambda opening: f"{opening[0]}\n <style>{_SCHEMES}</style>", svg, count=1)


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
