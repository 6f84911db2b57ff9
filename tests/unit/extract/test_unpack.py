from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import io
import lzma
import os
import random
import shutil
import stat
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extract import unpack
from extract.unpack import unpack_stream
from pipeline import files
from pipeline.errors import ArchiveError, PipelineError, SourceError
from pipeline.landed import Asset, manifest_path, read_manifest, write_manifest
from pipeline.lines import SMALLEST_GRAIN
from tests.unit.extract.archives import COMMON, SKELETON, Entry, archive_of, land, tar_of

LINES = b"1,0,0,bacff91692951881,1,301\x029351665\x031.0\n"
STREAMED = Asset("s3://bucket/key", "etag", 0, datetime.now(UTC))
GOOD = (Entry(SKELETON, LINES * 2_000), Entry(COMMON, b"bacff91692951881,0,\n"))


@pytest.fixture
def paths(tmp_path: Path) -> dict[str, Path]:
    return {name: tmp_path / "unpacked" / name for name in (SKELETON, COMMON)}


def unpacked(tmp_path: Path, paths: dict[str, Path], content: bytes) -> dict[str, Asset]:
    archive = tmp_path / "archives" / "taobao_train.tar.gz"
    return unpack.unpack(archive, land(archive, content), paths)[1]


def files_left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and "archives" not in path.parts)


def assert_refused(tmp_path: Path, paths: dict[str, Path], content: bytes, message: str) -> None:
    with pytest.raises(ArchiveError, match=message) as caught:
        unpacked(tmp_path, paths, content)
    assert "taobao_train.tar.gz" in str(caught.value)
    assert "it came so from s3://bucket/development/taobao_train.tar.gz: put a good one there" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert files_left(tmp_path) == []


def test_the_files_and_their_manifests_hold_what_was_packed(tmp_path: Path, paths: dict[str, Path]) -> None:
    content = archive_of(*GOOD)
    manifests = unpacked(tmp_path, paths, content)
    for entry in GOOD:
        assert paths[entry.name].read_bytes() == entry.content
        manifest = read_manifest(paths[entry.name])
        assert manifest == manifests[entry.name]
        assert manifest.sha256 == hashlib.sha256(entry.content).hexdigest()
        assert manifest.uri == f"s3://bucket/development/taobao_train.tar.gz#{entry.name}"
        assert manifest.num_rows == entry.content.count(b"\n")
        assert stat.S_IMODE(paths[entry.name].stat().st_mode) == 0o600
    assert stat.S_IMODE(paths[SKELETON].parent.stat().st_mode) == 0o700
    assert files_left(tmp_path) == sorted([SKELETON, COMMON, f"{SKELETON}.json", f"{COMMON}.json"])


@pytest.mark.parametrize(("content", "num_lines"), [(b"", 0), (b"\n", 1), (b"a", 1), (b"a\n", 1), (b"a\nb", 2)])
def test_a_last_line_without_a_newline_counts(
    tmp_path: Path, paths: dict[str, Path], content: bytes, num_lines: int
) -> None:
    manifests = unpacked(tmp_path, paths, archive_of(Entry(SKELETON, content), GOOD[1]))
    assert manifests[SKELETON].num_rows == num_lines
    assert paths[SKELETON].read_bytes() == content


def test_the_marks_of_a_file_are_where_its_lines_begin(tmp_path: Path, paths: dict[str, Path]) -> None:
    manifest = unpacked(tmp_path, paths, archive_of(*GOOD))[SKELETON]
    assert manifest.marks[0] == (0, 1)
    assert len(manifest.marks) > 10
    for first_byte, first_line in manifest.marks:
        assert GOOD[0].content[:first_byte].count(b"\n") == first_line - 1
        assert not first_byte or GOOD[0].content[first_byte - 1 : first_byte] == b"\n"
    assert all(b[0] - a[0] < SMALLEST_GRAIN + len(LINES) for a, b in pairwise(manifest.marks))


