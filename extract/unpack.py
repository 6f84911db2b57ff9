"""Unpack the CSV members of an archive, in one pass, checking everything on the way.

One thread inflates the archive, a second checksums it and the CSV files, a third brings them to the disk; the caller's
reads the tar headers, counts lines and writes. Nothing gets its final name before the whole archive was read and every
checksum was right. docs/decisions/unpack.md says which archives are refused, and why.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import tarfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from isal import isal_zlib

from pipeline.cli import say
from pipeline.commands import make_command
from pipeline.errors import ArchiveError, PipelineError
from pipeline.files import disk_errors, make_private_folder, open_private, require_free_disk
from pipeline.landed import (
    ArchiveManifest,
    MemberManifest,
    manifest_path,
    now,
    part_path,
    publish,
    read_manifest,
    record_assets,
    write_manifest,
)
from pipeline.progress import track
from pipeline.settings import RECORD_KINDS, Settings
from pipeline.steps import StepResult, refuse_unknown
from pipeline.units import quantity

if TYPE_CHECKING:
    from pipeline.registry import Asset

# More than this from one archive, inflated, is a bomb: the real ones grow about five times.
LARGEST_GROWTH = 100
LARGEST_SMALL_CONTENT = 1 << 30

_PIECE = 256 << 10  # read from the archive at once; 4.5 times as much comes out
_BLOCK = 2 << 20  # the most that is inflated at once
_READ_AHEAD = 6  # blocks
_SYNC = 16 << 20  # written between two syncs, which run beside the writing so that little is left for the end
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

# Numbers of glibc's mallopt, from its malloc.h: the largest piece of memory that is not mapped for itself, and how much
# of what was freed is kept. 32 MiB is the most that the first may be.
_MALLOPT_KEPT = {-3: 32 << 20, -1: 32 << 20}

_PAX_TYPES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_EXTENDED_TYPES = (*_PAX_TYPES, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
# POSIX, pax, "pax Extended Header": its length, those digits included, a keyword and a value.
_PAX_RECORD = re.compile(rb"([1-9][0-9]{0,18}) ([^=\0]{1,300})=")
_LONGEST_PAX_BEGINNING = 320
_USEFUL_KEYWORDS = re.compile(rb"path|size|linkpath|hdrcharset|GNU\.sparse\.[a-z]{1,10}")

_FILE_TYPES = (tarfile.REGTYPE, tarfile.AREGTYPE)
_END_MARK = bytes(tarfile.BLOCKSIZE)
_InflateError = cast(type[Exception], isal_zlib.error)  # its stub gives an instance
_Digest = Any  # hashlib gives its type no public name


@dataclass
class _Archive:
    """An archive while it is read.

    Attributes:
        label: its path, as messages name it.
        largest_content: the most bytes that it may hold, inflated.
        offset: how many of its bytes were taken so far.
        content: how many bytes came out of it so far.
    """

    label: str
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
class _Checksum:
    """A SHA-256 that a thread computes, at most a few blocks behind."""

    thread: ThreadPoolExecutor
    digest: _Digest = field(default_factory=hashlib.sha256)
    pending: deque[Future[None]] = field(default_factory=deque)

    def update(self, data: bytes) -> None:
        self.pending.append(self.thread.submit(self.digest.update, data))
        if len(self.pending) > _READ_AHEAD:
            self.pending.popleft().result()

    def hexdigest(self) -> str:
        while self.pending:
            self.pending.popleft().result()
        return str(self.digest.hexdigest())


@dataclass(frozen=True)
class _Workers:
    """The threads that work beside the caller's, each on one thing in its order: nearly all of it is outside Python.

    Attributes:
        last_syncs: bring the last of each file to the disk, while the next member is unpacked.
    """

    inflate: ThreadPoolExecutor
    checksum: ThreadPoolExecutor
    sync: ThreadPoolExecutor
    last_syncs: list[Future[None]] = field(default_factory=list)

    def sync_soon(self, descriptor: int, path: Path) -> Future[None]:
        """Bring to the disk what was written to a file, which may be closed meanwhile."""
        return self.sync.submit(_sync_and_close, os.dup(descriptor), path)


@contextmanager
def _workers() -> Iterator[_Workers]:
    with ExitStack() as stack:
        # The last is ended first: inflating hands work to the checksum.
        checksum, sync, inflate = (stack.enter_context(ThreadPoolExecutor(1)) for _ in range(3))
        yield _Workers(inflate, checksum, sync)


def read_parameters(parameters: Mapping[str, Any]) -> None:
    """Refuse all parameters: the step has none.

    Raises:
        SettingsError: there is one.
    """
    refuse_unknown(parameters, set(), step="unpack")


def run_step(settings: Settings, parameters: Mapping[str, Any]) -> StepResult:
    """Unpack the landed archive of the run's data set, unless its CSV files are there already.

    Raises:
        SettingsError: the step has a parameter, which it does not take.
        ArchiveError: the archive has not landed, is damaged, or does not hold what it should.
        PipelineError: the disk is full.
        DatabaseError: the files cannot be recorded.
    """
    read_parameters(parameters)
    archive = settings.archive_path
    landed = read_manifest(archive, ArchiveManifest)
    if landed is None:
        raise ArchiveError(f"{archive} has not landed: run {make_command('extract', settings)}, with all of its steps")
    paths = {settings.data_set.members[kind]: settings.member_path(kind) for kind in RECORD_KINDS}
    manifests = {} if settings.force else unpacked(paths, landed)
    skipped = len(manifests) == len(paths)
    begun = time.monotonic()
    if not skipped:
        manifests = unpack(archive, landed, paths)
    record_assets(settings, [_asset(settings, name, landed, manifests[name]) for name in paths])
    size = quantity(sum(manifest.size_bytes for manifest in manifests.values()), "B")
    lines = f"{sum(manifest.num_lines for manifest in manifests.values()):,} lines"
    if skipped:
        return StepResult(f"skipped: {size} in {len(paths)} files, {lines}, already unpacked")
    rate = quantity(sum(manifest.size_bytes for manifest in manifests.values()) / (time.monotonic() - begun), "B")
    return StepResult(f"{size} in {len(paths)} files, {lines}, {rate}/s")


def unpack(archive: Path, landed: ArchiveManifest, paths: Mapping[str, Path]) -> dict[str, MemberManifest]:
    """Unpack a landed archive and give the CSV files their final names and manifests.

    Args:
        archive: the archive.
        landed: its manifest, whose checksum it must have.
        paths: where each expected member goes, by the base name that it has in the archive. What is there already
            is removed first: it came from another archive, and must not be taken for the content of this one.

    Returns:
        The manifest of each CSV file, by the member's name.

    Raises:
        ArchiveError: the archive is damaged, or does not hold what it should; no CSV file is left, and an archive that
            has changed since it landed no longer counts as landed.
        PipelineError: the disk is full; no CSV file is left.
    """
    for path in paths.values():
        with disk_errors(path):
            make_private_folder(path.parent)
            manifest_path(path).unlink(missing_ok=True)
            path.unlink(missing_ok=True)
    parts = {name: part_path(path) for name, path in paths.items()}
    try:
        with disk_errors(archive), archive.open("rb") as stream, track("unpack", landed.size_bytes, "B") as progress:
            manifests, sha256 = unpack_stream(
                stream,
                str(archive),
                parts,
                largest_content=largest_content(landed.size_bytes),
                advance=progress.advance,
            )
        if sha256 != landed.sha256:
            raise ArchiveError(f"{archive} is not what was downloaded: its checksum has changed")
        for name, path in paths.items():
            with disk_errors(path):
                publish(parts[name], path)
                write_manifest(path, manifests[name])
    except ArchiveError as error:
        raise ArchiveError(f"{error}: {_remedy(archive, landed)}") from error
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
    return manifests


def _remedy(archive: Path, landed: ArchiveManifest) -> str:
    """Say what to do about an archive that cannot be unpacked: it was bad in S3, or it has been spoiled since.

    One that was spoiled on this disk no longer counts as landed, so that the next run downloads it again.
    """
    with disk_errors(archive), archive.open("rb") as file:
        is_as_it_came = hashlib.file_digest(file, "sha256").hexdigest() == landed.sha256
    if is_as_it_came:
        return (
            f"it came so from {landed.uri}: put a good one there and run the same command again (with FORCE=1"
            " extract downloads this one again)"
        )
    with disk_errors(archive):
        manifest_path(archive).unlink(missing_ok=True)
    return "it has changed on this disk since it was downloaded: run the same command again, it downloads it anew"


def largest_content(archive_bytes: int) -> int:
    """Give the most bytes that an archive of a given size may hold before it is taken for a bomb."""
    return max(LARGEST_SMALL_CONTENT, LARGEST_GROWTH * archive_bytes)


def unpack_stream(
    stream: BinaryIO,
    label: str,
    paths: Mapping[str, Path],
    *,
    largest_content: int,
    advance: Callable[[int], None],
) -> tuple[dict[str, MemberManifest], str]:
    """Read a tar archive, gzipped or not, to its end and write its expected members.

    Args:
        stream: the archive, from its first byte; it need not be seekable.
        label: the archive as messages name it.
        paths: the file to write for each expected member, by base name. On an error these files are left as they
            are, incomplete: the caller removes them.
        largest_content: the most bytes that the archive may hold, inflated.
        advance: is told how many bytes of the archive were taken since the last call.

    Returns:
        The manifest of each file, by the member's name, and the SHA-256 of the archive. All bytes are on the disk.

    Raises:
        ArchiveError: the archive is damaged, or does not hold what it should.
        PipelineError: the disk is full.
    """
    archive = _Archive(label, largest_content)
    _keep_freed_memory()
    with _workers() as workers:
        checksum = _Checksum(workers.checksum)
        content = _Content(_ahead(_read_content(stream, archive, checksum), workers.inflate), archive, advance)
        manifests = _unpack_members(content, archive, paths, workers)
        content.require_zeros()
        for sync in workers.last_syncs:
            sync.result()
        sha256 = checksum.hexdigest()
    missing = sorted(paths.keys() - manifests.keys())
    if missing:
        raise archive.error(f"does not hold {' and '.join(missing)}, or not as a plain file inside a folder")
    return {name: MemberManifest(sha256, *manifest) for name, manifest in manifests.items()}, sha256


def _keep_freed_memory() -> None:
    """Let blocks take the memory of those before them, where the C library is glibc.

    It would give each block's memory back to the system, which clears it again for the next: a fifth of the time.
    """
    with suppress(AttributeError, OSError):
        for parameter, value in _MALLOPT_KEPT.items():
            ctypes.CDLL(None).mallopt(parameter, value)


def _read_content(stream: BinaryIO, archive: _Archive, checksum: _Checksum) -> Iterator[tuple[int, bytes]]:
    """Give the content of an archive in blocks, each with the bytes of the archive that were taken for it.

    A tar file that is not packed is its own content.
    """
    pieces = _pieces(stream, archive, checksum)
    piece = next(pieces, b"")
    blocks = _as_it_is if _is_tar(piece) else _inflate
    yield from blocks(chain([piece] if piece else [], pieces), archive)


def _pieces(stream: BinaryIO, archive: _Archive, checksum: _Checksum) -> Iterator[bytes]:
    while True:
        # Here and not around all: the pieces are asked for while a CSV file is written, whose errors name that one.
        with disk_errors(Path(archive.label)):
            piece = stream.read(_PIECE)
        if not piece:
            return
        checksum.update(piece)
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
    content: _Content, archive: _Archive, paths: Mapping[str, Path], workers: _Workers
) -> dict[str, tuple[int, str, int, str]]:
    """Write the expected members: size, SHA-256, lines and time of each, by name."""
    manifests: dict[str, tuple[int, str, int, str]] = {}
    ignored = 0
    for member in _members(content, archive):
        name, unwanted = _choose(member, paths)
        if name is None:
            ignored += unwanted is not None
            if unwanted is not None and ignored <= _MOST_WARNINGS:
                say(f"warning: {archive.label}: ignored {_printable(member.name)}: {unwanted}")
            continue
        if unwanted is not None or name in manifests:
            raise archive.error(f"holds {name} {unwanted or 'twice'}")
        if not 0 <= member.size <= archive.largest_content:
            raise archive.error(f"says that {name} has {member.size:,} bytes, which cannot be right")
        require_free_disk(paths[name].parent, member.size, name)
        with disk_errors(paths[name]):
            manifests[name] = _write(content, name, member.size, paths[name], workers)
    if ignored > _MOST_WARNINGS:
        say(f"warning: {archive.label}: ignored {ignored - _MOST_WARNINGS:,} more members")
    return manifests


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


def _write(content: _Content, name: str, size: int, path: Path, workers: _Workers) -> tuple[int, str, int, str]:
    checksum = _Checksum(workers.checksum)
    num_lines = written = synced = 0
    last = b"\n"
    with open_private(path) as file:
        syncing = workers.sync_soon(file.fileno(), path)
        for data in content.data(size):
            checksum.update(data)
            num_lines += data.count(b"\n")
            written += len(data)
            last = data[-1:]
            _write_all(file, data)
            if written - synced >= _SYNC and syncing.done():
                syncing.result()
                syncing, synced = workers.sync_soon(file.fileno(), path), written
        content.require_whole(name, written, size)
        workers.last_syncs.extend((syncing, workers.sync_soon(file.fileno(), path)))
    return size, checksum.hexdigest(), num_lines + (last != b"\n"), now()


def _sync_and_close(descriptor: int, path: Path) -> None:
    try:
        with disk_errors(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(file: Any, data: bytes) -> None:
    done = file.write(data)
    while done < len(data):
        done += file.write(memoryview(data)[done:])


def _printable(name: str) -> str:
    text = ascii(name)
    return text if len(text) <= 100 else f"{text[:97]}..."


def unpacked(paths: Mapping[str, Path], landed: ArchiveManifest) -> dict[str, MemberManifest]:
    """Give the manifests of the files that were unpacked from this very archive."""
    manifests = {name: read_manifest(path, MemberManifest) for name, path in paths.items()}
    return {
        name: manifest
        for name, manifest in manifests.items()
        if manifest is not None and manifest.archive_sha256 == landed.sha256
    }


def _asset(settings: Settings, name: str, landed: ArchiveManifest, manifest: MemberManifest) -> Asset:
    from pipeline.registry import Asset  # noqa: PLC0415 - the driver is not needed before

    return Asset(
        uri=f"{settings.archive_uri}#{name}",
        etag=landed.etag,
        size_bytes=manifest.size_bytes,
        sha256=manifest.sha256,
        num_rows=manifest.num_lines,
        landed_at=datetime.fromisoformat(manifest.landed_at),
    )
