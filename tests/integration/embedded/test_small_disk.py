"""A disk without room for a server: a file system in memory, in a namespace of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

START = """
import sys
from pathlib import Path
from embedded.mysql_server import start_mysql
from embedded.programs import provide_mysql_program
from embedded.s3_server import start_s3
from pipeline.cli import run_command

service, root, base = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
command = (lambda: start_s3(base)) if service == "s3" else (lambda: start_mysql(provide_mysql_program(root), base))
code = run_command(command, verbose=False)
print(sorted(path.name for path in (base / "data").rglob("*")) if (base / "data").exists() else [])
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("service", "message"),
    [
        ("mysql", r"error: too little disk space for new MySQL databases: 10\d\.\d MB free at .* GB needed"),
        ("s3", r"error: too little disk space for the S3 server: 10\d\.\d MB free at .* GB needed"),
    ],
)
def test_a_disk_that_is_too_small_is_told_before_anything_is_made(
    root: Path, tmp_path: Path, service: str, message: str
) -> None:
    mount = f"mount -t tmpfs -o size=100m tmpfs {tmp_path}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody mount")
    script = f'{mount} && exec "$@"'
    program = [sys.executable, "-c", START, service, str(root / ".embedded"), str(tmp_path)]
    ended = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *program], cwd=root, check=False, capture_output=True, text=True
    )

    assert (ended.returncode, ended.stdout) in [(1, "[]\n"), (1, "['s3']\n")]
    (line,) = ended.stderr.splitlines()
    assert re.fullmatch(message, line)
