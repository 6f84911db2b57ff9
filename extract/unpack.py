"""Unpack the CSV members of an archive, in one pass, checking everything on the way.

One thread inflates the archive, a second checksums it and the CSV files; the caller's reads the tar headers, counts
lines and writes. Nothing gets its final name before the whole archive was read and every checksum was right.
docs/decisions/unpack.md says which archives are refused, and why.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO, cast

from isal import isal_zlib

from extract.bucket import find_csv_files
from extract.local import find_local, read_in_place
from pipeline.cli import say
from pipeline.commands import make_command
from pipeline.csv_files import Place
from pipeline.errors import ArchiveError, PipelineError, SourceError
from pipeline.files import disk_errors, make_private_folder, open_private, require_free_disk
from pipeline.landed import Asset, file_of, manifest_path, part_path, publish, read_manifest, write_manifest
from pipeline.lines import Lines
from pipeline.progress import track
from pipeline.s3 import EtagSum
from pipeline.settings import RECORD_KINDS, RecordKind, Settings
from pipeline.steps import StepResult, refuse_unknown
from pipeline.units import quantity

# More than this from one archive, inflated, is a bomb: the real ones grow about five times.
LARGEST_GROWTH = 100
LARGEST_SMALL_CONTENT = 1 << 30

_PIECE = 256 << 10  # read from the archive at once; 4.5 times as much comes out
_BLOCK = 2 << 20  # the most that is inflated at once
_READ_AHEAD = 6  # blocks
_GZIP = 31  # zlib's number for a gzip stream with its header, CRC and length
_GZIP_BEGINS = b"\x1f"
# What is found in place of an archive, by how it begins: one of another program, an answer that was no file, a pointer.
_OTHER_FORMS: Mapping[bytes, str] = {
    b"PK": "a zip archive",
    b"\x28\xb5\x2f\xfd": "packed by zstd",
    b"BZh": "packed by bzip2",
    b"\xfd7zXZ": "packed by xz",
    b"7z\xbc\xaf": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"\x04\x22\x4d\x18": "packed by lz4",
    b"\x1f\x9d": "packed by compress",
    b"PAR1": "a Parquet file",
    b"version https://git-lfs": "a pointer of Git LFS, and not the file that it stands for",
    b"<?xml": "an XML document, such as an answer of S3",
    b"<error": "an XML document, such as an answer of S3",
    b"<": "an HTML page",
    b"{": "a JSON document",
}
_MARK_OF_UTF8 = b"\xef\xbb\xbf"
# Of the headers before a member, and of those of a whole archive. tarfile reads them whole, and what it does with
# extended ones takes time and memory by the square of their size: one of 1 MiB takes 15 minutes, another 250 GB. Of
# these it is given what it needs: macOS writes whatever attributes a file has, of any size, each as a record.
_LARGEST_HEADERS = 16 << 10
_LARGEST_HEADERS_TOGETHER = 1 << 20
_MOST_WARNINGS = 10

_PAX_TYPES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_EXTENDED_TYPES = (*_PAX_TYPES, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
# POSIX, pax, "pax Extended Header": its length, those digits included, a keyword and a value.
_PAX_RECORD = re.compile(rb"([1-9][0-9]{0,18}) ([^=\0]{1,300})=")
_LONGEST_PAX_BEGINNING = 320
_USEFUL_KEYWORDS = re.compile(rb"path|size|linkpath|hdrcharset|GNU\.sparse\.[a-z]{1,10}")

_FILE_TYPES = (tarfile.REGTYPE, tarfile.AREGTYPE)
_END_MARK = bytes(tarfile.BLOCKSIZE)
_InflateError = cast(type[Exception], isal_zlib.error)  # its stub gives an instance


@dataclass
class _Archive:
    """An archive while it is read.

    Attributes:
        label: its path, as messages name it.
        landed: what its manifest says.
        largest_content: the most bytes that it may hold, inflated.
        offset: how many of its bytes were taken so far.
        content: how many bytes came out of it so far.
    """

    label: str
    landed: Asset
    largest_content: int
    offset: int = 0
    content: int = 0

    def error(self, what: str) -> ArchiveError:
        """Say what is wrong with the archive."""
        return ArchiveError(f"{self.label} {what}")

    def count_content(self, amount: int) -> None:
        """Count bytes that came out, and stop where there are too many."""
        self.content += amount
        if self.content > self.largest_content:
            limit = quantity(self.largest_content, "B")
            raise self.error(f"holds more than {limit}, which is far more than an archive of its size should")


@dataclass(frozen=True)
class _Beside:
    """A checksum that a thread computes, at most a few blocks behind."""

    thread: ThreadPoolExecutor
    digest: Any
    pending: deque[Future[None]] = field(default_factory=deque)

    def update(self, data: bytes) -> None:
        self.pending.append(self.thread.submit(self.digest.update, data))
        if len(self.pending) > _READ_AHEAD:
            self.pending.popleft().result()

    def finish(self) -> Any:
        """Give the digest, which has all of the data."""
        while self.pending:
            self.pending.popleft().result()
        return self.digest


class Sums:
    """The checksums of an archive, as its bytes come by.

    Args:
        landed: what its manifest says.
    """

    def __init__(self, landed: Asset) -> None:
        self._landed, self._sha256 = landed, hashlib.sha256()
        # Once the SHA-256 is known it says the same.
        self._md5_part_bytes = None if landed.sha256 else landed.md5_part_bytes
        self._md5 = EtagSum(self._md5_part_bytes)

    def update(self, data: bytes) -> None:
        """Take the next bytes."""
        self._sha256.update(data)
        self._md5.update(data)

    @property
    def sha256(self) -> str:
        """The SHA-256 so far, in hex."""
        return self._sha256.hexdigest()

    @property
    def are_as_before(self) -> bool:
        """Whether the SHA-256 is that of before, where there is one."""
        return self._landed.sha256 in ("", self.sha256)

    @property
    def are_of_the_object(self) -> bool:
        """Whether the MD5 sums are those of the object, where its ETag says them."""
        etag = self._landed.etag
        return self._md5_part_bytes is None or self._md5.etag(in_parts="-" in etag) == etag


def read_parameters(parameters: Mapping[str, Any]) -> None:
    """Refuse all parameters: the step has none.

    Raises:
        SettingsError: there is one.
    """
    refuse_unknown(parameters, set(), step="unpack")


def run_step(settings: Settings, parameters: None) -> StepResult:  # noqa: ARG001 - as each task has it
    """Unpack the landed archive of the run's data set, unless its CSV files are there already, and record them all.

    Raises:
        ArchiveError: the archive has not landed, is damaged, or does not hold what it should.
        SourceError: the archive is not the object that was downloaded.
        PipelineError: the disk is full.
        DatabaseError: the files cannot be recorded.
    """
    from pipeline.registry import record_assets

    assets, _, result = provide_files(settings)
    record_assets(settings, assets)
    return result


def provide_files(
    settings: Settings, *, command: str = "extract"
) -> tuple[list[Asset], dict[RecordKind, Asset], StepResult]:
    """Unpack the archive that settings name, or read its CSV files where they were found unpacked.

    Args:
        settings: name the source and the files.
        command: the target of make that does so, which a message advises.

    Returns:
        What has landed, the CSV files among it by kind, and how the step ended.

    Raises:
        SettingsError: the source is a folder, and has nothing of the data set.
        ArchiveError: the archive has not landed, is damaged, or does not hold what it should.
        SourceError: the archive is not the object that was downloaded.
        PipelineError: the disk is full.
    """
    begun = time.monotonic()
    if places := _in_place(settings):
        files, done = read_in_place(settings, places)
        assets, how, before = list(files.values()), "where they are, ", "read before"
    else:
        archive, files, done = _unpack_archive(settings, command)
        assets, how, before = [archive, *files.values()], "", "already unpacked"
    size = quantity(sum(file.size_bytes for file in files.values()), "B")
    told = f"{size} in {len(files)} files, {sum(file.num_rows or 0 for file in files.values()):,} lines, "
    if not done:
        return assets, files, StepResult(f"skipped: {told}{before}")
    rate = quantity(sum(file.size_bytes for file in done) / (time.monotonic() - begun), "B")
    return assets, files, StepResult(f"{told}{how}{rate}/s")


def _in_place(settings: Settings) -> Mapping[RecordKind, Place]:
    """Give the CSV files that the source has unpacked already; none where there is an archive."""
    if settings.source.kind == "files":
        return find_local(settings).files
    # The download leaves none where it has found them.
    has_archive = settings.source.kind == "generated" or manifest_path(settings.archive_path).is_file()
    return {} if has_archive else find_csv_files(settings)


def _unpack_archive(settings: Settings, command: str) -> tuple[Asset, dict[RecordKind, Asset], list[Asset]]:
    """Give the archive, the file of each kind of records, and which of these were unpacked now: all or none."""
    path = settings.archive_path
    archive = read_manifest(path)
    if archive is None:
        raise ArchiveError(f"{path} has not landed: run {make_command(command, settings)}, with all of its steps")
    paths = {settings.data_set.members[kind]: settings.member_path(kind) for kind in RECORD_KINDS}
    files = {} if settings.force else unpacked(paths, archive)
    done: list[Asset] = []
    if len(files) < len(paths):
        archive, files = unpack(path, archive, paths)
        done = list(files.values())
    return archive, {kind: files[settings.data_set.members[kind]] for kind in RECORD_KINDS}, done


def unpacked(paths: Mapping[str, Path], archive: Asset) -> dict[str, Asset]:
    """Give what has been unpacked from this very archive, by the member's name."""
    files = {name: read_manifest(path) for name, path in paths.items()}
    return {name: file for name, file in files.items() if file is not None and file.is_from(archive)}


