"""The folder of an export: whole, or not there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from export.vocabulary import FOLDER as VOCABULARY
from export.vocabulary import MANIFEST
from pipeline.errors import UsageError
from pipeline.files import disk_errors, hold_lock, new_file, sync_folder
from pipeline.interrupt import answer_with

SIDES = ("sample", "common_feature_group")


@contextmanager
def new_export(folder: Path) -> Iterator[Path]:
    """Give a folder to write an export to, which gets its name when the block has come to a good end.

    Whoever may read the folder above it may read it: its modes are the caller's umask's.

    Raises:
        UsageError: the folder holds something else.
        PipelineError: the disk is full, or another export writes to the folder.
    """
    unfinished = folder.with_name(f".{folder.name}.incomplete")
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with hold_lock(folder.with_name(f".{folder.name}.lock"), f"another make export is writing to {folder}"):
            _put_back(folder)
            _require_replaceable(folder)
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            yield unfinished
            _publish(unfinished, folder)


def write_manifest(folder: Path, content: Mapping[str, Any]) -> None:
    """Write what an export holds, as its last file."""
    with new_file(folder / MANIFEST) as file:
        file.write(json.dumps(content, indent=1).encode())


def _require_replaceable(folder: Path) -> None:
    """Refuse to put an export in the place of anything but an export or nothing."""
    if not folder.is_symlink() and (not folder.exists() or _is_export(folder)):
        return
    if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
        return
    raise UsageError(f"OUTPUT is {folder}, which holds something else than an export: name a folder that is not there")


def _is_export(folder: Path) -> bool:
    return (
        folder.is_dir()
        and (folder / MANIFEST).is_file()
        and {path.name for path in folder.iterdir()} - {VOCABULARY} == {MANIFEST, *SIDES}
    )


def _replaced(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.replaced")


def _put_back(folder: Path) -> None:
    """Finish what a run that was killed between two renames has begun: the old export is there until the new one is."""
    replaced = _replaced(folder)
    if replaced.exists() and not folder.exists():
        replaced.rename(folder)
    shutil.rmtree(replaced, ignore_errors=True)


def _publish(unfinished: Path, folder: Path) -> None:
    """Give the export its name. Between the two renames there is none, which is not taken for a whole one."""
    answer_with("the export is whole, or what was there before is put back by the same command")
    sync_folder(unfinished)
    if folder.exists():
        folder.rename(_replaced(folder))
    unfinished.rename(folder)
    sync_folder(folder.parent)
    shutil.rmtree(_replaced(folder), ignore_errors=True)
