"""Work that goes on in a thread beside a block of code, and ends with it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def beside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run work in a thread for as long as a block runs, however it ends.

    Args:
        work: is given the event that tells the end of the block, and returns soon after it; it waits by
            `while not ended.wait(seconds)`.
    """
    ended = threading.Event()
    thread = threading.Thread(target=work, args=(ended,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
