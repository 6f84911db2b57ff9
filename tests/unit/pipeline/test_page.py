from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup
from matplotlib.axes import Axes

from pipeline.page import FIRST, count, figure, log_axis, percent, render

HOSTILE = "<script>alert('&\"')</script>"
ESCAPED = "&lt;script&gt;alert(&#39;&amp;&#34;&#39;)&lt;/script&gt;"


def draw_bar(name: str) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        axes.barh([0], [1], color=FIRST)
        axes.set_yticks([0], [name])

    return draw


@pytest.fixture
def page(tmp_path: Path) -> Callable[..., str]:
    """A page with a paragraph, a table of one cell, and a plot."""
    template = tmp_path / "template.html"
    template.write_text(
        """{% extends "page.html" %}
        {% from "parts.html" import table, plots %}
        {% block title %}{{ text }}{% endblock %}
        {% block content %}<p class={{ text }}>{{ text }}</p>{{ table([text], [[text]]) }}{{ plots([plot]) }}
        {% endblock %}"""
    )

    def write(text: str, *, plot: str | None = None) -> str:
        return render(template, text=text, plot=figure(text, draw_bar(plot or text), label=text))

    return write


def test_what_is_no_markup_is_escaped_wherever_it_stands(page: Callable[..., str]) -> None:
    written = page(HOSTILE)

    assert "<script" not in written
    assert written.count(ESCAPED) == 8
    assert "&lt;script&gt;alert('&amp;\"')&lt;/script&gt;" in written  # in the plot, as matplotlib escapes it


def test_what_would_not_be_shown_is_made_visible_wherever_it_stands(page: Callable[..., str]) -> None:
    written = page("a\u202eb\x1bc\u2028d\ud800", plot="a\u202eb")

    assert written.count(r"a\u202eb\u001bc\u2028d\ud800") == 8
    assert not set("\u202e\x1b\u2028\ud800") & set(written)


def test_markup_stays_what_it_is(page: Callable[..., str]) -> None:
    assert "<td class=text><b>1</b>" in page(Markup("<b>1</b>"))


def test_a_page_needs_nothing_from_elsewhere(page: Callable[..., str]) -> None:
    written = page("A page")

    assert "prefers-color-scheme: dark" in written
    assert "content=\"default-src 'none'" in written
    for outside in ("src=", "<script", "<link", "@import", "url(http"):
        assert outside not in written


def test_what_a_template_names_and_is_not_given_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "template.html").write_text("{{ nothing }}")
    with pytest.raises(UndefinedError, match="'nothing' is undefined"):
        render(tmp_path / "template.html")


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
