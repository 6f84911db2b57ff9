"""What the page of the report says: `report.html` has the words, and this the figures and rows that it names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as with_default
from datetime import datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from pipeline import page
from pipeline.commands import make_command
from pipeline.page import SIZE, SMALL_SIZE, count, figure, percent
from pipeline.settings import Settings
from pipeline.units import duration
from report import plots
from report.comparison import Unknown
from report.counts import SIDES, Counts, Field, FileCounts, LoadedFile, Side
from report.drawing import MOST_CATEGORIES, FieldSample, SideSample
from report.occurrences import Occurrences
from report.rates import CATEGORY, Rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROWS: Mapping[Side, str] = {"sample": "impressions", "common": "common feature groups"}
_OWNERS: Mapping[Side, str] = {"sample": "Impression", "common": "Common feature group"}
_UNITS: Mapping[Side, str] = {"sample": "an impression", "common": "a group"}
_ABOUT_GROUP_SIZES = Markup(
    "<span class=first>■ groups</span> &nbsp; <span class=second>■ impressions in such groups</span>"
)
_SCENE = "301"
_MOST_OF_A_FIELD = 4
_SHORT = 12
# The least count that docs/export.md takes for a vocabulary.
_LEAST_COUNT = 10


@dataclass(frozen=True)
class Findings:
    """Everything that the page tells.

    Attributes:
        counts: what is exact.
        files: what each stage holds of each file; None where it was not counted.
        sides: the drawn rows of each side.
        is_generated: whether the source of this mode is the embedded S3 server, which holds generated data.
        occurrences: how often the features occur; None where they were not counted.
        rates: what became of the impressions, by field and feature.
        unknown: the features of test beside those of train; None where one of the two is not built.
    """

    counts: Counts
    files: Sequence[FileCounts] | None
    sides: Mapping[Side, SideSample]
    is_generated: bool
    occurrences: Mapping[Side, Mapping[str, Occurrences]] | None = None
    rates: Mapping[str, Sequence[Rate]] = with_default(default_factory=dict)
    unknown: Sequence[Unknown] | None = None


_DrawnField = tuple[Side, Field, FieldSample]


def render(settings: Settings, findings: Findings, now: datetime) -> str:
    """Write the page.

    Args:
        settings: name the data set, the mode and the databases.
        findings: what was counted and drawn.
        now: when, UTC.
    """
    counts, drawn = findings.counts, list(_drawn_fields(findings))
    few = sorted((each for each in drawn if each[1].num_features <= MOST_CATEGORIES), key=lambda e: e[1].num_features)
    scenes = [(field, of.feature_counts / of.num_rows) for _, field, of in few if field.feature_name == _SCENE]
    return page.render(
        Path(__file__).with_name("report.html"),
        settings=settings,
        findings=findings,
        now=now,
        row_names=_ROWS,
        owners=_OWNERS,
        share=_share,
        mean_length=lambda side: f"{_share(counts.num_structures[side], counts.num_lists[side]):,.1f}",
        num_lost=sum(size.num_samples * size.num_groups for size in counts.group_sizes if not size.has_features),
        has_non_records=_has_non_records(findings),
        most_categories=MOST_CATEGORIES,
        least_count=_LEAST_COUNT,
        scene=scenes[0] if scenes else None,
        constant=[field.feature_name for _, field, of in drawn if len(of.values) == 1],
        rows=_rows(findings),
        figures=_figures(findings, drawn, few),
        docs_command=make_command("docs", settings),
    )


def _drawn_fields(findings: Findings) -> Iterator[_DrawnField]:
    for side, sample in findings.sides.items():
        for field in findings.counts.fields:
            if field.feature_name in sample.fields:
                yield side, field, sample.fields[field.feature_name]


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _has_non_records(findings: Findings) -> bool:
    return any(file.num_non_records for file in findings.files or ())


def _rows(findings: Findings) -> Mapping[str, object]:
    """Give the rows of each table."""
    counts = findings.counts
    current = [file for file in counts.history if file.is_current]
    lines = {file.source_file: file.num_lines for file in current}
    meanings = {field.feature_name: field.meaning or "unknown field" for field in counts.fields}
    return {
        "strata": [(s.response, f"{s.num_samples:,}", f"{s.share:.4%}") for s in counts.strata],
        "loaded": [
            (f.source_file, *_numbers(f.num_lines, f.num_rows, f.num_rejects, f.num_structures)) for f in current
        ],
        "reconciled": [_reconciled(file, has_non_records=_has_non_records(findings)) for file in findings.files or ()],
        "rejects": [
            (
                r.reason,
                r.source_file,
                f"{r.num_rejects:,}",
                percent(_share(r.num_rejects, lines.get(r.source_file, 0))),
                f"{r.first_line:,}",
            )
            for r in counts.rejects
        ],
        "fields": {
            side: [_field_row(field, of, sample) for each, field, of in _drawn_fields(findings) if each == side]
            for side, sample in findings.sides.items()
        },
        "features": {side: _feature_rows(counts, side) for side in SIDES},
        "unknown": [
            (
                each.feature_name,
                meanings.get(each.feature_name, "not of these tables"),
                percent(_share(each.num_unknown, each.num_features)),
                ""
                if each.num_structures is None or each.num_unknown_structures is None
                else percent(_share(each.num_unknown_structures, each.num_structures)),
                *_numbers(each.num_unknown, each.num_features),
            )
            for each in findings.unknown or ()
        ],
        "history": [_load_row(file) for file in counts.history],
    }


def _numbers(*numbers: int) -> Sequence[str]:
    return [f"{number:,}" for number in numbers]


def _reconciled(file: FileCounts, *, has_non_records: bool) -> Sequence[str]:
    agree = (
        file.num_lines == file.num_rows + file.num_rejects + file.num_non_records
        and file.num_rejects == file.recorded_rejects
        and file.num_rows == file.staged_rows == file.table_rows
        and file.num_structures == file.staged_structures == file.table_structures
    )
    return (
        file.source_file,
        Markup("<span class=first>✓ agree</span>") if agree else Markup("<b class=second>✗ differ</b>"),
        f"{file.num_lines:,}",
        f"{file.num_rows:,} + {file.num_rejects:,}" + (f" + {file.num_non_records:,}" if has_non_records else ""),
        *_numbers(file.staged_rows, file.table_rows),
        *_numbers(file.num_structures, file.staged_structures, file.table_structures),
    )


def _field_row(field: Field, drawn: FieldSample, sample: SideSample) -> Sequence[str]:
    coverage = _share(drawn.num_rows, sample.num_rows)
    commonest = int(np.argmax(drawn.value_counts))
    share = drawn.value_counts[commonest] / drawn.value_counts.sum()
    smallest, largest = drawn.values[0], drawn.values[-1]
    return (
        field.feature_name,
        field.meaning or "unknown field",
        f"{field.num_features:,}",
        Markup("{}{}").format(f"{coverage:.1%}", _bar(coverage)),
        f"{drawn.lengths.mean():,.1f}",
        f"{smallest:.3g}" if smallest == largest else f"{smallest:.3g} to {largest:.3g}",
        f"{drawn.values[commonest]:.4g} ({percent(share)})",
    )


def _bar(share: float) -> Markup:
    return Markup("<span class=bar><i style=width:{:.0f}%></i></span>").format(100 * min(1.0, max(0.0, share)))


def _feature_rows(counts: Counts, side: Side) -> Iterable[Sequence[str]]:
    """Give the features that the shown impression has of one side, a row for each field."""
    features = (
        [feature[1:] for feature in counts.impression.features if feature[0] == side] if counts.impression else []
    )
    meanings = {field.feature_name: field.meaning or "" for field in counts.fields}
    order = {name: number for number, name in enumerate(meanings)}
    ordered = sorted(features, key=lambda feature: (order.get(feature[0], len(order)), feature))
    for name, of_field in groupby(ordered, key=lambda feature: feature[0]):
        own = [f"{feature_id}: {value:g}" for _, feature_id, value in of_field]
        more = f", and {len(own) - _MOST_OF_A_FIELD:,} more" if len(own) > _MOST_OF_A_FIELD else ""
        yield name, meanings.get(name, ""), ", ".join(own[:_MOST_OF_A_FIELD]) + more


def _load_row(file: LoadedFile) -> Sequence[str]:
    first, last = file.first_loaded_at, file.last_loaded_at
    state = "current" if file.num_partitions == file.num_loaded_partitions else "under way"
    return (
        f"{file.load_id}, {state if file.is_current else 'replaced'}",
        file.source_file,
        f"{file.num_lines:,}",
        f"{file.num_structures:,}",
        f"{file.num_rejects:,}",
        f"{file.num_loaded_partitions:,} of {file.num_partitions:,}",
        f"{first:%Y-%m-%d %H:%M:%S}" if first else "",
        duration((last - first).total_seconds()) if first and last else "",
        Markup("<code>{}…</code>").format(file.source_sha256[:_SHORT]),
    )


def _figures(findings: Findings, drawn: Sequence[_DrawnField], few: Sequence[_DrawnField]) -> Mapping[str, object]:
    """Draw the plots of each section."""
    counts = findings.counts
    rated = [each for each in drawn if each[1].feature_name == CATEGORY and each not in few]
    lengths = {field.feature_name: of for _, field, of in drawn if of.lengths.max() > 1}
    values = {field.feature_name: of for _, field, of in drawn if len(of.values) > 1 and of.values[0] > 0}
    return {
        "strata": counts.strata
        and figure(
            "Share of the impressions, on a logarithmic scale", partial(plots.draw_strata, strata=counts.strata)
        ),
        "categories": [
            figure(
                _title(field),
                partial(plots.draw_categories, sample=of, most=MOST_CATEGORIES),
                size=_tall(of),
                margins=(0.78, 0.27),
            )
            for _, field, of in few
        ],
        "lengths": [
            figure(
                f"{_OWNERS[side]}s: features in the list",
                partial(plots.draw_lengths, lengths=lengths, unit=_UNITS[side]),
            )
            for side, lengths in counts.lengths.items()
            if lengths
        ],
        "rates": [plot for _, field, _ in [*few, *rated] for plot in _rate_plots(findings, field)],
        "boxes": [
            figure(caption, partial(plots.draw_boxes, boxes=boxes, write=write, unit=unit), size=_tall_boxes(boxes))
            for caption, boxes, write, unit in (
                (
                    "Features of the field in a list that has it",
                    {name: plots.box_of(*np.unique(of.lengths, return_counts=True)) for name, of in lengths.items()},
                    count,
                    "features",
                ),
                (
                    "Values of the field",
                    {name: plots.box_of(of.values, of.value_counts) for name, of in values.items()},
                    count,
                    "value",
                ),
            )
            if boxes
        ],
        "vocabularies": {
            side: [
                _vocabulary_plot(field, of[field.feature_name])
                for field in counts.fields
                if field.feature_name in of and field.num_features > MOST_CATEGORIES
            ]
            for side, of in (findings.occurrences or {}).items()
        },
        "group_sizes": counts.group_sizes
        and figure(
            _ABOUT_GROUP_SIZES,
            partial(plots.draw_group_sizes, sizes=counts.group_sizes),
            label="Share of the groups, and of the impressions in them, by size",
        ),
        "field_values": [
            figure(_title(field), partial(plots.draw_values, sample=of), size=SMALL_SIZE, margins=(0.5, 0.27))
            for _, field, of in drawn
            if len(of.values) > 1
        ],
        "ranks": {
            side: [
                _counted_rank_plot(field, of[field.feature_name], counts.num_samples)
                for field in counts.fields
                if field.feature_name in of and field.num_features > MOST_CATEGORIES
            ]
            for side, of in findings.occurrences.items()
        }
        if findings.occurrences
        else {
            side: [_rank_plot(side, field, sample) for field in counts.fields if field.feature_name in sample.ranks]
            for side, sample in findings.sides.items()
        },
    }


def _title(field: Field) -> Markup:
    return Markup("<b>{}</b> {}").format(field.feature_name, field.meaning or "")


def _tall(drawn: FieldSample) -> tuple[float, float]:
    return SMALL_SIZE[0], max(SMALL_SIZE[1], 0.5 + 0.17 * min(MOST_CATEGORIES, len(drawn.feature_ids)))


def _tall_boxes(boxes: Mapping[str, plots.Box]) -> tuple[float, float]:
    return SIZE[0], max(1.6, 0.9 + 0.24 * len(boxes))


def _rate_plots(findings: Findings, field: Field) -> Iterator[Markup]:
    """Draw the click-through rate of each feature of a field, and beside it the conversions among the clicks."""
    rates = findings.rates.get(field.feature_name, ())
    if not rates:
        return
    samples, clicks, conversions = (
        [getattr(rate, name) for rate in rates] for name in ("num_samples", "num_clicks", "num_conversions")
    )
    of = f", the {len(rates)} most frequent of {field.num_features:,}" if field.num_features > MOST_CATEGORIES else ""
    for what, hits, trials in (("click-through", clicks, samples), ("conversions among clicks", conversions, clicks)):
        yield figure(
            Markup("{}{}<br><span class=faint>{}</span>").format(_title(field), of, what),
            partial(plots.draw_rates, rates=rates, hits=hits, trials=trials),
            size=(SMALL_SIZE[0], max(SMALL_SIZE[1], 0.5 + 0.17 * len(rates))),
            margins=(0.78, 0.27),
        )


def _vocabulary_plot(field: Field, occurrences: Occurrences) -> Markup:
    kept, share = occurrences.kept(_LEAST_COUNT), occurrences.coverage(_LEAST_COUNT)
    return figure(
        Markup("{}<br><span class=faint>{}</span>").format(
            _title(field), f"{count(kept)} of {count(field.num_features)} cover {percent(share)}"
        ),
        partial(plots.draw_vocabulary, occurrences=occurrences),
        size=SMALL_SIZE,
        margins=(0.5, 0.27),
        label=f"{field.feature_name}: features and occurrences that a vocabulary keeps, by the least count",
    )


def _rank_plot(side: Side, field: Field, sample: SideSample) -> Markup:
    ranks = sample.ranks[field.feature_name]
    middle = ranks.share_at(field.num_features / 2)
    half = "" if middle is None else _half(field, round(middle * sample.num_all))
    lowest = 0.5 / max(1, sample.num_all)
    draw = partial(plots.draw_ranks, ranks=ranks, num_features=field.num_features, lowest=lowest)
    return _ranks(field, half, draw, _ROWS[side])


def _counted_rank_plot(field: Field, counted: Occurrences, num_samples: int) -> Markup:
    middle = np.searchsorted(np.cumsum(counted.num_features), counted.num_features.sum() / 2)
    draw = partial(plots.draw_counted_ranks, occurrences=counted, num_rows=num_samples)
    return _ranks(field, _half(field, int(counted.counts[middle])), draw, _ROWS["sample"])


def _half(field: Field, times: int) -> str:
    often = "once" if times == 1 else f"{count(times)} times or less"
    return f"half of its {count(field.num_features)} features occur {often}"


def _ranks(field: Field, half: str, draw: Callable[[Axes], None], rows: str) -> Markup:
    return figure(
        Markup("{}<br><span class=faint>{}</span>").format(_title(field), half),
        draw,
        size=SMALL_SIZE,
        margins=(0.62, 0.27),
        label=f"{field.feature_name}: share of the {rows} that have a feature, by its rank",
    )
