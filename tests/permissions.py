"""Which files and folders others than their owner may use."""

from __future__ import annotations

import stat
from pathlib import Path


def open_to_others(folder: Path) -> dict[str, str]:
    """The modes of a folder, and of all below it, that give the group or others anything; links are not followed."""
    paths = [folder, *(path for path in folder.rglob("*") if not path.is_symlink())]
    modes = {str(path.relative_to(folder)): path.lstat().st_mode for path in paths}
    return {name: stat.filemode(mode) for name, mode in modes.items() if stat.S_IMODE(mode) & 0o077}
