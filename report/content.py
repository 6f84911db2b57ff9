"""What the page of the report says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import groupby

import numpy as np
from markupsafe import Markup

from pipeline.commands import make_command
from pipeline.page import SMALL_SIZE, count, figure, page, paragraph, percent, table
from pipeline.progress import duration, quantity
from pipeline.settings import Settings
from report import plots
from report.counts import SIDES, Counts, Field, FileCounts, LoadedFile, Side
from report.drawing import MOST_CATEGORIES, FieldSample, SideSample

_ROWS: Mapping[Side, str] = {"sample": "impressions", "common": "common feature groups"}
_OWNERS: Mapping[Side, str] = {"sample": "Impression", "common": "Common feature group"}
_SCENE = "301"
_MOST_OF_A_FIELD = 4
_SHORT = 12

_SECTIONS = (
    ("labels", "Labels"),
    ("nothing-lost", "Nothing lost"),
    ("fields", "Fields"),
    ("categories", "Small fields"),
    ("lengths", "Lengths"),
    ("groups", "Groups"),
    ("values", "Values"),
    ("ranks", "Ranks"),
    ("impression", "One impression"),
    ("loads", "Loads"),
    ("about", "About"),
)


@dataclass(frozen=True)
class Findings:
    """Everything that the page tells.

    Attributes:
        counts: what is exact.
        files: what each stage holds of each file; None where it was not counted.
        sides: the drawn rows of each side.
        is_generated: whether the source of this mode is the embedded S3 server, which holds generated data.
    """

    counts: Counts
    files: Sequence[FileCounts] | None
    sides: Mapping[Side, SideSample]
    is_generated: bool


def render(settings: Settings, findings: Findings, now: datetime) -> str:
    """Write the page.

    Args:
        settings: name the data set, the mode and the databases.
        findings: what was counted and drawn.
        now: when, UTC.
    """
    name = f"Ali-CCP {settings.data_set.name}, {settings.mode}"
    return page(f"{name} · {settings.database}", _parts(settings, findings, now), headline=_headline(name, findings))


def _headline(name: str, findings: Findings) -> str:
    return f"{name}: {findings.counts.num_samples:,} impressions with all of their features"


def _parts(settings: Settings, findings: Findings, now: datetime) -> Iterator[Markup]:
    counts = findings.counts
    yield _lead(settings, counts, now)
    if findings.is_generated:
        yield paragraph(
            "Generated data in the form of Ali-CCP, from the embedded S3 server: it has the shape of the real data and"
            " none of its facts.",
            "warning",
        )
    yield from _warnings(counts)
    yield _tiles(counts)
    yield Markup("<nav>{}</nav>\n").format(
        Markup(" ").join(Markup("<a href=#{}>{}</a>").format(place, title) for place, title in _SECTIONS)
    )
    yield from _labels(counts)
    yield from _nothing_lost(findings)
    yield from _fields(findings)
    yield from _categories(findings)
    yield from _lengths(findings)
    yield from _groups(counts)
    yield from _values(findings)
    yield from _ranks(findings)
    yield from _impression(counts)
    yield from _loads(counts)
    yield from _about(settings, findings)


def _section(place: str, title: str) -> Markup:
    return Markup("<h2 id={}>{}</h2>\n").format(place, title)


def _plots(figures: Iterable[Markup], *, small: bool = False) -> Markup:
    return Markup('<div class="plots{}">\n{}</div>\n').format(" small" if small else "", Markup().join(figures))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _lead(settings: Settings, counts: Counts, now: datetime) -> Markup:
    structures = sum(counts.num_structures.values())
    text = Markup(
        "<p>{} feature structures and {} different features, in the four tables of <code>{}</code>.</p>\n"
        "<p class=faint>{}Counted {} UTC.</p>\n"
    )
    origin = Markup().join(
        Markup("From <code>{}</code>, {}, SHA-256 <code>{}…</code>, landed {} UTC. ").format(
            asset.uri, quantity(asset.size_bytes, "B"), asset.sha256[:_SHORT], _when(asset.landed_at)
        )
        for asset in counts.source
    )
    features = sum(field.num_features for field in counts.fields)
    return text.format(f"{structures:,}", f"{features:,}", settings.database, origin, _when(now))


def _warnings(counts: Counts) -> Iterator[Markup]:
    lost = sum(size.num_samples * size.num_groups for size in counts.group_sizes if not size.has_features)
    if lost:
        yield _warning(
            f"{lost:,} impressions ({percent(_share(lost, counts.num_samples))}) refer to a common feature group that"
            " the source does not have."
        )


def _warning(text: str) -> Markup:
    return paragraph(text, "warning")


def _tiles(counts: Counts) -> Markup:
    clicks, conversions = _clicks(counts), _conversions(counts)
    rejects = sum(file.num_rejects for file in counts.history if file.is_current)
    tiles = (
        ("impressions", f"{counts.num_samples:,}"),
        ("common feature groups", f"{counts.num_lists['common']:,}"),
        ("structures of impressions", count(counts.num_structures["sample"])),
        ("structures of groups", count(counts.num_structures["common"])),
        ("click-through rate", percent(_share(clicks, counts.num_samples))),
        ("conversions among clicks", percent(_share(conversions, clicks))),
        ("fields", f"{len(counts.fields)}"),
        ("rejected records", f"{rejects:,}"),
    )
    return Markup("<dl class=tiles>{}</dl>\n").format(
        Markup().join(Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(*tile) for tile in tiles)
    )


def _labels(counts: Counts) -> Iterator[Markup]:
    yield _section("labels", "What became of the impressions")
    if not counts.strata:
        yield paragraph("The tables hold no impression.")
        return
    contradictory = sum(s.num_samples for s in counts.strata if s.conversion_label and not s.click_label)
    yield paragraph(
        f"{_clicks(counts):,} clicks and {_conversions(counts):,} conversions after a click."
        + (
            f" Impressions with a conversion and no click, which contradicts the labels' meaning: {contradictory:,}."
            " They are kept as the source has them."
            if contradictory
            else ""
        )
        + " Every impression is counted."
    )
    bars = figure("Share of the impressions, on a logarithmic scale", partial(plots.draw_strata, strata=counts.strata))
    rows = [(s.response, f"{s.num_samples:,}", f"{s.share:.4%}") for s in counts.strata]
    yield _plots([bars, table(("", "impressions", "share"), rows)])


def _clicks(counts: Counts) -> int:
    return sum(stratum.num_samples for stratum in counts.strata if stratum.click_label)


def _conversions(counts: Counts) -> int:
    return sum(s.num_samples for s in counts.strata if s.click_label and s.conversion_label)


def _nothing_lost(findings: Findings) -> Iterator[Markup]:
    yield _section("nothing-lost", "From the lines of the source to the rows of the tables")
    if findings.files is None:
        yield paragraph(
            "What the load counted. The long tables have too many rows to be counted here: the tests of dbt"
            " compare them."
        )
        yield table(
            ("file", "lines", "good rows", "rejected", "structures"),
            [
                (f.source_file, *(f"{n:,}" for n in (f.num_lines, f.num_rows, f.num_rejects, f.num_structures)))
                for f in findings.counts.history
                if f.is_current
            ],
        )
    else:
        has_non_records = any(file.num_non_records for file in findings.files)
        yield paragraph(
            "Each line is a row or a rejected record, and each structure of a row is in a table: the numbers of a file"
            " agree from left to right. Every row was counted."
            + (" A header and empty last lines are no records." if has_non_records else "")
        )
        yield table(
            (
                "file",
                "lines",
                f"rows + rejected{' + no records' if has_non_records else ''}",
                "staged",
                "in tables",
                "structures",
                "staged",
                "in tables",
                "",
            ),
            (_reconciled(file, has_non_records=has_non_records) for file in findings.files),
        )
    yield from _rejects(findings.counts)


def _reconciled(file: FileCounts, *, has_non_records: bool) -> Sequence[str]:
    agree = (
        file.num_lines == file.num_rows + file.num_rejects + file.num_non_records
        and file.num_rejects == file.recorded_rejects
        and file.num_rows == file.staged_rows == file.table_rows
        and file.num_structures == file.staged_structures == file.table_structures
    )
    return (
        file.source_file,
        f"{file.num_lines:,}",
        f"{file.num_rows:,} + {file.num_rejects:,}{f' + {file.num_non_records:,}' if has_non_records else ''}",
        f"{file.staged_rows:,}",
        f"{file.table_rows:,}",
        f"{file.num_structures:,}",
        f"{file.staged_structures:,}",
        f"{file.table_structures:,}",
        Markup("<span class=first>✓ agree</span>") if agree else Markup("<b class=second>✗ differ</b>"),
    )


def _rejects(counts: Counts) -> Iterator[Markup]:
    if not counts.rejects:
        yield paragraph("No record was rejected.")
        return
    lines = {file.source_file: file.num_lines for file in counts.history if file.is_current}
    yield Markup("<h3>Rejected records</h3>\n")
    yield table(
        ("reason", "file", "lines", "share of the file", "first line"),
        [
            (
                r.reason,
                r.source_file,
                f"{r.num_rejects:,}",
                percent(_share(r.num_rejects, lines.get(r.source_file, 0))),
                f"{r.first_line:,}",
            )
            for r in counts.rejects
        ],
        num_text_columns=2,
    )


def _fields(findings: Findings) -> Iterator[Markup]:
    yield _section("fields", "Fields")
    yield paragraph(
        "How many features a field has, in what share of the rows it stands, and how many of them a row has then. A"
        " user's fields stand in the common feature group, those of the item and the scene in the impression. The bar"
        " beside the features is logarithmic."
    )
    most = max((field.num_features for field in findings.counts.fields), default=1)
    for side, sample in findings.sides.items():
        rows = [
            _field_row(field, sample.fields[field.feature_name], sample, most)
            for field in findings.counts.fields
            if field.feature_name in sample.fields
        ]
        yield Markup("<h3>{}</h3>\n").format(_OWNERS[side])
        yield table(
            ("field", "meaning", "features", "coverage", "a row", "values", "most frequent"), rows, num_text_columns=2
        )
        yield paragraph(f"Features are all counted; the rest is {_of_whom(side, sample)}.", "faint")


def _of_whom(side: Side, sample: SideSample) -> str:
    if sample.is_whole:
        return f"of all {sample.num_all:,} {_ROWS[side]}"
    margin = 0.98 / np.sqrt(max(1, sample.num_rows))
    return (
        f"of {sample.num_rows:,} {_ROWS[side]} drawn from {sample.num_all:,}: a coverage is right to within"
        f" {margin:.1%}, 95 times in 100"
    )


def _field_row(field: Field, drawn: FieldSample, sample: SideSample, most: int) -> Sequence[str]:
    coverage = _share(drawn.num_rows, sample.num_rows)
    commonest = int(np.argmax(drawn.value_counts))
    share = drawn.value_counts[commonest] / drawn.value_counts.sum()
    smallest, largest = drawn.values[0], drawn.values[-1]
    return (
        field.feature_name,
        field.meaning or "unknown field",
        Markup("{}{}").format(f"{field.num_features:,}", _bar(np.log1p(field.num_features) / np.log1p(most))),
        Markup("{}{}").format(f"{coverage:.1%}", _bar(coverage)),
        f"{drawn.lengths.mean():,.1f}",
        f"{smallest:.3g}" if smallest == largest else f"{smallest:.3g} to {largest:.3g}",
        f"{drawn.values[commonest]:.4g} ({percent(share)})",
    )


def _bar(share: float) -> Markup:
    return Markup("<span class=bar><i style=width:{:.0f}%></i></span>").format(100 * min(1.0, max(0.0, share)))


def _title(field: Field) -> Markup:
    return Markup("<b>{}</b> {}").format(field.feature_name, field.meaning or "")


def _drawn_fields(findings: Findings) -> Iterator[tuple[Side, Field, FieldSample]]:
    for side, sample in findings.sides.items():
        for field in findings.counts.fields:
            if field.feature_name in sample.fields:
                yield side, field, sample.fields[field.feature_name]


def _categories(findings: Findings) -> Iterator[Markup]:
    few = sorted(
        (item for item in _drawn_fields(findings) if item[1].num_features <= MOST_CATEGORIES),
        key=lambda item: item[1].num_features,
    )
    yield _section("categories", "Fields with few features")
    scene = next(((field, drawn) for _, field, drawn in few if field.feature_name == _SCENE), None)
    yield paragraph(
        f"Each feature of the fields with {MOST_CATEGORIES} or fewer, as a share of the rows that have the field."
        + (_about_scene(*scene) if scene else "")
    )
    yield _plots(
        (
            figure(
                _title(field),
                partial(plots.draw_categories, sample=drawn, most=MOST_CATEGORIES),
                size=_tall(drawn),
                margins=(0.78, 0.27),
            )
            for _, field, drawn in few
        ),
        small=True,
    )


def _about_scene(field: Field, drawn: FieldSample) -> str:
    shares = drawn.feature_counts / drawn.num_rows
    return (
        f" See {field.feature_name}, where the item was shown: of its {field.num_features} scenes the most frequent has"
        f" {percent(shares[0])} of the impressions, the rarest {percent(shares[-1])}."
    )


def _tall(drawn: FieldSample) -> tuple[float, float]:
    return SMALL_SIZE[0], max(SMALL_SIZE[1], 0.5 + 0.17 * min(MOST_CATEGORIES, len(drawn.feature_ids)))


def _lengths(findings: Findings) -> Iterator[Markup]:
    yield _section("lengths", "Lengths of feature lists")
    means = {side: _share(findings.counts.num_structures[side], findings.counts.num_lists[side]) for side in SIDES}
    yield paragraph(
        f"An impression has {means['sample']:,.1f} features of its own on average; a group, which holds a user's"
        f" history, {means['common']:,.1f}. Every list is counted; the longest 0.1 % are beyond the right edge."
    )
    units: Mapping[Side, str] = {"sample": "an impression", "common": "a group"}
    yield _plots(
        figure(
            f"{_OWNERS[side]}s: features in the list", partial(plots.draw_lengths, lengths=lengths, unit=units[side])
        )
        for side, lengths in findings.counts.lengths.items()
        if lengths
    )
    many = [item for item in _drawn_fields(findings) if item[2].lengths.max() > 1]
    if many:
        yield Markup("<h3>Features of one field in a list</h3>\n")
        yield paragraph("Only fields that stand more than once in a list, and only lists that have the field.")
        yield _plots(
            (
                figure(
                    _title(field), partial(plots.draw_field_lengths, sample=drawn), size=SMALL_SIZE, margins=(0.1, 0.27)
                )
                for _, field, drawn in many
            ),
            small=True,
        )


def _groups(counts: Counts) -> Iterator[Markup]:
    yield _section("groups", "Sizes of common feature groups")
    if not counts.group_sizes:
        return
    groups = sum(size.num_groups for size in counts.group_sizes)
    single = sum(size.num_groups for size in counts.group_sizes if size.num_samples == 1)
    unused = counts.num_lists["common"] - sum(s.num_groups for s in counts.group_sizes if s.has_features)
    yield paragraph(
        f"{_share(counts.num_samples, groups):,.1f} impressions refer to a group on average, to the largest"
        f" {counts.group_sizes[-1].num_samples:,}; {percent(_share(single, groups))} of the groups have a single one"
        + (f", and there are {unused:,} groups without any. " if unused > 0 else ". ")
        + "A large group holds more of the impressions: the second line lies to the right of the first. Every"
        " impression is counted."
    )
    caption = Markup("<span class=first>■ groups</span> &nbsp; <span class=second>■ impressions in such groups</span>")
    label = "Share of the groups, and of the impressions in them, by size"
    yield _plots([figure(caption, partial(plots.draw_group_sizes, sizes=counts.group_sizes), label=label)])


def _values(findings: Findings) -> Iterator[Markup]:
    yield _section("values", "Distributions of values")
    varying = [item for item in _drawn_fields(findings) if len(item[2].values) > 1]
    constant = [field.feature_name for _, field, drawn in _drawn_fields(findings) if len(drawn.values) == 1]
    yield paragraph(
        (
            "Values of histories and of crossed fields look like ln(1 + n), so that 0.693, 1.099 and 1.386 stand out as"
            " the marks of 1, 2 and 3 events; those of intentions (150_14 and 853) are fractions. The largest 0.1 % are"
            " beyond the right edge. "
            if varying
            else ""
        )
        + (f"Of {', '.join(constant)} all drawn values are the same." if constant else "")
    )
    yield _plots(
        (
            figure(_title(field), partial(plots.draw_values, sample=drawn), size=SMALL_SIZE, margins=(0.5, 0.27))
            for _, field, drawn in varying
        ),
        small=True,
    )


def _ranks(findings: Findings) -> Iterator[Markup]:
    yield _section("ranks", "Rank and frequency")
    yield paragraph(
        "How often the features of a field occur, from the most frequent (left) to the rarest; both axes are"
        " logarithmic. A straight line down is Zipf's law. Where half of the features occur once or twice, a model can"
        " learn little of each."
    )
    if not all(sample.is_whole for sample in findings.sides.values()):
        yield Markup(
            "<p class=faint><span class=first>■ the most frequent</span>, known from the drawn rows &nbsp;"
            " <span class=second>■ the others</span>, of which up to some 200 a field are drawn, and each counted in"
            " all rows; dashes lead from one to the other. The dotted line is the number of features.</p>\n"
        )
    for side, sample in findings.sides.items():
        fields = [field for field in findings.counts.fields if field.feature_name in sample.ranks]
        if fields:
            yield Markup("<h3>Share of the {} that have a feature, by its rank</h3>\n").format(_ROWS[side])
            yield _plots((_rank_plot(side, field, sample) for field in fields), small=True)


def _rank_plot(side: Side, field: Field, sample: SideSample) -> Markup:
    ranks = sample.ranks[field.feature_name]
    middle = ranks.share_at(field.num_features / 2)
    half = ""
    if middle is not None:
        times = round(middle * sample.num_all)
        often = "once" if times == 1 else f"{count(times)} times or less"
        half = f"half of its {count(field.num_features)} features occur {often}"
    return figure(
        Markup("{}<br><span class=faint>{}</span>").format(_title(field), half),
        partial(plots.draw_ranks, ranks=ranks, num_features=field.num_features, lowest=0.5 / max(1, sample.num_all)),
        size=SMALL_SIZE,
        margins=(0.62, 0.27),
        label=f"{field.feature_name}: share of the {_ROWS[side]} that have a feature, by its rank",
    )


def _impression(counts: Counts) -> Iterator[Markup]:
    yield _section("impression", "One impression, as a modeller reads it")
    if counts.impression is None:
        yield paragraph("The tables are empty.")
        return
    shown = counts.impression
    meanings = {field.feature_name: field.meaning or "" for field in counts.fields}
    yield Markup(
        "<p>Impression <b>{}</b>: click {}, conversion {}, with the features of its group <code>{}</code>. From"
        " <code>sample_feature_full</code>.</p>\n"
    ).format(shown.sample_id, shown.click_label, shown.conversion_label, shown.common_feature_index)
    for side, title in (("sample", "Its own features"), ("common", "The features of its group")):
        yield Markup("<h3>{}</h3>\n").format(title)
        features = [feature[1:] for feature in shown.features if feature[0] == side]
        yield table(("field", "meaning", "feature_id: value"), _feature_rows(features, meanings), num_text_columns=3)


def _feature_rows(features: Sequence[tuple[str, int, float]], meanings: Mapping[str, str]) -> Iterator[Sequence[str]]:
    order = {name: number for number, name in enumerate(meanings)}
    ordered = sorted(features, key=lambda feature: (order.get(feature[0], len(order)), feature))
    for name, of_field in groupby(ordered, key=lambda feature: feature[0]):
        own = [f"{feature_id}: {value:g}" for _, feature_id, value in of_field]
        more = f", and {len(own) - _MOST_OF_A_FIELD:,} more" if len(own) > _MOST_OF_A_FIELD else ""
        yield name, meanings.get(name, ""), ", ".join(own[:_MOST_OF_A_FIELD]) + more


def _loads(counts: Counts) -> Iterator[Markup]:
    yield _section("loads", "History of loads")
    yield paragraph("What each load landed in the staging tables, the latest first. Times are UTC.")
    yield table(
        ("load", "file", "lines", "structures", "rejected", "partitions", "begun", "took", "SHA-256"),
        map(_load_row, counts.history),
        num_text_columns=2,
    )


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
        _when(first) if first else "",
        duration((last - first).total_seconds()) if first and last else "",
        Markup("<code>{}…</code>").format(file.source_sha256[:_SHORT]),
    )


def _when(moment: datetime) -> str:
    moment = moment.astimezone(UTC) if moment.tzinfo else moment
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _about(settings: Settings, findings: Findings) -> Iterator[Markup]:
    yield _section("about", "About these figures")
    yield paragraph(
        "Exact, from dbt's reporting views: impressions, labels, features of a field, lengths of lists, sizes of"
        " groups, rejects and loads."
    )
    for side, sample in findings.sides.items():
        if not sample.is_whole:
            yield paragraph(
                f"From {sample.num_rows:,} of the {sample.num_all:,} {_ROWS[side]}, with their"
                f" {sample.num_structures:,} structures: coverage, features of a field in a row, values, and the"
                " frequent end of the ranks. They are drawn by the CRC-32 of their key, the same ones each time."
            )
    yield Markup(
        "<p><code>feature_field_summary</code> has the coverage of each field exactly, for those who can wait for it:"
        " it reads every structure. Columns and lineage: <code>{}</code>.</p>\n"
    ).format(make_command("docs", settings))