@pytest.mark.parametrize("prefix", ["./", "taobao/", "./a/b/"])
@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_may_stand_in_a_folder_of_any_tar_format(
    tmp_path: Path, paths: dict[str, Path], prefix: str, format_: int
) -> None:
    entries = [Entry(prefix, type=tarfile.DIRTYPE), *(Entry(prefix + entry.name, entry.content) for entry in GOOD)]
    unpacked(tmp_path, paths, gzip.compress(tar_of(entries, format_=format_)))
    assert paths[SKELETON].read_bytes() == GOOD[0].content


@pytest.fixture
def packed_folder(tmp_path: Path) -> Path:
    """A folder with the two files and everything else that a file system can hold, to be packed by `tar` itself."""
    folder = tmp_path / "packed"
    folder.mkdir()
    for entry in GOOD:
        (folder / entry.name).write_bytes(entry.content)
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "other").write_bytes(b"x")
    (folder / "hard_link").hardlink_to(folder / "other")
    os.mkfifo(folder / "fifo")
    (folder / "empty").mkdir()
    return folder


def tar(folder: Path, *options: str) -> bytes:
    command = ["tar", "--create", "--gzip", "--file=-", f"--directory={folder}", *options]
    return subprocess.run(command, capture_output=True, check=True).stdout


@pytest.mark.parametrize("format_", ["gnu", "oldgnu", "pax", "ustar", "v7"])
def test_what_the_tar_program_packs_is_unpacked(
    tmp_path: Path, paths: dict[str, Path], packed_folder: Path, format_: str
) -> None:
    if format_ == "v7":
        (packed_folder / "fifo").unlink()  # which it cannot hold
    unpacked(tmp_path, paths, tar(packed_folder, f"--format={format_}", "--sort=name", "."))
    assert {name: path.read_bytes() for name, path in paths.items()} == {entry.name: entry.content for entry in GOOD}
    assert sorted(path.name for path in (tmp_path / "unpacked").iterdir()) == sorted(
        [SKELETON, COMMON, f"{SKELETON}.json", f"{COMMON}.json"]
    )


@pytest.mark.parametrize(
    "way", ["--format=gnu", *(f"--format=pax --sparse-version={v}" for v in ("0.0", "0.1", "1.0"))]
)
def test_a_sparse_file_of_the_tar_program_is_refused(
    tmp_path: Path, paths: dict[str, Path], packed_folder: Path, way: str
) -> None:
    os.truncate(packed_folder / SKELETON, 50 << 20)
    content = tar(packed_folder, "--sparse", *way.split(), SKELETON, COMMON)
    shutil.rmtree(packed_folder)
    assert_refused(tmp_path, paths, content, f"holds {SKELETON} as a sparse file")


@pytest.mark.parametrize("place", ["/tmp/", "../", "a/../../"])
def test_a_path_that_leads_out_of_the_tar_programs_archive_is_not_followed(
    tmp_path: Path, paths: dict[str, Path], packed_folder: Path, place: str
) -> None:
    content = tar(packed_folder, "--absolute-names", f"--transform=s,^,{place},", SKELETON, COMMON)
    shutil.rmtree(packed_folder)
    assert_refused(tmp_path, paths, content, f"does not hold {COMMON} and {SKELETON}")


@pytest.mark.parametrize("kind", ["symlink", "hard link", "fifo"])
def test_something_other_than_a_file_under_an_expected_name_is_refused(
    tmp_path: Path, paths: dict[str, Path], packed_folder: Path, kind: str
) -> None:
    member = packed_folder / SKELETON
    member.unlink()
    match kind:
        case "symlink":
            member.symlink_to("/etc/passwd")
        case "hard link":
            member.hardlink_to(packed_folder / COMMON)
        case _:
            os.mkfifo(member)
    content = tar(packed_folder, COMMON, SKELETON)
    shutil.rmtree(packed_folder)
    assert_refused(tmp_path, paths, content, "as a link, a folder or a device")


