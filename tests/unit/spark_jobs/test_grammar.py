from __future__ import annotations

import pytest

from spark_jobs.grammar import Reason, Record, Structure, parse_record
from tests.records import REAL_LINE

GOOD = b"17,1,0,bacff91692951881,2,205\x024186222\x031.0\x01508\x029355039\x030.69315"


def test_the_publishers_own_line_is_read_value_by_value() -> None:
    record = parse_record(REAL_LINE, "sample")

    assert record == Record(
        columns=(b"1", b"0", b"0", b"bacff91692951881", b"9"),
        structures=(
            Structure(b"210", b"9052218", b"1.0"),
            Structure(b"210", b"9064553", b"1.0"),
            Structure(b"210", b"9093445", b"1.0"),
            Structure(b"216", b"9154780", b"1.0"),
            Structure(b"301", b"9351665", b"1.0"),
            Structure(b"205", b"4186222", b"1.0"),
            Structure(b"206", b"8316799", b"1.0"),
            Structure(b"207", b"8416205", b"1.0"),
            Structure(b"508", b"9355039", b"0.69315"),
        ),
    )


def test_a_common_feature_record_has_three_columns() -> None:
    record = parse_record(b"bacff91692951881,1,101\x0231\x031.0", "common_feature")

    assert record == Record((b"bacff91692951881", b"1"), (Structure(b"101", b"31", b"1.0"),))


def test_an_empty_feature_list_is_good_when_num_features_is_zero() -> None:
    assert parse_record(b"5,0,0,bacff91692951881,0,", "sample") == Record(
        (b"5", b"0", b"0", b"bacff91692951881", b"0"), ()
    )


def test_the_contradictory_labels_are_good() -> None:
    assert isinstance(parse_record(GOOD.replace(b"17,1,0", b"17,0,1"), "sample"), Record)


@pytest.mark.parametrize(
    ("found", "put", "reason"),
    [
        (b"17,1,0,", b"17,1,", Reason.COLUMN_COUNT),
        (b"1.0", b"1,0", Reason.COLUMN_COUNT),
        (GOOD, b"", Reason.COLUMN_COUNT),
        (b"17,", b",", Reason.SAMPLE_ID),
        (b"17,", b"017,", Reason.SAMPLE_ID),
        (b"17,", b"-17,", Reason.SAMPLE_ID),
        (b"17,", b"4294967296,", Reason.SAMPLE_ID),
        (b"17,1,", b"17,2,", Reason.CLICK_LABEL),
        (b"17,1,", b"17,01,", Reason.CLICK_LABEL),
        (b",0,bac", b",,bac", Reason.CONVERSION_LABEL),
        (b"bacff91692951881", b"BACFF91692951881", Reason.COMMON_FEATURE_INDEX),
        (b"bacff91692951881", b"bacff9169295188", Reason.COMMON_FEATURE_INDEX),
        (b",2,205", b",+2,205", Reason.NUM_FEATURES),
        (b",2,205", b",,205", Reason.NUM_FEATURES),
        (b"\x031.0\x01", b"\x01", Reason.STRUCTURE),
        (b"\x01508", b"\x01\x01508", Reason.STRUCTURE),
        (b"205\x02", b"205\x02\x02", Reason.STRUCTURE),
        (b"205\x02", b"\x02", Reason.FEATURE_NAME),
        (b"205\x02", b"205205205205205205\x02", Reason.FEATURE_NAME),
        (b"205\x02", b"2 5\x02", Reason.FEATURE_NAME),
        (b"4186222", b"", Reason.FEATURE_ID),
        (b"4186222", b"4294967296", Reason.FEATURE_ID),
        (b"4186222", b"4186222.0", Reason.FEATURE_ID),
        (b"0.69315", b"", Reason.FEATURE_VALUE),
        (b"0.69315", b"nan", Reason.FEATURE_VALUE),
        (b"0.69315", b"0x1F", Reason.FEATURE_VALUE),
        (b"0.69315", b"0.69315\r", Reason.FEATURE_VALUE),
        (b"0.69315", b"0.69315000000000000000000", Reason.FEATURE_VALUE),
        (b",2,205", b",3,205", Reason.LIST_LENGTH),
        (b"9355039", b"4186222", Reason.REPEATED_FEATURE),
    ],
)
def test_a_damaged_record_is_rejected_for_its_first_fault(found: bytes, put: bytes, reason: Reason) -> None:
    assert isinstance(parse_record(GOOD, "sample"), Record)
    assert parse_record(GOOD.replace(found, put, 1), "sample") is reason
