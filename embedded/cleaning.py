"""`make clean`: everything that the project has made goes, but nothing unasked that takes hours to make again.

Standard library only: it works before set-up, and after one that was broken off.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

from embedded import mysql_server, s3_server
from embedded.running import Report, explained, stop_services
from pipeline.commands import CLEAN_ALL
from pipeline.errors import UsageError
from pipeline.units import quantity

# What .gitignore lists; a test holds the two together. The environment, which may be running this, is the last.
AT_ROOT = (".embedded", ".checks", "data", "target", "logs", "dbt_packages", ".venv")
ANYWHERE = (
    "__pycache__",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".hypothesis",
    "*.egg-info",
    "metastore_db",
    "spark-warehouse",
    "artifacts",
)

_OF_SERVER = {"mysql", "performance_schema", "sys", "test"}
# Of what development mode has; ten times this is made in an hour.
_LARGEST_MADE_IN_MINUTES = 10_000_000_000


def clean(root: Path, report: Report, *, everything: bool) -> None:
    """Stop the services, and remove what the project has made.

    Args:
        root: the project's folder.
        report: is told each thing in one line.
        everything: also what was made in production mode, and what is large.

    Raises:
        UsageError: there is some of that, and it was not asked for; nothing is stopped or removed then.
        ServiceError: a process does not end, or something belongs to another user.
    """
    with explained(root):
        dear = [] if everything else [f"{what} ({quantity(size, 'B')})" for what, size in _dear(root)]
    if dear:
        raise UsageError(
            f"nothing is removed, for some of it may take hours to make again: {', '.join(dear)}: {CLEAN_ALL} removes"
            " that too"
        )
    stop_services(root / ".embedded", report)
    sys.dont_write_bytecode = True
    with explained(root):
        removed = [name for name in AT_ROOT if _remove(root / name)]
        removed += [str(path.relative_to(root)) for path in _found_anywhere(root) if _remove(path)]
    caches = sum(name.endswith("__pycache__") for name in removed)
    named = [name for name in removed if not name.endswith("__pycache__")]
    if removed:
        report(f"removed: {', '.join([*named, *([f'{caches} of __pycache__'] if caches else [])])}")


def _dear(root: Path) -> Iterator[tuple[str, int]]:
    """Find what takes long to make, with its size on the disk: databases and files of any mode but development."""
    embedded, data = root / ".embedded", root / "data"
    found = [
        (f"database {path.name}", path, path.name.startswith("deepcvr_development_"))
        for path in _entries(mysql_server.data_folder(embedded))
        if path.is_dir() and path.name not in _OF_SERVER and not path.name.startswith("#")
    ]
    found += [(f"data/{path.name}", path, path.name == "development") for path in _entries(data)]
    found.append(("what the embedded S3 server holds", s3_server.data_folder(embedded), True))
    for what, path, is_cheap in found:
        size = _size(path)
        if size > (_LARGEST_MADE_IN_MINUTES if is_cheap else 0):
            yield what, size


def _size(path: Path) -> int:
    """Add up the sizes of files; a run that came to nothing leaves hidden ones alone, such as its lock."""
    total = 0
    for each in (path, *path.rglob("*")):
        with suppress(FileNotFoundError):  # a server removes files while we count
            total += each.stat().st_size if each.is_file() and not each.name.startswith(".") else 0
    return total


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def made_anywhere(name: str) -> bool:
    """Whether a folder of this name is removed wherever it stands."""
    return any(fnmatch(name, pattern) for pattern in ANYWHERE)


def _found_anywhere(root: Path) -> Iterator[Path]:
    for folder, names, _ in os.walk(root):
        made = [name for name in names if made_anywhere(name)]
        yield from (Path(folder, name) for name in made)
        names[:] = [name for name in names if name not in made and name != ".git"]


def _remove(path: Path) -> bool:
    """Remove a folder with all that is in it, but of a link the link alone."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
    else:
        return False
    return True
