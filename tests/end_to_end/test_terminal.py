"""The longest of the commands as a person sees it at work."""

from __future__ import annotations

import re
from pathlib import Path

from tests.end_to_end.conftest import Shell, environment_of
from tests.terminal import show

# Two on a machine that has nothing else to do. Without a word, Spark's start takes five, the servers' three each.
_SECONDS = 4.0


def test_an_extract_is_never_silent_for_long_and_leaves_only_lines_behind(project: Path, shell: Shell) -> None:
    shell("make down")
    environment = environment_of(project) | {"NO_COLOR": "1", "TERM": "xterm-256color"}
    shown = show(["make", "extract", "FORCE=1"], cwd=project, env=environment)

    assert shown.exit_code == 0, shown.text
    assert shown.longest_silence < _SECONDS
    assert "start MySQL: 1 s" in shown.text
    assert "download: 100%" in shown.text or "explode:   0%" in shown.text
    assert not [line for line in shown.lines if re.search(r"%\||^  [\w ]+: \d+ s", line)]
    assert "\x1b[3" not in shown.text  # no colour