def unpack(archive: Path, landed: Asset, paths: Mapping[str, Path]) -> tuple[Asset, dict[str, Asset]]:
    """Unpack a landed archive and give the CSV files their final names and manifests.

    Args:
        archive: the archive.
        landed: what its manifest says, to which its content must answer.
        paths: where each expected member goes, by the base name that it has in the archive. What is there already
            is removed first: it came from another archive, and must not be taken for the content of this one.

    Returns:
        The archive, whose checksum is now in its manifest, and each CSV file by the member's name.

    Raises:
        ArchiveError: the archive is damaged, or does not hold what it should; no CSV file is left, and an archive that
            has changed since it landed no longer counts as landed.
        SourceError: the archive is not the object that was downloaded, and is gone.
        PipelineError: the disk is full; no CSV file is left.
    """
    for path in paths.values():
        with disk_errors(path):
            make_private_folder(path.parent)
            manifest_path(path).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
    parts = {name: part_path(path) for name, path in paths.items()}
    content = file_of(archive, landed)
    sums = None
    try:
        with disk_errors(content), content.open("rb") as stream, track("unpack", landed.size_bytes, "B") as progress:
            files, sums = unpack_stream(
                stream,
                str(content),
                landed,
                parts,
                largest_content=largest_content(landed.size_bytes),
                advance=progress.advance,
            )
        if not (sums.are_as_before and sums.are_of_the_object):
            raise ArchiveError(f"{content} is not what was downloaded: its checksum has changed")
        with disk_errors(archive):
            known = replace(landed, sha256=sums.sha256)
            write_manifest(archive, known)
        for name, path in paths.items():
            with disk_errors(path):
                publish(parts[name], path)
                write_manifest(path, files[name])
    except ArchiveError as error:
        raise _explained(error, archive, landed, sums) from error
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
    return known, files


