"""Functions over bytes and numbers that are compiled to machine code, by numba."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

# A shell may hold those of other work; without the compiler numbers would have no end, and checksums be others.
for _name in [name for name in os.environ if name.startswith("NUMBA_") and name != "NUMBA_CACHE_DIR"]:
    del os.environ[_name]

import numba  # noqa: E402

_Function = TypeVar("_Function", bound=Callable[..., object])


def compiled(function: _Function) -> _Function:
    """Compile a function at its first call, and keep the machine code beside its module for the processes after.

    Such a function allocates nothing: what it fills it is given. It is compiled without numba's run time, which would
    count the references of each array at each call anew, and take three times as long for it.

    The code is kept by the text of its own module: what the function takes from another one must be an argument. From
    a zip, as executors on other machines have this project, each process compiles for itself, some seconds once.
    """
    options: Any = {"_nrt": False}  # numba's own name for its run time; its types do not know it
    try:
        return cast("_Function", numba.njit(function, cache=_is_file(function), **options))
    except RuntimeError:  # there is no folder that it could be kept in
        return cast("_Function", numba.njit(function, **options))


def _is_file(function: Callable[..., object]) -> bool:
    return Path(function.__code__.co_filename).is_file()
