"""The pieces of a member and what is left out of them."""

from __future__ import annotations

import tarfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spark_jobs.sampling.archive import Member, Piece, write_archive


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(
        st.lists(st.tuples(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"") + b"\n"), st.booleans())),
        max_size=4,
    )
)
def test_a_member_holds_the_lines_that_were_not_dropped(tmp_path: Path, pieces: list[list[tuple[bytes, bool]]]) -> None:
    made = []
    for number, lines in enumerate(pieces):
        path, position, dropped = tmp_path / str(number), 0, []
        path.write_bytes(b"".join(line for line, _ in lines))
        for line, is_kept in lines:
            if not is_kept:
                dropped.append((position, position + len(line)))
            position += len(line)
        made.append(Piece(path, position, dropped))
    expected = b"".join(line for lines in pieces for line, is_kept in lines if is_kept)
    seen: list[bytes] = []

    write_archive(tmp_path / "archive", [Member("sample", "a.csv", made)], lambda _, block: seen.append(block))

    with tarfile.open(tmp_path / "archive") as archive:
        content = archive.extractfile("a.csv")
        assert content is not None
        assert content.read() == expected == b"".join(seen)
    assert all(block.endswith(b"\n") for block in seen)