def _explained(error: ArchiveError, archive: Path, landed: Asset, sums: Sums | None) -> PipelineError:
    """Say what to do about an archive that is refused: it was bad in S3, or spoiled on the way, or has been since.

    One that was spoiled no longer counts as landed, so that the next run downloads it again. Where it was not read to
    its end, its checksums are not known yet.
    """
    if landed.path:
        return _explained_in_place(error, landed, sums)
    sums = sums or _sums_of(archive, landed)
    if sums.are_as_before and sums.are_of_the_object:
        return ArchiveError(
            f"{error}: it came so from {landed.uri}: put a good one there and run the same command again (with FORCE=1"
            " extract downloads this one again)"
        )
    with disk_errors(archive):
        manifest_path(archive).unlink(missing_ok=True)
        if sums.are_as_before:
            archive.unlink()
    if sums.are_as_before:
        return SourceError(
            f"{landed.uri}: what came does not match the object's ETag {landed.etag}, so it was thrown away: run the"
            " same command again (check_etag: false in pipeline.yml, for a store whose ETags are no MD5 sums)"
        )
    return ArchiveError(
        f"{error}: it has changed on this disk since it was downloaded: run the same command again, it downloads it"
        " anew"
    )


def _sums_of(archive: Path, landed: Asset) -> Sums:
    sums = Sums(landed)
    with disk_errors(archive), archive.open("rb") as file:
        while block := file.read(_BLOCK):
            sums.update(block)
    return sums