@pytest.mark.parametrize(
    "extra",
    [
        Entry("readme.txt", b"hello"),
        Entry("._" + SKELETON, b"what macOS adds"),
        Entry(f"../{SKELETON}", b"out"),
        Entry(f"a/../../{SKELETON}", b"out"),
        Entry(f"/tmp/{SKELETON}", b"out"),
        Entry("a_link", type=tarfile.SYMTYPE, link="/etc/passwd"),
        Entry("a_device", type=tarfile.CHRTYPE),
        Entry("x" * 300, b"a name that needs an extended header"),
        Entry("new\nline\x1b[31m", b"a name that would write to the terminal"),
    ],
)
def test_an_unexpected_member_is_ignored_with_a_warning(
    tmp_path: Path, paths: dict[str, Path], extra: Entry, capsys: pytest.CaptureFixture[str]
) -> None:
    unpacked(tmp_path, paths, archive_of(GOOD[0], extra, GOOD[1]))
    assert paths[SKELETON].read_bytes() == GOOD[0].content
    assert len(files_left(tmp_path)) == 4
    warning = capsys.readouterr().out
    assert warning.startswith("warning: ")
    assert warning.count("\n") == 1
    assert warning.rstrip("\n").isprintable()


def test_warnings_of_very_many_members_are_few(
    tmp_path: Path, paths: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    unpacked(tmp_path, paths, archive_of(*GOOD, *(Entry(f"{number}.txt") for number in range(100))))
    assert capsys.readouterr().out.count("\n") == 11


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (GOOD[:1], f"does not hold {COMMON}"),
        ((), "does not hold"),
        ((*GOOD, GOOD[0]), f"holds {SKELETON} twice"),
        ((*GOOD, Entry(f"other/{SKELETON}", b"")), f"holds {SKELETON} twice"),
        ((Entry(f"../{SKELETON}", b"out"), GOOD[1]), f"does not hold {SKELETON}"),
        ((Entry(f"/{SKELETON}", b"out"), GOOD[1]), f"does not hold {SKELETON}"),
        ((Entry(SKELETON, type=tarfile.SYMTYPE, link="/etc/passwd"), GOOD[1]), "as a link"),
        ((Entry(SKELETON, type=tarfile.LNKTYPE, link=COMMON), GOOD[1]), "as a link"),
        ((Entry(SKELETON, type=tarfile.CHRTYPE), GOOD[1]), "as a link, a folder or a device"),
        ((Entry(SKELETON, type=tarfile.BLKTYPE), GOOD[1]), "as a link, a folder or a device"),
        ((Entry(SKELETON, type=tarfile.FIFOTYPE), GOOD[1]), "as a link, a folder or a device"),
        ((Entry(SKELETON, type=tarfile.DIRTYPE), GOOD[1]), "as a link, a folder or a device"),
    ],
)
def test_an_archive_with_the_wrong_members_is_refused(
    tmp_path: Path, paths: dict[str, Path], entries: tuple[Entry, ...], message: str
) -> None:
    assert_refused(tmp_path, paths, archive_of(*entries), message)


def test_a_sparse_member_is_refused(tmp_path: Path, paths: dict[str, Path]) -> None:
    pax = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": SKELETON, "GNU.sparse.realsize": "99"}
    sparse_map = b"1\n0\n3\n".ljust(512, b"\0") + b"abc"
    packed = tar_of([Entry("GNUSparseFile.0/x", sparse_map, pax=pax), GOOD[1]], format_=tarfile.PAX_FORMAT)
    assert_refused(tmp_path, paths, gzip.compress(packed), "as a sparse file")


def test_a_member_that_claims_an_absurd_size_is_refused(tmp_path: Path, paths: dict[str, Path]) -> None:
    header = tarfile.TarInfo(SKELETON)
    header.size = 1 << 50
    assert_refused(tmp_path, paths, gzip.compress(header.tobuf(tarfile.GNU_FORMAT)), "which cannot be right")


@pytest.mark.parametrize("name", [SKELETON, "other"])
def test_a_member_of_a_negative_size_is_refused(tmp_path: Path, paths: dict[str, Path], name: str) -> None:
    header = tarfile.TarInfo(name)
    header.size = -4096
    assert_refused(tmp_path, paths, gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024)), "size|bytes")


def test_a_header_that_claims_an_absurd_size_is_not_read_into_memory(tmp_path: Path, paths: dict[str, Path]) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    assert_refused(tmp_path, paths, gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024)), "bytes of headers")


