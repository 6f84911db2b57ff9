from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from markupsafe import Markup
from matplotlib.axes import Axes

from pipeline.page import FIRST, count, figure, log_axis, page, paragraph, percent, table

HOSTILE = "<script>alert('&\"')</script>"
ESCAPED = "&lt;script&gt;alert(&#39;&amp;&#34;&#39;)&lt;/script&gt;"


def draw_bar(name: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        axes.barh([0], [1], color=FIRST)
        axes.set_yticks([0], [name])

    return draw


def test_what_is_no_markup_is_escaped_wherever_it_stands() -> None:
    parts = [
        paragraph(HOSTILE, HOSTILE),
        table([HOSTILE], [[HOSTILE]]),
        figure(HOSTILE, draw_bar(HOSTILE)),
    ]
    written = page(HOSTILE, parts, headline=HOSTILE)

    assert "<script" not in written
    assert written.count(ESCAPED) == 8
    assert "&lt;script&gt;alert('&amp;\"')&lt;/script&gt;" in written  # in the plot, as matplotlib escapes it


def test_what_would_not_be_shown_is_made_visible_wherever_it_stands() -> None:
    hidden = "a\u202eb\x1bc\u2028d\ud800"
    parts = [paragraph(hidden, hidden), table([hidden], [[hidden]]), figure(hidden, draw_bar("a\u202eb"), label=hidden)]
    written = page(hidden, parts, headline=hidden)

    assert written.count(r"a\u202eb\u001bc\u2028d\ud800") == 8
    assert not set("\u202e\x1b\u2028\ud800") & set(written)


def test_markup_stays_what_it_is() -> None:
    assert "<td><b>1</b>" in table(["n"], [[Markup("<b>1</b>")]], num_text_columns=0)


def test_a_page_needs_nothing_from_elsewhere() -> None:
    written = page("A page", [figure("A plot", draw_bar("name"))])

    assert "prefers-color-scheme: dark" in written
    assert "content=\"default-src 'none'" in written
    for outside in ("src=", "<script", "<link", "@import", "url(http"):
        assert outside not in written


def test_a_plot_takes_the_colours_of_the_page() -> None:
    drawn = figure("A plot", draw_bar("name"))

    assert "fill: var(--first)" in drawn
    assert "#0a00" not in drawn


def test_two_plots_on_a_page_share_no_identifier() -> None:
    drawn = figure("One", draw_bar("one")) + figure("Two", draw_bar("two"))
    identifiers = re.findall(r'\bid="([^"]+)"', drawn)

    assert len(identifiers) > 10
    assert len(identifiers) == len(set(identifiers))
    assert set(re.findall(r'(?:url\(#|href="#)([^")]+)', drawn)) <= set(identifiers)


def test_a_name_with_dollars_is_no_formula() -> None:
    assert ">$x_1$<" in figure("A plot", draw_bar("$x_1$"))


def test_a_plot_can_be_heard() -> None:
    assert 'aria-label="A &lt; B"' in figure(Markup("<b>A</b> &lt; B"), draw_bar("name"))


@pytest.mark.parametrize(
    ("number", "written"), [(0, "0"), (7, "7"), (1500, "1.5k"), (40_000_000, "40M"), (2.5e9, "2.5G"), (0.5, "0.5")]
)
def test_numbers_are_short(number: float, written: str) -> None:
    assert count(number) == written


@pytest.mark.parametrize(
    ("share", "written"), [(0, "0 %"), (1, "100 %"), (0.038872, "3.89 %"), (0.0001, "0.01 %"), (2e-8, "2e-06 %")]
)
def test_shares_are_short(share: float, written: str) -> None:
    assert percent(share) == written


def test_a_logarithmic_axis_has_few_marks_in_plain_words() -> None:
    def draw(axes: Axes) -> None:
        axes.plot([1, 1_000_000], [1, 1])
        log_axis(axes, "x", count)

    written = figure("A plot", draw)
    assert 2 <= sum(f">{mark}<" in written for mark in ("1", "10", "100", "1k", "10k", "100k", "1M")) <= 6
    assert "mathdefault" not in written
