from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.processes import descendants

LINE = "run it again"

PROGRAM = f"""
import signal, subprocess, sys, threading, time
from pipeline import interrupt
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
    # Whoever takes a lock in a handler may be interrupted by another handler that wants it too.
    "gets a second signal while it handles the first": """exec('''
def entered(condition, enter=threading.Condition.__enter__):
    got = enter(condition)
    if threading.get_ident() == threading.main_thread().ident:
        threading.Condition.__enter__ = enter
        signal.raise_signal(signal.SIGTERM)
    return got
threading.Condition.__enter__ = entered
time.sleep(60)
''')""",
}


def is_running(process: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
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
        family = [child, *descendants(child)]
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
        time.sleep(0.2)  # as a person does; what comes at once is the same signal, handed on by make
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(5) == 130


def test_without_a_signal_the_block_ends_as_it_would(root: Path) -> None:
    program = """
import signal
from pipeline.interrupt import answered_interrupts
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


def run_with_a_signal(root: Path, program: str, *, after: float = 0.1) -> tuple[int, str, str]:
    """Run a program, send SIGINT some time after it has printed a line, and give its exit code and what it printed."""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(after)
        os.kill(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=10)
    return process.returncode, output, errors


def test_a_package_that_is_interrupted_while_it_is_imported_swallows_nothing(root: Path, tmp_path: Path) -> None:
    """As pandas and pyarrow would: the interrupt waits for the end of the import."""
    (tmp_path / "greedy.py").write_text("import time\ntry:\n    time.sleep(0.5)\nexcept BaseException:\n    pass\n")
    program = f"""
import sys
from pipeline.interrupt import answered_interrupts
sys.path.insert(0, {str(tmp_path)!r})
with answered_interrupts({LINE!r}):
    print("begin", flush=True)
    import greedy
    try:
        while True:
            pass
    except KeyboardInterrupt:
        open({str(tmp_path / "told")!r}, "w").close()
        raise
"""
    assert run_with_a_signal(root, program) == (130, "", f"interrupted: {LINE}\n")
    assert (tmp_path / "told").exists()


def test_an_interrupt_that_a_destructor_swallows_comes_again(root: Path, tmp_path: Path) -> None:
    program = f"""
import time
from pipeline.interrupt import answered_interrupts

class Slow:
    def __del__(self):
        print("begin", flush=True)
        time.sleep(0.5)

with answered_interrupts({LINE!r}):
    Slow()
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        open({str(tmp_path / "told")!r}, "w").close()
        raise
"""
    assert run_with_a_signal(root, program) == (130, "", f"interrupted: {LINE}\n")
    assert (tmp_path / "told").exists()


def test_nothing_is_shown_after_the_answer_and_no_error_is_made_of_it(root: Path) -> None:
    program = f"""
import time
from pipeline.cli import run_command
from pipeline.interrupt import run_main
def work():
    print("begin", flush=True)
    try:
        time.sleep(60)
    except BaseException:
        print("a library's own words", flush=True)
        raise AttributeError("partially initialized module") from None
run_main(lambda: run_command(work, verbose=True, interrupted={LINE!r}))
"""
    assert run_with_a_signal(root, program) == (130, "", f"interrupted: {LINE}\n")


def test_the_answer_is_what_is_true_by_then_and_no_step_follows_one_that_was_given(root: Path, tmp_path: Path) -> None:
    program = """
import time
from pipeline.interrupt import answer_with, answered_interrupts
with answered_interrupts("nothing is done"):
    {body}
"""
    done = 'answer_with("all is done"); print("begin", flush=True); time.sleep(60)'
    assert run_with_a_signal(root, program.format(body=done))[2] == "interrupted: all is done\n"

    path = tmp_path / "done"
    greedy = "exec('''print(\"begin\", flush=True)\ntry:\n time.sleep(60)\nexcept BaseException:\n pass"
    greedy += f'\nanswer_with("all is done")\nopen({str(path)!r}, "w").close()\'\'\')'
    assert run_with_a_signal(root, program.format(body=greedy)) == (130, "", "interrupted: nothing is done\n")
    assert not path.exists()


@pytest.mark.parametrize("code", [0, 1, 2])
def test_a_command_that_has_ended_waits_for_no_thread(root: Path, code: int) -> None:
    program = f"""
import sys, threading, time
from pipeline.interrupt import run_main
def main():
    threading.Thread(target=time.sleep, args=(60,)).start()
    print("the last line")
    sys.exit({code})
run_main(main)
"""
    begun = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "the last line\n", "")
    assert time.monotonic() - begun < 10


def test_a_server_in_a_session_of_its_own_outlives_the_command_and_no_other_child_does(root: Path) -> None:
    program = f"""
import subprocess, time
from pipeline.interrupt import answered_interrupts
with answered_interrupts({LINE!r}):
    streams = {{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}}
    server = subprocess.Popen(["sleep", "60"], start_new_session=True, **streams)
    child = subprocess.Popen(["sleep", "60"], process_group=0, **streams)
    print(server.pid, child.pid, flush=True)
    time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        server, child = map(int, process.stdout.readline().split())
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(10) == 130
    assert is_running(server)
    assert not is_running(child)
    os.kill(server, signal.SIGKILL)


def test_every_command_is_run_in_the_one_place_that_answers(root: Path) -> None:
    commands = {
        str(path.relative_to(root)): path.read_text()
        for path in root.glob("[!.]*/*.py")
        if '__name__ == "__main__"' in path.read_text() and path.parent.name not in ("docs", "tests")
    }
    commands.pop("spark_jobs/python_daemon.py")  # Spark's own, which ends with its JVM
    assert {"extract/__main__.py", "embedded/setup.py", "pipeline/run_dbt.py"} <= commands.keys()

    for path, text in commands.items():
        module = path.removesuffix(".py").replace("/", ".")
        assert f'    run_module("{module}")\n' in text, path
        begin = text.partition("run_module(")[0]
        heavy = {"argparse", "json", "shutil", "yaml", "pymysql", "dbt"}
        if not path.startswith("spark_jobs/"):  # which must find the project first
            assert not heavy & set(re.findall(r"^(?:import|from) (\w+)", begin, re.MULTILINE)), path
        assert "interrupted=" in text, path


_INTERRUPTED_WHILE_IMPORTING = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "pipeline.interrupt":
            os.kill(os.getpid(), signal.{})

sys.meta_path.insert(0, Interrupting())
import pipeline
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""


def test_ctrl_c_while_the_answer_to_it_is_imported_is_answered(root: Path) -> None:
    for signal_name, code, said in (
        ("SIGINT", 130, "interrupted: run the same command again\n"),
        ("SIGCONT", 0, ""),
    ):
        program = _INTERRUPTED_WHILE_IMPORTING.replace("{}", signal_name)
        ended = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stderr) == (code, said)
