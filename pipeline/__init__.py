"""What every stage shares: settings, errors, progress, the MySQL connection and the registry of loads."""

import _signal  # type: ignore[import-not-found] # what `signal` is made of, there from Python's start
import os
from contextlib import suppress


def _leave(number: int, _frame: object) -> None:
    os.write(2, b"interrupted: run the same command again\n")
    os._exit(128 + number)


# What answers Ctrl-C takes a moment to import, in which it would end in Python's own traceback.
with suppress(ValueError):  # of a thread, which has no say in it
    if (before := _signal.getsignal(_signal.SIGINT)) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _leave)
        import pipeline.interrupt  # noqa: F401 - it is imported, and that is all

        _signal.signal(_signal.SIGINT, before)