def _explained_in_place(error: ArchiveError, landed: Asset, sums: Sums | None) -> ArchiveError:
    """Say what to do about an archive that is read where it is, and that nobody but its owner may change."""
    again = "put a good one there, or name another by SOURCE, and run the same command again"
    if sums is not None and not sums.are_of_the_object:
        return ArchiveError(
            f"{landed.path} is not what {Path(landed.path).name}.md5 says: {again}; where a browser has unpacked it on"
            " its way, that sum is of another file: remove it"
        )
    return ArchiveError(f"{error}: {again}")


def largest_content(archive_bytes: int) -> int:
    """Give the most bytes that an archive of a given size may hold before it is taken for a bomb."""
    return max(LARGEST_SMALL_CONTENT, LARGEST_GROWTH * archive_bytes)


def unpack_stream(
    stream: BinaryIO,
    label: str,
    landed: Asset,
    paths: Mapping[str, Path],
    *,
    largest_content: int,
    advance: Callable[[int], None],
) -> tuple[dict[str, Asset], Sums]:
    """Read a tar archive, gzipped or not, to its end and write its expected members.

    Args:
        stream: the archive, from its first byte; it need not be seekable.
        label: the archive as messages name it.
        landed: what its manifest says.
        paths: the file to write for each expected member, by base name. On an error these files are left as they
            are, incomplete: the caller removes them.
        largest_content: the most bytes that the archive may hold, inflated.
        advance: is told how many bytes of the archive were taken since the last call.

    Returns:
        Each file, by the member's name, and the checksums of the archive. All bytes are on the disk.

    Raises:
        ArchiveError: the archive is damaged, or does not hold what it should.
        PipelineError: the disk is full.
    """
    archive = _Archive(label, landed, largest_content)
    # The last is ended first: inflating hands work to the checksum.
    with ThreadPoolExecutor(1) as beside, ThreadPoolExecutor(1) as ahead:
        sums = _Beside(beside, Sums(landed))
        content = _Content(_ahead(_read_content(stream, archive, sums), ahead), archive, advance)
        files = _unpack_members(content, archive, paths, beside)
        content.require_zeros()
        found = cast(Sums, sums.finish())
    missing = sorted(paths.keys() - files.keys())
    if missing:
        raise archive.error(f"does not hold {' and '.join(missing)}, or not as a plain file inside a folder")
    return files, found


def _read_content(stream: BinaryIO, archive: _Archive, sums: _Beside) -> Iterator[tuple[int, bytes]]:
    """Give the content of an archive in blocks, each with the bytes of the archive that were taken for it.

    A tar file that is not packed is its own content.
    """
    pieces = _pieces(stream, archive, sums)
    piece = next(pieces, b"")
    blocks = _as_it_is if _is_tar(piece) else _inflate
    yield from blocks(chain([piece] if piece else [], pieces), archive)


