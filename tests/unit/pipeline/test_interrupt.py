from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LINE = "run it again"

PROGRAM = f"""
import signal, subprocess, sys, threading, time
from extract import interrupt
interrupt.GRACE_SECONDS, interrupt.CHILD_SECONDS = 0.4, 0.2

def work():
    child = subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 60 & wait; sleep 60"])
    print(child.pid, flush=True)
    {{body}}

with interrupt.answered_interrupts({LINE!r}):
    work()
"""

BODIES = {
    "waits": "time.sleep(60)",
    "is deep in a library": "threading.Thread(target=time.sleep, args=(60,)).start(); time.sleep(60)",
    "has a library that takes the handler": "signal.signal(signal.SIGINT, lambda *_: None);"
    " signal.signal(signal.SIGTERM, lambda *_: None); [time.sleep(0.1) for _ in range(600)]",
    "holds on to the exception": "exec('''try:\\n time.sleep(60)\\nexcept BaseException:\\n time.sleep(60)''')",
}


def children_of(process: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_signal_is_answered_within_a_second_and_leaves_no_child(
    root: Path, number: signal.Signals, body: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body)],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        child = int(process.stdout.readline())
        time.sleep(0.1)
        family = [child, *children_of(child)]
        begun = time.monotonic()
        os.kill(process.pid, number)
        assert process.stderr.readline() == f"interrupted: {LINE}\n"
        assert time.monotonic() - begun < 1
        assert process.wait(5) == 128 + number
        assert process.stderr.read() == ""
    assert len(family) == 2
    assert not any(is_running(member) for member in family)


def test_a_second_signal_ends_the_process_at_once(root: Path) -> None:
    program = PROGRAM.replace("0.4", "60.0").format(body=BODIES["holds on to the exception"])
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGINT)
        process.stderr.readline()
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(5) == 130


def test_without_a_signal_the_block_ends_as_it_would(root: Path) -> None:
    program = """
import signal
from extract.interrupt import answered_interrupts
before = signal.getsignal(signal.SIGINT)
with answered_interrupts("x"):
    pass
assert signal.getsignal(signal.SIGINT) is before
assert signal.set_wakeup_fd(-1) == -1
try:
    with answered_interrupts("x"):
        raise ValueError
except ValueError:
    print("as it was")
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert ended.stdout == "as it was\n"
