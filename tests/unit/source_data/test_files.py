"""How generated files are written: whole or not at all, by one writer, with nothing of the machine in them."""

from __future__ import annotations

import hashlib
import resource
import signal
import subprocess
import sys
import tarfile
import tracemalloc
from collections import defaultdict
from pathlib import Path

import pytest

from pipeline.errors import PipelineError, UsageError
from source_data import expected_bytes, write_archive, write_csvs

ROOT = Path(__file__).parents[3]
TINY = 0.0001


def checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def run_python(code: str, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("at", [1, 4], ids=["generating", "packing"])
def test_a_killed_writer_leaves_the_old_archive_and_the_next_one_finishes(tmp_path: Path, at: int) -> None:
    archive = tmp_path / "taobao_train.tar.gz"
    archive.write_bytes(b"the old one")
    write_archive(tmp_path / "undisturbed", "train", scale=TINY)
    code = f"""
import os, signal, sys
from pathlib import Path
from source_data import write_archive
calls = []
def kill(done):
    calls.append(done)
    if len(calls) == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
write_archive(Path(sys.argv[1]), "train", scale={TINY}, progress=kill)
"""
    assert run_python(code, archive).returncode == -signal.SIGKILL
    assert archive.read_bytes() == b"the old one"

    write_archive(archive, "train", scale=TINY)
    assert checksum(archive) == checksum(tmp_path / "undisturbed")
    assert {path.name for path in tmp_path.iterdir()} == {archive.name, "undisturbed"}


def test_a_second_writer_of_the_same_archive_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    refused = []

    def write_again(_: int) -> None:
        with pytest.raises(UsageError, match="being written by another process"):
            write_archive(tmp_path / "one", "train", scale=TINY)
        refused.append(True)

    write_archive(tmp_path / "one", "train", scale=TINY, progress=write_again)
    write_archive(tmp_path / "two", "train", scale=TINY)

    assert refused
    assert checksum(tmp_path / "one") == checksum(tmp_path / "two")


def test_a_file_system_that_refuses_more_gives_one_line_and_leaves_the_old_archive(tmp_path: Path) -> None:
    archive = tmp_path / "taobao_train.tar.gz"
    archive.write_bytes(b"the old one")
    code = f"""
import resource, sys
from pathlib import Path
from source_data import write_archive
from pipeline.errors import PipelineError
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, {resource.RLIM_INFINITY}))
try:
    write_archive(Path(sys.argv[1]), "train", scale={TINY})
except PipelineError as error:
    print(error)
"""
    result = run_python(code, archive)

    assert result.stdout == f"cannot write {archive}: File too large\n"
    assert archive.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [archive]


def test_a_folder_that_does_not_exist_gives_one_line(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"^cannot write .*/nowhere/archive: No such file or directory$"):
        write_archive(tmp_path / "nowhere" / "archive", "train", scale=TINY)
    with pytest.raises(PipelineError, match=r"^cannot write .*/nowhere: No such file or directory$"):
        write_csvs(tmp_path / "nowhere", "train", scale=TINY)


def test_a_negative_seed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="seed -1"):
        write_csvs(tmp_path, "train", scale=TINY, seed=-1)


@pytest.mark.parametrize("dataset", ["train", "test"])
def test_progress_adds_up_to_what_was_announced(tmp_path: Path, dataset: str) -> None:
    calls: list[int] = []

    write_archive(tmp_path / "archive", dataset, scale=0.0005, progress=calls.append)

    assert sum(calls) == expected_bytes(dataset, scale=0.0005)
    assert min(calls) >= 0


def test_the_archive_says_nothing_of_who_wrote_it_and_when(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    write_archive(archive, "train", scale=TINY)

    assert archive.read_bytes()[3:8] == bytes(5)  # no file name and no time in gzip's header
    with tarfile.open(archive) as members:
        for member in members:
            assert member.isfile()
            assert (member.uid, member.gid, member.uname, member.gname, member.mode) == (0, 0, "", "", 0o644)
            assert member.mtime == 1_654_041_600
        assert members.getnames() == ["sample_skeleton_train.csv", "common_features_train.csv"]


@pytest.mark.parametrize("dataset", ["train", "test"])
def test_the_smallest_scale_still_holds_every_kind_of_row(tmp_path: Path, dataset: str) -> None:
    write_csvs(tmp_path, dataset, scale=0.00001)
    lines = (tmp_path / f"sample_skeleton_{dataset}.csv").read_text("ascii").splitlines()
    labels = [line.split(",")[1:3] for line in lines]
    names = [{text.split("\x02")[0] for text in line.split(",")[5].split("\x01")} for line in lines]

    assert labels.count(["0", "1"]) == 1
    assert labels.count(["1", "1"]) == 3
    assert sum(not present & {"205", "206", "207", "210"} for present in names) == 1
    assert sum("205" in present and "210" not in present for present in names) == 1


def test_an_item_keeps_its_category_shop_and_brand(tmp_path: Path) -> None:
    write_csvs(tmp_path, "test", scale=0.0005)
    described = defaultdict(list)
    for line in (tmp_path / "sample_skeleton_test.csv").read_text("ascii").splitlines():
        ids = dict(text.split("\x03")[0].split("\x02") for text in line.split(",")[5].split("\x01"))
        if "205" in ids:
            described[ids["205"]].append((ids["206"], ids["207"], ids.get("216")))

    assert max(len(descriptions) for descriptions in described.values()) > 5
    assert all(len(set(descriptions)) == 1 for descriptions in described.values())


def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    peaks = []
    for scale in (0.001, 0.004):
        tracemalloc.start()
        write_archive(tmp_path / "archive", "train", scale=scale)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < 1.2 * peaks[0]