def test_a_long_chain_of_headers_is_refused(tmp_path: Path, paths: dict[str, Path]) -> None:
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1
    chain = (header.tobuf(tarfile.GNU_FORMAT) + b"x".ljust(512, b"\0")) * 5_000
    assert_refused(tmp_path, paths, gzip.compress(chain), "bytes of headers before a member")


def pax_header(body: bytes, type_: bytes = tarfile.XHDTYPE) -> bytes:
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = type_, len(body)
    return header.tobuf(tarfile.USTAR_FORMAT) + body + bytes(-len(body) % tarfile.BLOCKSIZE)


@pytest.mark.parametrize(
    "body",
    [
        b"1" * (1 << 20),  # tarfile would look from each digit for the end of a number: 15 minutes
        b"2 " * (1 << 19) + b"=\n",  # and take half a million keywords of half a megabyte on average from this
    ],
)
def test_a_header_that_takes_hours_or_all_memory_is_refused_unread(
    tmp_path: Path, paths: dict[str, Path], body: bytes
) -> None:
    begun = time.monotonic()
    for packed in (pax_header(body), pax_header(body, tarfile.XGLTYPE)):
        assert_refused(tmp_path, paths, gzip.compress(packed + tar_of(GOOD), 1), "has a tar header that makes no sense")
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("attribute", [8_000, 20_000_000])
@pytest.mark.parametrize("type_", [tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_attributes_that_a_system_gives_to_files_are_passed_over_whatever_their_size(
    tmp_path: Path, paths: dict[str, Path], attribute: int, type_: bytes
) -> None:
    def record(keyword: str, value: bytes) -> bytes:
        rest = b" " + keyword.encode() + b"=" + value + b"\n"
        length = len(rest) + len(str(len(rest)))
        return b"%d" % (length + (len(str(length)) > len(str(len(rest))))) + rest

    attributes = [record(f"SCHILY.xattr.com.apple.{name}", b"\0=\n" * (attribute // 3)) for name in "ab"]
    body = b"".join([attributes[0], record("mtime", b"1600000000.5"), *attributes[1:]])
    content = pax_header(body, type_) + tar_of(GOOD)
    assert tracemalloc_peak(lambda: unpacked(tmp_path, paths, content)) < 30_000_000


def tracemalloc_peak(work: Callable[[], object]) -> int:
    """The most memory that Python held while it worked, in bytes."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_name_in_an_extended_header_counts_whatever_stands_around_it(tmp_path: Path, paths: dict[str, Path]) -> None:
    folder = "x" * 300
    entries = [
        Entry(f"{folder}/{entry.name}", entry.content, pax={"SCHILY.xattr.user.a": "b" * 9_000}) for entry in GOOD
    ]
    unpacked(tmp_path, paths, gzip.compress(tar_of(entries, format_=tarfile.PAX_FORMAT)))


@pytest.mark.parametrize("body", [b"30 path=x\n", b"3 p=\n", b"99999999999999999999 a=b\n", b"0 a=b\n", b"x" * 600])
def test_records_that_are_none_are_refused(tmp_path: Path, paths: dict[str, Path], body: bytes) -> None:
    assert_refused(tmp_path, paths, gzip.compress(pax_header(body) + tar_of(GOOD)), "tar header that makes no sense")


def test_a_tar_file_that_is_not_packed_is_unpacked(tmp_path: Path, paths: dict[str, Path]) -> None:
    unpacked(tmp_path, paths, tar_of(GOOD))


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (b"PK\x03\x04....", "a zip archive"),
        (b"\x28\xb5\x2f\xfd....", "packed by zstd"),
        (bz2.compress(b"x"), "packed by bzip2"),
        (lzma.compress(b"x"), "packed by xz"),
        (b"\n<!DOCTYPE html><html>", "an HTML page"),
        (b"<html><head>", "an HTML page"),
        (b'\xef\xbb\xbf<?xml version="1.0"?><Error>', "an XML document, such as an answer of S3"),
        (b'{"message": "Forbidden"}', "a JSON document"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
    ],
)
def test_what_is_no_archive_is_named_by_what_it_is(
    tmp_path: Path, paths: dict[str, Path], content: bytes, form: str
) -> None:
    assert_refused(tmp_path, paths, content, f"is {form}.*: what is expected is a tar file, packed by gzip or not")


def test_very_many_headers_are_refused(tmp_path: Path, paths: dict[str, Path]) -> None:
    many = [Entry(f"{number}.txt") for number in range(3_000)]
    assert_refused(tmp_path, paths, archive_of(*many, *GOOD), "more than 1,048,576 bytes of headers")


def test_headers_that_say_nothing_of_a_member_are_not_kept(tmp_path: Path, paths: dict[str, Path]) -> None:
    folder = tar_of([Entry("a/", type=tarfile.DIRTYPE)])[: tarfile.BLOCKSIZE]

    def packed(type_: bytes) -> bytes:
        bodies = [b"".join(b"12 k%05d=v\n" % (60 * number + part) for part in range(60)) for number in range(2)]
        return gzip.compress(b"".join(pax_header(body, type_) + folder for body in bodies) + tar_of(GOOD))

    unpacked(tmp_path, paths, packed(tarfile.XGLTYPE))
    unpacked(tmp_path, paths, packed(tarfile.XHDTYPE))


def test_a_bomb_is_refused_before_it_fills_the_disk(
    tmp_path: Path, paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack, "LARGEST_SMALL_CONTENT", 4 << 20)
    assert_refused(tmp_path, paths, archive_of(Entry(SKELETON, bytes(32 << 20)), GOOD[1]), "which cannot be right")
    many = [Entry(f"{number}.bin", bytes(1 << 20)) for number in range(16)]
    assert_refused(tmp_path, paths, archive_of(*many, *GOOD), "holds more than 4.2 MB")


def test_a_real_bomb_is_refused_at_its_limit(tmp_path: Path, paths: dict[str, Path]) -> None:
    header = tarfile.TarInfo("zeros.bin")
    header.size = 8 << 30
    zeros = gzip.compress(bytes(16 << 20), 1)
    content = gzip.compress(header.tobuf(tarfile.GNU_FORMAT)) + zeros * 512
    assert len(content) < unpack.LARGEST_SMALL_CONTENT // 20
    assert_refused(tmp_path, paths, content, "holds more than .* GB, which is far more than an archive of its size")


def test_a_member_that_would_be_a_bomb_on_a_full_disk_stops_there(root: Path, tmp_path: Path) -> None:
    """The limit on the size of a file is one that an ordinary user can set too."""
    program = """
import resource, sys
from pathlib import Path
from extract import unpack
from pipeline.cli import run_command
from tests.unit.extract.archives import COMMON, SKELETON, Entry, archive_of, land

folder, limit = Path(sys.argv[1]), int(sys.argv[2])
archive = folder / "archives" / "taobao_train.tar.gz"
landed = land(archive, archive_of(Entry(SKELETON, bytes(5_000_000)), Entry(COMMON, b"x")))
paths = {name: folder / "unpacked" / name for name in (SKELETON, COMMON)}
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
sys.exit(run_command(lambda: unpack.unpack(archive, landed, paths), verbose=False))
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    ended = subprocess.run([*command, "3000000"], cwd=root, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    part = tmp_path / "unpacked" / f"{SKELETON}.part"
    assert ended.stderr.startswith(f"error: the disk is full while writing {part}: make room")
    assert ended.stderr.count("\n") == 1
    assert files_left(tmp_path) == []
    subprocess.run([*command, "6000000"], cwd=root, check=True)
    assert (tmp_path / "unpacked" / SKELETON).stat().st_size == 5_000_000


class _BreakingDisk(io.BytesIO):
    """Reads as a file on a disk that breaks after the first pieces. No test can make a real one break."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > 1 << 20:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(size)


def test_a_disk_that_breaks_under_the_archive_while_a_csv_file_is_written_is_told_of_the_archive(
    paths: dict[str, Path],
) -> None:
    content = archive_of(Entry(SKELETON, random.Random(7).randbytes(8 << 20)), GOOD[1])
    for path in paths.values():
        path.parent.mkdir(exist_ok=True)
    with pytest.raises(PipelineError, match=r"^/archives/a[.]tar[.]gz: Input/output error: check that disk, and run"):
        unpack_stream(
            _BreakingDisk(content),
            "/archives/a.tar.gz",
            STREAMED,
            paths,
            largest_content=1 << 30,
            advance=lambda _: None,
        )


def test_a_disk_that_breaks_under_a_csv_file_is_told_of_that_file(
    tmp_path: Path, paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(unpack, "_write_all", broken)
    with pytest.raises(
        PipelineError, match=rf"{SKELETON}[.\w]*: Input/output error: check that disk, and run the same"
    ):
        unpacked(tmp_path, paths, archive_of(*GOOD))
    assert files_left(tmp_path) == []


def test_a_report_that_nobody_reads_is_no_error_of_a_file(
    tmp_path: Path, paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "archives" / "taobao_train.tar.gz"
    landed = land(archive, archive_of(*GOOD, Entry("unexpected", b"")))

    def nobody_reads(_: str) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(unpack, "say", nobody_reads)
    with pytest.raises(BrokenPipeError):
        unpack.unpack(archive, landed, paths)


def test_a_file_that_does_not_fit_on_the_disk_is_not_begun(
    tmp_path: Path, paths: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "DISK_RESERVE", shutil.disk_usage(tmp_path).total)
    with pytest.raises(PipelineError, match=r"too small for sample_skeleton_train[.]csv.*make room"):
        unpacked(tmp_path, paths, archive_of(*GOOD))
    assert files_left(tmp_path) == []


def test_what_an_older_archive_left_is_gone_when_the_new_one_is_damaged(tmp_path: Path, paths: dict[str, Path]) -> None:
    unpacked(tmp_path, paths, archive_of(*GOOD))
    assert_refused(tmp_path, paths, archive_of(*GOOD)[:-9], "is truncated")


@pytest.mark.parametrize(
    "spoiled", [archive_of(Entry(SKELETON, b"other\n"), GOOD[1]), archive_of(*GOOD)[:-9], b"", b"no archive"]
)
def test_an_archive_that_changed_on_disk_is_refused_and_counts_as_landed_no_longer(
    tmp_path: Path, paths: dict[str, Path], spoiled: bytes
) -> None:
    archive = tmp_path / "archives" / "taobao_train.tar.gz"
    landed = land(archive, archive_of(*GOOD))
    write_manifest(archive, landed)
    land(archive, spoiled)
    with pytest.raises(ArchiveError, match=r"changed on this disk.*: run the same command again, it downloads it anew"):
        unpack.unpack(archive, landed, paths)
    assert files_left(tmp_path) == []
    assert not manifest_path(archive).exists()


def test_an_archive_without_a_checksum_is_compared_with_its_etag_and_gets_one(
    tmp_path: Path, paths: dict[str, Path]
) -> None:
    archive, content = tmp_path / "archives" / "taobao_train.tar.gz", archive_of(*GOOD)
    etag = hashlib.md5(content).hexdigest()
    landed = replace(land(archive, content), sha256="", etag=etag, md5_part_bytes=len(content))
    known, members = unpack.unpack(archive, landed, paths)
    assert read_manifest(archive) == known == replace(landed, sha256=hashlib.sha256(content).hexdigest())
    assert unpack.unpacked(paths, known) == members
    assert unpack.unpacked(paths, landed) == unpack.unpacked(paths, replace(known, etag="other")) == {}

    for wrong in (replace(landed, etag="0" * 32), replace(landed, etag=f"{'0' * 32}-2", md5_part_bytes=1000)):
        land(archive, content)
        write_manifest(archive, wrong)
        with pytest.raises(
            SourceError,
            match=r"s3://.*: what came does not match the object's ETag 0+(-2)?, so it was thrown away: run",
        ):
            unpack.unpack(archive, wrong, paths)
        assert not list(archive.parent.iterdir())
        assert files_left(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"not gzip at all", "is not a gzip file"),
        (b"?", "is not a gzip file"),
        (b"\0" * 100, "is not a gzip file"),
        (gzip.compress(b""), "is not a tar archive"),
        (gzip.compress(b"a,b,c\n" * 1000), "is not a tar archive"),
        (gzip.compress(bytes(10_240)), f"does not hold {COMMON} and {SKELETON}"),
        (archive_of(*GOOD) + b"\x1f\x8b\x08garbage", "is truncated|is damaged"),
        (archive_of(*GOOD) + b"\x1f", "is truncated"),
        (gzip.compress(tar_of(GOOD)[:-10240]), "breaks off|damaged"),
        (gzip.compress(tar_of(GOOD) + tar_of(GOOD)), "after its end mark"),
        (archive_of(*GOOD) + b"garbage", "something else after the end of its gzip stream at byte"),
        (archive_of(*GOOD) + bytes(600) + b"garbage", "something else after the end of its gzip stream at byte"),
    ],
)
def test_what_is_no_whole_archive_is_refused(
    tmp_path: Path, paths: dict[str, Path], content: bytes, message: str
) -> None:
    assert_refused(tmp_path, paths, content, message)


def noisy_archive() -> bytes:
    """An archive that does not compress, of several pieces and blocks, so that cuts fall everywhere in the code."""
    noise = random.Random(7).randbytes(400_000)
    return archive_of(Entry(SKELETON, noise), Entry(COMMON, noise[:700]))


def streamed(content: bytes, folder: Path) -> dict[str, bytes]:
    """Unpack from a stream that cannot seek, and read back what was written."""
    paths = {name: folder / name for name in (SKELETON, COMMON)}
    manifests, _ = unpack_stream(
        io.BytesIO(content), "it", STREAMED, paths, largest_content=1 << 30, advance=lambda _: None
    )
    read = {name: path.read_bytes() for name, path in paths.items()}
    assert {name: manifest.sha256 for name, manifest in manifests.items()} == {
        name: hashlib.sha256(data).hexdigest() for name, data in read.items()
    }
    return read


class Damage(NamedTuple):
    small: bytes
    large: bytes


@pytest.fixture(scope="module")
def damage() -> Damage:
    return Damage(archive_of(Entry(SKELETON, LINES * 3), Entry(COMMON, b"x")), noisy_archive())


def test_a_truncation_at_any_byte_is_seen_and_its_byte_named(
    tmp_path: Path, damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)
    cuts = [(damage.small, cut) for cut in range(1, len(damage.small))]
    cuts += [(damage.large, cut) for cut in random.Random(1).sample(range(1, len(damage.large)), 40)]
    for content, cut in cuts:
        with pytest.raises(ArchiveError, match=rf"is truncated: it ends at byte {cut:,}, inside its gzip stream"):
            streamed(content[:cut], tmp_path)


def flipped(content: bytes, bit: int) -> bytes:
    copy = bytearray(content)
    copy[bit // 8] ^= 1 << bit % 8
    return bytes(copy)


def test_a_single_flipped_bit_is_seen_or_changes_nothing(
    tmp_path: Path, damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)
    flips = [(damage.small, bit) for bit in range(len(damage.small) * 8)]
    flips += [(damage.large, bit) for bit in random.Random(2).sample(range(len(damage.large) * 8), 100)]
    right = {content: streamed(content, tmp_path) for content in damage}
    for content, bit in flips:
        try:
            assert streamed(flipped(content, bit), tmp_path) == right[content]
        except ArchiveError:
            continue
        # Harmless: a time, the operating system and the like, or another way to write the very same bytes.
        is_in_header = 3 <= bit // 8 < 10
        inflated = zlib.decompressobj(-15).decompress(flipped(content, bit)[10:])
        assert is_in_header or inflated == gzip.decompress(content)


def test_every_bit_that_is_flipped_after_the_download_is_seen(
    tmp_path: Path, paths: dict[str, Path], damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)
    archive = tmp_path / "archives" / "taobao_train.tar.gz"
    landed = land(archive, damage.small)
    for bit in range(len(damage.small) * 8):
        land(archive, flipped(damage.small, bit))
        with pytest.raises(ArchiveError, match="it has changed on this disk"):
            unpack.unpack(archive, landed, paths)
    assert files_left(tmp_path) == []


def split_gzip(content: bytes, cuts: list[int]) -> bytes:
    edges = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    return b"".join(gzip.compress(content[a:b], mtime=0) for a, b in pairwise(edges))


packed_any = st.one_of(
    st.builds(Entry, st.sampled_from([SKELETON, COMMON, f"a/{SKELETON}", f"./{COMMON}"]), st.binary(max_size=3000)),
    st.builds(Entry, st.text(min_size=1, max_size=120), st.binary(max_size=600)),
    st.builds(
        Entry,
        st.sampled_from([SKELETON, f"../{COMMON}", f"/{COMMON}", "x"]),
        type=st.sampled_from([tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE]),
        link=st.just("/etc/passwd"),
    ),
)
packed_well = st.tuples(
    st.builds(Entry, st.sampled_from([SKELETON, f"a/{SKELETON}"]), st.binary(max_size=3000)),
    st.builds(Entry, st.sampled_from([COMMON, f"./{COMMON}"]), st.binary(max_size=3000)),
    st.builds(Entry, st.text("ab/.", min_size=1, max_size=120), st.binary(max_size=600)),
).flatmap(st.permutations)
members = st.one_of(st.lists(packed_any, max_size=5), packed_well)


@settings(max_examples=150, deadline=None)
@given(members, st.lists(st.integers(0, 12_000), max_size=4), st.integers(0, 2000), st.sampled_from([0, 1, 2]))
def test_any_archive_gives_exactly_its_members_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Entry], cuts: list[int], padding: int, format_: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    try:
        packed = tar_of(entries, format_=format_)
    except (ValueError, UnicodeError):
        return  # a name that this format of tar cannot hold
    content = split_gzip(packed, cuts) + bytes(padding)
    named = [entry for entry in entries if entry.name.split("/")[-1] in (SKELETON, COMMON)]
    plain = [entry for entry in named if not entry.name.startswith(("..", "/"))]
    should_pass = sorted(entry.name.split("/")[-1] for entry in plain) == sorted([SKELETON, COMMON]) and all(
        entry.type == tarfile.REGTYPE for entry in plain
    )
    try:
        read = streamed(content, folder)
    except ArchiveError:
        assert not should_pass
    else:
        assert should_pass
        assert read == {entry.name.split("/")[-1]: entry.content for entry in plain}
    assert {path.name for path in folder.iterdir()} <= {SKELETON, COMMON}


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_tar_inside_sound_gzip_never_gives_wrong_members(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Only the checksums of tar's own headers stand here, so a change in the data itself is not to be seen."""
    packed = bytearray(tar_of(GOOD, format_=tarfile.PAX_FORMAT))
    header = data.draw(st.sampled_from([0, 512 * (1 + -(-len(GOOD[0].content) // 512))]))
    for position in data.draw(st.lists(st.integers(0, 511), min_size=1, max_size=3, unique=True)):
        packed[header + position] = data.draw(st.integers(0, 255))
    try:
        read = streamed(gzip.compress(bytes(packed), 1), tmp_path_factory.mktemp("damaged"))
    except ArchiveError:
        return
    assert read == {entry.name: entry.content for entry in GOOD}


def test_progress_counts_every_byte_of_the_archive(tmp_path: Path) -> None:
    content = noisy_archive() + bytes(900_000)
    seen: list[int] = []
    paths = {name: tmp_path / name for name in (SKELETON, COMMON)}
    unpack_stream(io.BytesIO(content), "it", STREAMED, paths, largest_content=1 << 30, advance=seen.append)
    assert sum(seen) == len(content)
    assert len(seen) > 1


@pytest.mark.parametrize(
    "spoil", [Path.unlink, lambda path: path.write_bytes(b"short"), lambda path: path.write_text("{")]
)
def test_a_file_counts_as_unpacked_only_with_its_own_manifest_and_size(
    tmp_path: Path, paths: dict[str, Path], spoil: Callable[[Path], object]
) -> None:
    unpacked(tmp_path, paths, archive_of(*GOOD))
    assert read_manifest(paths[COMMON]) is not None
    spoil(paths[COMMON])
    assert read_manifest(paths[COMMON]) is None
    spoil(manifest_path(paths[SKELETON]))
    assert read_manifest(paths[SKELETON]) is None
