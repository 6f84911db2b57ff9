from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from pipeline.landed import Asset
from pipeline.settings import Settings, load_settings
from report import content
from report.comparison import Unknown
from report.content import Findings
from report.counts import Counts, Field, FileCounts, GroupSize, Impression, LoadedFile, Rejects, Side, Stratum
from report.drawing import FieldSample, Ranks, SideSample
from report.occurrences import Occurrences
from report.rates import Rate

NOW = datetime(2026, 11, 22, 12, 0, 0)  # noqa: DTZ001 - as MySQL gives it
HOSTILE = "<img src=x onerror=alert(1)>"
SKELETON = "sample_skeleton_train.csv"


@pytest.fixture
def settings(root: Path) -> Settings:
    return load_settings(root=root, environ={})


def render(settings: Settings, findings: Findings, now: datetime) -> str:
    """The page, wherever its lines are broken."""
    return " ".join(content.render(settings, findings, now).split())


def field_sample(*, num_rows: int = 10, values: tuple[float, ...] = (1.0,)) -> FieldSample:
    return FieldSample(
        num_rows=num_rows,
        lengths=np.array([1, 2] * (num_rows // 2)),
        values=np.array(values),
        value_counts=np.arange(len(values), 0, -1),
        feature_ids=np.array([7, 8]),
        feature_counts=np.array([6, 4]),
    )


def side_sample(*names: str, num_all: int) -> SideSample:
    fields = {name: field_sample(values=(1.0,) if name == "301" else (0.69315, 1.09861)) for name in names}
    ranks = {
        name: Ranks(head=np.array([0.6, 0.4]), tail_ranks=np.array([50.0, 90.0]), tail=np.array([0.02, 0.01]))
        for name in names
        if name != "301"
    }
    return SideSample(num_rows=10, num_all=num_all, num_structures=20, fields=fields, ranks=ranks)


@pytest.fixture
def findings() -> Findings:
    loaded = LoadedFile(2, SKELETON, "a" * 64, True, 4, 4, 101, 100, 1300, 1, 0, NOW, NOW)
    counts = Counts(
        source=(Asset("s3://bucket/train.tar.gz", "etag", 1_000_000, NOW, "c" * 64),),
        history=[loaded, replace(loaded, load_id=1, is_current=False)],
        rejects=[Rejects(SKELETON, "wrong number of columns", 1, 17)],
        strata=[
            Stratum(0, 0, "no response", 90, 0.9),
            Stratum(1, 0, "click-through", 9, 0.09),
            Stratum(0, 1, "odd", 1, 0.01),
        ],
        fields=[
            Field("301", "Scene", 2, 7, 8),
            Field("508", None, 100, 10, 200),
            Field("109_14", "History", 100, 300, 400),
        ],
        lengths={"sample": {12: 50, 14: 50}, "common": {500: 3, 20: 1}},
        group_sizes=[GroupSize(1, True, 1), GroupSize(33, True, 3)],
        impression=Impression(
            1, 1, 0, "bacff91692951881", [("sample", "301", 7, 1.0), ("common", "109_14", 301, 0.69315)]
        ),
    )
    files = [FileCounts(SKELETON, "sample", 101, 100, 1, 0, 1, 100, 100, 1300, 1300, 1300)]
    sides: dict[Side, SideSample] = {
        "sample": side_sample("301", "508", num_all=100),
        "common": side_sample("109_14", num_all=4),
    }
    return Findings(counts, files, sides, is_generated=False)


def test_every_section_has_what_was_found(settings: Settings, findings: Findings) -> None:
    page = render(settings, findings, NOW)

    assert "Ali-CCP train, development: 100 impressions" in page
    assert "9 clicks and 0 conversions after a click. Impressions with a conversion and no click" in page
    assert "✓ agree" in page
    assert "wrong number of columns" in page
    assert "of its 2 scenes the most frequent has 60 % of the impressions, the rarest 40 %" in page
    assert "An impression has 13.0 features of its own on average" in page
    assert "25.0 impressions refer to a group on average, to the largest 33; 25 % of the groups have a single" in page
    assert "half of its 100 features occur 2 times or less" in page
    assert "2, current" in page
    assert "1, replaced" in page
    assert "generated" not in page
    assert page.count("<svg") == 11
    assert "The other data set of this mode is not built" in page
    assert "Features are not counted one by one in tables as large as these" in page
    assert "nan" not in page


def test_every_link_of_the_page_leads_somewhere(settings: Settings, findings: Findings) -> None:
    page = render(settings, findings, NOW)
    places = [part.partition(">")[0] for part in page.split("<a href=#")[1:]]

    assert len(places) == 14
    assert all(f"<h2 id={place}>" in page for place in places)


def test_nothing_from_the_data_becomes_html(settings: Settings, findings: Findings) -> None:
    counts = findings.counts
    hostile = replace(
        counts,
        source=tuple(replace(asset, uri=HOSTILE, sha256=HOSTILE) for asset in counts.source),
        history=[replace(file, source_file=HOSTILE, source_sha256=HOSTILE) for file in counts.history],
        rejects=[replace(reject, source_file=HOSTILE, reason=HOSTILE) for reject in counts.rejects],
        strata=[replace(stratum, response=HOSTILE) for stratum in counts.strata],
        fields=[replace(field, feature_name=HOSTILE, meaning=HOSTILE) for field in counts.fields],
        impression=Impression(1, 1, 0, HOSTILE, [("sample", HOSTILE, 7, 1.0)]),
    )
    sides = {
        side: replace(sample, fields={HOSTILE: field_sample()}, ranks={HOSTILE: sample.ranks[name]})
        for (side, sample), name in zip(findings.sides.items(), ("508", "109_14"), strict=True)
    }
    files = [replace(file, source_file=HOSTILE) for file in findings.files or []]
    page = render(settings, replace(findings, counts=hostile, sides=sides, files=files), NOW)

    assert "<img" not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") > 15


def test_where_features_are_counted_ranks_and_vocabularies_are_of_all_of_them(
    settings: Settings, findings: Findings
) -> None:
    # Of 100 features 90 are in one impression, 9 in five and one in a hundred.
    counted = {"508": Occurrences(np.array([1, 5, 100]), np.array([90, 9, 1]))}
    occurrences: dict[Side, dict[str, Occurrences]] = {"sample": counted, "common": {}}
    page = render(settings, replace(findings, occurrences=occurrences), NOW)

    assert "half of its 100 features occur once" in page
    assert "1 of 100 cover 42.6 %" in page
    assert "Every feature is counted; one of a group is in all of the group's impressions." in page
    assert "dashes lead" not in page


def test_rates_stand_beside_each_other(settings: Settings, findings: Findings) -> None:
    before = render(settings, findings, NOW).count("<svg")
    page = render(settings, replace(findings, rates={"301": [Rate(7, 60, 6, 2), Rate(8, 40, 0, 0)]}), NOW)

    assert page.count("<svg") == before + 2
    assert page.count("<b>301</b> Scene<br><span class=faint>click-through</span>") == 1
    assert page.count("conversions among clicks</span>") == 1


def test_what_train_does_not_know_is_a_share(settings: Settings, findings: Findings) -> None:
    unknown = [Unknown("508", 200, 50, 1000, 10), Unknown("999", 4, 4, None, None)]
    page = render(settings, replace(findings, unknown=unknown), NOW)

    assert ">25 %</td>" in page.replace("<td", "</td><td")
    assert ">1 %</td>" in page.replace("<td", "</td><td")
    assert "not of these tables" in page
    assert "is not built" not in page


def test_files_that_disagree_are_marked(settings: Settings, findings: Findings) -> None:
    assert findings.files
    for changed in ({"table_rows": 99}, {"table_structures": 1299}, {"recorded_rejects": 0}, {"num_lines": 102}):
        files = [replace(findings.files[0], **changed)]  # type: ignore[arg-type]
        page = render(settings, replace(findings, files=files), NOW)
        assert "✗ differ" in page
        assert "✓ agree" not in page


def test_rows_that_are_too_many_to_count_are_not_said_to_be_counted(settings: Settings, findings: Findings) -> None:
    page = render(settings, replace(findings, files=None), NOW)

    assert "too many rows to be counted here: the tests of dbt compare them" in page
    assert "agree" not in page


def test_generated_data_is_not_taken_for_the_real_one(settings: Settings, findings: Findings) -> None:
    assert "Generated data in the form of Ali-CCP" in render(settings, replace(findings, is_generated=True), NOW)


def test_lines_that_are_no_records_are_told_where_there_are_some(settings: Settings, findings: Findings) -> None:
    assert "no records" not in render(settings, findings, NOW)
    assert findings.files is not None
    files = [replace(findings.files[0], num_lines=103, num_non_records=2)]
    page = render(settings, replace(findings, files=files), NOW)

    assert "rows + rejected + no records" in page
    assert "100 + 1 + 2" in page
    assert "✓ agree" in page


def test_impressions_without_their_group_are_told(settings: Settings, findings: Findings) -> None:
    sizes = [GroupSize(1, True, 10), GroupSize(1, False, 90)]
    page = render(settings, replace(findings, counts=replace(findings.counts, group_sizes=sizes)), NOW)

    assert "90 impressions (90 %) refer to a common feature group that the source does not have." in page


def test_a_figure_of_a_part_says_of_how_much(settings: Settings, findings: Findings) -> None:
    page = render(settings, findings, NOW)

    assert "the rest is of 10 impressions drawn from 100: a coverage is right to within 31.0%, 95 times in 100" in page
    assert "From 10 of the 100 impressions, with their 20 structures" in page

    whole = {side: replace(sample, num_all=sample.num_rows) for side, sample in findings.sides.items()}
    page = render(settings, replace(findings, sides=whole), NOW)
    assert "the rest is of all 10 impressions" in page
    assert "drawn from" not in page
    assert "dashes lead" not in page


def test_an_empty_data_set_has_a_page(settings: Settings) -> None:
    counts = Counts((), [], [], [], [], {"sample": {}, "common": {}}, [], None)
    empty = SideSample(0, 0, 0, {}, {})
    page = render(settings, Findings(counts, [], {"sample": empty, "common": empty}, is_generated=False), NOW)

    assert "The tables hold no impression." in page
    assert "nan" not in page
    assert "<svg" not in page


def test_a_rank_finds_its_share_in_either_end() -> None:
    ranks = Ranks(head=np.array([0.6, 0.4]), tail_ranks=np.array([50.0, 90.0]), tail=np.array([0.02, 0.01]))

    assert [ranks.share_at(rank) for rank in (0.5, 1, 2, 3, 50, 51, 91)] == [0.6, 0.6, 0.4, 0.02, 0.02, 0.01, None]