def _pieces(stream: BinaryIO, archive: _Archive, sums: _Beside) -> Iterator[bytes]:
    while True:
        # Here and not around all: the pieces are asked for while a CSV file is written, whose errors name that one.
        with disk_errors(Path(archive.label)):
            piece = stream.read(_PIECE)
        if not piece:
            return
        sums.update(piece)
        yield piece


def _is_tar(beginning: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(beginning[: tarfile.BLOCKSIZE], tarfile.ENCODING, "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _as_it_is(pieces: Iterator[bytes], archive: _Archive) -> Iterator[tuple[int, bytes]]:
    for piece in pieces:
        archive.count_content(len(piece))
        yield archive.content, piece


def _inflate(pieces: Iterator[bytes], archive: _Archive) -> Iterator[tuple[int, bytes]]:
    """Inflate a gzip file, which may have several streams, one after another, and zeros behind them."""
    decompressor = isal_zlib.decompressobj(_GZIP)
    inside = False  # whether a stream has begun and not ended
    first = True
    taken = 0
    for packed in pieces:
        piece = packed
        taken += len(piece)
        pending = False  # whether the decompressor may still hold output
        while piece or pending:
            if not inside and not first:
                piece = piece.lstrip(b"\0")
                if not piece:
                    break
            before = taken - len(piece)
            try:
                if not inside and piece[:1] != _GZIP_BEGINS:
                    raise _InflateError("no gzip header")  # the decompressor waits for all of a header's bytes
                block = decompressor.decompress(piece, _BLOCK)
            except _InflateError as error:
                raise archive.error(_damage(piece, before, str(error), inside=inside, first=first)) from error
            archive.count_content(len(block))
            inside = not decompressor.eof
            pending = inside and len(block) == _BLOCK
            piece = decompressor.unconsumed_tail if inside else decompressor.unused_data
            if not inside:
                decompressor = isal_zlib.decompressobj(_GZIP)
                first = False
            yield taken - len(piece), block
    if first and not taken:
        raise archive.error("is empty")
    if inside:
        raise archive.error(f"is truncated: it ends at byte {taken:,}, inside its gzip stream")
    yield taken, b""


def _damage(piece: bytes, offset: int, reason: str, *, inside: bool, first: bool) -> str:
    if first and not offset:
        beginning = piece.removeprefix(_MARK_OF_UTF8).lstrip()[:40].lower()
        form = next((form for mark, form in _OTHER_FORMS.items() if beginning.startswith(mark.lower())), None)
        return f"is {form}: what is expected is a tar file, packed by gzip or not" if form else "is not a gzip file"
    if inside:
        return f"is damaged: it cannot be read past byte {offset:,} ({reason})"
    return f"has something else after the end of its gzip stream at byte {offset:,}"


def _ahead(blocks: Iterator[tuple[int, bytes]], executor: ThreadPoolExecutor) -> Iterator[tuple[int, bytes]]:
    """Run an iterator in a thread, a few blocks ahead."""
    pending = deque(executor.submit(next, blocks, None) for _ in range(_READ_AHEAD))
    while (item := pending.popleft().result()) is not None:
        pending.append(executor.submit(next, blocks, None))
        yield item


class _Content:
    """The content of an archive as the file that tarfile reads its headers from: forward only.

    The data of a member is taken by `data`, block by block, and never passes through tarfile.
    """

    def __init__(self, blocks: Iterator[tuple[int, bytes]], archive: _Archive, advance: Callable[[int], None]) -> None:
        self._blocks, self._archive, self._advance = blocks, archive, advance
        self._block, self._start = b"", 0
        self._position = 0
        self._last_header = b""
        self._headers = self._headers_before = 0
        self._extended = b""  # the type of an extended header, whose records are read next

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        if position < self._position:
            raise self._archive.error("has a header with an impossible size")
        for _ in self.data(position - self._position):
            pass

    def read(self, size: int) -> bytes:
        if size < 0:
            raise self._archive.error("has a header with an impossible size")
        extended, self._extended = self._extended, b""
        if extended in _PAX_TYPES:
            self._last_header = b"".join(_useful_records(self.data(size), self._count_headers))
        else:
            self._count_headers(size)
            self._last_header = b"".join(self.data(size))
        if not extended and self._last_header[156:157] in _EXTENDED_TYPES:
            self._extended = self._last_header[156:157]
        return self._last_header

    def _count_headers(self, size: int) -> None:
        self._headers += size
        of_member = self._headers - self._headers_before
        if of_member > _LARGEST_HEADERS:
            raise self._archive.error(f"has {of_member:,} bytes of headers before a member, which cannot be right")
        if self._headers > _LARGEST_HEADERS_TOGETHER:
            raise self._archive.error(f"has more than {_LARGEST_HEADERS_TOGETHER:,} bytes of headers, far too many")

    def begin_member(self) -> None:
        """Count the headers anew: those of a member have been read."""
        self._headers_before = self._headers

    def data(self, size: int) -> Iterator[bytes]:
        """Take the next `size` bytes, or fewer where the content ends."""
        while size > 0:
            if self._start == len(self._block) and not self._next_block():
                return
            end = min(self._start + size, len(self._block))
            taken = self._block if end - self._start == len(self._block) else self._block[self._start : end]
            self._start = end
            self._position += len(taken)
            size -= len(taken)
            yield taken

    def require_zeros(self) -> None:
        """Check that tarfile stopped at the archive's end mark, and read what is behind it, which must be zeros."""
        if self._last_header != _END_MARK:
            raise self._archive.error(f"breaks off: there is no valid tar header {self._place()}")
        while True:
            if self._block.count(0, self._start) != len(self._block) - self._start:
                raise self._archive.error("holds something after its end mark")
            if not self._next_block():
                return

    def require_whole(self, name: str, size: int, expected: int) -> None:
        if size != expected:
            raise self._archive.error(f"breaks off: {name} has {size:,} bytes of {expected:,}")

    def _next_block(self) -> bool:
        for offset, block in self._blocks:
            self._advance(offset - self._archive.offset)
            self._archive.offset = offset
            if block:
                self._block, self._start = block, 0
                return True
        self._block, self._start = b"", 0
        return False

    def _place(self) -> str:
        return f"at byte {self._position:,} of its content, near byte {self._archive.offset:,} of the archive"


def _useful_records(pieces: Iterator[bytes], count: Callable[[int], None]) -> Iterator[bytes]:
    """Give the records of an extended header that say of a member what it is: its name, its size, whether it is sparse.

    Args:
        pieces: the records, and zeros behind them.
        count: is told the size of each of these before it is held.

    Raises:
        ValueError: there is something else than records.
    """
    rest, to_skip = b"", 0
    for piece in pieces:
        begin = min(to_skip, len(piece))
        to_skip -= begin
        rest, begin = rest + piece[begin:], 0
        while found := _PAX_RECORD.match(rest, begin):
            length = int(found[1])
            if length < len(found[0]):
                raise ValueError("a record of an extended header that is shorter than its name")
            if _USEFUL_KEYWORDS.fullmatch(found[2]):
                if length > len(rest) - begin:
                    count(max(0, length - _LARGEST_HEADERS))  # too long a one is not waited for
                    break
                count(length)
                record = rest[begin : begin + length]
                if not record.endswith(b"\n"):
                    raise ValueError("a record of an extended header of another length than it says")
                yield record
            to_skip = max(0, begin + length - len(rest))
            begin += length
        rest = rest[begin:]
        if len(rest) > _LONGEST_PAX_BEGINNING and not found and rest.strip(b"\0"):
            raise ValueError("an extended header with something else than records")
    if rest.strip(b"\0"):
        raise ValueError("an extended header that ends inside a record")


def _unpack_members(
    content: _Content, archive: _Archive, paths: Mapping[str, Path], beside: ThreadPoolExecutor
) -> dict[str, Asset]:
    """Write the expected members, and give each by its name."""
    files: dict[str, Asset] = {}
    ignored = 0
    for member in _members(content, archive):
        name, unwanted = _choose(member, paths)
        if name is None:
            ignored += unwanted is not None
            if unwanted is not None and ignored <= _MOST_WARNINGS:
                say(f"warning: {archive.label}: ignored {_printable(member.name)}: {unwanted}")
            continue
        if unwanted is not None or name in files:
            raise archive.error(f"holds {name} {unwanted or 'twice'}")
        if not 0 <= member.size <= archive.largest_content:
            raise archive.error(f"says that {name} has {member.size:,} bytes, which cannot be right")
        require_free_disk(paths[name].parent, member.size, name)
        with disk_errors(paths[name]):
            files[name] = _write(content, archive, name, member.size, paths[name], beside=beside)
    if ignored > _MOST_WARNINGS:
        say(f"warning: {archive.label}: ignored {ignored - _MOST_WARNINGS:,} more members")
    return files


def _members(content: _Content, archive: _Archive) -> Iterator[tarfile.TarInfo]:
    """Give the headers of the members; the caller may take the data of each before the next."""
    try:
        tar = tarfile.TarFile(fileobj=cast(IO[bytes], content), mode="r", errors="surrogateescape")
        while (member := tar.next()) is not None:
            content.begin_member()
            yield member
            tar.members = []  # type: ignore[attr-defined]  # tarfile would keep them all
    except PipelineError:
        raise
    except tarfile.ReadError as error:
        raise archive.error(f"is not a tar archive inside, or a damaged one ({error})") from error
    # tarfile lets these through where a header makes no sense.
    except (tarfile.TarError, ValueError, OverflowError, LookupError, RecursionError, TypeError) as error:
        raise archive.error(f"has a tar header that makes no sense ({type(error).__name__}: {error})") from error


def _choose(member: tarfile.TarInfo, paths: Mapping[str, Path]) -> tuple[str | None, str | None]:
    """Tell which expected member this is, if any, and what is wrong with it, if anything.

    An expected member is a plain file with exactly the expected base name, at the top or in any folder. Its path is
    not used, and yet an absolute path or one with `..` is not followed: nobody packs the data that way.
    """
    path = PurePosixPath(member.name)
    if path.name not in paths:
        return None, None if member.isdir() else "it is not expected"
    if path.is_absolute() or ".." in path.parts:
        return None, "its path leads out of the archive"
    if member.issparse():
        return path.name, "as a sparse file"
    if member.type not in _FILE_TYPES:
        return path.name, "as a link, a folder or a device"
    return path.name, None


def _write(
    content: _Content, archive: _Archive, name: str, size: int, path: Path, *, beside: ThreadPoolExecutor
) -> Asset:
    checksum, lines, written = _Beside(beside, hashlib.sha256()), Lines(size), 0
    with open_private(path) as file:
        for data in content.data(size):
            checksum.update(data)
            lines.update(data)
            _write_all(file, data)
            written += len(data)
        content.require_whole(name, written, size)
        os.fsync(file.fileno())
    return Asset(
        uri=f"{archive.landed.uri}#{name}",
        etag=archive.landed.etag,
        size_bytes=size,
        landed_at=datetime.now(UTC),
        sha256=checksum.finish().hexdigest(),
        num_rows=lines.num_lines,
        marks=lines.marks,
    )


def _write_all(file: Any, data: bytes) -> None:
    done = file.write(data)
    while done < len(data):
        done += file.write(memoryview(data)[done:])


def _printable(name: str) -> str:
    text = ascii(name)
    return text if len(text) <= 100 else f"{text[:97]}..."
