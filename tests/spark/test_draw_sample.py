"""The sampling job: real Spark, real files, and the archive that comes out of it."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark import SparkContext

from pipeline.errors import LoadError, PipelineError, UsageError
from pipeline.files import hold_lock
from pipeline.landed import write_manifest
from pipeline.samples import SampledFile, SampleSource, sample_paths, write_source
from pipeline.settings import RECORD_KINDS, Settings, load_settings
from source_data import write_csvs
from spark_jobs import draw_sample
from spark_jobs.context import spark_context
from spark_jobs.draw_sample import read_parameters, run_step
from spark_jobs.grammar import Record, parse_record
from spark_jobs.sampling import job
from spark_jobs.sampling.findings import Findings
from spark_jobs.sampling.parameters import Design
from tests.manifests import asset_of
from tests.records import REAL_LINE

SCALE = 0.0005

Lines = dict[str, list[bytes]]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Lines:
    folder = tmp_path_factory.mktemp("generated")
    write_csvs(folder, "train", scale=SCALE)
    return {path.name: path.read_bytes().splitlines(keepends=True) for path in folder.iterdir()}


@pytest.fixture(scope="module")
def context(root: Path) -> Iterator[SparkContext]:
    """One Spark context for all samples: it takes longer to start than they do to be drawn."""
    local = replace(load_settings(root=root, environ={}), spark_master="local[2]")
    with spark_context(local, "test", log=None) as context:
        yield context


@pytest.fixture
def settings(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: SparkContext) -> Settings:
    def shared_context(_: Settings, name: str, *, log: Path | None) -> AbstractContextManager[SparkContext]:
        assert (name, log) == ("deepcvr sample", root / "logs" / "spark.log")
        return nullcontext(context)

    monkeypatch.setattr(draw_sample, "spark_context", shared_context)
    # Several ranges of each file, though the files are small.
    monkeypatch.setattr(job, "SMALLEST_RANGE", 100_000)
    return replace(load_settings(root=root, environ={}), unpacked_folder=tmp_path, sample_folder=tmp_path / "sample")


@pytest.fixture
def land(settings: Settings) -> Callable[[Lines], None]:
    """Leaves files where unpacking would, and word of them."""

    def write(content: Lines) -> None:
        files = {}
        for kind in RECORD_KINDS:
            path, data = settings.member_path(kind), b"".join(content[settings.data_set.members[kind]])
            path.write_bytes(data)
            files[kind] = SampledFile(path, len(data), hashlib.sha256(data).hexdigest())
            write_manifest(path, asset_of(path))
        settings.sample_folder.mkdir(exist_ok=True)
        joined = hashlib.sha256("".join(file.sha256 for file in files.values()).encode()).hexdigest()
        write_source(settings, SampleSource("s3://bucket/key", "etag", joined, files))

    return write


def parameters(settings: Settings, **given: Any) -> Design:
    return read_parameters({**settings.sample, "margin": "20%", **given})


def drawn(settings: Settings) -> Lines:
    with tarfile.open(sample_paths(settings).archive) as archive:
        return {
            member.name: (archive.extractfile(member) or io.BytesIO()).read().splitlines(keepends=True)
            for member in archive
        }


def manifest(settings: Settings) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(sample_paths(settings).manifest.read_text())
    return content


def is_subsequence(some: list[bytes], lines: list[bytes]) -> bool:
    rest = iter(lines)
    return all(line in rest for line in some)


def labels(lines: list[bytes]) -> Counter[bytes]:
    return Counter(b",".join(line.split(b",")[1:3]) for line in lines)


def assert_whole(sample: Lines, source: Lines) -> None:
    """Each line stands in the source, in its order, and the groups are those that the samples name."""
    samples, groups = sample["sample_skeleton_train.csv"], sample["common_features_train.csv"]
    assert list(sample) == ["sample_skeleton_train.csv", "common_features_train.csv"]
    assert is_subsequence(samples, source["sample_skeleton_train.csv"])
    assert is_subsequence(groups, source["common_features_train.csv"])
    assert {line.split(b",")[0] for line in groups} == {line.split(b",")[3] for line in samples}


def test_the_sample_has_the_counts_of_its_plan_and_the_groups_that_it_refers_to(
    settings: Settings, land: Callable[[Lines], None], generated: Lines
) -> None:
    land(generated)
    run_step(settings, parameters(settings, minimum=5))
    sample, told = drawn(settings), manifest(settings)

    assert_whole(sample, generated)
    source_counts, sample_counts = (labels(lines["sample_skeleton_train.csv"]) for lines in (generated, sample))
    for row in told["strata"]:
        pair = b"%d,%d" % (row["click_label"], row["conversion_label"])
        assert (row["source"], row["sample"]) == (source_counts[pair], sample_counts[pair])
        assert row["sample"] >= min(5, row["source"])
    (target,) = told["targets"]
    assert len(sample["sample_skeleton_train.csv"]) == target["takes"] == told["samples"]["sample"]
    for name, member in told["archive"]["members"].items():
        assert member["sha256"] == hashlib.sha256(b"".join(sample[name])).hexdigest()
        assert member["num_lines"] == len(sample[name])


def test_the_same_seed_gives_the_same_bytes_whatever_the_ranges(
    settings: Settings, land: Callable[[Lines], None], generated: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(generated)
    run_step(settings, parameters(settings))
    first = sample_paths(settings).archive.read_bytes()
    one, other = drawn(settings), manifest(settings)
    assert first[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"

    monkeypatch.setattr(job, "SMALLEST_RANGE", 64 << 20)
    again = replace(settings, force=True)
    run_step(again, parameters(again))
    assert sample_paths(again).archive.read_bytes() == first
    assert manifest(again) == other

    run_step(again, parameters(again, seed=2))
    assert drawn(again)["sample_skeleton_train.csv"] != one["sample_skeleton_train.csv"]
    assert labels(drawn(again)["sample_skeleton_train.csv"]) == labels(one["sample_skeleton_train.csv"])


def test_a_second_run_skips_and_another_source_draws_again(
    settings: Settings, land: Callable[[Lines], None], generated: Lines
) -> None:
    land(generated)
    run_step(settings, parameters(settings))
    assert run_step(settings, parameters(settings)).result.startswith("skipped")

    land({**generated, "sample_skeleton_train.csv": generated["sample_skeleton_train.csv"][:-500]})
    assert not run_step(settings, parameters(settings)).result.startswith("skipped")


def test_rejected_records_and_orphans_are_counted_and_never_drawn(
    settings: Settings, land: Callable[[Lines], None], generated: Lines, capsys: pytest.CaptureFixture[str]
) -> None:
    samples, groups = generated["sample_skeleton_train.csv"], generated["common_features_train.csv"]
    lost = groups[3].split(b",")[0]
    orphans = [line for line in samples if line.split(b",")[3] == lost]
    bad = [line.replace(b"\x02", b"\x02x", 1) for line in samples[5_000:5_200]]
    broken = b"zz" + groups[9][2:]
    without = groups[9].split(b",")[0]
    orphans += [line for line in samples if line.split(b",")[3] == without]
    source = {
        "sample_skeleton_train.csv": samples[:5_000] + bad + samples[5_000:] + [b"no record\n"],
        "common_features_train.csv": [*groups[:3], *groups[4:9], broken, *groups[10:]],
    }
    land(source)
    run_step(settings, parameters(settings, strata="none", margin="3%"))
    sample, told = drawn(settings), manifest(settings)["source"]["members"]

    assert_whole(sample, source)
    assert told["sample_skeleton_train.csv"]["num_rejected"] == 201
    assert told["sample_skeleton_train.csv"]["num_orphans"] == len(set(orphans))
    assert told["common_features_train.csv"]["num_rejected"] == 1
    assert all(isinstance(parse_record(line[:-1], "sample"), Record) for line in sample["sample_skeleton_train.csv"])
    printed = capsys.readouterr().out
    assert "201 lines of the samples are no good record" in printed
    assert f"{len(set(orphans)):,} samples name a common feature group that is not there" in printed


def test_all_of_the_source_is_drawn_when_nothing_less_will_do(
    settings: Settings, land: Callable[[Lines], None], generated: Lines
) -> None:
    land(generated)
    run_step(settings, parameters(settings, margin="0.01%"))

    assert drawn(settings) == {
        "sample_skeleton_train.csv": generated["sample_skeleton_train.csv"],
        "common_features_train.csv": generated["common_features_train.csv"],
    }


def test_scenes_refine_the_strata(settings: Settings, land: Callable[[Lines], None], generated: Lines) -> None:
    land(generated)
    run_step(settings, parameters(settings, strata="labels,scene"))
    sample = drawn(settings)
    assert_whole(sample, generated)

    def cells(lines: list[bytes]) -> Counter[tuple[bytes, bytes]]:
        return Counter(
            (b",".join(line.split(b",")[1:3]), line.split(b"301\x02")[1].split(b"\x03")[0]) for line in lines
        )

    source_cells, sample_cells = (cells(lines["sample_skeleton_train.csv"]) for lines in (generated, sample))
    total = len(sample["sample_skeleton_train.csv"]) / len(generated["sample_skeleton_train.csv"])
    assert len(source_cells) > 6
    assert sample_cells.keys() == source_cells.keys()
    assert all(abs(sample_cells[cell] - total * count) < 2 for cell, count in source_cells.items())


@pytest.mark.parametrize("given", [{"strata": "scene", "minimum": 100}, {"clusters": True, "margin": "40%"}])
def test_the_account_of_a_sample_says_what_each_impression_stands_for(
    settings: Settings,
    land: Callable[[Lines], None],
    generated: Lines,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, Any],
) -> None:
    seen: list[Findings] = []
    write = draw_sample._write

    def see(*arguments: Any, **named: Any) -> Findings:
        seen.append(write(*arguments, **named))
        return seen[-1]

    monkeypatch.setattr(draw_sample, "_write", see)
    land(generated)
    run_step(settings, parameters(settings, **given))
    told, (found,) = manifest(settings), seen

    for stratum in told["strata"]:
        assert stratum["weight"] * stratum["sample"] == pytest.approx(stratum["source"])
        assert stratum["interval"] == [stratum["source"] / told["samples"]["source"]] * 2
    assert [row["scene"] is None for row in told["strata"]] == [False] * len(told["strata"])
    assert sum(row["estimate"] for row in told["labels"]) == pytest.approx(1)
    assert {row["click_label"] for row in told["labels"]} == {0, 1}
    # What was counted by stratum, or by random groups of groups, is what was counted.
    for tally in (found.source, found.sample):
        parts = [*tally.cells.values()]
        assert sum(part.count for part in parts) == tally.file.num_eligible
        assert sum((part.coverage for part in parts), Counter[bytes]()) == tally.file.coverage
        assert np.array_equal(sum(part.list_lengths for part in parts), tally.file.list_lengths)
    if found.replicates is not None:
        whole = found.source.file
        assert {name: each.sum() for name, each in found.replicates.coverage.items()} == whole.coverage
        assert {length: each.sum() for length, each in found.replicates.list_lengths.items()} == {
            length: count for length, count in enumerate(whole.list_lengths.tolist()) if count
        }
        assert found.replicates.labels.sum() == whole.num_eligible
        assert (found.replicates.labels.sum(axis=1) > 0).sum() > 50
    assert ("by stratum" in sample_paths(settings).report.read_text()) == (not found.design.clusters)


def test_whole_groups_are_drawn_as_clusters_with_their_design_effect(
    settings: Settings, land: Callable[[Lines], None], generated: Lines
) -> None:
    land(generated)
    run_step(settings, parameters(settings, clusters=True, margin="40%"))
    sample, told = drawn(settings), manifest(settings)
    assert_whole(sample, generated)

    def groups(lines: Lines) -> Counter[bytes]:
        return Counter(line.split(b",")[3] for line in lines["sample_skeleton_train.csv"])

    assert 1 < len(groups(sample)) < len(groups(generated))
    assert groups(sample).items() <= groups(generated).items()
    (target,) = told["targets"]
    assert target["design_effect"] > 0
    assert target["interval"][0] < target["estimate"] < target["interval"][1]


def test_a_run_that_was_killed_leaves_nothing_in_the_way_and_the_last_sample_whole(
    settings: Settings, land: Callable[[Lines], None], generated: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(generated)
    run_step(settings, parameters(settings))
    before = sample_paths(settings).archive.read_bytes()
    work = sample_paths(settings).work
    work.mkdir()
    (work / "sample-000000").write_bytes(b"left over\n")

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(draw_sample, "write_json", fail)
        with pytest.raises(KeyboardInterrupt):
            run_step(settings, parameters(settings, seed=3))
    assert not work.exists()
    assert not run_step(settings, parameters(settings)).result.startswith("skipped")
    assert sample_paths(settings).archive.read_bytes() == before


def test_files_that_are_replaced_while_they_are_read_give_no_sample(
    settings: Settings, land: Callable[[Lines], None], generated: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(generated)
    run_step(settings, parameters(settings))
    before = sample_paths(settings).archive.read_bytes()
    plan = job.make_plan

    def replace_and_plan(*arguments: Any) -> Any:
        path = settings.member_path("sample")
        content = path.read_bytes()
        time.sleep(0.05)  # more than a tick of the clock that files get their times from
        path.write_bytes(content.replace(b"1.0", b"2.0"))
        return plan(*arguments)

    monkeypatch.setattr(draw_sample, "make_plan", replace_and_plan)
    with pytest.raises(LoadError, match="is not the file that was unpacked: run make sample"):
        run_step(settings, parameters(settings, seed=2))
    assert sample_paths(settings).archive.read_bytes() == before


def test_only_one_process_draws_a_sample(settings: Settings, land: Callable[[Lines], None], generated: Lines) -> None:
    land(generated)
    with (
        hold_lock(settings.sample_folder / ".lock", "busy"),
        pytest.raises(PipelineError, match="another make sample is drawing from train"),
    ):
        run_step(settings, parameters(settings))


def test_what_cannot_be_drawn_is_said_in_one_line(settings: Settings, land: Callable[[Lines], None]) -> None:
    with pytest.raises(LoadError, match="run make sample, which downloads it first"):
        run_step(settings, parameters(settings))

    group = b"bacff91692951881,1,101\x021\x031.0\n"
    no_click = {"sample_skeleton_train.csv": [REAL_LINE + b"\n"], "common_features_train.csv": [group]}
    land(no_click)
    with pytest.raises(LoadError, match="the source has no click-through rate above 0"):
        run_step(settings, parameters(settings))

    land({**no_click, "common_features_train.csv": []})
    with pytest.raises(LoadError, match="no good sample whose common feature group is there"):
        run_step(settings, parameters(settings))

    click = REAL_LINE.replace(b"1,0,0", b"2,1,0", 1) + b"\n"
    land({**no_click, "sample_skeleton_train.csv": [REAL_LINE + b"\n"] * 9 + [click]})
    with pytest.raises(UsageError, match=r"wider than the click-through rate itself, 0\.1: write ctr:20% for a share"):
        run_step(settings, parameters(settings, margin="0.2"))


def test_the_report_is_one_page_that_needs_no_network(
    settings: Settings, land: Callable[[Lines], None], generated: Lines
) -> None:
    land(generated)
    run_step(settings, parameters(settings, margin="ctr:20%,ctcvr:0.0001"))
    page = sample_paths(settings).report.read_text()

    assert page.count("<svg") == 5
    assert "click-through and conversion rate" in page
    assert "± 0.0001 absolute" in page
    assert "prefers-color-scheme: dark" in page
    for outside in ("src=", "<script", "<link", "@import", "url(http"):
        assert outside not in page


def test_the_archive_is_plain_gzip_and_tar(settings: Settings, land: Callable[[Lines], None], generated: Lines) -> None:
    land(generated)
    run_step(settings, parameters(settings))
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(sample_paths(settings).archive.read_bytes()))) as archive:
        for member in archive:
            assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
            assert (member.mode, member.mtime) == (0o644, 1_654_041_600)
