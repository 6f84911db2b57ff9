"""Source records for the tests: the real line of the publisher's file, made-up good ones, and damaged ones."""

from __future__ import annotations

from hypothesis import strategies as st

from pipeline.settings import RecordKind

REAL_LINE = (
    b"1,0,0,bacff91692951881,9,210\x029052218\x031.0\x01210\x029064553\x031.0\x01210\x029093445\x031.0"
    b"\x01216\x029154780\x031.0\x01301\x029351665\x031.0\x01205\x024186222\x031.0\x01206\x028316799\x031.0"
    b"\x01207\x028416205\x031.0\x01508\x029355039\x030.69315"
)

_IDS = st.one_of(st.integers(0, 50), st.integers(0, 10_091_378), st.sampled_from([4_294_967_294, 4_294_967_295]))
_NAMES = st.sampled_from([b"101", b"205", b"210", b"508", b"853", b"109_14", b"a", b"_" * 16])
_VALUES = st.sampled_from([b"1.0", b"0.69315", b"0.0797", b"8.2", b"0", b"-3", b"7.9E-4", b"1e+99", b"9" * 24])

# What a mutation puts into a record: separators, digits at the edge of a range, and bytes that hurt elsewhere.
_TOKENS = st.sampled_from(
    [
        *(bytes([byte]) for byte in (0, 1, 2, 3, 9, 13, 32, 34, 39, 92, 127, 128, 195, 255)),
        *(b",", b"-", b"+", b".", b"0", b"00", b"9", b"a", b"g", b"F", b"_", b"e", b"E5", b"nan", b"inf", b"0x1F"),
        *(b"4294967295", b"4294967296", b"99999999999999999999999999", b"1.", b".5", b"1e100", b"1e5", b"\\N", b"\\"),
        *(b"", "é".encode(), b"205\x021\x031.0", b"\x01205\x021\x031.0", b"1.0000000000000000000000000"),
    ]
)


@st.composite
def good_records(draw: st.DrawFn, kind: RecordKind, key: int | None = None) -> bytes:
    """A record that keeps to the grammar, without its newline; `key` makes it unique."""
    ids = draw(st.lists(_IDS, unique=True, max_size=12))
    structures = [b"%s\x02%d\x03%s" % (draw(_NAMES), feature_id, draw(_VALUES)) for feature_id in ids]
    number = draw(st.integers(0, 4_294_967_295)) if key is None else key
    header = (
        b"%d,%d,%d,%016x" % (number, draw(st.integers(0, 1)), draw(st.integers(0, 1)), draw(st.integers(0, 2**64 - 1)))
        if kind == "sample"
        else b"%016x" % number
    )
    return b"%s,%d,%s" % (header, len(ids), b"\x01".join(structures))


@st.composite
def damaged_records(draw: st.DrawFn, kind: RecordKind) -> bytes:
    """A record after one to three mutations, which may have left it good; it holds no newline."""
    record = draw(good_records(kind))
    for _ in range(draw(st.integers(1, 3))):
        begin = draw(st.integers(0, len(record)))
        end = draw(st.integers(begin, min(len(record), begin + 6)))
        match draw(st.sampled_from(["replace", "drop", "double", "swap"])):
            case "replace":
                record = record[:begin] + draw(_TOKENS) + record[end:]
            case "drop":
                record = record[:begin] + record[end:]
            case "double":
                record = record[:end] + record[begin:]
            case _:
                record = record[:begin] + record[begin:end][::-1] + record[end:]
    return record.replace(b"\n", b"")


def records(kind: RecordKind) -> st.SearchStrategy[bytes]:
    """Good and damaged records."""
    return st.one_of(good_records(kind), damaged_records(kind))
