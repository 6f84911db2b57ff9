from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.settings import RECORD_KINDS, RecordKind
from spark_jobs.explode import Exploded, explode
from spark_jobs.grammar import Reason, Record, parse_record
from tests.records import REAL_LINE, records

BLOCKS = st.sampled_from(RECORD_KINDS).flatmap(
    lambda kind: st.tuples(st.just(kind), st.lists(records(kind), max_size=8))
)


def plainly(lines: list[bytes], kind: RecordKind) -> tuple[list[bytes], list[bytes], list[tuple[int, Reason, bytes]]]:
    """What the grammar says of each line, row by row."""
    rows: list[bytes] = []
    structures: list[bytes] = []
    rejected: list[tuple[int, Reason, bytes]] = []
    for number, line in enumerate(lines):
        record = parse_record(line, kind)
        if isinstance(record, Record):
            rows.append(b"\t".join([*record.columns, b""]))
            structures.extend(
                b"\t".join([record.columns[0], part.feature_name, part.feature_id, part.feature_value])
                for part in sorted(record.structures, key=lambda part: int(part.feature_id))
            )
        else:
            rejected.append((number, record, line))
    return rows, structures, rejected


def contents(exploded: Exploded) -> tuple[list[bytes], list[bytes], list[tuple[int, Reason, bytes]]]:
    return (
        exploded.rows.to_pylist(),
        exploded.structures.to_pybytes().splitlines(),
        [(reject.line_number, reject.reason, reject.record) for reject in exploded.rejected],
    )


@settings(max_examples=1500, deadline=None)
@given(BLOCKS)
def test_the_explode_agrees_with_the_grammar_on_every_record(block: tuple[RecordKind, list[bytes]]) -> None:
    kind, lines = block
    exploded = explode(b"".join(line + b"\n" for line in lines), kind)

    assert contents(exploded) == plainly(lines, kind)
    assert exploded.num_lines == len(lines)
    assert exploded.num_structures == len(exploded.structures.to_pybytes().splitlines())


def test_structures_come_out_in_the_order_of_the_primary_key() -> None:
    exploded = explode(REAL_LINE + b"\n", "sample")

    ids = [int(row.split(b"\t")[2]) for row in exploded.structures.to_pybytes().splitlines()]
    assert ids == sorted(ids)
    assert len(ids) == 9


def test_one_bad_record_takes_nothing_from_its_neighbours() -> None:
    good = REAL_LINE + b"\n"
    exploded = explode(good + good.replace(b",9,", b",8,") + good, "sample")

    assert [reject.line_number for reject in exploded.rejected] == [1]
    assert exploded.structures.to_pybytes() == 2 * explode(good, "sample").structures.to_pybytes()


def test_an_empty_block_gives_nothing() -> None:
    assert contents(explode(b"", "sample")) == ([], [], [])
