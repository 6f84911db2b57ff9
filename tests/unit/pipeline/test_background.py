from __future__ import annotations

import threading

import pytest

from pipeline.background import beside


def test_the_work_runs_beside_the_block_and_has_ended_with_it_however_that_ended() -> None:
    begun = threading.Event()
    seen: list[bool] = []

    def work(ended: threading.Event) -> None:
        begun.set()
        seen.append(ended.wait(10))

    def block() -> None:
        with beside(work):
            assert begun.wait(10)
            assert seen == []
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        block()
    assert seen == [True]
